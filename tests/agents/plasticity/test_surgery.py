"""Surgery on policies of every kind: what changes, and what must not."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from operated import assert_same, every, nobody, seeded, state_of
from policies import POLICIES, Case
from small_loop import in_double
from torch import Tensor, nn

from agents.plasticity.layers import CReLU
from agents.plasticity.surgery import Surgery, reset_units
from agents.plasticity.taps import Taps
from agents.plasticity.units import Consumer, UnitLayer, sequential


def owned(consumer: Consumer, chosen: Tensor) -> Tensor:
    """Which of a consumer's columns the chosen units feed, in terms of the weight alone."""
    unit, columns = torch.arange(len(chosen)), torch.zeros(consumer.weight.shape[1], dtype=torch.bool)
    for value in range(consumer.fold):
        first = consumer.start + (value * len(chosen) + unit[chosen > 0]) * consumer.block
        columns[(first.view(-1, 1) + torch.arange(consumer.block)).flatten()] = True
    return columns


@pytest.fixture(params=list(POLICIES))
def case(request: pytest.FixtureRequest) -> Case:
    torch.manual_seed(0)
    built = POLICIES[request.param]()
    built.train_step()
    return built


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
