"""What a replay buffer holds."""

from __future__ import annotations

from typing import Any

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer

from agents.training_state.state import State


def replay_state(buffer: ReplayBuffer) -> State:
    """What a buffer holds: of its arrays the rows that are filled."""
    filled = buffer.size()
    arrays = {
        key: {part: rows[:filled] for part, rows in held.items()} if isinstance(held, dict) else held[:filled]
        for key, held in _arrays(buffer).items()
    }
    episodes = {key: getattr(buffer, key) for key in _of_episodes(buffer)}
    return {"pos": buffer.pos, "full": buffer.full, "arrays": arrays, "episodes": episodes}


def restore_replay(buffer: ReplayBuffer, state: State) -> None:
    """Put back what `replay_state` gave, into the buffer's own arrays."""
    buffer.pos, buffer.full = state["pos"], state["full"]
    for key, held in _arrays(buffer).items():
        for rows, saved in _pairs(held, state["arrays"][key]):
            rows[: len(saved)] = saved
    for key in _of_episodes(buffer):
        setattr(buffer, key, state["episodes"][key].copy())


def _arrays(buffer: ReplayBuffer) -> dict[str, Any]:
    """The buffer's arrays of transitions, or dicts of these, by attribute."""
    rows = buffer.buffer_size

    def stored(value: Any) -> bool:
        if isinstance(value, dict):
            return bool(value) and all(map(stored, value.values()))
        return isinstance(value, np.ndarray) and value.dtype != object and len(value.shape) > 1 and len(value) == rows

    return {key: value for key, value in vars(buffer).items() if stored(value)}


def _of_episodes(buffer: ReplayBuffer) -> list[str]:
    """Hindsight replay's starts of the episodes that are going on."""
    return [key for key in ("_current_ep_start",) if hasattr(buffer, key)]


def _pairs(held: Any, saved: Any) -> list[tuple[Any, Any]]:
    return [(rows, saved[part]) for part, rows in held.items()] if isinstance(held, dict) else [(held, saved)]
