"""The unit graph of PPO's policies: names, gains, heights, and what is refused."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from small_ppo import build, world
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor
from torch import nn

from agents import PPO
from agents.plasticity import GXD, ReDo, ReGraMa
from agents.plasticity.units import Affine, Orthogonal, TorchDefault
from agents.sb3_units import policy_networks

UNITS = {
    "mlp": {"actor": [16, 12], "critic": [16, 12]},
    "mlp-tanh-gsde": {"actor": [16, 12], "critic": [16, 12]},
    "board": {"actor": [64], "critic": [64], "features": [16, 128]},
    "board-separate": {"actor": [16, 32, 16], "critic": [16, 32, 12]},
    "nature": {"actor": [], "critic": [], "features": [32, 64, 64, 32]},
    "nature-separate": {"actor": [32, 64, 64, 32, 16], "critic": [32, 64, 64, 32, 16]},
    "dict": {"actor": [16], "critic": [16], "features": [32, 64, 64, 32]},
    "impala": {"actor": [8], "critic": [8], "features": [4, 4, 6, 6, 16]},
    "impala-separate": {"actor": [4, 4, 6, 6, 16, 8], "critic": [4, 4, 6, 6, 16, 8]},
    "norm-board": {"actor": [64], "critic": [64], "features": [16, 128]},
}


@pytest.mark.parametrize("kind", UNITS)
def test_every_hidden_layer_is_found(kind: str) -> None:
    networks = build(kind).networks
    assert {name: [layer.units for layer in network.layers] for name, network in networks.items()} == UNITS[kind]
    for network in networks.values():
        assert [layer.name for layer in network.layers] == [f"{network.name}.{n}" for n in range(len(network.layers))]


def parts(network) -> list[tuple]:
    return [(type(part.module), part.init, part.height) for part in network.parts]


def test_gains_are_sb3s_and_heights_count_from_the_output() -> None:
    hidden, action, value = Orthogonal(math.sqrt(2)), Orthogonal(0.01), Orthogonal(1.0)
    networks = build("board").networks
    assert parts(networks["actor"]) == [(nn.Linear, hidden, 1), (nn.Linear, action, 0)]
    assert parts(networks["critic"]) == [(nn.Linear, hidden, 1), (nn.Linear, value, 0)]
    assert parts(networks["features"]) == [(nn.Conv2d, hidden, 2), (nn.Linear, hidden, 1)]
    separate = build("norm-nature-separate").networks["critic"]
    convolutions = [(kind, init, height) for height in (5, 4, 3) for kind, init in ((nn.Conv2d, hidden),
                    (nn.LayerNorm, Affine()))]  # fmt: skip
    linears = [(kind, init, height) for height in (2, 1) for kind, init in ((nn.Linear, hidden),
               (nn.LayerNorm, Affine()))]  # fmt: skip
    assert parts(separate) == [*convolutions, *linears, (nn.Linear, value, 0)]


def test_without_orthogonal_initialisation_everything_is_torchs_default() -> None:
    model = build("board", policy_kwargs={"ortho_init": False})
    assert {part.init for network in model.networks.values() for part in network.parts} == {TorchDefault()}


@pytest.mark.parametrize("kind", ["mlp", "mlp-tanh-gsde", "nature"])
def test_log_std_belongs_to_the_actor(kind: str) -> None:
    model = build(kind, policy_kwargs={"net_arch": [16, 12], "log_std_init": -0.5} if kind != "mlp" else {})
    actor, critic = model.networks["actor"], model.networks["critic"]
    assert critic.constants == ()
    if kind == "mlp":  # discrete actions
        assert actor.constants == ()
        return
    ((log_std, value),) = actor.constants
    assert log_std is model.policy.log_std
    assert value == -0.5
    assert (log_std == value).all()
    assert all(layer.constants == () for layer in (*actor.layers, *critic.layers))


@pytest.mark.parametrize(
    ("kind", "arguments", "fixed"),
    [
        ("mlp-tanh-gsde", {}, ["actor.1"]),
        ("nature", {"use_sde": True}, ["features.3"]),  # no hidden layer in the actor: the noise reads the features
        ("dict", {"use_sde": True, "policy_kwargs": {"net_arch": {"pi": [], "vf": [8]}}}, ["features.3"]),
        ("dict", {"use_sde": True, "policy_kwargs": {"net_arch": {"pi": [8], "vf": []}}}, ["actor.0"]),
        ("mlp", {}, []),
    ],
)
def test_with_gsde_the_layers_that_the_noise_reads_are_measured_alone(
    kind: str, arguments: dict[str, Any], fixed: list[str]
) -> None:
    networks = build(kind, **arguments).networks
    found = {name: why for network in networks.values() for name, why in network.unresettable.items()}
    assert list(found) == fixed
    assert all(why.startswith("gSDE's exploration noise grows with its units' activations") for why in found.values())


def test_with_gsde_those_layers_keep_every_bit() -> None:
    """A silent unit that is drawn anew would add to the noise: its standard deviation rose from 0.22 to 0.74."""
    resets = [ReDo(tau=0.9, period=6, networks=["actor"])]
    model = build("mlp-tanh-gsde", interventions=resets, learning_rate=1e-12)  # only resets move anything visibly
    last, before = model.policy.mlp_extractor.policy_net[2], model.policy.log_std.detach().clone()
    weight = last.weight.detach().clone()
    model.learn(256)
    assert model.units_reset()["actor"] > 0
    columns = (last.weight - weight).abs().amax(0)
    assert (columns > 1e-3).any()  # units of the layer before were reset: their columns are zero now
    assert ((columns < 1e-6) | (last.weight.abs() < 1e-6).all(0)).all()
    torch.testing.assert_close(model.policy.log_std.detach(), before, atol=1e-6, rtol=0)


def test_an_actor_whose_only_layer_the_noise_reads_is_refused() -> None:
    settings = {"use_sde": True, "policy_kwargs": {"net_arch": [8]}}
    with pytest.raises(
        ValueError, match=r"gxd: nothing in actor can be changed, because gSDE's exploration noise .* out"
    ):
        build("mlp-tanh-gsde", interventions=[GXD(networks=["actor"])], **settings)
    assert build("mlp-tanh-gsde", interventions=[GXD()], **settings).learn(64).units_reset() == {
        "actor": 0,
        "critic": 0,
    }


def test_networks_without_hidden_units_are_refused() -> None:
    settings = {"policy_kwargs": {"net_arch": {"pi": [], "vf": [8]}}}
    with pytest.raises(ValueError, match=r"gxd: networks names 'actor'.*\(with hidden units: critic\).*net_arch"):
        build("mlp", interventions=[GXD(networks=["actor"])], **settings)
    with pytest.raises(ValueError, match=r"redo: networks names 'features'"):
        build("mlp", interventions=[ReDo(networks=["features"])], **settings)
    with pytest.raises(ValueError, match="no hidden units to reset; give it hidden layers with net_arch"):
        build("mlp", interventions=[ReGraMa()], policy_kwargs={"net_arch": []})


def test_only_the_named_networks_are_reset() -> None:
    model = build("board", interventions=[GXD(networks=["critic"], rate=0.01, period=6, maturity=6, score_every=2)])
    counts = model.learn(256).units_reset()
    assert counts["critic"] > 0
    assert counts["actor"] == counts["features"] == 0


class OwnHeads(ActorCriticPolicy):
    def _build_mlp_extractor(self) -> None:
        super()._build_mlp_extractor()
        self.mlp_extractor.__class__ = type("Skipping", (MlpExtractor,), {})


class OwnForward(ActorCriticPolicy):
    def evaluate_actions(self, obs, actions):
        return super().evaluate_actions(obs, actions)


class OwnOutput(ActorCriticPolicy):
    def _build(self, lr_schedule) -> None:
        super()._build(lr_schedule)
        self.value_net = nn.Sequential(self.value_net, nn.Tanh())


class OwnInput(ActorCriticPolicy):
    def _build_mlp_extractor(self) -> None:
        super()._build_mlp_extractor()
        self.mlp_extractor.policy_net.insert(0, nn.LayerNorm(4))


class OneTrunk(ActorCriticPolicy):
    def _build_mlp_extractor(self) -> None:
        super()._build_mlp_extractor()
        self.mlp_extractor.value_net = self.mlp_extractor.policy_net


class AuxiliaryHead(ActorCriticPolicy):
    def _build(self, lr_schedule) -> None:
        super()._build(lr_schedule)
        self.dynamics = nn.Linear(64, 4)


class PatchedExtractor(ActorCriticPolicy):
    def _build(self, lr_schedule) -> None:
        super()._build(lr_schedule)
        self.features_extractor.forward = lambda observations: 2 * observations


class PatchedPolicy(ActorCriticPolicy):
    def _build(self, lr_schedule) -> None:
        super()._build(lr_schedule)
        self.predict_values = lambda obs: obs[:, :1]


RELU = nn.ReLU()


class OneActivation(ActorCriticPolicy):
    def __init__(self, *arguments, **keywords):
        super().__init__(*arguments, **{**keywords, "net_arch": [8], "activation_fn": lambda: RELU})


REFUSED = {
    OneTrunk: "critic: mlp_extractor.policy_net.0.weight belongs to actor, too",
    OneActivation: "critic: mlp_extractor.policy_net.1 belongs to actor, too",
    AuxiliaryHead: "the policy AuxiliaryHead is not understood: nothing is known of its dynamics.weight",
    PatchedExtractor: "features_extractor: the forward of FlattenExtractor was replaced",
    PatchedPolicy: "the policy PatchedPolicy is not understood: its predict_values is its own",
    OwnHeads: (
        "actor: Skipping is not understood; resets know SB3's MlpExtractor there, and layers of your own in a features "
        "extractor"
    ),
    OwnForward: "the policy OwnForward is not understood: its evaluate_actions is its own",
    OwnOutput: "critic: the output layer Sequential is not understood",
    OwnInput: r"actor: LayerNorm.* is not understood at this place",
}


@pytest.mark.parametrize("policy", REFUSED)
def test_what_computes_otherwise_is_refused_by_name(policy: type[ActorCriticPolicy]) -> None:
    with pytest.raises(ValueError, match=REFUSED[policy]):
        PPO(policy, world("mlp"), interventions=[GXD()])


def test_a_policy_class_of_ones_own_that_only_chooses_its_modules_is_understood() -> None:
    class Wide(ActorCriticPolicy):
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, **{**keywords, "net_arch": [20], "activation_fn": nn.ELU})

    networks = policy_networks(PPO(Wide, world("mlp"), device="cpu").policy)
    assert [(layer.name, layer.units, type(layer.tap)) for n in networks.values() for layer in n.layers] == [
        ("actor.0", 20, nn.ELU), ("critic.0", 20, nn.ELU),
    ]  # fmt: skip


def test_shared_features_are_read_by_both_heads_and_separate_ones_by_their_own() -> None:
    policy = build("board").policy
    last = policy_networks(policy)["features"].layers[-1]
    heads = [policy.mlp_extractor.policy_net[0].weight, policy.mlp_extractor.value_net[0].weight]
    assert [consumer.weight for consumer in last.consumers] == heads
    policy = build("nature").policy
    last = policy_networks(policy)["features"].layers[-1]
    assert [consumer.weight for consumer in last.consumers] == [policy.action_net.weight, policy.value_net.weight]
    assert [consumer.bias for consumer in last.consumers] == [policy.action_net.bias, policy.value_net.bias]
    policy = build("board-separate").policy
    networks = policy_networks(policy)
    for name, net in (("actor", policy.mlp_extractor.policy_net), ("critic", policy.mlp_extractor.value_net)):
        (consumer,) = networks[name].layers[1].consumers
        assert consumer.weight is net[0].weight
    assert networks["actor"].layers[0].producer is policy.pi_features_extractor.cnn[0]
    assert networks["critic"].layers[0].producer is policy.vf_features_extractor.cnn[0]
    assert torch.equal(networks["actor"].layers[0].producer.bias, torch.zeros(16))
