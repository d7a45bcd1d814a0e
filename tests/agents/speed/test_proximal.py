"""PPO's loss as one loop, beside what torch makes of it operation by operation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import small_ppo
import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from agents import PPO
from agents.clipped_objective import Settings
from agents.plasticity import GXD, CChain
from agents.speed import layers, proximal
from agents.speed.boards import kernels

TERMS = ("loss", "actor_loss", "policy_loss", "value_loss", "entropy_loss")
pytestmark = pytest.mark.filterwarnings("ignore:speed is 'fast', but this cpu")


@pytest.fixture(autouse=True)
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(layers.PAYS, "cpu", float("inf"))
    monkeypatch.setitem(small_ppo.ALL, "flat-board", {"policy": "MlpPolicy", "env": "breakout", "net_arch": [16, 8]})


def both(model: PPO, batch: Any) -> tuple[Any, Any]:
    """Terms of the loss by the loop and by torch."""
    found = model._losses_quickly(batch)
    assert type(found["loss"].grad_fn).__name__ == "_LossesBackward"
    return found, model.losses(batch)


def batch_of(model: PPO) -> Any:
    """A minibatch on which probabilities and values have moved beyond their clip ranges, for some transitions."""
    if not model.rollout_buffer.full:
        model.fill_buffer()
    (batch,) = model.rollout_buffer.get(None)
    noise = torch.Generator().manual_seed(0)
    return batch._replace(
        old_log_prob=batch.old_log_prob + 0.3 * torch.randn(batch.old_log_prob.shape, generator=noise),
        old_values=batch.old_values + 0.3 * torch.randn(batch.old_values.shape, generator=noise),
    )


def gradients(model: PPO, loss: Tensor) -> list[Tensor | None]:
    return list(torch.autograd.grad(loss, list(model.policy.parameters()), allow_unused=True))


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("mlp", {"ent_coef": 0.1}),
        ("mlp", {"clip_range_vf": 0.1, "vf_coef": 0.7}),
        ("board", {"normalize_advantage": False, "clip_range": 0.05, "ent_coef": 0.01, "clip_range_vf": 0.2}),
        ("board-separate", {}),
        ("flat-board", {}),
        ("norm-board", {}),  # of which nothing is computed at once
    ],
    ids=str,
)
def test_terms_and_gradients_are_torchs(kind: str, more: dict[str, Any]) -> None:
    model = small_ppo.build(kind, speed="fast", **more)
    found, expected = both(model, batch_of(model))
    assert list(found) == list(expected)
    assert 0 < found["clip_fraction"] < 1
    for name, value in expected.items():
        torch.testing.assert_close(found[name].detach(), value.detach(), rtol=1e-4, atol=1e-6)
        assert found[name].requires_grad == value.requires_grad == (name in TERMS)
    for name in TERMS:  # each by itself, as penalties may ask for
        found, expected = both(model, batch_of(model))
        for one, other in zip(gradients(model, found[name]), gradients(model, expected[name]), strict=True):
            if one is not None and other is not None:
                torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)
            else:
                assert not any(each is not None and each.any() for each in (one, other))


def rows(**of_some: Any) -> tuple[Tensor, ...]:
    """Logits of three actions, values and the fields of a batch, of four transitions."""
    fields: dict[str, Any] = {
        "logits": [[0.0, 1.0, 2.0], [3.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, -1.0, 0.5]],
        "values": [0.0, 1.0, 2.0, 3.0],
        "actions": [[0.0], [1.0], [2.0], [0.0]],
        "old_log_prob": [-1.0, -2.0, -1.0, -0.5],
        "advantages": [1.0, -1.0, 2.0, 0.5],
        "old_values": [0.5, 1.0, 0.0, 3.5],
        "returns": [1.0, 1.0, 1.0, 1.0],
    }
    return tuple(torch.tensor(value) for value in (fields | of_some).values())


SETTINGS = Settings(False, 0.2, None, 0.0, 0.5)


def asked(*, settings: Settings = SETTINGS, **of_some: Any) -> Any:
    logits, values, *fields = rows(**of_some)
    logits.requires_grad_(), values.requires_grad_()
    terms = dict(zip(kernels().TERMS, proximal._Losses.apply(settings, logits, values, *fields), strict=True))
    terms["loss"].backward()
    return terms, logits.grad, values.grad


def test_actions_that_are_masked_away_take_no_gradients() -> None:
    infinite = float("inf")
    terms, at_logits, _ = asked(
        settings=Settings(False, 0.2, None, 0.1, 0.5),
        logits=[[0.0, 0.0, -infinite], [3.0, 1.0, 0.0], [0.0, 0.0, 0.0], [1.0, -1.0, 0.5]],
    )
    assert at_logits[0, 2] == 0
    assert at_logits.isfinite().all()
    assert all(term.isfinite() for term in terms.values())


@pytest.mark.parametrize("field", ["values", "old_log_prob", "advantages", "old_values", "returns"])
def test_what_is_no_number_stays_so(field: str) -> None:
    """As ever: where a critic has lost its numbers nothing may hide it."""
    settings = Settings(False, 0.2, 0.1, 0.0, 0.5)
    terms, at_logits, at_values = asked(settings=settings, **{field: [float("nan"), 1.0, 1.0, 1.0]})
    assert terms["loss"].isnan()
    _, at_logits, at_values = asked(**{field: [float("nan"), 1.0, 1.0, 1.0]})
    assert at_logits[0].isnan().all() == (field in ("old_log_prob", "advantages"))
    assert at_values[0].isnan() == (field in ("values", "returns"))


@pytest.fixture(params=[True, False], ids="validates={}".format)  # `torch.compile`, once used, turns it off
def validates(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Distribution, "_validate_args", request.param)


@pytest.mark.usefixtures("validates")
def test_logits_that_are_no_numbers_and_unknown_actions_are_refused() -> None:
    nowhere = float("nan")
    with pytest.raises(ValueError, match="found invalid values"):
        asked(logits=[[0.0, 0.0, 0.0], [0.0, 0.0, nowhere], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    for action in (-1.0, 3.0):
        with pytest.raises(ValueError, match="to be within the support"):
            asked(actions=[[action], [0.0], [0.0], [0.0]])


def update(model: PPO) -> tuple[Tensor, dict[str, Any]]:
    """Parameters after one, and what it logs."""
    torch.manual_seed(0)
    model.fill_buffer()
    model._setup_learn(1)
    np.random.seed(0)
    model.train()
    logged = {tag: value for tag, value in model.logger.name_to_value.items() if tag.startswith("train/")}
    return nn.utils.parameters_to_vector(model.policy.parameters()).detach(), logged


@pytest.mark.parametrize("more", [{}, {"target_kl": 1e-3}, {"interventions": [CChain, GXD]}], ids=str)
def test_updates_log_and_learn_the_same(more: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    found = {}
    for way in ("loop", "torch"):
        if way == "torch":
            monkeypatch.setattr(proximal, "losses", lambda *_: None)
        interventions = [kind() for kind in more.get("interventions", ())]
        model = small_ppo.build("mlp", speed="fast", **{**more, "interventions": interventions})
        found[way] = *update(model), model.optimizer_steps
    assert found["loop"][2] == found["torch"][2]
    torch.testing.assert_close(found["loop"][0], found["torch"][0], rtol=1e-3, atol=1e-5)
    assert found["loop"][1].keys() == found["torch"][1].keys()
    for tag, value in found["torch"][1].items():
        assert found["loop"][1][tag] == pytest.approx(value, rel=1e-3, abs=1e-5), tag


@pytest.mark.parametrize("kind", ["mlp", "board", "flat-board", "board-separate", "norm-board"])
def test_rollouts_are_the_exact_ones_within_rounding(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same draws of torch's generator decide the actions."""
    asked: list[Any] = []
    ask = proximal.actions
    monkeypatch.setattr(proximal, "actions", lambda *given, **more: asked.append(ask(*given, **more)) or asked[-1])
    exact, fast = (small_ppo.build(kind, speed=speed) for speed in ("exact", "fast"))
    for model in (exact, fast):
        torch.manual_seed(0)
        model.fill_buffer()
    assert len(asked) == fast.n_steps
    assert None not in asked
    assert np.array_equal(exact.rollout_buffer.actions, fast.rollout_buffer.actions)
    for name in ("values", "log_probs", "advantages"):
        found, expected = (getattr(model.rollout_buffer, name) for model in (fast, exact))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_actions_are_drawn_as_by_torch_also_of_noise_that_is_rounded_to_0() -> None:
    logits, noise = torch.log(torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.7, 0.1]])), torch.tensor([[1.0, 0.0, 2.0]] * 2)
    noise[1] = torch.tensor([0.1, 1.0, 1.0])
    actions, log_prob = torch.empty(2, dtype=torch.long), torch.empty(2)
    assert kernels().draw(*(each.numpy() for each in (logits, noise, actions, log_prob)))
    assert torch.equal(actions, (logits.exp() / noise).argmax(1))
    torch.testing.assert_close(log_prob.exp(), torch.tensor([0.3, 0.2]))


