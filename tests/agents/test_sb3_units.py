"""Which of a policy's networks can be reset."""

from __future__ import annotations

import pytest
from small_ppo import build, world
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor, NatureCNN

from agents import PPO
from agents.plasticity import GXD, ReDo, ReGraMa


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


class Wider(NatureCNN):
    """Looks like NatureCNN and is none."""


def test_a_subclass_of_a_known_module_is_not_taken_for_it() -> None:
    settings = {"policy_kwargs": {"features_extractor_class": Wider}}
    with pytest.raises(ValueError, match="features: the features extractor Wider is not understood"):
        build("nature", interventions=[GXD()], **settings)
    build("nature", **settings).learn(64)  # without interventions it is SB3

    class OwnHeads(ActorCriticPolicy):
        def _build_mlp_extractor(self) -> None:
            super()._build_mlp_extractor()
            self.mlp_extractor.__class__ = type("Skipping", (MlpExtractor,), {})

    with pytest.raises(ValueError, match="actor: Skipping is not understood"):
        PPO(OwnHeads, world("mlp"), interventions=[GXD()])
