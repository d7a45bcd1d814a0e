"""Actors and critics on boards that learn without a graph, beside what torch makes of the same losses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import small_ppo
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents import PPO
from agents.plasticity import GXD, CChain
from agents.plasticity.protocols import Intervention, Update
from agents.speed import board_networks, layers, proximal
from agents.speed.boards import kernels

FLAT = {"policy": "MlpPolicy", "env": "breakout"}
KINDS = {
    "of-maps": {**small_ppo.KINDS["board"], "net_arch": {"pi": [32], "vf": [96, 64]}},
    "of-boards": {**FLAT, "net_arch": {"pi": [64, 32], "vf": [32]}},
    "of-boards-relu": {**FLAT, "net_arch": {"pi": [32, 32], "vf": [96]}, "activation_fn": nn.ReLU},
}
pytestmark = pytest.mark.filterwarnings("ignore:speed is 'fast', but this cpu")


@pytest.fixture(autouse=True)
def on_any_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32, and as it would be with larger registers."""
    monkeypatch.setattr(kernels(), "has_registers", lambda: True)
    monkeypatch.setitem(layers.PAYS, "cpu", float("inf"))
    for name, kind in KINDS.items():
        monkeypatch.setitem(small_ppo.ALL, name, kind)


def built(kind: str, **more: Any) -> Any:
    model = small_ppo.build(kind, speed="fast", **more)
    model.fill_buffer()
    return model


def minibatch(model: PPO) -> Any:
    """One on which probabilities and values have moved beyond their clip ranges, for some transitions."""
    (batch,) = model.rollout_buffer.get(None)
    noise = torch.Generator().manual_seed(0)
    return batch._replace(
        old_log_prob=batch.old_log_prob + 0.3 * torch.randn(batch.old_log_prob.shape, generator=noise),
        old_values=batch.old_values + 0.3 * torch.randn(batch.old_values.shape, generator=noise),
    )


def expected(model: PPO, batch: Any) -> tuple[Any, list[Tensor]]:
    losses = model.losses(batch)
    return losses, list(torch.autograd.grad(losses["loss"], list(model.policy.parameters())))


def learnt(model: PPO, batch: Any) -> tuple[Any, list[Tensor]]:
    found = model._learnt_without_graph(batch)
    assert found is not None
    losses, pairs, _ = found
    gradients = {id(parameter): gradient for parameter, gradient in pairs}
    return losses, [gradients[id(parameter)] for parameter in model.policy.parameters()]


