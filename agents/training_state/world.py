"""What the environment of a learner and the wrappers around it hold."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.running_mean_std import RunningMeanStd
from stable_baselines3.common.vec_env import VecEnv, VecMonitor, VecNormalize
from stable_baselines3.common.vec_env.base_vec_env import VecEnvWrapper

from agents.buffers.sampling import cut_episodes
from agents.learner import LearnerMixin
from agents.training_state.state import State
from agents.vec_env import VectorEnvAdapter

MONITORED = ("episode_returns", "episode_lengths", "episode_count")
"""What `VecMonitor` counts."""


def rebuild_games(model: LearnerMixin, number: int) -> bool:
    """Replace games that cannot be saved by fresh ones, so that a learner that is restored finds the same.

    Their episodes are cut without an end; the learner goes on with the first observations of new ones.

    Args:
        model: that has just finished an update.
        number: with the run's seed decides the new games; the steps so far.

    Returns:
        Whether there were such games; False where everything can be saved.
    """
    assert model.env is not None
    venv = _stream(model.env)
    if venv.saves_games:
        return False
    if isinstance(model.buffer, ReplayBuffer):
        cut_episodes(model.buffer)
    venv.rebuild(number)
    model._last_obs = model.env.reset()  # type: ignore[assignment]  # SB3 knows no tuples there either
    model._last_episode_starts = np.ones(model.env.num_envs, dtype=bool)
    if model._vec_normalize_env is not None:
        model._last_original_obs = model._vec_normalize_env.get_original_obs()
    return True


def _stream(env: VecEnv) -> Any:
    """The vector environment that saves and rebuilds its games."""
    adapter = env.unwrapped
    if not isinstance(adapter, VectorEnvAdapter) or not hasattr(adapter.venv, "get_state"):
        raise NotImplementedError(
            f"the environment {adapter} has no get_state and set_state; play a stream of envs.make, which has"
        )
    return adapter.venv


def world_state(env: VecEnv) -> State:
    """The wrappers around the games that hold something, from outside in, and the stream with its games."""
    layers = []
    for layer in _wrappers(env):
        if isinstance(layer, VecNormalize):
            layers.append(_normalizer_state(layer))
        elif isinstance(layer, VecMonitor):
            layers.append({key: getattr(layer, key) for key in MONITORED})
    return {"wrappers": layers, "stream": _stream(env).get_state()}


def restore_world(env: VecEnv, state: State) -> None:
    """Put back what `world_state` gave."""
    state = deepcopy(state)  # the wrappers write into their arrays
    _stream(env).set_state(state["stream"])
    layers = [layer for layer in _wrappers(env) if isinstance(layer, VecNormalize | VecMonitor)]
    for layer, saved in zip(layers, state["wrappers"], strict=True):
        if isinstance(layer, VecNormalize):
            restore_normalizer(layer, saved)
        else:
            for key in MONITORED:
                setattr(layer, key, saved[key])


def _wrappers(env: VecEnv) -> list[VecEnvWrapper]:
    """The wrappers around the adapter, from outside in."""
    found = []
    while isinstance(env, VecEnvWrapper):
        found.append(env)
        env = env.venv
    return found


def statistics_of(env: VecNormalize) -> State:
    """What a `VecNormalize` has gathered."""
    return {
        "obs_rms": {key: _statistics(rms) for key, rms in _of_observations(env).items()},
        "ret_rms": _statistics(env.ret_rms),
    }


def _normalizer_state(env: VecNormalize) -> State:
    return {
        **statistics_of(env),
        "returns": env.returns,
        "old_obs": env.old_obs,
        "old_reward": env.old_reward,
    }


def restore_normalizer(env: VecNormalize, state: State) -> None:
    """Put back what a `VecNormalize` held."""
    for key, rms in _of_observations(env).items():
        _restore_statistics(rms, state["obs_rms"][key])
    _restore_statistics(env.ret_rms, state["ret_rms"])
    env.returns, env.old_obs, env.old_reward = state["returns"], state["old_obs"], state["old_reward"]


def _of_observations(env: VecNormalize) -> dict[str, RunningMeanStd]:
    """The statistics of each key of dict observations, the only ones under no name, or none."""
    held: Any = env.obs_rms if env.norm_obs else {}
    return held if isinstance(held, dict) else {"": held}


def _statistics(rms: RunningMeanStd) -> State:
    return {"mean": np.asarray(rms.mean), "var": np.asarray(rms.var), "count": float(rms.count)}


def _restore_statistics(rms: RunningMeanStd, state: State) -> None:
    rms.mean, rms.var, rms.count = state["mean"], state["var"], state["count"]
