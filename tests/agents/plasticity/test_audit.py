"""True costs against surgery on the weights, by hand, and against utilities where the two must agree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import small_ppo
import torch
from torch import Tensor, nn

from agents.plasticity import PlasticOptimizer, audit, criterion
from agents.plasticity.layers import CReLU, Fourier, fold_of
from agents.plasticity.probing import layers_of, probed
from agents.plasticity.registry import CRITERIA
from agents.plasticity.units import Consumer, Network, Part, TorchDefault, UnitLayer

NONE = torch.tensor([], dtype=torch.int64)
ZERO = torch.tensor(0.0)


def learner_of(model: nn.Module, loss: Any) -> PlasticOptimizer:
    """A learner of one network; a batch is (inputs, targets), `loss` maps outputs and targets to (batch,)."""
    return PlasticOptimizer(
        torch.optim.SGD(model.parameters(), 0.1),
        model,
        [],
        sample=lambda n, generator: None,
        sample_losses=lambda batch: loss(model(batch[0]), batch[1]),
        outputs=lambda batch: model(batch[0]),
    )


def squared(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs - targets).square().sum(1)


def linear(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs * targets).sum(1)


def convolutional(activation: Any = nn.Tanh) -> tuple[nn.Sequential, tuple[Tensor, Tensor]]:
    """Two convolutions, the second flattened, and a linear layer; with a batch."""
    torch.manual_seed(3)
    fold = fold_of(activation)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), activation(), nn.Conv2d(4 * fold, 3, 2), activation(), nn.Flatten(),
        nn.Linear(12 * fold, 6), activation(), nn.Linear(6 * fold, 2),
    )  # fmt: skip
    return model, (torch.randn(9, 2, 5, 5), torch.randn(9, 2))


def references(learner: PlasticOptimizer, batch: Any, layer: UnitLayer) -> dict[str, Tensor]:
    return audit.references_of(layer, probed(learner, batch).activations[layer.name])


def ablate(learner: Any, batch: Any, layer: UnitLayer, units: Tensor, value: Tensor) -> audit.Ablation:
    """What the learner computes while units are held at a value, in plain passes."""
    with torch.no_grad():
        td_targets = learner.td_targets(batch)
        with audit._held(layer, units, value):
            return audit.Ablation(learner.sample_losses(batch, td_targets)[layer.network], learner.outputs(batch))


def edited(model: nn.Module, batch: Any, layer: UnitLayer, unit: int, mean: Tensor | None) -> Tensor:
    """The outputs after the unit's outgoing weights are zeroed, and its mean absorbed; the weights are put back."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    amount = torch.zeros(layer.units)
    amount[unit] = 1
    with torch.no_grad():
        for consumer in layer.consumers:
            if mean is not None:
                consumer.absorb(amount, mean)
            piece, columns = consumer.columns(amount)
            piece.masked_fill_(columns.expand_as(piece) > 0, 0)
        outputs = model(batch[0])
    model.load_state_dict(before)
    return outputs


@pytest.mark.parametrize("activation", [nn.Tanh, CReLU, Fourier])
def test_held_at_zero_is_zeroed_columns_bit_for_bit(activation: Any) -> None:
    model, batch = convolutional(activation)
    learner = learner_of(model, squared)
    layers = layers_of(learner)
    assert len(layers) == 3
    for layer in layers:
        for unit in range(layer.units):
            held = ablate(learner, batch, layer, torch.tensor([unit]), ZERO)
            outputs = edited(model, batch, layer, unit, None)
            assert torch.equal(held.outputs["net"], outputs)
            assert torch.equal(held.losses, squared(outputs, batch[1]))
            assert not torch.equal(outputs, model(batch[0]))


@pytest.mark.parametrize("activation", [nn.Tanh, CReLU, Fourier])
def test_held_at_the_mean_is_the_mean_in_the_bias(activation: Any) -> None:
    model, batch = convolutional(activation)
    learner = learner_of(model, squared)
    for layer in layers_of(learner):
        mean = references(learner, batch, layer)["mean"]
        positions = fold_of(activation) * (4 if layer.name == "net.1" else 1)  # the second is flattened
        assert mean.shape == ((layer.units, positions) if positions > 1 else (layer.units,))
        for unit in range(layer.units):
            held = ablate(learner, batch, layer, torch.tensor([unit]), mean)
            outputs = edited(model, batch, layer, unit, mean)
            torch.testing.assert_close(held.outputs["net"], outputs, rtol=1e-6, atol=1e-6)


