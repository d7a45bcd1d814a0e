"""Whether a replay buffer fits in memory, which numpy takes only as it is filled."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import psutil
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.preprocessing import get_action_dim, get_obs_shape

import envs
from crl.config import AgentConfig, ConfigError
from crl.screen import GIGA

SCALARS = 3  # float32 of each transition: reward, done, truncated
PRIORITY = 9  # bytes of each transition of prioritised replay: a float64, and its part of the sums
CGROUP = Path("/sys/fs/cgroup")  # what Linux says of the container that this runs in


def transition_bytes(env: envs.StreamVectorEnv, *, optimized: bool = False) -> int:
    """Bytes that a transition takes in SB3's `ReplayBuffer`, with n-step returns or without; booleans are kept as bits.

    Args:
        env: whose transitions they are.
        optimized: each has one observation, and the next one's is its next (``optimize_memory_usage``).
    """
    observations, actions = env.single_observation_space, env.single_action_space
    shape = get_obs_shape(observations)
    assert isinstance(shape, tuple)
    count, dtype = math.prod(shape), np.dtype(observations.dtype)
    observation = math.ceil(count / 8) if dtype == np.bool_ else count * dtype.itemsize
    action = get_action_dim(actions) * np.dtype(ReplayBuffer._maybe_cast_dtype(actions.dtype)).itemsize
    return (1 if optimized else 2) * observation + action + SCALARS * np.dtype(np.float32).itemsize


def available_bytes() -> int:
    """Bytes that can still be taken: of the machine, or of the container where that has a lower limit."""
    there: int = psutil.virtual_memory().available
    limit, taken = _cgroup("memory.max"), _cgroup("memory.current")
    if not limit.isdecimal() or not taken.isdecimal():  # without a limit the file says "max"
        return there
    # Files that were read lie in memory until their place is needed, and count as taken.
    files = [line.split()[1] for line in _cgroup("memory.stat").splitlines() if line.startswith("inactive_file ")]
    return min(there, max(int(limit) - int(taken) + sum(map(int, files)), 0))


def _cgroup(name: str) -> str:
    """The content of a file of `CGROUP`, empty where it is not there."""
    try:
        return (CGROUP / name).read_text(encoding="utf-8").strip()
    except OSError:
        return ""


def replay_bytes(agent: AgentConfig, env: envs.StreamVectorEnv) -> int:
    """Bytes that the agent's replay buffer takes once it is full; none where it has none."""
    held, each = _held(agent, env) if agent.spec.data == "replay" else (0, 0)
    return held * each


def _held(agent: AgentConfig, env: envs.StreamVectorEnv) -> tuple[int, int]:
    """How many transitions a full buffer has, and the bytes of each."""
    settings = agent.settings
    held = max(settings["buffer_size"] // agent.n_envs, 1) * agent.n_envs  # SB3 rounds down to whole steps of all games
    each = transition_bytes(env, optimized=settings.get("optimize_memory_usage", False))
    return held, each if settings.get("replay", "uniform") == "uniform" else each + PRIORITY


def check_replay(agent: AgentConfig, env: envs.StreamVectorEnv, stream: str) -> None:
    """Refuse a replay buffer that is larger than the memory that is there.

    Args:
        agent: whose buffer it is.
        env: whose transitions it holds.
        stream: which stream that is, for the message.

    Raises:
        ConfigError: it is.
    """
    size, there = agent.settings["buffer_size"], available_bytes()
    held, each = _held(agent, env)
    if held * each <= there:
        return
    largest = there // each // agent.n_envs * agent.n_envs
    remedy = f"give {largest} at most" if largest else f"lower agent.n_envs={agent.n_envs}: one step of all is too much"
    raise ConfigError(
        f"agent.buffer_size={size} transitions of {stream} take {held * each / GIGA:.1f} GB, but only "
        f"{there / GIGA:.1f} GB of memory are there; {remedy}"
    )
