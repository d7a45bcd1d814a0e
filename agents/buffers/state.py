"""What a buffer holds, as plain data."""

from __future__ import annotations

from enum import Enum
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from stable_baselines3.common.buffers import BaseBuffer, ReplayBuffer, RolloutBuffer
from torch import Tensor

from agents.buffers.bits import BitArray
from agents.buffers.replay_on_device import ArrayOnDevice
from agents.buffers.sampling import clear
from agents.buffers.sum_tree import SumTree

TRANSITIONS = {
    "observations", "next_observations", "actions", "rewards", "dones", "timeouts", "ep_start", "ep_length",
    "td_priorities",
}  # fmt: skip
"""Attributes of SB3's replay buffers with a row for each step of the batch, of which those that are filled count.

Of a buffer that lays them out otherwise than (rows, games, ...) all counts.
"""
SETTINGS = {
    "buffer_size", "observation_space", "action_space", "obs_shape", "action_dim", "device", "n_envs",
    "optimize_memory_usage", "handle_timeout_termination", "env", "n_sampled_goal", "her_ratio",
    "goal_selection_strategy", "copy_info_dict",
}  # fmt: skip
"""What SB3's buffers are built with, and what they keep."""
ROLLOUT = {
    "observations", "actions", "rewards", "returns", "episode_starts", "values", "log_probs", "advantages", "pos",
    "full", "generator_ready", "gamma", "gae_lambda",
}  # fmt: skip
"""What SB3's rollout buffers are built with and hold, which is used up where a state is taken."""
UNCHANGED = torch.device | torch.dtype | np.dtype | Enum
Scalar = bool | int | float | str | np.generic | None
KEPT = Tensor | ArrayOnDevice | Scalar


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
    """Check that nothing that the buffer holds now would be lost.

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
    return {name: _part(buffer, value) if name in TRANSITIONS else value for name, value in _held(buffer).items()}


@torch.no_grad()
def restore_buffer(buffer: BaseBuffer, state: dict[str, Any]) -> None:
    """Put back what `buffer_state` gave, into the buffer's own memory where it has room for it.

    Raises:
        ValueError: it is of another buffer.
    """
    if isinstance(buffer, StatefulBuffer):
        buffer.restore(state)
        return
    held = _held(buffer)
    if other := {name for name in held.keys() ^ state.keys() if name in held or not _may_be_set(buffer, name)}:
        raise ValueError(f"the saved buffer is of another kind: {', '.join(sorted(other))}")
    if isinstance(buffer, ReplayBuffer):
        clear(buffer)
        pos, full = state["pos"], state["full"]
        if type(pos) is not int or type(full) is not bool or not 0 <= pos < buffer.buffer_size:
            raise ValueError(f"the saved buffer stands at row {pos!r} of {buffer.buffer_size}")
        buffer.pos, buffer.full = pos, full
    for name, saved in state.items():
        known, stored = held.get(name), name in TRANSITIONS
        value = _refilled(buffer, name, known, saved) if stored else _taken(buffer, known, saved)
        if name not in held or value is not known:  # what was refilled may be within something else
            setattr(buffer, name, value)
    for tree in (value for value in vars(buffer).values() if isinstance(value, SumTree)):
        tree.sum_up()


def _held(buffer: BaseBuffer) -> dict[str, Any]:
    """The attributes that a state is made of."""
    known = SETTINGS | (ROLLOUT if isinstance(buffer, RolloutBuffer) else set())
    if not getattr(buffer, "copy_info_dict", True):
        known |= {"infos"}  # empty dicts
    held = {name: _array(value) for name, value in vars(buffer).items() if name not in known}
    return {name: value for name, value in held.items() if not isinstance(value, UNCHANGED)}


def _array(value: Any) -> Any:
    """The array in which a value keeps what it stands for."""
    match value:
        case BitArray():
            return value.bits
        case SumTree():
            return value.numbers
    return value


def _is_kept(value: Any) -> bool:
    if isinstance(value, dict):
        return all(type(key) in (str, int) and _is_kept(item) for key, item in value.items())
    if isinstance(value, tuple):
        return all(isinstance(item, Scalar) for item in value)
    return not value.dtype.hasobject if isinstance(value, np.ndarray) else isinstance(value, KEPT)


def _may_be_set(buffer: BaseBuffer, name: str) -> bool:
    """Whether an attribute that a buffer does not hold yet may be one that it sets later; a method is none."""
    return name not in vars(buffer) and _is_kept(getattr(type(buffer), name, None))


def _part(buffer: BaseBuffer, value: Any) -> Any:
    """Of transitions the rows that are filled."""
    if isinstance(value, dict):
        return {key: _part(buffer, item) for key, item in value.items()}
    # Where next observations are the next row's, the last one has been written.
    rows = buffer.size() + bool(getattr(buffer, "optimize_memory_usage", False))
    if isinstance(value, ArrayOnDevice):
        return value.held(rows)  # as it would be on the host: a run goes on where there is no such device
    if not isinstance(value, np.ndarray | Tensor) or value.shape[:2] != (buffer.buffer_size, buffer.n_envs):
        return value
    return value[:rows]


def _refilled(buffer: BaseBuffer, name: str, held: Any, saved: Any) -> Any:
    """The memory of transitions, with what was saved of them."""
    if isinstance(held, dict) and isinstance(saved, dict) and saved.keys() == held.keys():
        return {key: _refilled(buffer, f"{name}[{key!r}]", held[key], saved[key]) for key in held}
    if isinstance(held, Scalar) and isinstance(saved, Scalar):
        return saved
    part = _part(buffer, held)
    if not _fits(part, saved):
        raise ValueError(f"the saved {name} is of another buffer")
    if isinstance(held, ArrayOnDevice):
        held.fill(saved)
    else:
        _fill(part, saved)
    return held


def _taken(buffer: BaseBuffer, held: Any, saved: Any) -> Any:
    """The value of an attribute, in the memory that is held where it fits, else in a copy."""
    if isinstance(saved, dict):
        known = held if isinstance(held, dict) else {}
        return {key: _taken(buffer, known.get(key), value) for key, value in saved.items()}
    if _fits(held, saved):
        _fill(held, saved)
        return held
    if isinstance(saved, Tensor):
        return saved.to(buffer.device, copy=True)
    if isinstance(saved, np.ndarray):
        return saved.copy()
    return tuple(saved) if isinstance(saved, list) else saved  # storage makes lists of tuples, and others are not kept


def _fits(held: Any, saved: Any) -> bool:
    alike = any(isinstance(held, kind) and isinstance(saved, kind) for kind in (np.ndarray, Tensor))
    return alike and (held.shape, held.dtype) == (saved.shape, saved.dtype)


def _fill(held: Any, saved: Any) -> None:
    if isinstance(held, Tensor):
        held.copy_(saved)
    else:
        held[...] = saved