def test_costs_by_hand() -> None:
    model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    model[0].weight.data = torch.tensor([[1.0], [-1.0]])
    model[2].weight.data = torch.tensor([[2.0, 3.0]])
    # x = 1: activations (1, 0), output 2; x = -2: activations (0, 2), output 6; targets 0 and 5: losses 4 and 1
    batch = torch.tensor([[1.0], [-2.0]]), torch.tensor([[0.0], [5.0]])
    learner = learner_of(model, squared)
    (layer,) = layers_of(learner)
    # unit 0 gone: outputs (0, 6), losses (0, 1), changes (-4, 0); unit 1 gone: (2, 0), (4, 25), (0, 24)
    costs = audit.true_costs(learner, batch, layer, ZERO)
    assert costs.absolute.tolist() == [2, 12]
    assert costs.mean_loss.tolist() == [2, 12]
    assert costs.outputs.tolist() == [1, 3]
    # means .5 and 1. unit 0 there: outputs (1, 7), losses (1, 4), changes (-3, 3); unit 1: (5, 3), (25, 4), (21, 3)
    costs = audit.true_costs(learner, batch, layer, torch.tensor([0.5, 1.0]))
    assert costs.absolute.tolist() == [3, 12]
    assert costs.mean_loss.tolist() == [0, 12]
    assert costs.outputs.tolist() == [1, 3]
    # both gone: outputs (0, 0), losses (0, 25), changes (-4, 24)
    joint = audit.joint_costs(learner, batch, layer, [torch.tensor([0, 1]), torch.tensor([1])], ZERO)
    assert joint.absolute.tolist() == [14, 12]
    assert joint.mean_loss.tolist() == [10, 12]
    assert joint.outputs.tolist() == [4, 3]


@pytest.mark.parametrize(
    "kind", ["mlp", "board", "board-separate", "mlp-tanh-gsde", "norm-board", "dict", "crelu-board"]
)
def test_costs_of_an_agent_are_those_of_single_ablations(kind: str) -> None:
    given = {key: value for key, value in small_ppo.ALL[kind].items() if key not in ("policy", "env", "use_sde")}
    few = {"features_extractor_kwargs": {"features_dim": 10}, "net_arch": [6]} if "board" in kind else {}
    model = small_ppo.build(kind, policy_kwargs={**given, **few})
    model.learn(64)
    batch = model.sample(16, torch.Generator().manual_seed(0))
    found = probed(model, batch)
    for layer in [layer for layer in layers_of(model) if layer.units <= 32]:
        for reference in audit.references_of(layer, found.activations[layer.name]).values():
            costs = audit.true_costs(model, batch, layer, reference)
            before = ablate(model, batch, layer, NONE, reference)
            for unit in {0, layer.units // 2, layer.units - 1}:
                after = ablate(model, batch, layer, torch.tensor([unit]), reference)
                change = after.losses.double() - before.losses.double()
                assert costs.absolute[unit] == change.abs().mean()
                assert costs.mean_loss[unit] == change.mean().abs()
                moved = [(after.outputs[n].double() - before.outputs[n].double()).abs().mean() for n in before.outputs]
                assert costs.outputs[unit] == sum(moved)


def test_modules_before_the_layer_run_once() -> None:
    model, batch = convolutional()
    learner = learner_of(model, squared)
    rows: dict[nn.Module, list[int]] = {model[0]: [], model[5]: [], model[7]: []}
    for module, seen in rows.items():
        module.register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(len(inputs[0])))
    audit.true_costs(learner, batch, layers_of(learner)[2], ZERO)
    passes = 2 * (2 + 1 + 6)  # of losses and outputs: two to prepare, one with no unit held, one with each
    assert rows[model[0]] == rows[model[5]] == [9, 1, 9, *[1] * (passes - 3)]
    assert rows[model[7]] == [9] * passes


def test_activations_in_place() -> None:
    model, batch = convolutional(lambda: nn.ELU(inplace=True))
    learner = learner_of(model, squared)
    for layer in layers_of(learner):
        costs = audit.true_costs(learner, batch, layer, ZERO)
        before = squared(model(batch[0]), batch[1])
        for unit in range(layer.units):
            change = squared(edited(model, batch, layer, unit, None), batch[1]).double() - before.double()
            assert costs.absolute[unit] == change.abs().mean()


