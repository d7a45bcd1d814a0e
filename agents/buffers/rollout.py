"""Stable-Baselines3's rollout buffers, laid out in the order in which minibatches read them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.type_aliases import DictRolloutBufferSamples, RolloutBufferSamples
from torch import Tensor

from agents.buffers.boards import ListedBoards

READ = ("actions", "values", "log_probs", "advantages", "returns")
"""What minibatches have beside observations."""


class _ByGame(RolloutBuffer):
    """Game after game in memory, each with all of its steps; looked at as (steps, games, ...), as in SB3.

    So SB3, which flattens a rollout to that order before its first minibatch, copies nothing and holds it once. What a
    minibatch takes is copied once, where SB3 copies it two or three times.
    """

    def reset(self) -> None:
        """Empty arrays."""
        super().reset()
        for name in READ:
            setattr(self, name, self._by_game(getattr(self, name)))

    def add(
        self,
        obs: Any,
        action: np.ndarray,
        reward: np.ndarray,
        episode_start: np.ndarray,
        value: Tensor,
        log_prob: Tensor,
    ) -> None:
        """A step of all games, as in SB3, which copies everything twice."""
        self._put(self.observations, obs, self.obs_shape)
        self._put(self.actions, action, (self.action_dim,))
        self._put(self.rewards, reward)
        self._put(self.episode_starts, episode_start)
        self._put(self.values, value.numpy(force=True))
        self._put(self.log_probs, log_prob.numpy(force=True))
        self.pos += 1
        self.full = self.full or self.pos == self.buffer_size

    def _put(self, arrays: Any, given: Any, shape: Any = ()) -> None:
        """Write what the step gave, of this shape for each game."""
        if isinstance(arrays, dict):
            for key, array in arrays.items():
                self._put(array, given[key], shape[key])
        else:
            arrays[self.pos] = np.reshape(given, (self.n_envs, *shape))

    def _by_game(self, zeros: np.ndarray) -> np.ndarray:
        """The same memory, game after game."""
        return zeros.reshape(self.n_envs, self.buffer_size, *zeros.shape[2:]).swapaxes(0, 1)

    def _in_memorys_order(self, array: np.ndarray) -> np.ndarray:
        """Transition after transition, game after game, whether or not minibatches have been read."""
        return array if self.generator_ready else array.swapaxes(0, 1).reshape(-1, *array.shape[2:])

    def _taken(self, array: np.ndarray, rows: Tensor) -> Tensor:
        return torch.from_numpy(array).index_select(0, rows).to(self.device)

    def _fields(self, rows: Tensor) -> tuple[Tensor, ...]:
        """What a minibatch has beside observations, of these rows."""
        actions, *scalars = (self._taken(getattr(self, name), rows) for name in READ)
        return actions.float(), *(scalar.flatten() for scalar in scalars)


class RolloutBufferByGame(_ByGame):
    """SB3's `RolloutBuffer`, see `_ByGame`."""

    _boards: ListedBoards | None = None

    @contextmanager
    def listing_boards(self) -> Iterator[None]:
        """Around the minibatches of an update, in which nobody writes to `observations`: boards are read once."""
        self._boards = ListedBoards.of(self._in_memorys_order(self.observations)) if self.device.type == "cpu" else None
        try:
            yield
        finally:
            vars(self).pop("_boards", None)  # a checkpoint keeps what a buffer holds

    def reset(self) -> None:
        """Empty arrays."""
        super().reset()
        self.observations = self._by_game(self.observations)

    def _get_samples(self, batch_inds: np.ndarray, env: Any = None) -> RolloutBufferSamples:
        rows = torch.from_numpy(batch_inds)
        listed = self._boards
        observations = self._taken(self.observations, rows) if listed is None else listed.take(batch_inds)
        return RolloutBufferSamples(observations, *self._fields(rows))


class DictRolloutBufferByGame(_ByGame, DictRolloutBuffer):
    """SB3's `DictRolloutBuffer`, see `_ByGame`."""

    def reset(self) -> None:
        """Empty arrays."""
        super().reset()
        self.observations = {key: self._by_game(array) for key, array in self.observations.items()}

    def _get_samples(  # type: ignore[override]  # nor is SB3's of one kind
        self, batch_inds: np.ndarray, env: Any = None
    ) -> DictRolloutBufferSamples:
        rows = torch.from_numpy(batch_inds)
        observations = {key: self._taken(array, rows) for key, array in self.observations.items()}
        return DictRolloutBufferSamples(observations, *self._fields(rows))


KINDS: dict[type[RolloutBuffer], Any] = {RolloutBuffer: RolloutBufferByGame, DictRolloutBuffer: DictRolloutBufferByGame}


def by_game(buffer: RolloutBuffer) -> RolloutBuffer:
    """An empty buffer like one of SB3's, laid out by games; one of another class, which may do more, is returned."""
    kind = KINDS.get(type(buffer))
    if kind is None:
        return buffer
    laid_out: RolloutBuffer = kind(
        buffer.buffer_size, buffer.observation_space, buffer.action_space, buffer.device, buffer.gae_lambda,
        buffer.gamma, buffer.n_envs,
    )  # fmt: skip
    return laid_out
