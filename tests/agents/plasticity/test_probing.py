"""What a look at a batch shows, against autograd, and what it must leave alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from policies import POLICIES
from small_loop import CaseLearner
from torch import Tensor, nn

from agents.plasticity.probing import layers_of, output_gradients, probed, total
from agents.plasticity.units import Network, UnitLayer, sequential


class Couple:
    """Two networks on the same observations: ``actor`` with two outputs, ``critic`` with one."""

    def __init__(self, *, shared: bool = False) -> None:
        torch.manual_seed(0)
        self.actor = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))
        self.critic = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1))
        self.networks = {"actor": sequential(self.actor, "actor"), "critic": sequential(self.critic, "critic")}
        self.shared, self.device = shared, torch.device("cpu")
        self.x = torch.randn(7, 3)

    @property
    def modules(self) -> dict[str, nn.Sequential]:
        return {"actor": self.actor, "critic": self.critic}

    def outputs(self, batch: Tensor) -> dict[str, Tensor]:
        return {name: module(batch) for name, module in self.modules.items()}

    def td_targets(self, batch: Any) -> None:
        return None

    def sample_losses(self, batch: Tensor, td_targets: Any = None) -> dict[str, Tensor]:
        actor, critic = self.actor(batch).square().sum(1), self.critic(batch).sin().sum(1)
        return dict.fromkeys(self.networks, actor + critic) if self.shared else {"actor": actor, "critic": critic}


def front(module: nn.Sequential, depth: int) -> tuple[nn.Sequential, nn.Sequential]:
    """What comes before and after the activations of layer `depth`."""
    return module[: 2 * depth + 2], module[2 * depth + 2 :]


@pytest.mark.parametrize("shared", [False, True])
def test_gradients_are_those_of_the_mean_loss(shared: bool) -> None:
    couple = Couple(shared=shared)
    seen = probed(couple, couple.x)
    losses = {"actor": couple.actor(couple.x).square().sum(1), "critic": couple.critic(couple.x).sin().sum(1)}
    for name, depth in (("actor", 0), ("actor", 1), ("critic", 0)):
        before, behind = front(couple.modules[name], depth)
        a = before(couple.x).detach().requires_grad_()
        out = behind(a)
        loss = out.square().sum(1).mean() if name == "actor" else out.sin().sum(1).mean()
        torch.testing.assert_close(seen.activations[f"{name}.{depth}"], a.detach())
        torch.testing.assert_close(seen.gradients[f"{name}.{depth}"], torch.autograd.grad(loss, a)[0])
    for name, module in couple.modules.items():
        expected = torch.autograd.grad(losses[name].mean(), list(module.parameters()))
        assert len(expected) == len(couple.networks[name].parameters)
        for parameter, gradient in zip(module.parameters(), expected, strict=True):
            torch.testing.assert_close(seen.parameter_gradients[parameter], gradient)
        torch.testing.assert_close(seen.outputs[name], module(couple.x).detach())
    for layer in layers_of(couple):
        assert seen.weight_gradient(layer) is seen.parameter_gradients[layer.producer.weight]
    assert [layer.name for layer in layers_of(couple)] == ["actor.0", "actor.1", "critic.0"]


@pytest.mark.parametrize("shared", [False, True])
def test_distinct_losses_are_counted_once(shared: bool) -> None:
    couple = Couple(shared=shared)
    seen = probed(couple, couple.x)
    expected = couple.actor(couple.x).square().sum(1) + couple.critic(couple.x).sin().sum(1)
    torch.testing.assert_close(total(seen.losses), expected.detach())
    only = couple.critic(couple.x).sin().sum(1)
    torch.testing.assert_close(total(seen.losses, {"critic"}), (expected if shared else only).detach())
    torch.testing.assert_close(total(couple.sample_losses(couple.x)), expected)
    assert (seen.losses["actor"] is seen.losses["critic"]) == shared


def test_nothing_is_part_of_a_graph_and_nothing_changes() -> None:
    couple = Couple()
    for parameter in couple.networks["actor"].parameters:
        parameter.grad = torch.ones_like(parameter)
    before = {name: module.state_dict() for name, module in couple.modules.items()}
    before = {name: {key: tensor.clone() for key, tensor in state.items()} for name, state in before.items()}
    random = torch.get_rng_state()
    with torch.no_grad():  # the caller's own business
        seen = probed(couple, couple.x, preactivations=True)
        activations, networks = output_gradients(couple, couple.x, layers_of(couple), preactivations=True)
    found = [seen.activations, seen.gradients, seen.parameter_gradients, seen.losses, seen.outputs, activations]
    found += [seen.preactivation_gradients]
    found += [slope._asdict() for outputs in networks for slopes in outputs for slope in slopes.values()]
    for tensors in found:
        assert tensors
        assert not any(tensor.requires_grad for tensor in tensors.values())
    assert all(g.any() for g in seen.gradients.values())
    assert all(p.requires_grad for module in couple.modules.values() for p in module.parameters())
    assert networks[0][0]["actor.0"].activation.any()
    for name, module in couple.modules.items():
        assert all(torch.equal(tensor, before[name][key]) for key, tensor in module.state_dict().items())
    assert all((parameter.grad == 1).all() for parameter in couple.actor.parameters())
    assert all(parameter.grad is None for parameter in couple.critic.parameters())
    assert torch.equal(torch.get_rng_state(), random)


def test_where_no_gradient_arrives_it_is_zero() -> None:
    couple = Couple()
    couple.actor[0].requires_grad_(False)
    couple.sample_losses = lambda batch, td_targets=None: {
        "actor": couple.actor(batch).sum(1), "critic": (couple.critic(batch) * 0).sum(1).detach(),
    }  # fmt: skip
    seen = probed(couple, couple.x, preactivations=True)
    assert seen.gradients["actor.0"].shape == (7, 5)
    assert not seen.gradients["actor.0"].any()  # nothing before it takes gradients, so it takes none
    assert seen.gradients["actor.1"].any()
    assert seen.gradients["critic.0"].shape == (7, 6)
    assert not seen.gradients["critic.0"].any()
    for name, arrives in (("actor.0", False), ("actor.1", True), ("critic.0", False)):
        assert seen.preactivation_gradients[name].shape == seen.gradients[name].shape
        assert seen.preactivation_gradients[name].any() == arrives
    assert not any(seen.parameter_gradients[parameter].any() for parameter in couple.actor[0].parameters())
    assert seen.parameter_gradients[couple.actor[2].weight].any()


def test_sensitivities_are_gradients_of_each_mean_output() -> None:
    couple = Couple()
    activations, (actor, critic) = output_gradients(couple, couple.x, layers_of(couple))
    assert activations.keys() == {"actor.0", "actor.1", "critic.0"}
    assert (len(actor), len(critic)) == (2, 1)
    for number, slopes in enumerate(actor):
        expected = couple.actor[4].weight[number].detach() / 7
        torch.testing.assert_close(slopes["actor.1"].activation, expected.expand(7, 4))
        own = torch.autograd.grad(couple.actor(couple.x)[:, number].mean(), couple.actor[0].weight)[0]
        torch.testing.assert_close(slopes["actor.0"].weight, own)
        assert slopes["critic.0"].activation.shape == (7, 6)
        assert not slopes["critic.0"].activation.any()
        assert not slopes["critic.0"].weight.any()
        assert all(slope.preactivation is None for slope in slopes.values())  # nobody has asked for it
    torch.testing.assert_close(critic[0]["critic.0"].activation, couple.critic[2].weight.detach().expand(7, 6) / 7)
    assert not critic[0]["actor.0"].activation.any()


def test_preactivations_have_the_gradient_of_the_activation_times_its_slope() -> None:
    """Of the losses and of each output; tanh'(z) = 1 - tanh(z)^2."""
    couple = Couple()
    seen = probed(couple, couple.x, preactivations=True)
    _, networks = output_gradients(couple, couple.x, layers_of(couple), preactivations=True)
    assert not probed(couple, couple.x).preactivation_gradients
    for layer in layers_of(couple):
        slope = 1 - seen.activations[layer.name].square()
        torch.testing.assert_close(seen.slopes(layer).preactivation, seen.gradients[layer.name] * slope)
        for slopes in (slopes for outputs in networks for slopes in outputs):
            torch.testing.assert_close(slopes[layer.name].preactivation, slopes[layer.name].activation * slope)


