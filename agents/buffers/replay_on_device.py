"""Observations of a replay buffer on the learner's device, where minibatches are gathered of them."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from agents.buffers.on_device import DTYPES, has_room, sent, takes
from agents.buffers.prioritized import PrioritizedReplayBuffer

NORMALIZING = ("normalize_obs", "_normalize_obs")
"""Methods by which `VecNormalize` normalises observations."""


class ArrayOnDevice:
    """An array that is kept on a device, booleans as bits, as far as replay buffers use one.

    Reading takes indices of rows and games, one of each for every transition, and gives a tensor there; writing takes
    whole rows.

    Args:
        shape: (rows, games, ...) of the array that it stands for.
        dtype: its, one of `agents.buffers.on_device.DTYPES`.
        device: where.

    Attributes:
        kept: (rows, games, ...); of booleans uint8 (rows, games, bytes), as `agents.buffers.bits.BitArray` has them.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], device: torch.device) -> None:
        self.shape, self.dtype = shape, dtype
        of_bits = dtype == np.bool_
        kept = (*shape[:2], -(-prod(shape[2:]) // 8)) if of_bits else shape
        self.kept = torch.zeros(kept, dtype=torch.uint8 if of_bits else DTYPES[dtype], device=device)
        # The first of the booleans is the highest bit of the first byte.
        self._places = torch.tensor([128 >> bit for bit in range(8)], dtype=torch.uint8, device=device)

    def __len__(self) -> int:
        return len(self.kept)

    @property
    def nbytes(self) -> int:
        """Memory that it takes on the device."""
        return self.kept.nbytes

    def __getitem__(self, index: Any) -> Tensor:
        match index:
            case (np.ndarray() as rows, np.ndarray() as games, *rest) if all(part == slice(None) for part in rest):
                at = sent(rows * self.shape[1] + games, self.kept.device)
            case _:
                raise IndexError(f"an array on a device takes an array of rows and one of games, got {index!r}")
        found = self.kept.flatten(0, 1).index_select(0, at)
        if self.dtype != np.bool_:
            return found
        flags = (found.unsqueeze(-1) & self._places) != 0
        return flags.flatten(1)[:, : prod(self.shape[2:])].reshape(-1, *self.shape[2:])

    def __setitem__(self, row: int, values: Any) -> None:
        given = np.asarray(values, self.dtype).reshape(self.shape[1:])
        if self.dtype == np.bool_:
            given = np.packbits(given.reshape(len(given), -1), axis=-1)
        self.kept[row] = sent(given, self.kept.device)

    def held(self, rows: int) -> np.ndarray:
        """The first rows of what is kept, on the host."""
        found: np.ndarray = self.kept[:rows].cpu().numpy()
        return found

    def fill(self, held: np.ndarray) -> None:
        """Put back what `held` gave."""
        self.kept[: len(held)].copy_(torch.from_numpy(held))


class OnDevice(ReplayBuffer):
    """What a buffer with `ArrayOnDevice` does otherwise; mixed into one of SB3's.

    What is small stays with the host, where indices are drawn and returns are added up, and is sent with a minibatch.
    """

    def to_torch(self, array: Any, copy: bool = True) -> Tensor:
        """A tensor on the buffer's device, for which nobody waits; what was gathered on a device stays there."""
        if isinstance(array, Tensor):
            return array
        return sent(array, self.device) if self.device.type != "cpu" else super().to_torch(array, copy)

    @staticmethod
    def _normalize_obs(obs: Any, env: VecNormalize | None = None) -> Any:
        """As SB3's, by the same operations in float64, to the last bit."""
        if env is None or not env.norm_obs:
            return obs
        if any(getattr(type(env), name) is not getattr(VecNormalize, name) for name in NORMALIZING):
            return env.normalize_obs(obs.cpu().numpy())  # which may do more, and waits
        seen: Any = env.obs_rms  # of a Box, for no Dict is kept on a device
        bound = env.clip_obs
        mean, deviation = (sent(part, obs.device) for part in (seen.mean, np.sqrt(seen.var + env.epsilon)))
        return ((obs.double() - mean) / deviation).clamp(-bound, bound).float()


class ReplayBufferOnDevice(OnDevice, ReplayBuffer):
    """SB3's `ReplayBuffer`, see `OnDevice`."""


class NStepReplayBufferOnDevice(OnDevice, NStepReplayBuffer):
    """SB3's `NStepReplayBuffer`, see `OnDevice`."""


class PrioritizedReplayBufferOnDevice(OnDevice, PrioritizedReplayBuffer):
    """`PrioritizedReplayBuffer`, see `OnDevice`."""


KINDS: dict[type[ReplayBuffer], type[ReplayBuffer]] = {
    ReplayBuffer: ReplayBufferOnDevice,
    NStepReplayBuffer: NStepReplayBufferOnDevice,
    PrioritizedReplayBuffer: PrioritizedReplayBufferOnDevice,
}


def on_device(buffer: ReplayBuffer) -> ReplayBuffer:
    """An empty buffer with its observations on its device; that one, where it is another class, or there is no room.

    Another class may do more with its arrays than these do.
    """
    kind = KINDS.get(type(buffer))
    if kind is None or not takes(buffer.observation_space):
        return buffer
    names = [name for name in ("observations", "next_observations") if hasattr(buffer, name)]
    if not has_room(buffer.device, sum(getattr(buffer, name).nbytes for name in names), "the replay buffer"):
        return buffer
    moved = kind.__new__(kind)
    vars(moved).update(vars(buffer))
    for name in names:
        array = getattr(buffer, name)
        setattr(moved, name, ArrayOnDevice(array.shape, array.dtype, buffer.device))
    return moved