class Residual(nn.Module):
    """A sum in place, which changes what a module put out before the layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = nn.Linear(3, 5), nn.Linear(5, 5), nn.Linear(5, 6)
        self.bridge = nn.Linear(5, 5)
        self.activation, self.output = nn.Tanh(), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        added = self.second(h)
        added += h
        outputs: Tensor = self.output(self.activation(self.third(self.bridge(added))))
        return outputs


def test_sums_in_place() -> None:
    torch.manual_seed(2)
    model, batch = Residual(), torch.randn(7, 3)
    consumer = Consumer(model.output.weight, model.output.bias)
    layer = UnitLayer("net.0", "net", model.third, model.activation, (consumer,), TorchDefault())
    # The bridge is left out, so that it reads the sum each time.
    parts = tuple(Part(module, TorchDefault(), 1) for module in (model.first, model.second, model.third))
    network = Network("net", (layer,), parts)
    learner = PlasticOptimizer(
        torch.optim.SGD(model.parameters(), 0.1), {"net": network}, [], sample=lambda n, generator: None,
        sample_losses=lambda batch: model(batch).square().sum(1), outputs=model,
    )  # fmt: skip
    costs = audit.true_costs(learner, batch, layer, ZERO)
    before = ablate(learner, batch, layer, NONE, ZERO).losses.double()
    for unit in range(layer.units):
        change = ablate(learner, batch, layer, torch.tensor([unit]), ZERO).losses.double() - before
        assert costs.absolute[unit] == change.abs().mean()


def test_a_module_that_runs_before_and_after_the_layer_is_not_replayed() -> None:
    """A network that is asked twice, as a value is in temporal differences."""
    model, (x, y) = convolutional()
    learner = PlasticOptimizer(
        torch.optim.SGD(model.parameters(), 0.1), model, [], sample=lambda n, generator: None,
        sample_losses=lambda batch: squared(model(batch), y) + squared(model(batch.flip(0)), y),
        outputs=model,
    )  # fmt: skip
    layer = layers_of(learner)[1]
    costs = audit.true_costs(learner, x, layer, ZERO)
    before = learner.sample_losses(x)["net"].double()
    for unit in range(layer.units):
        both = [edited(model, (inputs, y), layer, unit, None) for inputs in (x, x.flip(0))]
        change = sum(squared(outputs, y) for outputs in both).double() - before
        assert costs.absolute[unit] == change.abs().mean()


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_gxd_is_the_true_cost_where_the_loss_is_linear(activation: Any) -> None:
    model, batch = convolutional(activation)
    learner = learner_of(model, linear)
    layer = layers_of(learner)[-1]
    found, _ = audit.audited_criteria()
    utilities = audit.utilities(learner, batch, found)
    for label, of in {"gxd": "zero", "gxd to mean": "mean"}.items():
        costs = audit.true_costs(learner, batch, layer, references(learner, batch, layer)[of])
        torch.testing.assert_close(utilities[label][layer.name], costs.absolute, rtol=1e-4, atol=1e-6)
        summed = utilities[label.replace("gxd", "gxd mean_abs")][layer.name]
        torch.testing.assert_close(summed, costs.mean_loss, rtol=1e-4, atol=1e-6)


def test_gxd_of_outputs_is_the_change_of_linear_outputs() -> None:
    model, batch = convolutional()
    learner = learner_of(model, squared)
    layer = layers_of(learner)[-1]
    found, _ = audit.audited_criteria()
    utilities = audit.utilities(learner, batch, found)
    for label, of in {"gxd outputs": "zero", "gxd outputs to mean": "mean"}.items():
        costs = audit.true_costs(learner, batch, layer, references(learner, batch, layer)[of])
        torch.testing.assert_close(utilities[label][layer.name], costs.outputs, rtol=1e-4, atol=1e-6)


def test_outputs_of_several_networks_count_alike() -> None:
    """An actor with three outputs and a critic with one: means over outputs, summed over networks."""
    model = small_ppo.build("board")
    model.learn(64)
    batch = model.sample(32, torch.Generator().manual_seed(0))
    found = [candidate for candidate in audit.audited_criteria()[0] if candidate.label == "gxd outputs"]
    utility = audit.utilities(model, batch, found)["gxd outputs"]["critic.0"]
    (layer,) = model.networks["critic"].layers
    a = probed(model, batch).activations["critic.0"].double()
    expected = (a.abs().mean(0) * layer.outgoing()[:, 0, 0].double().abs()).detach()
    assert expected.max() > 0
    torch.testing.assert_close(utility, expected, rtol=1e-4, atol=1e-7)


def test_an_audit_leaves_no_trace() -> None:
    model, batch = convolutional()
    learner = learner_of(model, squared)
    squared(model(batch[0]), batch[1]).mean().backward()
    before = [(p.clone(), p.grad.clone()) for p in model.parameters() if p.grad is not None]
    audit.utilities(learner, batch, audit.audited_criteria()[0])
    for layer in layers_of(learner):
        audit.true_costs(learner, batch, layer, ZERO)
    after = list(model.parameters())
    assert len(before) == len(after) == 8
    for (parameter, gradient), now in zip(before, after, strict=True):
        assert torch.equal(parameter, now)
        assert torch.equal(gradient, now.grad)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_hooks_are_removed_when_a_loss_raises() -> None:
    model, batch = convolutional()
    learner = learner_of(model, squared)
    layer = layers_of(learner)[0]
    with pytest.raises(RuntimeError, match="size"):
        ablate(learner, (batch[0], batch[1][:3]), layer, torch.tensor([0]), ZERO)
    with pytest.raises(RuntimeError, match="size"):
        audit.true_costs(learner, (batch[0], batch[1][:3]), layer, ZERO)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.fixture
def users() -> Iterator[None]:
    """Criteria of a user's: one without options, one that knows the reference, one that asks for an option."""
    known = dict(CRITERIA)

    @criterion("peak")
    def peak(a: Tensor) -> Tensor:
        return a.abs().flatten(2).amax((0, 2)) if a.dim() > 2 else a.abs().amax(0)

    @criterion("distance")
    def distance(a: Tensor, reference: Tensor) -> Tensor:
        return (a - reference).abs().mean(0)

    @criterion("share")
    def share(a: Tensor, *, share: float) -> Tensor:
        return share * a.mean(0)

    yield
    CRITERIA.clear()
    CRITERIA.update(known)