def test_who_looks_at_a_policys_forward_sees_it() -> None:
    seen: list[Any] = []
    model = small_ppo.build("mlp", speed="fast")
    hook = model.policy.register_forward_hook(lambda *_: seen.append(0))
    model.fill_buffer()
    assert len(seen) == model.n_steps
    hook.remove()
    model.policy.mlp_extractor.value_net.register_forward_hook(lambda *_: seen.append(0))
    model.fill_buffer()
    assert len(seen) == 2 * model.n_steps + 1  # and of the value behind the last step


@pytest.mark.parametrize("strange", [float("nan"), float("inf")])
@pytest.mark.usefixtures("validates")
def test_policies_that_have_lost_their_numbers_play_nothing(strange: float) -> None:
    model = small_ppo.build("mlp", speed="fast")
    with torch.no_grad():
        model.policy.action_net.bias.fill_(strange)
    with pytest.raises(ValueError, match="found invalid values"):
        model.fill_buffer()


class OwnLosses(PPO):
    def losses(self, batch: Any) -> Any:
        return super().losses(batch)


def test_what_is_known_to_be_another_loss_is_torchs() -> None:
    """Losses, policies and distributions of one's own."""
    model = small_ppo.build("mlp", speed="fast")
    assert "_LossesBackward" in str(model._losses_quickly(batch_of(model))["loss"].grad_fn)
    asked: list[Any] = []
    ask = model.policy.evaluate_actions
    model.policy.evaluate_actions = lambda *given: asked.append(0) or ask(*given)
    model._losses_quickly(batch_of(model))
    assert asked
    own = OwnLosses("MlpPolicy", model.get_env(), n_steps=8, batch_size=8, speed="fast", device="cpu")
    boxes = small_ppo.build("mlp-tanh-gsde", speed="fast")
    for other in (own, boxes):
        assert "_LossesBackward" not in str(other._losses_quickly(batch_of(other))["loss"].grad_fn)


def test_another_device_may_be_the_default() -> None:
    model = small_ppo.build("flat-board", speed="fast")
    with torch.device("meta"):
        model.fill_buffer()
        with model.rollout_buffer.listing_boards():
            (batch,) = model.rollout_buffer.get(None)
        found = model._losses_quickly(batch)
    assert batch.observations.is_cpu
    assert all(term.isfinite() for term in found.values())
