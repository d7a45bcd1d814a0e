"""The unit graphs of stock DQN's and SAC's policies."""

from __future__ import annotations

import pytest
import torch
from small_off_policy import build
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.dqn.policies import QNetwork
from stable_baselines3.sac.policies import Actor
from torch import nn

from agents.plasticity.surgery import reset_units
from agents.plasticity.units import TorchDefault
from agents.sb3_units import policy_networks

LAYERS = {
    "dqn-mlp": {"critic": ["0:16", "1:12"]},
    "dqn-cnn": {"critic": ["0:32", "1:64", "2:64", "3:32"]},
    "dqn-dict": {"critic": ["0:32", "1:64", "2:64", "3:32", "4:16"]},
    "sac-mlp": {"actor": ["0:16", "1:12"], "critic": ["qf0.0:16", "qf0.1:12", "qf1.0:16", "qf1.1:12"]},
    "sac-gsde": {"actor": ["0:16", "1:12"], "critic": ["qf0.0:16", "qf0.1:12", "qf1.0:16", "qf1.1:12"]},
    "sac-cnn": {
        "actor": ["0:32", "1:64", "2:64", "3:32", "4:16"],
        "critic": ["0:32", "1:64", "2:64", "3:32", "qf0.0:12", "qf1.0:12"],
    },
    "sac-cnn-shared": {
        "actor": ["0:16"], "critic": ["qf0.0:12", "qf1.0:12"], "features": ["0:32", "1:64", "2:64", "3:32"],
    },
    "sac-cnn-shared-linear": {"actor": [], "critic": [], "features": ["0:32", "1:64", "2:64", "3:32"]},
    "td3-mlp": {"actor": ["0:16", "1:12"], "critic": ["qf0.0:16", "qf0.1:12", "qf1.0:16", "qf1.1:12"]},
    "td3-cnn-shared": {
        "actor": ["0:16"], "critic": ["qf0.0:12", "qf1.0:12"], "features": ["0:32", "1:64", "2:64", "3:32"],
    },
    "sac-dict-shared": {
        "actor": ["0:16"], "critic": ["qf0.0:16", "qf1.0:16"], "features": ["0:32", "1:64", "2:64", "3:32"],
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", LAYERS)
def test_every_hidden_layer_is_found(kind: str) -> None:
    networks = policy_networks(build(kind).policy)
    found = {name: [f"{layer.name}:{layer.units}" for layer in n.layers] for name, n in networks.items()}
    assert found == {name: [f"{name}.{layer}" for layer in layers] for name, layers in LAYERS[kind].items()}
    assert {part.init for network in networks.values() for part in network.parts} == {TorchDefault()}


def read_by(layer) -> list[tuple]:
    return [(consumer.weight, consumer.bias, consumer.start) for consumer in layer.consumers]


def test_the_actors_last_layer_is_read_by_mean_and_deviation() -> None:
    policy = build("sac-mlp").policy
    actor, network = policy.actor, policy_networks(policy)["actor"]
    assert read_by(network.layers[-1]) == [
        (actor.mu.weight, actor.mu.bias, 0), (actor.log_std.weight, actor.log_std.bias, 0),
    ]  # fmt: skip
    assert network.constants == ()
    assert [(part.module, part.height) for part in network.parts] == [
        (actor.latent_pi[0], 2), (actor.latent_pi[2], 1), (actor.mu, 0), (actor.log_std, 0),
    ]  # fmt: skip


@pytest.mark.parametrize("clip_mean", [2.0, 0.0])
def test_with_gsde_the_layer_that_the_noise_reads_is_measured_alone(clip_mean: float) -> None:
    settings = {"net_arch": [16, 12], "clip_mean": clip_mean, "log_std_init": -2.0}
    policy = build("sac-gsde", policy_kwargs=settings).policy
    network = policy_networks(policy)["actor"]
    mu = policy.actor.mu[0] if clip_mean else policy.actor.mu
    assert read_by(network.layers[-1]) == [(mu.weight, mu.bias, 0)]
    assert network.constants == ((policy.actor.log_std, -2.0),)
    assert [(layer.name, bool(layer.fixed)) for layer in network.layers] == [("actor.0", False), ("actor.1", True)]
    # without hidden layers it is the features that the noise depends on
    policy = build("sac-cnn-shared-linear").policy
    features = policy_networks(policy)["features"]
    assert list(features.unresettable) == [features.layers[-1].name]


def test_every_q_function_reads_the_features_and_behind_them_the_action() -> None:
    policy = build("sac-cnn", policy_kwargs={"net_arch": [12], "n_critics": 3}).policy
    networks = policy_networks(policy)
    critics = [policy.critic.qf0, policy.critic.qf1, policy.critic.qf2]
    last = networks["critic"].layers[3]
    assert last.producer is policy.critic.features_extractor.linear[0]
    assert read_by(last) == [(qf[0].weight, qf[0].bias, 0) for qf in critics]
    assert [qf[0].in_features for qf in critics] == [512 + 2] * 3
    assert networks["critic"].layers[2].consumers[0].block == 4
    assert [layer.name for layer in networks["critic"].layers[4:]] == ["critic.qf0.0", "critic.qf1.0", "critic.qf2.0"]
    heights = [part.height for part in networks["critic"].parts]
    assert heights == [5, 4, 3, 2, 1, 0, 1, 0, 1, 0]


def test_shared_features_are_read_by_the_actor_and_every_q_function() -> None:
    policy = build("sac-cnn-shared").policy
    actor, critic, networks = policy.actor, policy.critic, policy_networks(policy)
    readers = [actor.latent_pi[0], critic.qf0[0], critic.qf1[0]]
    assert read_by(networks["features"].layers[-1]) == [(reader.weight, reader.bias, 0) for reader in readers]
    assert [part.height for part in networks["features"].parts] == [4, 3, 2, 1]
    theirs = {id(p) for p in actor.features_extractor.parameters()}
    assert not theirs & {id(p) for name in ("actor", "critic") for p in networks[name].parameters}
    policy = build("sac-cnn-shared-linear").policy
    readers = [policy.actor.mu, policy.critic.qf0[0], policy.critic.qf1[0]]
    features = policy_networks(policy)["features"].layers[-1]
    assert read_by(features) == [(reader.weight, reader.bias, 0) for reader in readers]


def test_features_of_a_dict_begin_at_their_keys_column() -> None:
    policy = build("sac-dict-shared").policy
    assert list(policy.actor.features_extractor.extractors) == ["a vector", "image"]
    last = policy_networks(policy)["features"].layers[-1]
    assert [consumer.start for consumer in last.consumers] == [3, 3, 3]
    assert [consumer.weight.shape[1] for consumer in last.consumers] == [3 + 32, 3 + 32 + 2, 3 + 32 + 2]
    policy = build("dqn-dict").policy
    assert [consumer.start for consumer in policy_networks(policy)["critic"].layers[3].consumers] == [3]


def reset(policy, masks: dict[str, list[int]]) -> None:
    layers = [layer for network in policy_networks(policy).values() for layer in network.layers]
    amounts = {layer.name: torch.zeros(layer.units) for layer in layers}
    for name, units in masks.items():
        amounts[name][units] = 1
    optimizers = [policy.actor.optimizer, policy.critic.optimizer]
    reset_units(layers, amounts, optimizers, lambda layer: torch.Generator().manual_seed(3))


def test_a_reset_in_one_q_function_leaves_the_other_alone() -> None:
    """METHODS 15.3, twin independence."""
    policy = build("sac-mlp").learn(32).policy
    before = {name: p.clone() for name, p in policy.named_parameters()}
    reset(policy, {"critic.qf0.0": [1, 4], "critic.qf0.1": [2]})
    changed = {name for name, p in policy.named_parameters() if not torch.equal(p, before[name])}
    weights = {f"critic.qf0.{layer}.{kind}" for layer in (0, 2, 4) for kind in ("weight", "bias")}
    assert changed == weights - {"critic.qf0.4.bias"}


def test_a_reset_of_features_leaves_the_columns_of_the_action_alone() -> None:
    """METHODS 15.2, last sentence."""
    for kind, name in (("sac-cnn", "critic.3"), ("sac-cnn-shared", "features.3")):
        policy = build(kind).policy
        before = {name: p.clone() for name, p in policy.named_parameters()}
        reset(policy, {name: [0, 31]})
        for qf in ("qf0", "qf1"):
            old, new = before[f"critic.{qf}.0.weight"], policy.get_parameter(f"critic.{qf}.0.weight")
            assert old.shape == (12, 34)
            assert torch.equal(new[:, 32:], old[:, 32:])
            assert torch.equal(new[:, 1:31], old[:, 1:31])
            assert not new[:, [0, 31]].any()


class OwnQ(QNetwork):
    pass


class OwnActor(Actor):
    pass


class OwnCritic(ContinuousCritic):
    pass


@pytest.mark.parametrize(("kind", "module", "own"), [
    ("dqn-mlp", "q_net", OwnQ), ("sac-mlp", "actor", OwnActor), ("sac-mlp", "critic", OwnCritic),
])  # fmt: skip
def test_a_subclass_of_a_known_module_is_not_taken_for_it(kind: str, module: str, own: type[nn.Module]) -> None:
    policy = build(kind).policy
    getattr(policy, module).__class__ = own
    with pytest.raises(ValueError, match=f"{'actor' if module == 'actor' else 'critic'}: {own.__name__} is not under"):
        policy_networks(policy)


def test_an_output_layer_that_is_no_linear_one_is_refused() -> None:
    for kind, module, name in (("dqn-mlp", "q_net", "critic"), ("sac-mlp", "critic", "critic.qf0")):
        policy = build(kind).policy
        sequence = policy.q_net.q_net if module == "q_net" else policy.critic.qf0
        sequence.append(nn.Tanh())
        with pytest.raises(ValueError, match=rf"{name}: the output layer Tanh\(\) is not understood"):
            policy_networks(policy)
    policy = build("sac-gsde").policy
    policy.actor.mu.append(nn.Tanh())
    with pytest.raises(ValueError, match="actor: the output layer Sequential is not understood"):
        policy_networks(policy)
