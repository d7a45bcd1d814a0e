"""From a NetworkSpec to SB3's policy."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, get_args

import numpy as np
import pytest
from gymnasium import spaces
from small_off_policy import discrete
from small_ppo import Images
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN
from torch import nn

import envs
from agents import DQN, PPO, TD3
from agents.networks import ImpalaCNN, NetworkSpec
from agents.networks.builder import ACTIVATIONS, EXTRACTORS, fitted, policy_of
from agents.networks.policies import PlasticActorCriticPolicy, PlasticTD3Policy
from agents.networks.spec import Activation, Features
from agents.plasticity import GXD, ReDo
from agents.plasticity.layers import AID, CReLU
from agents.specs import agent_spec


def test_every_name_has_a_class() -> None:
    assert set(EXTRACTORS) == set(get_args(Features))
    assert set(ACTIVATIONS) == set(get_args(Activation))
    for name, kind in ACTIVATIONS.items():
        if name not in ("leaky_relu", "smooth_leaky", "aid", "crelu", "fourier"):
            assert kind is {each.lower(): getattr(nn, each) for each in nn.modules.activation.__all__}[name]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_units_are_reset_behind_every_activation(name: Activation) -> None:
    policy, arguments = policy_of(NetworkSpec("flatten", [6], name))
    interventions = [GXD(rate=0.5, period=2, maturity=0, score_every=1), ReDo(tau=0.9, period=3, samples=16)]
    model = PPO(
        policy, "CartPole-v1", n_steps=32, batch_size=16, n_epochs=2, policy_kwargs=arguments, device="cpu", seed=0,
        interventions=interventions,
    ).learn(64)  # fmt: skip
    assert all(count > 0 for count in model.units_reset().values())
    assert all(parameter.isfinite().all() for parameter in model.policy.parameters())


def test_without_a_norm_the_arguments_are_sb3s() -> None:
    name, arguments = policy_of(NetworkSpec("flatten", (16, 8), "tanh"))
    assert name == "MlpPolicy"
    assert arguments == {"features_extractor_class": FlattenExtractor, "net_arch": [16, 8], "activation_fn": nn.Tanh}
    name, arguments = policy_of(NetworkSpec("nature_cnn", {"pi": (4,), "vf": ()}, "crelu", "layer"))
    assert name == "CnnPolicy"
    assert arguments == {
        "features_extractor_class": NatureCNN, "net_arch": {"pi": [4], "vf": []}, "activation_fn": CReLU,
        "norm": "layer",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("cls", "world", "policy", "arguments"),
    [
        (DQN, "cartpole", "MlpPolicy", {"net_arch": []}),
        (DQN, Images, "CnnPolicy", {}),
        (PPO, Images, "CnnPolicy", {}),
        (PPO, Images, "CnnPolicy", {"features_extractor_class": ImpalaCNN, "net_arch": {"pi": [], "vf": []}}),
    ],
)
def test_an_activation_that_folds_must_stand_somewhere(cls: Any, world: Any, policy: str, arguments: Any) -> None:
    env = envs.make(world) if isinstance(world, str) else discrete(world)
    arguments = {**arguments, "activation_fn": CReLU}
    with pytest.raises(ValueError, match=r"^the activation function CReLU would stand nowhere: net_arch has no hidden"):
        cls(policy, env, policy_kwargs=arguments, device="cpu")
    arguments["activation_fn"] = nn.ReLU
    cls(policy, env, policy_kwargs=arguments, device="cpu", **({"buffer_size": 10} if cls is DQN else {}))


def test_where_sb3_has_hidden_layers_of_its_own_it_stands_there() -> None:
    spec, space, names = agent_spec("td3"), spaces.Box(0, 255, (3, 36, 36), np.uint8), TD3.policy_aliases
    policy, arguments = fitted(names["CnnPolicy"], {"activation_fn": CReLU}, space, spec, names)
    assert policy is PlasticTD3Policy
    assert arguments == {"activation_fn": CReLU, "features_extractor_class": NatureCNN}


@pytest.mark.parametrize(("activation", "does"), [(CReLU, "folds"), (AID, "draws at random")])
def test_a_users_subclass_knows_no_layers_of_ours(activation: type[nn.Module], does: str) -> None:
    class Own(ActorCriticPolicy):
        pass

    with pytest.raises(
        ValueError, match=rf"^the activation function {activation.__name__} {does}, but the layers of Own know nothing"
    ):
        PPO(Own, "CartPole-v1", policy_kwargs={"activation_fn": activation})


class Few(PPO):
    """An algorithm with few policies, of which one bears layer normalisation in its own name."""

    policy_aliases: ClassVar[dict[str, Any]] = {"MlpPolicy": ActorCriticPolicy, "LayerNormPolicy": ActorCriticPolicy}


def test_an_algorithm_may_have_other_policies_than_sb3s() -> None:
    for name, kind in {"MlpPolicy": ActorCriticPolicy, "LayerNormMlpPolicy": PlasticActorCriticPolicy}.items():
        assert type(Few(name, "CartPole-v1", device="cpu").policy) is kind
    assert type(Few("LayerNormPolicy", "CartPole-v1", device="cpu").policy) is ActorCriticPolicy


def test_a_spec_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        NetworkSpec("flatten", (), "relu").norm = "layer"
