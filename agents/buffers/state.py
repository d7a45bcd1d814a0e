"""What a buffer holds, as plain data."""

from __future__ import annotations

from enum import Enum
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from stable_baselines3.common.buffers import BaseBuffer, ReplayBuffer, RolloutBuffer
from torch import Tensor

from agents.buffers.sampling import clear

TRANSITIONS = {
    "observations", "next_observations", "actions", "rewards", "dones", "timeouts", "ep_start", "ep_length",
}  # fmt: skip
"""Attributes of SB3's replay buffers with a row for each step of the batch, of which those that are filled count."""
SETTINGS = {
    "buffer_size", "observation_space", "action_space", "obs_shape", "action_dim", "device", "n_envs",
    "optimize_memory_usage", "handle_timeout_termination", "n_steps", "gamma", "gae_lambda",
    "env", "n_sampled_goal", "her_ratio", "goal_selection_strategy", "copy_info_dict",
}  # fmt: skip
"""What SB3's buffers are built with."""
ROLLOUT = {
    "observations", "actions", "rewards", "returns", "episode_starts", "values", "log_probs", "advantages", "pos",
    "full", "generator_ready",
}  # fmt: skip
"""What SB3's rollout buffers hold: it is used up where a state is taken."""
UNCHANGED = torch.device | torch.dtype | np.dtype | Enum
Scalar = bool | int | float | str | np.generic | None


@runtime_checkable
class StatefulBuffer(Protocol):
    """A buffer that knows itself what to save; of others that is their arrays, tensors and numbers."""

    def state(self) -> dict[str, Any]:
        """All that decides what it will give: nested dicts and lists of JSON values, arrays and tensors, not copied."""

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave; called before the first step, on a buffer that was built alike.

        Raises:
            ValueError: it is of another buffer.
        """


def check_saveable(buffer: BaseBuffer) -> None:
    """Check that nothing of the buffer would be lost.

    Raises:
        ValueError: it holds what is neither an array, a tensor nor a number, and has no methods to save it.
    """
    for name, value in ({} if isinstance(buffer, StatefulBuffer) else _held(buffer)).items():
        if not _is_kept(value):
            raise ValueError(
                f"{type(buffer).__name__}.{name} is a {type(value).__name__}, which a checkpoint would lose; give the "
                "buffer the methods state() and restore(state) of agents.buffers.state.StatefulBuffer"
            )


def buffer_state(buffer: BaseBuffer) -> dict[str, Any]:
    """What a buffer holds, of its transitions the rows that are filled; its own memory, not copies.

    Raises:
        ValueError: something would be lost, see `check_saveable`.
    """
    if isinstance(buffer, StatefulBuffer):
        return buffer.state()
    check_saveable(buffer)
    return {name: _part(value, _filled(buffer, name)) for name, value in _held(buffer).items()}


@torch.no_grad()
def restore_buffer(buffer: BaseBuffer, state: dict[str, Any]) -> None:
    """Put back what `buffer_state` gave, into the buffer's own memory.

    Raises:
        ValueError: it is of another buffer.
    """
    if isinstance(buffer, StatefulBuffer):
        buffer.restore(state)
        return
    held = _held(buffer)
    if other := held.keys() ^ state.keys():
        raise ValueError(f"the saved buffer is of another kind: {', '.join(sorted(other))}")
    if isinstance(buffer, ReplayBuffer):
        clear(buffer)
        pos, full = state["pos"], state["full"]
        if type(pos) is not int or type(full) is not bool or not 0 <= pos < buffer.buffer_size:
            raise ValueError(f"the saved buffer stands at row {pos!r} of {buffer.buffer_size}")
        buffer.pos, buffer.full = pos, full
    for name, saved in state.items():
        setattr(buffer, name, _restored(name, held[name], saved, _filled(buffer, name)))


def _held(buffer: BaseBuffer) -> dict[str, Any]:
    """The attributes that a state is made of."""
    known = SETTINGS | (ROLLOUT if isinstance(buffer, RolloutBuffer) else set())
    if not getattr(buffer, "copy_info_dict", True):
        known |= {"infos"}  # empty dicts
    held = {name: value for name, value in vars(buffer).items() if name not in known}
    return {name: value for name, value in held.items() if not isinstance(value, UNCHANGED)}


def _is_kept(value: Any) -> bool:
    if isinstance(value, dict):
        return all(type(key) in (str, int) and _is_kept(item) for key, item in value.items())
    if isinstance(value, tuple):
        return all(isinstance(item, Scalar) for item in value)
    return not value.dtype.hasobject if isinstance(value, np.ndarray) else isinstance(value, Tensor | Scalar)


def _filled(buffer: BaseBuffer, name: str) -> int | None:
    """How many rows of an attribute count; None where all of it does."""
    if name not in TRANSITIONS:
        return None
    # Where next observations are the next row's, the last one has been written.
    return min(buffer.size() + bool(getattr(buffer, "optimize_memory_usage", False)), buffer.buffer_size)


def _part(value: Any, rows: int | None) -> Any:
    if isinstance(value, dict):
        return {key: _part(item, rows) for key, item in value.items()}
    return value[:rows] if rows is not None and isinstance(value, np.ndarray | Tensor) else value


def _restored(name: str, held: Any, saved: Any, rows: int | None) -> Any:
    """The value of an attribute: the memory that it has, filled, or the number that was saved."""
    if isinstance(held, dict) and isinstance(saved, dict) and saved.keys() == held.keys():
        held.update({key: _restored(f"{name}[{key!r}]", held[key], saved[key], rows) for key in held})
        return held
    part = _part(held, rows)
    if isinstance(part, Tensor) and isinstance(saved, Tensor) and _shape(part) == _shape(saved):
        part.copy_(saved)
        return held
    if isinstance(part, np.ndarray) and isinstance(saved, np.ndarray) and _shape(part) == _shape(saved):
        part[...] = saved
        return held
    if isinstance(held, tuple) and isinstance(saved, list | tuple) and len(saved) == len(held):
        return tuple(_restored(name, *pair, None) for pair in zip(held, saved, strict=True))
    if isinstance(held, Scalar) and isinstance(saved, Scalar) and isinstance(held, str) == isinstance(saved, str):
        return saved
    raise ValueError(f"the saved {name} is of another buffer")


def _shape(storage: np.ndarray | Tensor) -> tuple[Any, ...]:
    return storage.shape, storage.dtype
