"""Whether a replay buffer fits in memory, which numpy takes only as it is filled."""

from __future__ import annotations

import math

import numpy as np
import psutil
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.preprocessing import get_action_dim, get_obs_shape

import envs
from crl.config import ConfigError, OffPolicyConfig

SCALARS = 3  # float32 of each transition: reward, done, truncated
GIGA = 1e9


def transition_bytes(env: envs.StreamVectorEnv) -> int:
    """Bytes that a transition takes in SB3's `ReplayBuffer`, with n-step returns or without."""
    observations, actions = env.single_observation_space, env.single_action_space
    shape = get_obs_shape(observations)
    assert isinstance(shape, tuple)
    observation = math.prod(shape) * np.dtype(observations.dtype).itemsize
    action = get_action_dim(actions) * np.dtype(ReplayBuffer._maybe_cast_dtype(actions.dtype)).itemsize
    return 2 * observation + action + SCALARS * np.dtype(np.float32).itemsize


def check_replay(agent: OffPolicyConfig, env: envs.StreamVectorEnv, stream: str) -> None:
    """Refuse a replay buffer that is larger than the memory that is there.

    Args:
        agent: whose buffer it is.
        env: whose transitions it holds.
        stream: which stream that is, for the message.

    Raises:
        ConfigError: it is.
    """
    each, there = transition_bytes(env), psutil.virtual_memory().available
    held = max(agent.buffer_size // agent.n_envs, 1) * agent.n_envs  # SB3 rounds down to whole steps of all games
    if held * each <= there:
        return
    largest = there // each // agent.n_envs * agent.n_envs
    raise ConfigError(
        f"agent.buffer_size={agent.buffer_size} transitions of {stream} take {held * each / GIGA:.1f} GB, but only "
        f"{there / GIGA:.1f} GB of memory are there; give {largest} at most"
    )
