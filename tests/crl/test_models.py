"""From configs to models: what is left out is chosen by the observations, and what does not fit is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from agents.networks import MinAtarCNN
from crl.config import ConfigError, RunConfig, check_interventions, load
from crl.models import _features_of, build

SMALL = ["agent.n_envs=2", "agent.n_steps=8", "agent.batch_size=16", "stream.steps_per_task=16", "device=cpu"]


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Any]:
    """Makes small configs from overrides."""
    path = tmp_path / "c.yaml"
    path.write_text("stream: {name: breakout, cycles: 1}\nagent: {name: ppo}\n")

    def make(*overrides: str) -> RunConfig:
        return check_interventions(load(path, [*SMALL, *overrides]))

    return make


def test_boards_get_the_minatar_network(config: Any) -> None:
    resolved, model, env = build(config("agent.learning_rate.linear=[1e-3, 0]", "agent.gamma=0.9", "seed=5"))
    agent = resolved.agent
    assert (agent.features, agent.activation) == ("minatar_cnn", "relu")
    assert agent.net_arch is not None
    assert (agent.net_arch.pi, agent.net_arch.vf) == ((64,), (64,))
    assert isinstance(model.policy.features_extractor, MinAtarCNN)
    assert [type(layer) for layer in model.policy.mlp_extractor.policy_net] == [nn.Linear, nn.ReLU]
    assert model.policy.mlp_extractor.value_net[0].weight.shape == (64, 128)
    assert (model.n_envs, model.n_steps, model.batch_size, model.gamma, model.seed) == (2, 8, 16, 0.9, 5)
    assert [model.lr_schedule(remaining) for remaining in (1.0, 0.5, 0.0)] == [1e-3, 5e-4, 0.0]
    assert model.clip_range(1.0) == 0.2
    assert env.stream.total_steps == 16
    env.close()


def test_vectors_get_the_networks_of_stable_baselines(config: Any) -> None:
    overrides = ["stream={name: null, tasks: [{id: CartPole-v1, render_mode: null}], steps_per_task: 20}"]
    resolved, model, env = build(config(*overrides, "stream.align=step"))
    assert (resolved.agent.features, resolved.agent.activation) == ("flatten", "tanh")
    assert isinstance(model.policy.features_extractor, FlattenExtractor)
    layers = [type(layer) for layer in model.policy.mlp_extractor.policy_net]
    assert layers == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh]
    assert env.stream.total_steps == 20  # not rounded to rollouts
    env.close()


def test_given_layers_are_kept(config: Any) -> None:
    resolved, model, env = build(
        config("agent.features=flatten", "agent.net_arch={pi: [], vf: [7]}", "agent.activation=relu")
    )
    assert len(model.policy.mlp_extractor.policy_net) == 0
    assert [type(layer) for layer in model.policy.mlp_extractor.value_net] == [nn.Linear, nn.ReLU]
    assert model.policy.mlp_extractor.value_net[0].weight.shape == (7, 1000)
    assert resolved.agent.features == "flatten"
    env.close()


def test_interventions_get_their_arguments(config: Any) -> None:
    _, model, env = build(config("interventions=[{name: gxd, rate: 1e-3, networks: [critic]}, {name: redo, tau: 0.5}]"))
    gxd, redo = model.interventions
    assert (gxd.name, gxd.rate, gxd.networks, gxd.period) == ("gxd", 1e-3, ["critic"], 1000)
    assert (redo.name, redo.tau, redo.networks) == ("redo", 0.5, None)
    env.close()


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (gymnasium.spaces.Box(0, 1, (10, 10, 10), bool), "minatar_cnn"),
        (gymnasium.spaces.Box(0, 255, (84, 84, 4), np.uint8), "nature_cnn"),
        (gymnasium.spaces.Box(0, 255, (3, 64, 64), np.uint8), "nature_cnn"),
        (gymnasium.spaces.Box(0, 255, (20, 20, 3), np.uint8), "minatar_cnn"),
        (gymnasium.spaces.Box(0, 1, (84, 84, 3), np.float32), "flatten"),
        (gymnasium.spaces.Box(-1, 1, (4,), np.float32), "flatten"),
        (gymnasium.spaces.Discrete(16), "flatten"),
    ],
)
def test_features_by_observation_space(space: gymnasium.Space[Any], expected: str) -> None:
    assert _features_of(space) == expected


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["stream.name=CartPole-v99"], "stream.name: unknown task 'CartPole-v99'"),
        (["stream.name=null", "stream.tasks=[breakout, CartPole-v1]"], "stream.tasks: tasks 'breakout' and"),
        (
            ["agent.features=nature_cnn"],
            "agent.features=nature_cnn does not fit observations Box(False, True, (10, 10, 10), bool); give flatten or "
            "minatar_cnn, or leave it out",
        ),
        (["stream.name=CartPole-v1", "agent.features=minatar_cnn"], "agent.features=minatar_cnn does not fit"),
        (["interventions=[{name: gxd, networks: [actr]}]"], "gxd: networks names 'actr', which has no hidden units"),
        (
            ["interventions=[{name: redo}]", "agent.features=flatten", "agent.net_arch={pi: [], vf: []}"],
            "redo: the policy has no hidden units to reset; give it hidden layers with net_arch",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(config: Any, overrides: list[str], expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        build(config(*overrides))
    assert str(error.value).startswith(expected)
    assert "\n" not in str(error.value)
