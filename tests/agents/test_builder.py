"""From a NetworkSpec to SB3's policy."""

from __future__ import annotations

import dataclasses
from typing import Any, get_args

import pytest
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN
from torch import nn

from agents.networks import MinAtarCNN, NetworkSpec
from agents.networks.builder import ACTIVATIONS, EXTRACTORS, policy_of
from agents.networks.spec import Activation, Features
from agents.plasticity.layers import CReLU


def test_every_name_has_a_class() -> None:
    assert set(EXTRACTORS) == set(get_args(Features))
    assert set(ACTIVATIONS) == set(get_args(Activation))


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


@pytest.mark.parametrize("arch", [(), {"pi": (), "vf": ()}])
@pytest.mark.parametrize("features", ["flatten", "nature_cnn", "impala"])
def test_an_activation_that_folds_must_stand_somewhere(features: Any, arch: Any) -> None:
    with pytest.raises(ValueError, match=rf"^activation is 'crelu', but {features} features have none, or ReLUs of"):
        policy_of(NetworkSpec(features, arch, "crelu"))
    assert policy_of(NetworkSpec("minatar_cnn", arch, "crelu"))[1]["features_extractor_class"] is MinAtarCNN
    assert policy_of(NetworkSpec(features, arch, "relu"))[1]["activation_fn"] is nn.ReLU


def test_a_spec_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        NetworkSpec("flatten", (), "relu").norm = "layer"