def test_a_criterion_that_raises_is_named() -> None:
    def oops(a: Tensor) -> Tensor:
        raise RuntimeError("no units")

    learner = learner_of(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)), squared)
    candidate = audit.AuditedCriterion("oops", audit.Criterion("oops", oops, {}))
    with pytest.raises(ValueError, match=r"the criterion 'oops' raises RuntimeError on net.0 \(no units\); correct it"):
        audit.utilities(learner, (torch.randn(5, 2), torch.randn(5, 1)), [candidate])


@pytest.mark.usefixtures("users")
def test_users_criteria_are_candidates() -> None:
    found, refused = audit.audited_criteria()
    labels = [candidate.label for candidate in found]
    assert len(set(labels)) == len(labels)
    assert labels[:6] == [
        "gxd", "gxd to mean", "gxd outputs", "gxd outputs to mean", "gxd mean_abs", "gxd mean_abs to mean",
    ]  # fmt: skip
    assert {"contribution", "contribution centred", "contribution adaptable", "random"} < set(labels)
    assert labels[-3:] == ["peak", "distance", "distance to mean"]
    assert set(refused) == {"silence", "share"}
    assert "share is missing" in refused["share"]
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    batch = torch.randn(5, 2), torch.randn(5, 1)
    utilities = audit.utilities(learner_of(model, squared), batch, found)
    a = model[:2](batch[0]).detach().double()
    torch.testing.assert_close(utilities["peak"]["net.0"], a.amax(0))
    torch.testing.assert_close(utilities["distance to mean"]["net.0"], (a - a.mean(0)).abs().mean(0))
    # the running mean is the batch's
    outgoing = model[2].weight.detach().double()[0].abs()
    torch.testing.assert_close(utilities["contribution centred"]["net.0"], (a - a.mean(0)).abs().mean(0) * outgoing)


def test_only_what_draws_depends_on_the_seed() -> None:
    model, batch = convolutional()
    learner = learner_of(model, squared)
    found, _ = audit.audited_criteria()
    once, again, other = (audit.utilities(learner, batch, found, seed) for seed in (1, 1, 2))
    for label, layers in once.items():
        for name, utility in layers.items():
            assert torch.equal(utility, again[label][name])
            assert torch.equal(utility, other[label][name]) == (label != "random")
    assert not torch.equal(once["random"]["net.0"][:3], once["random"]["net.1"])  # each layer draws its own
