"""The minibatches of an update, gathered together: what SB3's replay buffer would draw one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from agents.buffers.bits import BitArray

GATHERED = 2**20
"""Bytes of observations, and as many of next ones, that are gathered at a time; at least one minibatch."""


def draws_ahead(buffer: ReplayBuffer | None) -> bool:
    """Whether `minibatches` knows what a buffer draws: another class may do more, or may depend on what is learnt."""
    return type(buffer) is ReplayBuffer


def at_once(buffer: ReplayBuffer, n: int) -> int:
    """How many minibatches of `n` transitions are gathered at a time, at most."""
    return max(GATHERED // max(n * prod(buffer.obs_shape) * buffer.observations.dtype.itemsize, 1), 1)


def minibatches(
    buffer: ReplayBuffer, n: int, count: int, env: VecNormalize | None = None
) -> Iterator[list[ReplayBufferSamples]]:
    """``buffer.sample(n, env)`` so many times, drawn by numpy's global generator as SB3 does; some of them at a time.

    Each call of numpy costs microseconds whatever it is of, so that minibatches of some tens of transitions cost the
    less the more of them are gathered at once. They share memory, but for observations that a network reads as they
    are: how matrix products round may depend on where in memory they begin.

    Args:
        buffer: of which `draws_ahead` holds, with transitions.
        n: transitions of each, with replacement.
        count: how many minibatches.
        env: whose statistics normalise them.
    """
    most = at_once(buffer, n)
    for first in range(0, count, most):
        drawn = [_draw(buffer, n) for _ in range(min(most, count - first))]
        rows, games = (np.concatenate(part) for part in zip(*drawn, strict=True))
        fields = [field.split(n) for field in _gathered(buffer, rows, games, env)]
        yield [
            ReplayBufferSamples(_apart(observations), actions, _apart(following), dones, rewards)
            for observations, actions, following, dones, rewards in zip(*fields, strict=True)
        ]


def _draw(buffer: ReplayBuffer, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and games, each (n,): as `ReplayBuffer.sample` and `_get_samples` draw them."""
    if buffer.optimize_memory_usage and buffer.full:
        rows = (np.random.randint(1, buffer.buffer_size, size=n) + buffer.pos) % buffer.buffer_size
    else:
        rows = np.random.randint(0, buffer.size(), size=n)
    return rows, np.random.randint(0, high=buffer.n_envs, size=(n,))


def _gathered(
    buffer: ReplayBuffer, rows: np.ndarray, games: np.ndarray, env: VecNormalize | None
) -> tuple[Tensor, ...]:
    """The fields of `ReplayBufferSamples`."""
    at = rows * buffer.n_envs + games
    dones = buffer.dones.take(at) * (1 - buffer.timeouts.take(at))
    if buffer.optimize_memory_usage:
        following = _taken(buffer.observations, (rows + 1) % buffer.buffer_size * buffer.n_envs + games)
    else:
        following = _taken(buffer.next_observations, at)
    fields: tuple[Any, ...] = (
        buffer._normalize_obs(_taken(buffer.observations, at), env),
        _taken(buffer.actions, at),
        buffer._normalize_obs(following, env),
        dones.reshape(-1, 1),
        buffer._normalize_reward(buffer.rewards.take(at).reshape(-1, 1), env),
    )
    return tuple(buffer.to_torch(field, copy=False) for field in fields)


def _taken(array: Any, at: np.ndarray) -> np.ndarray:
    """What an array (rows, games, ...) holds at indices of its rows' games, one after the other."""
    kept = array.bits if isinstance(array, BitArray) else array
    found: np.ndarray = kept.reshape(-1, *kept.shape[2:]).take(at, axis=0)
    return array.unpacked(found) if isinstance(array, BitArray) else found


def _apart(observations: Tensor) -> Tensor:
    """A minibatch's observations, in memory of their own where nothing is computed of them before a matrix product."""
    return observations.clone() if observations.is_floating_point() else observations
