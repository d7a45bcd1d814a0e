"""Surgery on policies of every kind and on networks worked out by hand: what changes, and what must not."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from policies import POLICIES, Case
from small_loop import in_double
from torch import Tensor, nn

from agents.plasticity.layers import CReLU
from agents.plasticity.surgery import Surgery, reset_units
from agents.plasticity.taps import Taps
from agents.plasticity.units import Consumer, UnitLayer, sequential


def seeded(layer: UnitLayer) -> torch.Generator:
    return torch.Generator().manual_seed(sum(map(ord, layer.name)))


def every(layer: UnitLayer, nth: int) -> Tensor:
    """Amounts: every `nth` unit is wholly replaced."""
    return (torch.arange(layer.units) % nth == 0).float()


def owned(consumer: Consumer, chosen: Tensor) -> Tensor:
    """Which of a consumer's columns the chosen units feed, in terms of the weight alone."""
    unit, columns = torch.arange(len(chosen)), torch.zeros(consumer.weight.shape[1], dtype=torch.bool)
    for value in range(consumer.fold):
        first = consumer.start + (value * len(chosen) + unit[chosen > 0]) * consumer.block
        columns[(first.view(-1, 1) + torch.arange(consumer.block)).flatten()] = True
    return columns


def nobody(layers: list[UnitLayer]) -> dict[str, Tensor]:
    return {layer.name: torch.zeros(layer.units) for layer in layers}


