"""Rollouts laid out by games are those of SB3, and are held once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import BaseBuffer, DictRolloutBuffer, RolloutBuffer

from agents.buffers.rollout import by_game

STEPS, GAMES = 5, 3
BOARD = spaces.Box(0, 1, (2, 3), np.bool_)
SPACES: dict[str, tuple[spaces.Space[Any], spaces.Space[Any]]] = {
    "boards": (BOARD, spaces.Discrete(4)),
    "numbers": (spaces.Discrete(6), spaces.Box(-1, 1, (2,), np.float64)),
    "wide integers": (spaces.Box(0, 9000, (4,), np.uint16), spaces.MultiDiscrete([2, 3])),
    "a dict": (spaces.Dict({"board": BOARD, "number": spaces.Discrete(6)}), spaces.MultiBinary(2)),
}


def fill(buffer: RolloutBuffer) -> None:
    """A rollout that is the same for every buffer."""
    rng = np.random.default_rng(7)
    observation, action = buffer.observation_space, buffer.action_space
    observation.seed(8), action.seed(9)
    buffer.reset()
    for _ in range(STEPS):
        seen = [observation.sample() for _ in range(GAMES)]
        stacked = {key: np.stack([each[key] for each in seen]) for key in seen[0]} if type(seen[0]) is dict else seen
        numbers = [torch.from_numpy(rng.normal(size=GAMES).astype(np.float32)) for _ in range(2)]
        acted = np.stack([action.sample() for _ in range(GAMES)])
        observed: Any = np.stack(stacked) if isinstance(stacked, list) else stacked
        buffer.add(observed, acted, rng.normal(size=GAMES), rng.random(GAMES) < 0.3, *numbers)
    buffer.compute_returns_and_advantage(torch.from_numpy(rng.normal(size=GAMES)), rng.random(GAMES) < 0.5)


def flat(batch: Any) -> list[torch.Tensor]:
    fields = [value for value in batch if value is not None]
    return [tensor for field in fields for tensor in (field.values() if isinstance(field, dict) else [field])]


@pytest.mark.parametrize("kind", SPACES)
def test_minibatches_are_those_of_sb3(kind: str) -> None:
    observation, action = SPACES[kind]
    cls = DictRolloutBuffer if kind == "a dict" else RolloutBuffer
    stock = cls(STEPS, observation, action, "cpu", gae_lambda=0.9, gamma=0.8, n_envs=GAMES)
    ours = by_game(stock)
    assert isinstance(ours, cls)
    for _ in range(2):  # the second rollout after the first has been read
        found = []
        for buffer in (ours, stock):
            fill(buffer)
            np.random.seed(1)
            whole = [np.array(buffer.advantages), np.array(buffer.rewards), np.array(buffer.returns)]
            found.append((whole, [batch for size in (4, None) for batch in buffer.get(size)]))
        for mine, its in zip(found[0][0], found[1][0], strict=True):
            assert np.array_equal(mine, its)
        for batch, expected in zip(found[0][1], found[1][1], strict=True):
            assert type(batch) is type(expected)
            for mine, its in zip(flat(batch), flat(expected), strict=True):
                assert mine.dtype is its.dtype
                assert torch.equal(mine, its)


def test_minibatches_are_read_where_the_games_were_written() -> None:
    """SB3 makes a second array; and a minibatch is a copy, not a part of either."""
    buffer = by_game(RolloutBuffer(STEPS, BOARD, spaces.Discrete(4), "cpu", n_envs=GAMES))
    fill(buffer)
    written, game = buffer.observations, buffer.observations[:, 1].copy()
    (batch,) = buffer.get()
    assert np.shares_memory(written, buffer.observations)
    assert np.array_equal(buffer.observations[STEPS : 2 * STEPS], game)
    before = batch.observations.clone()
    buffer.observations[:] = False
    assert torch.equal(batch.observations, before)


def test_a_buffer_that_may_do_more_is_left_alone() -> None:
    class Own(RolloutBuffer):
        pass

    own: BaseBuffer = Own(STEPS, BOARD, spaces.Discrete(4), "cpu", n_envs=GAMES)
    assert isinstance(own, RolloutBuffer)
    assert by_game(own) is own
