"""Unit graphs of ordinary modules."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from modules import ActorCritic, Mlp, Observations, Policy, Residual
from torch import Tensor, nn

from agents.plasticity.surgery import reset_units
from agents.plasticity.units import network_of, sequential, traced
from agents.plasticity.units.values import DIFFERENT, LINEAR, MULTIPLIED, PUT_OUT, SUMMED, TWICE

EXAMPLES: dict[type[nn.Module], Callable[[], Any]] = {
    Mlp: lambda: torch.randn(5, 4),
    ActorCritic: lambda: torch.rand(3, 3, 7, 7),
    Residual: lambda: torch.randn(40, 4),
    Observations: Observations.example,
    Policy: lambda: torch.randn(2, 6, 4),
}
# Layer's producer -> {consumer: (start, block)}; in order.
GRAPHS: dict[type[nn.Module], dict[str, dict[str, tuple[int, int]]]] = {
    Mlp: {"one": {"two": (0, 1)}, "two": {"three": (0, 1)}, "three": {"out": (0, 1)}},
    ActorCritic: {
        "first": {"second": (0, 1)},
        "second": {"hidden": (0, 4)},
        "hidden": {"actor": (0, 1), "critic": (0, 1)},
    },
    Residual: {"blocks.0.up": {"blocks.0.down": (0, 1)}, "blocks.1.up": {"blocks.1.down": (0, 1)}},
    Observations: {"eyes": {"join": (0, 1)}, "body": {"join": (7, 1)}, "join": {"q": (0, 1)}},
    Policy: {"hidden": {"actor": (0, 1)}},
}
SYMBOLIC = (Mlp, ActorCritic, Residual)


def path_of(model: nn.Module, module: nn.Module | None) -> str:
    return next(path for path, each in model.named_modules() if each is module)


@pytest.mark.parametrize(
    ("kind", "with_example"), [*((kind, True) for kind in GRAPHS), *((kind, False) for kind in SYMBOLIC)]
)
def test_who_reads_the_units(kind: type[nn.Module], with_example: bool) -> None:
    torch.manual_seed(0)
    model = kind()
    network = traced(model, "mine", example=EXAMPLES[kind]() if with_example else None)
    found = {
        path_of(model, layer.producer): {path_of(model, c.module): (c.start, c.block) for c in layer.consumers}
        for layer in network.layers
    }
    assert found == GRAPHS[kind]
    assert [layer.name for layer in network.layers] == [f"mine.{n}" for n in range(len(found))]
    assert network.is_verified == with_example
    owned = {*network.parameters, *(tensor for tensor, _ in network.constants)}
    assert owned == set(model.parameters())


@pytest.mark.parametrize("kind", SYMBOLIC)
def test_what_was_traced_without_data_holds(kind: type[nn.Module]) -> None:
    network = traced(kind())
    network.verify(((EXAMPLES[kind](),), {}))
    assert network.is_verified


@pytest.mark.parametrize("kind", EXAMPLES)
def test_tracing_leaves_a_module_as_it_was(kind: type[nn.Module]) -> None:
    model = kind().train()
    before, attributes = copy.deepcopy(model.state_dict()), [set(vars(m)) for m in model.modules()]
    random = torch.get_rng_state()
    example = EXAMPLES[kind]()
    random = torch.get_rng_state()
    traced(model, example=example)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert [set(vars(m)) for m in model.modules()] == attributes
    assert all(m.training and not m._forward_hooks and not m._forward_pre_hooks for m in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())


def outputs_of(value: Any) -> Tensor:
    tensors = [value.logits] if isinstance(value, torch.distributions.Categorical) else value
    return torch.cat([each.flatten() for each in ([tensors] if isinstance(tensors, Tensor) else tensors)])


@pytest.mark.parametrize("kind", EXAMPLES)
def test_a_replaced_unit_reaches_nothing(kind: type[nn.Module]) -> None:
    """All that reads it is known: without outgoing weights its incoming ones do not matter."""
    torch.manual_seed(0)
    model = kind().eval()
    example = EXAMPLES[kind]()
    for layer in traced(model, example=example).layers:
        if layer.exact:
            amounts = {layer.name: (torch.arange(layer.units) == 1).float()}
            reset_units([layer], amounts, [], lambda _: torch.Generator())
            before = outputs_of(model(example))
            with torch.no_grad():
                layer.producer.weight[1] += 3
            assert torch.equal(outputs_of(model(example)), before)
            with torch.no_grad():
                layer.producer.weight[0] += 3
            assert not torch.equal(outputs_of(model(example)), before)


def test_normalisations_and_parameters_of_its_own() -> None:
    model = ActorCritic()
    network = traced(model)
    norm = model.norm
    wanted = [(norm.weight, 1.0), (norm.bias, 0.0), (norm.running_mean, 0.0), (norm.running_var, 1.0)]
    assert network.layers[1].constants == tuple(wanted)
    assert [layer.exact for layer in network.layers] == [True, True, True]
    assert network.constants == ((model.log_std, -0.5),)
    assert [(path_of(model, part.module), part.height) for part in network.parts] == [
        ("first", 3), ("second", 2), ("norm", 2), ("hidden", 1), ("actor", 0), ("critic", 0),
    ]  # fmt: skip
    assert [layer.exact for layer in traced(Mlp()).layers] == [True, True, False]


def test_what_goes_into_activation_functions() -> None:
    model = ActorCritic()
    assert [layer.preactivation for layer in traced(model).layers] == [model.first, model.norm, model.hidden]
    scaled = Small(lambda m, x: two(m, torch.relu(m.one(x) * 0.5)))
    assert [layer.preactivation for layer in traced(scaled).layers] == [None, scaled.two]


def test_a_trunk_is_fixed_and_says_why() -> None:
    network = traced(Residual())
    assert network.fixed == {"embed": LINEAR, "blocks.0.down": SUMMED, "blocks.1.down": SUMMED}
    assert {part.height for part in network.parts if part.module in (network.module.embed,)} == {5}


class Small(nn.Module):
    """Two layers and what a test makes of them."""

    def __init__(self, forward: Callable[[Any, Tensor], Any], **modules: nn.Module) -> None:
        super().__init__()
        self.one, self.two, self.out = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        for key, module in modules.items():
            setattr(self, key, module)
        self.scale = nn.Parameter(torch.ones(6))
        self._run = forward

    def forward(self, x: Tensor) -> Any:
        return self._run(self, x), self.scale


@pytest.mark.parametrize(
    ("forward", "fixed"),
    [
        (lambda m, x: (m.out(m.two(h := torch.relu(m.one(x))).relu()), h), {"one": PUT_OUT}),
        (lambda m, x: m.out(torch.relu(m.one(x)) * torch.sigmoid(m.two(x.repeat(1, 2)[:, :6]))),
         {"one": MULTIPLIED, "two": MULTIPLIED}),
        (lambda m, x: m.out(m.two(m.one(x))), {"one": LINEAR, "two": LINEAR}),
        (lambda m, x: m.out(torch.tanh(m.two(h := m.one(x).relu()) + h)), {"one": SUMMED, "two": SUMMED}),
        (lambda m, x: m.wide(torch.cat([h := m.two(m.one(x).relu()), -h], 1).relu()) + m.out(x[:, :1] * x.new_ones(6)),
         {"two": TWICE}),
        (lambda m, x: m.out(h := m.one(x).relu()) + m.two(h.tanh()).mean(), {"one": DIFFERENT}),
    ],
)  # fmt: skip
def test_layers_that_cannot_be_reset_are_named_with_the_reason(forward: Any, fixed: dict[str, str]) -> None:
    model = Small(forward)
    if "wide" in forward.__code__.co_names:
        model.wide = nn.Linear(12, 2)
    assert traced(model, example=torch.randn(8, 4)).fixed == fixed


def two(model: Any, h: Tensor) -> Tensor:
    return model.out(torch.relu(model.two(h)))


@pytest.mark.parametrize(
    ("forward", "message"),
    [
        (lambda m, x: two(m, m.one(x).square()), "two, Linear.*reads what square makes of the units of one"),
        (lambda m, x: two(m, F.softmax(m.one(x), 1)), "two, Linear.*reads what softmax makes of the units of one"),
        (lambda m, x: two(m, m.one(x).relu() * m.scale), "reads the parameter scale outside of a layer"),
        (lambda m, x: two(m, F.linear(x, m.one.weight).relu()), "reads the parameter one.weight outside of a layer"),
        (lambda m, x: two(m, m.two(m.one(x).relu()).relu()), "two, Linear.*runs twice in a forward"),
        (lambda m, x: two(m, m.one(x if x.sum() > 0 else -x).relu()), r"looks at values \(bool\)"),
        (lambda m, x: two(m, m.one(x * x.max().item()).relu()), r"looks at values \(item\)"),
        (lambda m, x: two(m, m.one(x).relu() + m.kept), "whose origin tracing does not see"),
        (lambda m, x: m.out(m.one(x).relu()), "does not use two.weight, which may read hidden units elsewhere"),
        (lambda m, x: two(m, torch.relu(m.one(x))[:, torch.arange(5, -1, -1)]), "reads what getitem makes of the"),
    ],
)
def test_what_is_not_understood_is_named(forward: Any, message: str) -> None:
    model = Small(forward)
    model.kept = 2 * torch.ones(6, requires_grad=True)  # of an earlier pass
    with pytest.raises(ValueError, match=rf"^net: .*{message}.*declare its units with UnitLayer, Consumer|twice"):
        traced(model, example=torch.randn(8, 4))


@pytest.mark.parametrize("module", [nn.GRU(4, 6), nn.LSTM(4, 6), nn.MultiheadAttention(6, 2), nn.Conv1d(1, 2, 3)])
def test_modules_that_are_not_understood_are_named(module: nn.Module) -> None:
    model = Small(lambda m, x: m.out(m.strange(x)[0]), strange=module)
    with pytest.raises(ValueError, match=rf"^net: strange, {type(module).__name__}.*is not understood; resets know"):
        traced(model)
    with pytest.raises(ValueError, match=rf"^net: the model, {type(module).__name__}.*is not understood"):
        traced(module)


def test_weights_that_are_computed_are_named() -> None:
    model = Mlp()
    model.two = nn.utils.parametrizations.weight_norm(model.two)
    with pytest.raises(ValueError, match=r"is computed from other parameters.*remove its weight_norm or spectral_norm"):
        traced(model)


def test_what_needs_data_says_so() -> None:
    with pytest.raises(ValueError, match=r"the forward of Observations cannot be traced without data.*give exam"):
        traced(Observations())
    model = Small(lambda m, x: m.wide(torch.cat([m.one(x).relu(), x, x], 1)) + m.two(x.new_zeros(1, 6)).sum())
    model.wide, model.out = nn.Linear(14, 2), nn.Identity()
    with pytest.raises(ValueError, match=r"wide, Linear.*has 14 inputs, which cannot be told apart without data; g"):
        traced(model)
    assert traced(model, example=torch.randn(2, 4)).layers[0].consumers[0].start == 0


def test_a_module_without_a_forward_names_its_parts() -> None:
    class Agent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.actor, self.critic = nn.Linear(2, 2), nn.Linear(2, 1)

    with pytest.raises(ValueError, match=r"Agent has no forward.*\{'actor': model\.actor, 'critic': model\.critic\}"):
        traced(Agent())


def test_parameters_that_were_trained_need_the_value_that_they_started_from() -> None:
    model = ActorCritic()
    with torch.no_grad():
        model.log_std += torch.arange(3)
    with pytest.raises(ValueError, match="how the parameter log_std was initialised; trace the module before it is"):
        traced(model)
    assert traced(model, starts={model.log_std: -0.5}).constants == ((model.log_std, -0.5),)


def test_handles_stand_for_the_module_inside() -> None:
    model = Mlp()
    for handle in (nn.DataParallel(model), torch.compile(model, backend="eager")):
        assert network_of(handle).module is model
    one = nn.DataParallel(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        two = torch.jit.script(nn.Sequential(nn.Linear(2, 2)))
    one.device_ids = [0, 1]
    with pytest.raises(ValueError, match=r"computes in copies of the module on 2 devices.*use DistributedDataParallel"):
        network_of(one)
    with pytest.raises(ValueError, match="a scripted module runs without Python"):
        network_of(two)


def test_a_tree_of_sequential_has_the_same_graph_both_ways() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 5), nn.Tanh(),
        nn.Dropout(0.1), nn.Linear(5, 2),
    )  # fmt: skip
    one, other = sequential(model), traced(model, example=torch.randn(4, 2, 5, 5))
    assert type(network_of(model)) is type(one)
    assert [part.height for part in one.parts] == [part.height for part in other.parts]
    for left, right in zip(one.layers, other.layers, strict=True):
        assert (left.name, left.producer, left.constants, left.exact, left.preactivation) == (
            right.name, right.producer, right.constants, right.exact, right.preactivation,
        )  # fmt: skip
        ours, theirs = ([(c.weight, c.bias, c.start, c.block) for c in each.consumers] for each in (left, right))
        assert ours == theirs