@pytest.mark.parametrize("more", [{"ent_coef": 0.1}, {"clip_range_vf": 0.1, "normalize_advantage": False}], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_losses_and_gradients_are_torchs(kind: str, more: dict[str, Any]) -> None:
    model = built(kind, **more)
    batch = minibatch(model)
    losses, gradients = learnt(model, batch)
    of_torch, at_parameters = expected(model, batch)
    assert list(losses) == list(of_torch)
    for name, value in of_torch.items():
        torch.testing.assert_close(losses[name], value.detach(), rtol=1e-4, atol=1e-6)
    for one, other in zip(gradients, at_parameters, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


@pytest.mark.skipif(kernels() is None or not kernels().has_pairs(), reason="no AVX512_BF16")
def test_gradients_in_bfloat16_are_near(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "has_bfloat16", lambda _device: True)
    monkeypatch.setitem(layers.PAYS, "cpu", 1)
    model = built("of-maps")
    batch = minibatch(model)
    losses, gradients = learnt(model, batch)
    of_torch, at_parameters = expected(model, batch)
    assert float(losses["loss"]) == pytest.approx(float(of_torch["loss"].detach()), rel=0.02, abs=0.02)
    for one, other in zip(gradients, at_parameters, strict=True):
        assert one.dtype is torch.float32
        assert F.cosine_similarity(one.flatten(), other.flatten(), dim=0) > 0.99


class Looks(Intervention):
    """Keeps what it is shown."""

    name = "looks"
    needs = frozenset({"activations", "activation_grads"})

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    def after_backward(self, update: Update) -> None:
        self.seen.append(dict(update.taps))


@pytest.mark.parametrize("kind", KINDS)
def test_who_looks_at_units_sees_what_torch_shows(kind: str) -> None:
    shown = []
    for own in (False, True):
        looks = Looks()
        model = built(kind, interventions=[looks], n_epochs=1)
        if own:
            model.losses = model.losses  # one of its own, which torch makes
        *_, taken = update(model)
        assert taken == (0 if own else 4)
        shown.append(looks.seen[0])
    found, expected = shown
    assert [*found] == [*expected]
    for name, pair in expected.items():
        torch.testing.assert_close(found[name], pair, rtol=1e-3, atol=1e-6)


def test_threads_learn_from_shares_of_a_minibatch(monkeypatch: pytest.MonkeyPatch) -> None:
    model = built("of-boards")
    batch = minibatch(model)
    whole = learnt(model, batch)
    monkeypatch.setattr(board_networks, "SHARE", 20)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        found = [learnt(model, batch) for _ in range(2)]
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found[0], whole, rtol=1e-4, atol=1e-6)
    assert all(map(torch.equal, found[0][1], found[1][1]))


def update(model: PPO) -> tuple[Tensor, dict[str, Any], int]:
    """Parameters after one, what it logs, and how many minibatches took no graph."""
    taken: list[int] = []
    ask = proximal.gradients
    with pytest.MonkeyPatch.context() as patch:

        def asked(*given: Any, **more: Any) -> Any:
            found = ask(*given, **more)
            taken.append(found is not None)
            return found

        patch.setattr(proximal, "gradients", asked)
        model._setup_learn(1)
        np.random.seed(0)
        model.train()
    logged = {tag: value for tag, value in model.logger.name_to_value.items() if tag.startswith("train/")}
    return nn.utils.parameters_to_vector(model.policy.parameters()).detach(), logged, sum(taken)


@pytest.mark.parametrize("kind", ["of-maps", "of-boards"])
@pytest.mark.parametrize(
    ("more", "without"),
    [
        ({}, 8), ({"target_kl": 1e-9}, 2), ({"interventions": [lambda: GXD(score_every=4)]}, 8),
        ({"interventions": [CChain]}, 8),
    ],
    ids=["plain", "target_kl", "gxd", "c_chain"],
)  # fmt: skip
def test_updates_log_and_learn_the_same(kind: str, more: dict[str, Any], without: int) -> None:
    found = {}
    for way in ("loops", "torch"):
        given = {**more, "interventions": [make() for make in more.get("interventions", ())]}
        model = built(kind, **given)
        if way == "torch":
            model.losses = model.losses  # one of its own
        *found[way], taken = update(model)
        assert taken == (without if way == "loops" else 0)
    torch.testing.assert_close(found["loops"][0], found["torch"][0], rtol=1e-3, atol=1e-4)
    assert found["loops"][1].keys() == found["torch"][1].keys()
    for tag, value in found["torch"][1].items():
        assert found["loops"][1][tag] == pytest.approx(value, rel=1e-2, abs=1e-4), tag


def test_what_is_frozen_stays_and_what_was_replaced_learns() -> None:
    model = built("of-maps")
    frozen = model.policy.features_extractor.cnn[0].weight.requires_grad_(False)
    model.policy.action_net = nn.Linear(32, model.action_space.n)
    model.policy.optimizer.add_param_group({"params": [*model.policy.action_net.parameters()]})
    held, replaced = frozen.clone(), model.policy.action_net.weight.detach().clone()
    *_, taken = update(model)
    assert taken == 8
    assert torch.equal(frozen, held)
    assert not torch.equal(model.policy.action_net.weight, replaced)


def test_who_looks_into_networks_sees_them() -> None:
    """Hooks, forwards of one's own, compiled modules and policies: torch is asked then."""
    model = built("of-maps")
    policy = model.policy
    batch = minibatch(model)
    for module in (policy.features_extractor, policy.features_extractor.cnn[1], policy.mlp_extractor.value_net[0]):
        hook = module.register_forward_hook(lambda *_: None)
        assert model._learnt_without_graph(batch) is None
        hook.remove()
        module.forward = module.forward
        assert model._learnt_without_graph(batch) is None
        del module.forward
        assert model._learnt_without_graph(batch) is not None
    weight = policy.features_extractor.linear[0].weight
    for watch in (weight.register_hook, weight.register_post_accumulate_grad_hook):
        hook = watch(lambda *_: None)
        assert model._learnt_without_graph(batch) is None
        hook.remove()
        assert model._learnt_without_graph(batch) is not None
    policy.evaluate_actions = policy.evaluate_actions
    assert model._learnt_without_graph(batch) is None


def test_layers_that_do_not_fit_one_another_are_torchs_to_refuse() -> None:
    """Loops would read and write beside their arrays."""
    model = built("of-maps")
    policy, batch = model.policy, minibatch(model)
    assert model._learnt_without_graph(batch) is not None
    weight = policy.mlp_extractor.policy_net[0].weight
    held = weight.data
    weight.data = held.repeat(2, 1)
    assert model._learnt_without_graph(batch) is None
    weight.data = held
    assert model._learnt_without_graph(batch) is not None
    linear = policy.features_extractor.linear[0]
    for holder, name, other in (
        (policy, "value_net", nn.Linear(64, 2)),
        (policy, "action_net", nn.Linear(64, model.action_space.n)),
        (policy.features_extractor.linear, "0", nn.Linear(linear.in_features, 64)),
    ):
        before = getattr(holder, name)
        setattr(holder, name, other)
        assert model._learnt_without_graph(batch) is None
        setattr(holder, name, before)
    assert model._learnt_without_graph(batch) is not None


@pytest.mark.parametrize(
    "more",
    [
        {"net_arch": []}, {"net_arch": [24]}, {"activation_fn": nn.ELU}, {"activation_fn": nn.Tanh},
        {"share_features_extractor": False}, {"optimizer_class": torch.optim.SGD, "norm": "layer"},
    ],
    ids=str,
)  # fmt: skip
def test_other_networks_are_asked_themselves(more: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(small_ppo.ALL, "other", {**KINDS["of-maps"], **more})
    model = built("other")
    assert model._learnt_without_graph(minibatch(model)) is None


def test_other_observations_are_read_by_torch() -> None:
    model = built("of-maps")
    batch = minibatch(model)
    boards = batch.observations
    crowded = torch.ones_like(boards)
    for other in (boards.float(), crowded, boards.transpose(1, 2)):
        assert model._learnt_without_graph(batch._replace(observations=other)) is None
    assert model._learnt_without_graph(batch._replace(observations=boards.clone())) is not None


@pytest.mark.parametrize("kind", ["of-maps", "of-boards"])
def test_what_is_no_number_is_refused(kind: str) -> None:
    for strange in (float("nan"), float("inf")):
        for number in (0, -1):
            model = built(kind)
            with torch.no_grad():
                [*model.policy.parameters()][number].flatten()[0] = strange
            batch = minibatch(model)
            if number == 0:
                assert model._learnt_without_graph(batch) is None
            else:
                assert learnt(model, batch)[0]["loss"].isfinite().item() is False


def test_boards_whose_channels_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    model = built("of-maps")
    batch = minibatch(model)
    of_last = learnt(model, batch)
    model.policy.features_extractor._permute = False
    model._at_once._trunk._seen = []  # read again: nobody else changes that
    of_first = learnt(model, batch._replace(observations=batch.observations.permute(0, 3, 1, 2).contiguous()))
    torch.testing.assert_close(of_first, of_last, rtol=1e-4, atol=1e-6)