def test_some_layers_alone_can_be_asked_for() -> None:
    couple = Couple()
    (layer,) = couple.networks["critic"].layers
    activations, networks = output_gradients(couple, couple.x, [layer])
    assert activations.keys() == {"critic.0"}
    assert [len(outputs) for outputs in networks] == [2, 1]
    assert all(set(slopes) == {"critic.0"} for outputs in networks for slopes in outputs)


@pytest.mark.parametrize("kind", POLICIES)
def test_every_policy_can_be_looked_at(kind: str) -> None:
    case = POLICIES[kind]()
    learner = CaseLearner(case)
    seen = probed(learner, None, preactivations=True)
    assert seen.activations.keys() == seen.gradients.keys() == {layer.name for layer in case.layers}
    assert seen.preactivation_gradients.keys() == seen.gradients.keys()
    for layer in case.layers:
        assert seen.activations[layer.name].shape == seen.gradients[layer.name].shape
        assert seen.activations[layer.name].shape[1] == layer.units
        assert seen.gradients[layer.name].any()
        assert seen.preactivation_gradients[layer.name].any()
        assert seen.weight_gradient(layer).shape == layer.producer.weight.shape
    assert seen.parameter_gradients.keys() == {p for network in case.networks.values() for p in network.parameters}
    assert all(parameter.grad is None for parameter in seen.parameter_gradients)


def test_a_network_that_shares_another_ones_loss_is_seen_once() -> None:
    """One backward for a loss that two networks share: its tensor is differentiated once."""
    couple, calls = Couple(shared=True), []
    seen = torch.autograd.grad

    def counted(*arguments: object, **keywords: object) -> tuple[Tensor, ...]:
        calls.append(arguments)
        return seen(*arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.autograd, "grad", counted)
        probed(couple, couple.x)
        assert len(calls) == 1
        probed(Couple(), couple.x)
        assert len(calls) == 3


def test_a_network_without_layers_shows_its_outputs() -> None:
    couple = Couple()
    couple.networks = {"actor": couple.networks["actor"], "critic": Network("critic", (), ())}
    assert probed(couple, couple.x).outputs["critic"].shape == (7, 1)
    assert all(isinstance(layer, UnitLayer) and layer.network == "actor" for layer in layers_of(couple))
