"""Agents that were copied, or pickled, go on as they would have themselves, with games of their own."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import envs
from agents import PPO, SAC
from agents.plasticity import GXD, CChain

AGENTS: dict[str, tuple[Callable[..., Any], str, dict[str, Any]]] = {
    "ppo": (PPO, "cartpole", {"n_steps": 16, "batch_size": 16, "n_epochs": 2}),
    "sac": (SAC, "pendulum", {"learning_starts": 8, "batch_size": 8, "buffer_size": 100}),
}


def trained(name: str, speed: str) -> Any:
    kind, world, settings = AGENTS[name]
    model = kind(
        "MlpPolicy",
        envs.make(world, n_envs=2, seed=1),
        **settings,
        policy_kwargs={"net_arch": [8]},
        interventions=[GXD(rate=0.05, period=4, maturity=0, score_every=1), CChain(coefficient=0.1)],
        speed=speed,
        seed=1,
        device="cpu",
    )
    return model.learn(64)


def gone_on(model: Any) -> Tensor:
    torch.manual_seed(2)
    np.random.seed(2)
    model.action_space.seed(2)
    model.learn(32, reset_num_timesteps=False)
    return torch.cat([parameter.detach().flatten() for parameter in model.policy.parameters()])


@pytest.mark.parametrize("way", ["copied", "pickled"])
@pytest.mark.parametrize("speed", ["exact", "fast"])
@pytest.mark.parametrize("name", AGENTS)
def test_it_goes_on_as_the_agent_itself(name: str, speed: str, way: str) -> None:
    model = trained(name, speed)
    other = copy.deepcopy(model) if way == "copied" else pickle.loads(pickle.dumps(model))
    assert not {*other.policy.parameters()} & {*model.policy.parameters()}
    assert torch.equal(gone_on(other), gone_on(model))
    assert other.units_reset() == model.units_reset()
    assert sum(other.units_reset().values()) > 0
    assert other.get_env() is not model.get_env()
    assert other.interventions[0].owner is other


@pytest.mark.parametrize("way", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_logs_stay_with_the_first(
    way: Callable[[Any], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"n_steps": 8, "batch_size": 8, "device": "cpu", "tensorboard_log": str(tmp_path), "verbose": 1}
    model = PPO("MlpPolicy", envs.make("cartpole", n_envs=1, seed=1), **settings).learn(8)
    own = model.logger
    other = way(model)
    other.train()  # goes on by itself, and tells nobody
    assert (other.logger.dir, other.logger.output_formats) == (None, [])
    other.learn(8)
    assert (other.num_timesteps, other.logger is own, model.logger is own) == (8, False, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["PPO_1", "PPO_2"]


@pytest.mark.parametrize("way", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_fast_ones_see_what_is_changed_in_a_copy(way: Callable[[Any], Any]) -> None:
    _, world, settings = AGENTS["sac"]
    net: dict[str, Any] = {"net_arch": [8]}
    model = SAC("MlpPolicy", envs.make(world, n_envs=2, seed=1), **settings, policy_kwargs=net, speed="fast", seed=1)
    other = way(model.learn(16))
    layer, rows = other.critic.qf0[0], []
    plain = type(layer).forward

    def noting(x: Tensor) -> Tensor:
        rows.append(len(x))
        return plain(layer, x)

    layer.forward = noting
    other.learn(2, reset_num_timesteps=False)
    assert 8 in rows


@pytest.mark.parametrize(
    "changed",
    [
        {"id": "cartpole", "gravity": 5.0},
        {"id": "acrobot", "length_1": 0.5},
        {"id": "mountain_car", "gravity": 0.002},
        {"id": "mountain_car_continuous", "power": 0.002},
        {"id": "pendulum", "gravity": 5.0},
    ],
    ids=lambda changed: str(changed["id"]),
)
def test_its_worlds_keep_their_physics(changed: dict[str, Any]) -> None:
    stream = envs.make(changed, n_envs=2, seed=1)
    stream.reset(seed=1)
    other = pickle.loads(pickle.dumps(copy.deepcopy(stream)))
    stream.action_space.seed(1)
    for action in [stream.action_space.sample() for _ in range(20)]:
        for one, same in zip(stream.step(action)[:4], other.step(action)[:4], strict=True):
            np.testing.assert_array_equal(one, same)