def state_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def assert_same(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> None:
    assert left.keys() == right.keys()
    assert not [name for name in left if not torch.equal(left[name], right[name])]


@pytest.fixture(params=list(POLICIES))
def case(request: pytest.FixtureRequest) -> Case:
    torch.manual_seed(0)
    built = POLICIES[request.param]()
    built.train_step()
    return built


# ---------------------------------------------------------------------------------------------------- neutrality


def silence(layer: UnitLayer, units: Tensor) -> None:
    """Make units put out exactly zero: a ReLU's by a bias far below zero, others' by weights of zero."""
    with torch.no_grad():
        relu = isinstance(layer.tap, nn.ReLU)
        assert relu or isinstance(layer.tap, nn.Tanh | CReLU)
        layer.producer.weight[units] *= 1.0 if relu else 0.0
        layer.producer.bias[units] = -1e6 if relu else 0.0


@pytest.mark.parametrize("kind", [kind for kind in POLICIES if "norm" not in kind])
def test_silent_units_are_replaced_without_changing_an_output_by_a_bit(kind: str) -> None:
    """METHODS 15.1, bitwise neutrality, in all layers at once."""
    case = POLICIES[kind]()
    case.train_step()
    assert all(layer.exact for layer in case.layers)
    amounts = {layer.name: every(layer, 3) for layer in case.layers}
    for layer in case.layers:
        silence(layer, amounts[layer.name] > 0)
    with torch.no_grad():
        with Taps(case.layers) as taps:
            before = case.outputs()
        for layer in case.layers:
            assert not taps.activations[layer.name][:, amounts[layer.name] > 0].any()
        reset_units(case.layers, amounts, case.optimizers, seeded)
        with Taps(case.layers) as taps:
            after = case.outputs()
    assert torch.equal(before, after)
    assert len(after.unique(dim=0)) > 1
    for layer in case.layers:  # the new ones are not silent
        assert taps.activations[layer.name][:, amounts[layer.name] > 0].any()


def test_where_a_normalisation_mixes_units_a_layer_says_so() -> None:
    case = POLICIES["ppo-norm-mlp"]()
    layer = case.layers[0]
    assert not layer.exact
    amounts = nobody(case.layers)
    amounts[layer.name] = every(layer, 3)
    with torch.no_grad():
        before = case.outputs()
        for consumer in layer.consumers:
            consumer.columns(amounts[layer.name])[0].mul_(1 - consumer.columns(amounts[layer.name])[1])
        cut = case.outputs()
        reset_units(case.layers, amounts, case.optimizers, seeded)
        after = case.outputs()
    assert not torch.equal(before, cut)
    assert not torch.equal(cut, after)  # nobody hears the new units, but the others have moved


# ---------------------------------------------------------------------------------------------------- what changes


def test_only_the_chosen_units_rows_and_columns_change(case: Case) -> None:
    for layer in {0: case.layers[0], 1: case.layers[-1]}.values():
        amounts = nobody(case.layers)
        amounts[layer.name][[1, 3]] = 1
        chosen = amounts[layer.name] > 0
        # Shared extractors have several names: go by the tensors.
        tensors = list({id(tensor): tensor for tensor in case.policy.state_dict(keep_vars=True).values()}.values())
        before = {id(tensor): tensor.detach().clone() for tensor in tensors}
        changed = {id(tensor): torch.zeros(tensor.shape, dtype=torch.bool) for tensor in tensors}
        for tensor in (layer.producer.weight, layer.producer.bias, *(tensor for tensor, _ in layer.constants)):
            changed[id(tensor)][chosen] = True
        for consumer in layer.consumers:
            changed[id(consumer.weight)][:, owned(consumer, chosen)] = True
        reset_units(case.layers, amounts, case.optimizers, seeded)
        for tensor in tensors:
            mask = changed[id(tensor)]
            assert torch.equal(tensor[~mask], before[id(tensor)][~mask])
        assert not torch.equal(layer.producer.weight[chosen], before[id(layer.producer.weight)][chosen])
        for consumer in layer.consumers:
            columns = changed[id(consumer.weight)]
            assert before[id(consumer.weight)][columns].any()
            assert not consumer.weight[columns].any()


def test_new_rows_are_those_that_the_layers_init_draws(case: Case) -> None:
    amounts = {layer.name: every(layer, 4) for layer in case.layers}
    untouched = torch.get_rng_state()
    reset_units(case.layers, amounts, case.optimizers, seeded)
    assert torch.equal(torch.get_rng_state(), untouched)
    read = {id(consumer.weight): (lower, consumer) for lower in case.layers for consumer in lower.consumers}
    for layer in case.layers:
        weight, bias = layer.init.draw(layer.producer, seeded(layer))
        if id(layer.producer.weight) in read:  # in new rows columns are zero where a new unit is read
            lower, consumer = read[id(layer.producer.weight)]
            weight[:, owned(consumer, amounts[lower.name])] = 0
        new = amounts[layer.name] > 0
        assert torch.equal(layer.producer.weight[new], weight[new]), layer.name
        assert torch.equal(layer.producer.bias[new], bias[new])


def test_parameters_and_optimizers_keep_their_identity(case: Case) -> None:
    """METHODS 15.4; `test_network_intervention.py` has it for every intervention."""
    parameters = [(name, id(p)) for name, p in case.policy.named_parameters()]
    groups = [[id(p) for p in group["params"]] for optimizer in case.optimizers for group in optimizer.param_groups]
    reset_units(case.layers, {layer.name: torch.ones(layer.units) for layer in case.layers}, case.optimizers, seeded)
    assert parameters == [(name, id(p)) for name, p in case.policy.named_parameters()]
    assert groups == [[id(p) for p in group["params"]] for o in case.optimizers for group in o.param_groups]


def test_columns_are_zero_in_rows_that_were_redrawn_too(case: Case) -> None:
    """METHODS 15.5: fresh rows of an upper layer, or of a head, do not bring a lower layer's columns back."""
    amounts = {layer.name: every(layer, 2) for layer in case.layers}
    reset_units(case.layers, amounts, case.optimizers, seeded)
    adjacent = 0
    for layer in case.layers:
        for consumer in layer.consumers:
            piece, columns = consumer.columns(amounts[layer.name])
            assert not piece[(columns > 0).expand_as(piece)].any()
            assert piece[(columns == 0).expand_as(piece)].any()
            adjacent += any(consumer.weight is other.producer.weight for other in case.layers)
    assert adjacent


SHARED = [kind for kind in POLICIES if kind in ("ppo-board", "ppo-dict", "ppo-impala", "sac-cnn-shared")]


@pytest.mark.parametrize("kind", SHARED)
def test_heads_of_shared_features_lose_their_columns_too(kind: str) -> None:
    case = POLICIES[kind]()
    amounts = {layer.name: every(layer, 2) for layer in case.layers}
    reset_units(case.layers, amounts, case.optimizers, seeded)
    features = case.networks["features"].layers[-1]
    heads = [layer for layer in case.layers if any(layer.producer.weight is c.weight for c in features.consumers)]
    assert {layer.network for layer in heads} >= {"actor", "critic"}
    for consumer in features.consumers:
        piece, columns = consumer.columns(amounts[features.name])
        assert not piece[(columns > 0).expand_as(piece)].any()


@pytest.mark.parametrize(
    "kind", [kind for kind in POLICIES if kind.startswith("sac") and kind != "sac-cnn-shared-linear"]
)
def test_twins_are_independent(kind: str) -> None:
    """METHODS 15.3: surgery of one Q-function leaves the other as it was, bit for bit."""
    case = POLICIES[kind]()
    case.train_step()
    amounts = {layer.name: every(layer, 2) * ("qf0" in layer.name) for layer in case.layers}
    before = state_of(case.policy)
    optimizer = case.policy.critic.optimizer
    twins = [p for layer in case.layers if "qf1" in layer.name for p in layer.producer.parameters()]
    moments = copy.deepcopy([optimizer.state[p] for p in twins])
    reset_units(case.layers, amounts, case.optimizers, seeded)
    changed = {name for name, tensor in case.policy.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(name.startswith("critic.qf0.") for name in changed)
    for parameter, old in zip(twins, moments, strict=True):
        assert all(torch.equal(optimizer.state[parameter][key], value) for key, value in old.items())


# ---------------------------------------------------------------------------------------------------- compensation


def padded(case: Case) -> set[int]:
    """Weights of convolutions with padding, whose edges see less of a constant than a bias gives."""
    convolutions = [module for module in case.policy.modules() if isinstance(module, nn.Conv2d)]
    return {id(module.weight) for module in convolutions if any(module.padding)}


def test_units_of_constant_activation_are_replaced_by_their_mean(case: Case) -> None:
    """METHODS 15.6: the consumers' biases take over what constant units put out."""
    in_double(case.policy)
    tried = 0
    for layer in case.layers:
        if not layer.exact or any(id(consumer.weight) in padded(case) for consumer in layer.consumers):
            continue
        tried += 1
        original = state_of(case.policy)
        amounts = nobody(case.layers)
        amounts[layer.name] = every(layer, 3)
        chosen = amounts[layer.name] > 0
        with torch.no_grad():
            layer.producer.weight[chosen] = 0.0
            layer.producer.bias[chosen] = 0.5 + torch.rand(int(chosen.sum()), dtype=torch.float64)
            with Taps([layer]) as taps:
                before = case.outputs()
            a = taps.activations[layer.name]
            means = layer.mean(a) if layer.fold > 1 else a.transpose(0, 1).flatten(1).mean(1)
            biases = {id(c.bias): c.bias.clone() for c in layer.consumers if c.bias is not None}
            surgery = Surgery(compensate=True)
            reset_units(case.layers, amounts, case.optimizers, seeded, surgery, {layer.name: means})
            torch.testing.assert_close(case.outputs(), before, rtol=1e-6, atol=1e-12)
        for consumer in layer.consumers:  # it is the biases that have kept them
            moved = consumer.bias is None or not torch.equal(consumer.bias, biases[id(consumer.bias)])
            assert moved, layer.name
        case.policy.load_state_dict(original)
    assert tried or not any(layer.exact for layer in case.layers)


def test_a_flattened_map_is_compensated_at_each_position() -> None:
    """On copies of one image activations are constant over samples, and differ between positions."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Conv2d(4, 5, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(20, 6),
        nn.Tanh(), nn.Linear(6, 3),
    ).double()  # fmt: skip
    layers = list(sequential(model).layers)
    x = torch.randn(1, 2, 7, 7, dtype=torch.float64).expand(4, -1, -1, -1)
    with torch.no_grad(), Taps(layers) as taps:
        before = model(x)
    a = taps.activations["net.1"]
    assert a.shape == (4, 5, 2, 2)
    means = {"net.1": a.mean(0).flatten(1)}
    assert means["net.1"].std(1).min() > 0
    amounts = {**nobody(layers), "net.1": torch.tensor([1.0, 0.0, 1.0, 0.3, 0.0])}
    reset_units(layers, amounts, [], seeded, Surgery(compensate=True), means)
    hidden = model[:6](x).detach()
    # The unit that is replaced in part puts out something else through what is left of its columns: hold it.
    hidden[:, 12:16] = a[:, 3].flatten(1)
    torch.testing.assert_close(model[6:](hidden).detach(), before, rtol=1e-6, atol=1e-12)
    assert not model[6].weight[:, :4].any()


def test_a_bias_absorbs_before_the_columns_go_and_in_part() -> None:
    model = nn.Sequential(nn.Linear(1, 3), nn.ReLU(), nn.Linear(3, 2))
    with torch.no_grad():
        model[2].weight.copy_(torch.tensor([[1.0, 2.0, 3.0], [-1.0, 4.0, 5.0]]))
        model[2].bias.copy_(torch.tensor([0.5, 0.0]))
    (layer,) = sequential(model).layers
    means = {"net.0": torch.tensor([10.0, 100.0, torch.nan])}
    reset_units([layer], {"net.0": torch.tensor([1.0, 0.25, 0.0])}, [], seeded, Surgery(compensate=True), means)
    torch.testing.assert_close(model[2].bias.detach(), torch.tensor([0.5 + 10 + 50, -10.0 + 100]))
    torch.testing.assert_close(model[2].weight.detach(), torch.tensor([[0.0, 1.5, 3.0], [0.0, 3.0, 5.0]]))


# ---------------------------------------------------------------------------------------------------- moments


def optimizers(parameters: list[nn.Parameter]) -> dict[str, tuple[torch.optim.Optimizer, set[str], set[str]]]:
    """Each with the names of its first and its second moments."""
    return {
        "adam": (torch.optim.Adam(parameters, lr=0.01), {"exp_avg"}, {"exp_avg_sq"}),
        "amsgrad": (
            torch.optim.AdamW(parameters, lr=0.01, amsgrad=True), {"exp_avg", "max_exp_avg_sq"}, {"exp_avg_sq"},
        ),
        "sgd": (torch.optim.SGD(parameters, lr=0.01, momentum=0.9), {"momentum_buffer"}, set()),
        "plain sgd": (torch.optim.SGD(parameters, lr=0.01), set(), set()),
        "rmsprop": (
            torch.optim.RMSprop(parameters, lr=0.01, centered=True, momentum=0.5),
            {"grad_avg", "momentum_buffer"}, {"square_avg"},
        ),
        "adamax": (torch.optim.Adamax(parameters), {"exp_avg"}, {"exp_inf"}),
        "adagrad": (torch.optim.Adagrad(parameters), set(), {"sum"}),
        "adadelta": (torch.optim.Adadelta(parameters), set(), {"square_avg", "acc_delta"}),
    }  # fmt: skip


@pytest.fixture
def convolutional() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 6), nn.ReLU(), nn.Linear(6, 2)
    )  # fmt: skip


def stepped(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Any]]:
    for _ in range(3):
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    return copy.deepcopy(optimizer.state_dict()["state"])


def by_index(model: nn.Module) -> dict[int, int]:
    return {id(parameter): number for number, parameter in enumerate(model.parameters())}


@pytest.mark.parametrize("which", optimizers([nn.Parameter(torch.zeros(1))]))
def test_optimizer_state_of_changed_entries_is_made_new(which: str, convolutional: nn.Sequential) -> None:
    """METHODS 15.7: first moments 0, second the survivors' mean; all else, the step count too, as it was."""
    optimizer, first, second = optimizers(list(convolutional.parameters()))[which]
    before = stepped(convolutional, optimizer)
    layers = list(sequential(convolutional).layers)
    reset_units(layers, {**nobody(layers), "net.0": torch.tensor([1.0, 0.0, 0.0, 1.0])}, [optimizer], seeded)
    after, index = optimizer.state_dict()["state"], by_index(convolutional)
    rows = torch.zeros(4, 2, 3, 3, dtype=torch.bool)
    rows[[0, 3]] = True
    columns = torch.zeros(6, 36, dtype=torch.bool)
    columns[:, 0:9] = columns[:, 27:36] = True
    masks = {
        index[id(convolutional[0].weight)]: rows,
        index[id(convolutional[0].bias)]: rows[:, 0, 0, 0],
        index[id(convolutional[3].weight)]: columns,
    }
    assert len(index) == 6
    for number in index.values() if before else ():
        old, new = before[number], after[number]
        moments = {key for key, value in old.items() if isinstance(value, Tensor) and value.dim()}
        assert moments == first | second
        mask = masks.get(number)
        for key, value in old.items():
            if mask is None or key not in moments:
                assert value is None or torch.equal(torch.as_tensor(new[key]), torch.as_tensor(value)), (number, key)
                continue
            assert torch.equal(new[key][~mask], value[~mask])
            expected = value[~mask].mean() if key in second else torch.zeros(())
            torch.testing.assert_close(new[key][mask], expected.expand(int(mask.sum())))
            assert value[mask].abs().min() > 0
    assert before or not (first | second)


def test_a_tensor_without_survivors_keeps_its_mean_second_moment(convolutional: nn.Sequential) -> None:
    optimizer = torch.optim.Adam(convolutional.parameters())
    before = stepped(convolutional, optimizer)
    layers = list(sequential(convolutional).layers)
    reset_units(layers, {**nobody(layers), "net.0": torch.ones(4)}, [optimizer], seeded)
    state = optimizer.state[convolutional[0].weight]
    torch.testing.assert_close(state["exp_avg_sq"], before[0]["exp_avg_sq"].mean().expand(4, 2, 3, 3))
    assert not state["exp_avg"].any()
    assert int(state["step"]) == 3


def test_moments_that_are_not_finite_do_not_spread(convolutional: nn.Sequential) -> None:
    optimizer = torch.optim.Adam(convolutional.parameters())
    before = stepped(convolutional, optimizer)
    for key in ("exp_avg", "exp_avg_sq"):
        optimizer.state[convolutional[0].weight][key][1] = torch.nan
    layers = list(sequential(convolutional).layers)
    reset_units(layers, {**nobody(layers), "net.0": torch.tensor([0.0, 1.0, 0.0, 0.0])}, [optimizer], seeded)
    state = optimizer.state[convolutional[0].weight]
    assert not state["exp_avg"][1].any()
    survivors = before[0]["exp_avg_sq"][[0, 2, 3]].mean()
    torch.testing.assert_close(state["exp_avg_sq"][1], survivors.expand(2, 3, 3))


def test_an_optimizer_that_has_not_stepped_stays_without_state(convolutional: nn.Sequential) -> None:
    optimizer = torch.optim.Adam(convolutional.parameters())
    layers = list(sequential(convolutional).layers)
    reset_units(layers, {layer.name: torch.ones(layer.units) for layer in layers}, [optimizer], seeded)
    assert not optimizer.state_dict()["state"]


def test_of_two_optimizers_each_keeps_its_own_tensors(convolutional: nn.Sequential) -> None:
    halves = [torch.optim.Adam(part.parameters()) for part in (convolutional[0], convolutional[3:])]
    for optimizer in halves:
        stepped(convolutional, optimizer)
    layers = list(sequential(convolutional).layers)
    reset_units(layers, {**nobody(layers), "net.0": torch.tensor([0.0, 1.0, 0.0, 0.0])}, halves, seeded)
    assert not halves[0].state[convolutional[0].weight]["exp_avg"][1].any()
    assert not halves[1].state[convolutional[3].weight]["exp_avg"][:, 9:18].any()
    assert [len(optimizer.state) for optimizer in halves] == [2, 4]


def test_moments_can_be_kept(convolutional: nn.Sequential) -> None:
    optimizer = torch.optim.Adam(convolutional.parameters())
    before = stepped(convolutional, optimizer)
    layers = list(sequential(convolutional).layers)
    everyone = {layer.name: torch.ones(layer.units) for layer in layers}
    reset_units(layers, everyone, [optimizer], seeded, Surgery(moments="keep"))
    for number, state in optimizer.state_dict()["state"].items():
        assert all(torch.equal(state[key], value) for key, value in before[number].items())


# ---------------------------------------------------------------------------------------------------- targets


TARGETED = ["dqn-mlp", "dqn-cnn", "dqn-dict", "sac-mlp", "sac-cnn", "sac-cnn-shared"]


@pytest.fixture(params=TARGETED)
def targeted(request: pytest.FixtureRequest) -> Iterator[Case]:
    """A policy whose targets differ from what they follow in every entry."""
    case = POLICIES[request.param]()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for target in case.targets.values():
            target += 1 + torch.rand(target.shape, generator=generator)
    assert case.targets
    return case


def test_targets_are_left_alone(targeted: Case) -> None:
    """METHODS 15.10."""
    before = [target.clone() for target in targeted.targets.values()]
    everyone = {layer.name: torch.ones(layer.units) for layer in targeted.layers}
    for surgery in (Surgery(), Surgery(targets="leave", outgoing="small_random")):
        reset_units(targeted.layers, everyone, targeted.optimizers, seeded, surgery, targets=targeted.targets)
        assert all(torch.equal(*pair) for pair in zip(targeted.targets.values(), before, strict=True))


@pytest.mark.parametrize("outgoing", ["zero", "small_random"])
def test_targets_take_over_changed_rows_and_columns_alone(targeted: Case, outgoing: str) -> None:
    """METHODS 15.10."""
    before = [(parameter.clone(), target.clone()) for parameter, target in targeted.targets.items()]
    amounts = {layer.name: every(layer, 3) for layer in targeted.layers}
    reset_units(
        targeted.layers, amounts, targeted.optimizers, seeded, Surgery(targets="sync", outgoing=outgoing),
        targets=targeted.targets,
    )  # fmt: skip
    touched = 0
    for (parameter, target), (old, old_target) in zip(targeted.targets.items(), before, strict=True):
        same = parameter == target
        assert torch.equal(target[~same], old_target[~same])
        assert torch.equal(parameter[~same], old[~same])
        assert not same.all()
        touched += int(same.any())
    online = {id(parameter) for parameter in targeted.targets}
    producers = [layer.producer for layer in targeted.layers if id(layer.producer.weight) in online]
    assert producers
    for producer in producers:
        layer = next(layer for layer in targeted.layers if layer.producer is producer)
        new = amounts[layer.name] > 0
        assert torch.equal(targeted.targets[producer.weight][new], producer.weight[new])
        assert torch.equal(targeted.targets[producer.bias][new], producer.bias[new])
    assert touched >= 2 * len(producers)


@pytest.mark.parametrize("branch", [True, False])
def test_targets_become_whole_copies_where_their_units_are_replaced(
    targeted: Case, branch: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """METHODS 15.10, with and without a look at which units they are."""
    monkeypatch.setattr("agents.plasticity.surgery.may_branch", lambda device: branch)
    copying = Surgery(targets="copy")
    before = [target.clone() for target in targeted.targets.values()]
    online = [parameter.clone() for parameter in targeted.targets]
    idle = nobody(targeted.layers)
    reset_units(targeted.layers, idle, targeted.optimizers, seeded, copying, targets=targeted.targets)
    assert all(torch.equal(*pair) for pair in zip(targeted.targets.values(), before, strict=True))
    assert all(torch.equal(*pair) for pair in zip(targeted.targets, online, strict=True))

    followed = [layer for layer in targeted.layers if layer.producer.weight in targeted.targets]
    apart = [layer for layer in targeted.layers if layer.producer.weight not in targeted.targets]
    assert bool(apart) == ("actor" in targeted.networks)
    if apart:  # units of networks without a target, SAC's actor
        amounts = {**idle, apart[0].name: every(apart[0], 2)}
        reset_units(targeted.layers, amounts, targeted.optimizers, seeded, copying, targets=targeted.targets)
        assert all(torch.equal(*pair) for pair in zip(targeted.targets.values(), before, strict=True))
    one = torch.zeros(followed[0].units)
    one[1] = 0.5
    reset_units(
        targeted.layers, {**idle, followed[0].name: one}, targeted.optimizers, seeded, copying,
        targets=targeted.targets,
    )  # fmt: skip
    for parameter, target in targeted.targets.items():
        assert torch.equal(parameter, target)
        assert parameter is not target
    changed = [not torch.equal(*pair) for pair in zip(targeted.targets, online, strict=True)]
    assert 0 < sum(changed) < len(changed)


def test_copied_targets_by_hand() -> None:
    model, target = (nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 1)) for _ in range(2))
    with torch.no_grad():
        for module, value in ((model, 1.0), (target, 7.0)):
            for parameter in module.parameters():
                parameter.fill_(value)
    targets = dict(zip(model.parameters(), target.parameters(), strict=True))
    amounts = {"net.0": torch.tensor([0.0, 1.0])}
    reset_units(list(sequential(model).layers), amounts, [], seeded, Surgery(targets="copy"), targets=targets)
    assert target[0].weight[0].tolist() == [1.0, 1.0]
    assert torch.equal(target[0].weight[1], model[0].weight[1])
    assert not (target[0].weight[1] == 1.0).any()
    assert target[2].weight.tolist() == [[1.0, 0.0]]
    assert target[2].bias.tolist() == [1.0]


def test_a_target_absorbs_by_its_own_weights() -> None:
    """With compensation the target's bias takes over what the target loses, and loses nothing by it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    target = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in target[2:].parameters():
            parameter += torch.randn_like(parameter)
        for module in (model, target):  # constant units, the same in both
            module[0].weight[[0, 3]] = 0.0
            module[0].bias[[0, 3]] = torch.tensor([0.4, -0.7], dtype=torch.float64)
    layers, x = list(sequential(model).layers), torch.randn(6, 3, dtype=torch.float64)
    means = {"net.0": model[:2](x).detach().mean(0)}
    before = [module(x).detach() for module in (model, target)]
    amounts = {**nobody(layers), "net.0": torch.tensor([1.0, 0.0, 0.0, 1.0, 0.0])}
    targets = dict(zip(model.parameters(), target.parameters(), strict=True))
    reset_units(layers, amounts, [], seeded, Surgery(compensate=True, targets="sync"), means, targets)
    for module, expected in zip((model, target), before, strict=True):
        torch.testing.assert_close(module(x).detach(), expected, rtol=1e-6, atol=1e-12)
    assert not torch.equal(model[2].bias, target[2].bias)
    assert torch.equal(model[0].weight, target[0].weight)
    assert not target[2].weight[:, [0, 3]].any()


def test_a_head_without_a_bias_absorbs_nothing() -> None:
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2, bias=False))
    target = copy.deepcopy(model)
    targets = dict(zip(model.parameters(), target.parameters(), strict=True))
    surgery = Surgery(compensate=True, targets="sync")
    (layer,) = sequential(model).layers
    reset_units([layer], {"net.0": torch.ones(5)}, [], seeded, surgery, {"net.0": torch.ones(5)}, targets)
    assert not model[2].weight.any()
    assert not target[2].weight.any()


# ---------------------------------------------------------------------------------------------------- variants


@pytest.fixture
def wide() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 2000), nn.ReLU(), nn.Linear(2000, 3))


def test_small_random_weights_have_a_share_of_the_consumers_deviation(wide: nn.Sequential) -> None:
    layers = list(sequential(wide).layers)
    with torch.no_grad():
        wide[2].weight.mul_(7)
    before = wide[2].weight.detach().clone()
    deviation = float(before.square().mean().sqrt())
    for scale in (0.05, 0.5):
        amounts = {**nobody(layers), "net.0": torch.tensor([1.0, 1.0] + [0.0] * 38)}
        reset_units(layers, amounts, [], seeded, Surgery(outgoing="small_random", scale=scale))
        new = wide[2].weight.detach()[:, :2]
        assert abs(float(new.std()) / (scale * deviation) - 1) < 0.05  # of 4,000 numbers
        assert abs(float(new.mean())) < 0.05 * scale * deviation
        assert torch.equal(wide[2].weight[:, 2:], before[:, 2:])
        with torch.no_grad():
            wide[2].weight.copy_(before)


def test_a_kept_column_stays_and_only_the_rows_are_new(wide: nn.Sequential) -> None:
    layers, before = list(sequential(wide).layers), state_of(wide)
    optimizer = torch.optim.Adam(wide.parameters())
    moments = stepped(wide, optimizer)
    wide.load_state_dict(before)
    amounts = {**nobody(layers), "net.0": torch.tensor([1.0, 1.0] + [0.0] * 38)}
    reset_units(layers, amounts, [optimizer], seeded, Surgery(outgoing="keep"))
    changed = {name for name, tensor in wide.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"0.weight", "0.bias"}
    state = optimizer.state_dict()["state"]
    assert torch.equal(state[2]["exp_avg"], moments[2]["exp_avg"])  # the consumer's
    assert not state[0]["exp_avg"][:2].any()


def test_biases_can_be_kept_and_normalisations_with_them() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 2
    layers, before = list(sequential(model).layers), state_of(model)
    reset_units(layers, {"net.0": torch.ones(4)}, [], seeded, Surgery(biases="keep"))
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == {"0.weight", "3.weight"}


@pytest.mark.parametrize("outgoing", ["zero", "small_random", "keep"])
def test_a_part_of_a_unit_is_mixed_with_a_fresh_one(outgoing: str, wide: nn.Sequential) -> None:
    """Calibrated partial resets: W_in becomes (1-p) W_in + p fresh, W_out becomes (1-p) W_out."""
    layers, before = list(sequential(wide).layers), state_of(wide)
    p = torch.linspace(0, 1, 40)
    fresh, fresh_bias = layers[0].init.draw(wide[0], seeded(layers[0]))
    surgery = Surgery(outgoing=outgoing)
    reset_units(layers, {**nobody(layers), "net.0": p}, [], seeded, surgery)
    rows = p.unsqueeze(1)
    torch.testing.assert_close(wide[0].weight.detach(), (1 - rows) * before["0.weight"] + rows * fresh)
    torch.testing.assert_close(wide[0].bias.detach(), (1 - p) * before["0.bias"] + p * fresh_bias)
    assert torch.equal(wide[0].weight[0], before["0.weight"][0])
    assert torch.equal(wide[0].weight[39], fresh[39])
    columns = wide[2].weight.detach()
    if outgoing == "keep":
        assert torch.equal(columns, before["2.weight"])
    elif outgoing == "zero":
        torch.testing.assert_close(columns, (1 - p) * before["2.weight"])
    else:
        added = columns - (1 - p) * before["2.weight"]
        expected = 0.05 * before["2.weight"].square().mean().sqrt() * p
        torch.testing.assert_close(added.std(0), expected, rtol=0.1, atol=1e-7)
    others = {"2.bias", "4.weight", "4.bias"}
    assert_same({name: before[name] for name in others}, {name: wide.state_dict()[name] for name in others})


def test_a_partial_reset_keeps_biases_and_moments_where_it_is_told_to(wide: nn.Sequential) -> None:
    optimizer = torch.optim.Adam(wide.parameters())
    moments, layers = stepped(wide, optimizer), list(sequential(wide).layers)
    before = state_of(wide)
    amounts = {layer.name: torch.full((layer.units,), 0.25) for layer in layers}
    reset_units(layers, amounts, [optimizer], seeded, Surgery(biases="keep", moments="keep"))
    for name in ("0.bias", "2.bias", "4.bias"):
        assert torch.equal(wide.state_dict()[name], before[name])
    fresh, _ = layers[1].init.draw(wide[2], seeded(layers[1]))
    # a weight between two layers is mixed as a row and shrunk as a column
    mixed = 0.75 * (0.75 * before["2.weight"] + 0.25 * fresh)
    torch.testing.assert_close(wide[2].weight.detach(), mixed)
    torch.testing.assert_close(wide[4].weight.detach(), 0.75 * before["4.weight"])
    for number, state in optimizer.state_dict()["state"].items():
        assert all(torch.equal(state[key], value) for key, value in moments[number].items())


@pytest.mark.parametrize("outgoing", ["zero", "small_random"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_really_replaced(outgoing: str, bad: float, wide: nn.Sequential) -> None:
    layers = list(sequential(wide).layers)
    with torch.no_grad():
        wide[0].weight[3] = bad
        wide[0].bias[3] = bad
        wide[2].weight[:, 3] = bad
    amounts = {**nobody(layers), "net.0": (torch.arange(40) == 3).float()}
    reset_units(layers, amounts, [], seeded, Surgery(outgoing=outgoing))
    assert all(parameter.isfinite().all() for parameter in wide.parameters())
    assert wide[2].weight[:, 3].any() == (outgoing == "small_random")
    assert wide(torch.randn(2, 30)).isfinite().all()


def test_entries_that_are_not_touched_keep_every_bit(wide: nn.Sequential) -> None:
    """A zero keeps its sign, and a number that is not finite stays."""
    layers = list(sequential(wide).layers)
    with torch.no_grad():
        for parameter in wide.parameters():
            parameter.flatten()[::7] = -0.0
            parameter.flatten()[::11] = math.nan
    before = state_of(wide)
    for surgery in (Surgery(), Surgery(outgoing="small_random"), Surgery(moments="keep", biases="keep")):
        for amount in (1.0, 0.5):
            amounts = {layer.name: torch.where(torch.arange(layer.units) < 2, amount, 0.0) for layer in layers}
            reset_units(layers, amounts, [], seeded, surgery)
    after = wide.state_dict()

    def bits(tensor: Tensor) -> Tensor:
        return tensor.view(torch.int32)

    assert torch.equal(bits(after["0.weight"][2:]), bits(before["0.weight"][2:]))
    assert torch.equal(bits(after["0.bias"][2:]), bits(before["0.bias"][2:]))
    assert torch.equal(bits(after["2.weight"][2:, 2:]), bits(before["2.weight"][2:, 2:]))
    assert torch.equal(bits(after["4.weight"][:, 2:]), bits(before["4.weight"][:, 2:]))
    assert torch.equal(bits(after["4.bias"]), bits(before["4.bias"]))
    assert (bits(before["0.weight"][2:]) == bits(torch.tensor(-0.0))).any()


NORMS = {
    "layer": (nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.ReLU(), nn.Linear(4, 2)), 1),
    "behind": (nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.LayerNorm(4), nn.Linear(4, 2)), 2),
    "batch": (nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)), 1),
    "batch of maps": (
        nn.Sequential(nn.Conv2d(1, 4, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)), 1,
    ),
    "layer of maps": (
        nn.Sequential(nn.Conv2d(1, 4, 2), nn.LayerNorm((4, 2, 2)), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)), 1,
    ),
    "groups": (nn.Sequential(nn.Conv2d(1, 4, 2), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)), 1),
}  # fmt: skip
START = {"weight": 1.0, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0}


@pytest.mark.parametrize("kind", NORMS)
def test_what_a_normalisation_holds_of_a_unit_is_made_new(kind: str) -> None:
    model, place = NORMS[kind]
    with torch.no_grad():
        for name in START:
            if isinstance(tensor := getattr(model[place], name, None), Tensor):
                tensor += 0.5
    layers = list(sequential(model).layers)
    before = state_of(model[place])
    reset_units(layers, {"net.0": torch.tensor([0.0, 1.0, 0.0, 0.5])}, [], seeded)
    after = model[place].state_dict()
    assert {"weight", "bias"} <= set(after)
    for name, start in START.items():
        if name in after:
            assert torch.equal(after[name][[0, 2]], before[name][[0, 2]])
            assert (after[name][1] == start).all()
            torch.testing.assert_close(after[name][3], (before[name][3] + start) / 2)


# ---------------------------------------------------------------------------------------------------- the rest


def test_an_early_exit_gives_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for branch in (True, False):
        monkeypatch.setattr("agents.plasticity.surgery.may_branch", lambda device, branch=branch: branch)
        case = POLICIES["ppo-board"]()
        case.train_step()
        amounts = nobody(case.layers)
        amounts["critic.0"][7] = 1
        before = state_of(case.policy)
        reset_units(case.layers, amounts, case.optimizers, seeded)
        results.append((state_of(case.policy), case.policy.optimizer.state_dict()["state"]))
        assert not torch.equal(before["mlp_extractor.value_net.0.weight"],
                               results[-1][0]["mlp_extractor.value_net.0.weight"])  # fmt: skip
    (left, left_state), (right, right_state) = results
    assert_same(left, right)
    assert all(torch.equal(v, right_state[n][key]) for n, found in left_state.items() for key, v in found.items())


@pytest.mark.parametrize("kind", [torch.bool, torch.float64])
def test_amounts_may_be_of_any_type(kind: torch.dtype, wide: nn.Sequential) -> None:
    layers = list(sequential(wide).layers)
    expected = copy.deepcopy(wide)
    amounts = {layer.name: every(layer, 3) for layer in layers}
    reset_units(layers, {name: amount.to(kind) for name, amount in amounts.items()}, [], seeded)
    reset_units(list(sequential(expected).layers), amounts, [], seeded)
    assert_same(state_of(wide), state_of(expected))


def test_what_a_layer_draws_does_not_depend_on_the_others(wide: nn.Sequential) -> None:
    layers, drawn = list(sequential(wide).layers), []
    start = state_of(wide)
    for others in (0.0, 1.0):
        wide.load_state_dict(start)
        amounts = {"net.0": torch.full((40,), others), "net.1": every(layers[1], 2)}
        reset_units(layers, amounts, [], seeded, Surgery(outgoing="keep"))
        drawn.append(wide[2].weight.detach().clone())
    assert torch.equal(*drawn)


def test_double_precision_stays_double(wide: nn.Sequential) -> None:
    wide.double()
    layers = list(sequential(wide).layers)
    amounts = {layer.name: every(layer, 3) for layer in layers}
    means = {layer.name: torch.ones(layer.units) for layer in layers}
    reset_units(layers, amounts, [], seeded, Surgery(outgoing="small_random", compensate=True), means)
    assert all(parameter.dtype == torch.float64 for parameter in wide.parameters())


WRONG = [
    ({"outgoing": "half"}, "outgoing is 'half'; give one of zero, small_random, keep"),
    ({"biases": "zero"}, "biases is 'zero'; give one of renew, keep"),
    ({"moments": True}, "moments is True; give one of renew, keep"),
    ({"targets": "follow"}, "targets is 'follow'; give one of leave, sync, copy"),
    ({"scale": 0}, "scale is 0; give a number above 0"),
    ({"compensate": True, "outgoing": "keep"}, "compensate is True, but with outgoing 'keep' nothing is lost; give"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_impossible_surgery_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        Surgery(**arguments)
    with pytest.raises(ValueError, match=f"^surgery.{message}"):
        Surgery.of(arguments)


def test_surgery_is_built_of_plain_data() -> None:
    assert Surgery.of(None) == Surgery.of({}) == Surgery()
    assert Surgery().arguments() == {
        "outgoing": "zero", "compensate": False, "biases": "renew", "moments": "renew", "targets": "leave",
        "scale": 0.05,
    }  # fmt: skip
    other = Surgery("small_random", compensate=True, targets="sync", scale=0.1)
    assert Surgery.of(other.arguments()) == other
    with pytest.raises(ValueError, match=r"surgery does not take these arguments: .*'incoming'"):
        Surgery.of({"incoming": "zero"})


def test_no_layers_no_surgery() -> None:
    asked: list[object] = []
    reset_units([], {}, [], lambda layer: asked.append(layer) or torch.Generator())
    assert asked == []
