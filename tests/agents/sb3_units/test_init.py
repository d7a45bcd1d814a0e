"""The unit graphs of all policies: who reads a unit, how layers were drawn, and what follows them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import gymnasium
import pytest
import torch
from policies import POLICIES, Case
from stable_baselines3.dqn.policies import QNetwork
from torch import Tensor, nn

from agents.plasticity.units import Affine, Orthogonal, TorchDefault, UnitLayer
from agents.sb3_units import Axis, policy_axes, policy_networks, policy_targets


@pytest.fixture(params=list(POLICIES))
def case(request: pytest.FixtureRequest) -> Case:
    return POLICIES[request.param]()


@contextmanager
def pushed(layer: UnitLayer, unit: int, by: float) -> Iterator[None]:
    """The unit's activation, moved by a constant."""

    def push(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        output = output.clone()
        layer.places[0].units(output)[:, unit] += by
        return output

    handle = layer.tap.register_forward_hook(push)
    yield
    handle.remove()


@torch.no_grad()
def heard(case: Case, layer: UnitLayer, unit: int, plain: Tensor) -> bool:
    """Whether any output depends on the unit's activation: is another than the plain one."""
    for by in (3.0, -3.0):
        with pushed(layer, unit, by):
            if not torch.equal(case.outputs(), plain):
                return True
    return False


@contextmanager
def silenced(layer: UnitLayer, units: Tensor) -> Iterator[None]:
    """The columns of these units zeroed in every consumer."""
    kept = [consumer.weight.detach().clone() for consumer in layer.consumers]
    with torch.no_grad():
        for consumer in layer.consumers:
            piece, columns = consumer.columns(units)
            piece.masked_fill_(columns, 0)
    yield
    with torch.no_grad():
        for consumer, weight in zip(layer.consumers, kept, strict=True):
            consumer.weight.copy_(weight)


@torch.no_grad()
def test_all_that_reads_observations_or_puts_out_actions_is_known(case: Case) -> None:
    """Without the weights that read observations no output depends on them, dicts apart, of which nothing is known."""
    axes = policy_axes(case.policy)
    assert all(len(each) == parameter.dim() for parameter, each in axes.items())
    outputs = [parameter for parameter, each in axes.items() if len(each) == 2 and each[0] is Axis.ACTIONS]
    assert {len(parameter) for parameter in outputs} == {gymnasium.spaces.flatdim(case.policy.action_space)}
    if not isinstance(case.policy.observation_space, gymnasium.spaces.Dict):
        for parameter, each in axes.items():
            if {*each} & {Axis.OBSERVATIONS, Axis.FEATURES_AND_ACTIONS}:
                parameter.zero_()
        found = case.outputs()
        assert torch.allclose(found, found[:1].expand_as(found), atol=1e-6)


def test_a_unit_is_heard_through_its_own_columns_and_nothing_else(case: Case) -> None:
    """Every consumer is known (a forgotten one would still carry the unit), and so is every column in it.

    METHODS 15.2, column map: with only one unit's columns left, it is heard and no other is.
    """
    case.train_step()  # biases are not as they began
    assert case.layers
    for layer in case.layers:
        audible, units = layer.units // 2, torch.arange(layer.units)
        plain = case.outputs()
        for unit in (0, layer.units - 1):
            assert heard(case, layer, unit, plain), (layer.name, unit)
            with silenced(layer, units == unit):
                assert not heard(case, layer, unit, case.outputs()), (layer.name, unit)
        with silenced(layer, units != audible):
            plain = case.outputs()
            assert heard(case, layer, audible, plain), layer.name
            for unit in {0, layer.units - 1} - {audible}:
                assert not heard(case, layer, unit, plain), (layer.name, unit)


def test_layers_are_named_by_their_network_and_their_place(case: Case) -> None:
    assert list(case.networks) == [network.name for network in case.networks.values()]
    names = [layer.name for layer in case.layers]
    assert len(set(names)) == len(names)
    for name, network in case.networks.items():
        assert all(layer.network == name and layer.name.startswith(f"{name}.") for layer in network.layers)
        producers = [part.module for part in network.parts]
        assert all(layer.producer in producers for layer in network.layers)


def test_new_weights_are_drawn_as_the_policy_draws_its_own() -> None:
    """METHODS 15.12, init fidelity, of every module of every network of every policy."""
    kinds = set()
    for build in POLICIES.values():
        for network in build().networks.values():
            for part in network.parts:
                drawn = part.init.draw(part.module, torch.Generator().manual_seed(1))
                for weight, bias in (drawn, (part.module.weight, part.module.bias)):
                    if isinstance(part.init, Orthogonal):
                        assert_orthogonal(weight.detach(), part.init.gain)
                        assert not bias.any()
                    elif isinstance(part.init, TorchDefault):
                        bound = 1 / math.sqrt(weight[0].numel())
                        assert_uniform(weight.detach(), bound)
                        assert_uniform(bias.detach(), bound)
                    else:
                        assert isinstance(part.init, Affine)
                        assert (weight == 1).all()
                        assert not bias.any()
                kinds.add((type(part.module), type(part.init)))
    assert kinds == {
        (nn.Linear, Orthogonal), (nn.Conv2d, Orthogonal), (nn.Linear, TorchDefault), (nn.Conv2d, TorchDefault),
        (nn.LayerNorm, Affine),
    }  # fmt: skip


def assert_orthogonal(weight: Tensor, gain: float) -> None:
    rows = weight.flatten(1).double()
    gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
    torch.testing.assert_close(gram, torch.eye(len(gram), dtype=gram.dtype) * gain**2, rtol=0, atol=1e-4 * gain**2)


def assert_uniform(tensor: Tensor, bound: float) -> None:
    assert tensor.abs().max() <= bound
    if tensor.numel() >= 200:  # of fewer numbers the statistics say little
        assert tensor.abs().max() > 0.9 * bound
        assert abs(tensor.std() * math.sqrt(3) / bound - 1) < 0.15


@pytest.mark.parametrize("name", POLICIES)
def test_parts_and_constants_are_all_that_is_trained(name: str) -> None:
    case = POLICIES[name]()
    owned = [p for network in case.networks.values() for p in network.parameters]
    owned += [tensor for network in case.networks.values() for tensor, _ in network.constants]
    assert len({id(p) for p in owned}) == len(owned)
    trained = {id(p) for optimizer in case.optimizers for group in optimizer.param_groups for p in group["params"]}
    assert {id(p) for p in owned} == trained


def test_output_layers_are_at_the_bottom_and_every_layer_is_higher_than_its_consumers(case: Case) -> None:
    heights = {id(part.module.weight): part.height for n in case.networks.values() for part in n.parts}
    for name, network in case.networks.items():
        lowest = min(part.height for part in network.parts)
        assert lowest == (1 if name == "features" else 0)
        for layer in network.layers:
            own = {id(part.module.weight) for part in network.parts}
            for consumer in layer.consumers:
                if id(consumer.weight) in own:
                    assert heights[id(layer.producer.weight)] == heights[id(consumer.weight)] + 1


def test_targets_are_the_parameters_at_the_same_place() -> None:
    for name, build in POLICIES.items():
        case = build()
        if name.startswith("ppo"):
            assert case.targets == {}
            continue
        pairs = {"q_net": "q_net_target"} if name.startswith("dqn") else {"critic": "critic_target"}
        pairs |= {"actor": "actor_target"} if name.startswith("td3") else {}
        follows = {id(p): key for key, p in case.policy.named_parameters() if key.startswith(tuple(pairs.values()))}
        assert len(case.targets) == len(follows) > 0
        # a shared extractor is named by actor and critic
        names: dict[int, set[str]] = {}
        for key, parameter in case.policy.named_parameters(remove_duplicate=False):
            online, _, rest = key.partition(".")
            if online in pairs:
                names.setdefault(id(parameter), set()).add(f"{pairs[online]}.{rest}")
        for parameter, follower in case.targets.items():
            assert follows[id(follower)] in names[id(parameter)]
            assert parameter.shape == follower.shape
            assert parameter is not follower
        shared = name.endswith(("shared", "shared-linear"))
        features = case.networks["features"].parameters if shared else ()
        assert all(parameter in case.targets for parameter in features)
        critic = case.networks["critic"].parameters if "critic" in case.networks else ()
        assert all(parameter in case.targets for parameter in critic)


def test_other_policies_are_refused_by_name() -> None:
    space = gymnasium.spaces.Discrete(2)
    policy = QNetwork(space, space, nn.Identity(), 2, [])
    with pytest.raises(ValueError, match="the policy QNetwork is not understood; resets know"):
        policy_networks(policy)
    assert policy_targets(policy) == {}
