"""Prioritised replay: whose transitions are SB3's, and whose draws, weights and priorities are the paper's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer

from agents.buffers.bits import BitArray, keep_bits
from agents.buffers.prioritized import PrioritizedReplayBuffer
from agents.buffers.state import buffer_state, restore_buffer

NUMBERS = spaces.Box(0, 1000, (2,), np.float32)
BOARDS = spaces.Box(0, 1, (3, 3), np.bool_)
IMAGES = spaces.Box(0, 255, (1, 3, 3), np.uint8)
ONCE = {"optimize_memory_usage": True, "handle_timeout_termination": False}


def made(
    cls: type[ReplayBuffer] = PrioritizedReplayBuffer, space: Any = NUMBERS, rows: int = 8, **arguments: Any
) -> Any:
    buffer = cls(2 * rows, space, spaces.Discrete(3), device="cpu", n_envs=2, **arguments)
    keep_bits(buffer)
    return buffer


def play(buffer: ReplayBuffer, steps: int) -> None:
    """Two games whose episodes end and are truncated here and there; the reward of step n is n, and n + 0.5."""
    random = np.random.default_rng(1)

    def observed() -> np.ndarray:
        return np.stack([buffer.observation_space.sample() for _ in range(2)])

    buffer.observation_space.seed(1)
    now = observed()
    for step in range(steps):
        following, dones = observed(), random.random(2) < 0.3
        cut = [{"TimeLimit.truncated": bool(flag)} for flag in dones & (random.random(2) < 0.5)]
        buffer.add(now, following, random.integers(3, size=2), np.array([step, step + 0.5]), dones, cut)
        now = following


@pytest.mark.parametrize("steps", [5, 19])
@pytest.mark.parametrize(
    ("n_steps", "space", "arguments"),
    [(1, NUMBERS, {}), (3, BOARDS, {}), (4, IMAGES, {}), (1, NUMBERS, ONCE), (3, NUMBERS, {"gamma": 0.9})],
)
def test_transitions_and_n_step_returns_are_sb3s(n_steps: int, space: Any, arguments: Any, steps: int) -> None:
    if n_steps == 1:
        stock, discounts = made(ReplayBuffer, space, **arguments), torch.full((64, 1), 0.99)
    else:
        stock, discounts = made(NStepReplayBuffer, space, n_steps=n_steps, **arguments), None
    buffer = made(space=space, n_steps=n_steps, **arguments)
    play(stock, steps), play(buffer, steps)
    assert isinstance(buffer.observations, BitArray) is (space is BOARDS)
    np.random.seed(3)
    expected = stock.sample(64)
    np.random.seed(3)
    found = buffer.sample_uniformly(64)
    for name in expected._fields:
        wanted = getattr(expected, name)
        assert torch.equal(getattr(found, name), discounts if wanted is None else wanted), name
    batch = buffer.sample(200)
    rows, games = np.divmod(batch.indices, 2)
    assert torch.equal(batch.actions, torch.as_tensor(buffer.actions[rows, games]))
    again = buffer._transitions(batch.indices, None)
    assert all(torch.equal(getattr(batch, name), getattr(again, name)) for name in again._fields)


def test_returns_end_where_a_task_ends() -> None:
    buffer = made(n_steps=3, gamma=0.5, rows=4)
    zeros, whole = np.zeros((2, 2)), [{"TimeLimit.truncated": True}] * 2
    for reward, done in ((1, False), (2, True), (4, False), (8, False)):  # the switch truncates all episodes
        buffer.add(
            zeros, zeros + reward, np.zeros(2), np.full(2, reward), np.full(2, done), whole if done else [{}] * 2
        )
    found = buffer._transitions(np.arange(0, 8, 2), None)
    assert found.rewards.flatten().tolist() == [1 + 0.5 * 2, 2, 4 + 0.5 * 8, 8]
    assert found.discounts.flatten().tolist() == [0.25, 0.5, 0.25, 0.5]
    assert found.next_observations[:, 0].tolist() == [2, 2, 8, 8]
    assert found.dones.flatten().tolist() == [0, 0, 0, 0]


def test_draws_and_weights_by_hand() -> None:
    buffer = made(alpha=0.5, beta=0.5, epsilon=1.0, rows=4)
    play(buffer, 2)
    buffer.update_priorities(np.arange(4), np.array([3.0, -8.0, 15.0, 0.0]))
    assert buffer.td_priorities.numbers[:2].tolist() == [[2, 3], [4, 1]]  # roots of 4, 9, 16 and 1
    batch = buffer.sample(10)  # strata of one each
    assert batch.indices.tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 2, 3]
    assert batch.weights.shape == (10, 1)
    expected = np.sqrt(1 / np.array([2, 3, 4, 1], np.float64))  # of (4 p / 10) ** -0.5, over that of the least p
    assert torch.equal(batch.weights.flatten(), torch.tensor(expected[batch.indices], dtype=torch.float32))


def test_alpha_0_draws_uniformly() -> None:
    buffer = made(alpha=0.0, rows=4)
    play(buffer, 3)
    buffer.update_priorities(np.arange(6), np.array([9.0, 0, 1, 2, 3, 4]))
    np.random.seed(0)
    batch = buffer.sample(6000)
    counts = np.bincount(batch.indices, minlength=8)
    assert (batch.weights == 1).all()
    assert (np.abs(counts[:6] - 1000) <= 1).all()  # strata do not stray further
    assert not counts[6:].any()
    singles = np.bincount([buffer.sample(1).indices[0] for _ in range(600)], minlength=8)
    assert ((singles[:6] - 100) ** 2 / 100).sum() < 20.5  # chi-square of 5 degrees of freedom, one in a thousand


def test_new_transitions_have_the_highest_priority_there_has_been() -> None:
    buffer = made(alpha=1.0, epsilon=1e-6, rows=3)
    play(buffer, 2)
    assert buffer.td_priorities.numbers.tolist() == [[1, 1], [1, 1], [0, 0]]
    buffer.update_priorities(np.array([1, 1]), np.array([7.0, 0.5]))
    assert buffer.td_priorities.numbers[0].tolist() == [1, 0.5 + 1e-6]
    play(buffer, 2)
    assert buffer.td_priorities.numbers[[2, 0]] == pytest.approx(7)  # the third row, and over the first
    buffer.update_priorities(np.array([0, 2]), np.array([np.nan, np.inf]))
    assert np.isfinite(buffer.td_priorities.total)
    buffer.reset()
    assert (buffer.td_priorities.total, buffer.highest_priority) == (0, 1)


def test_of_observations_that_are_stored_once_the_row_written_over_is_not_drawn() -> None:
    buffer = made(rows=3, **ONCE)
    play(buffer, 2)
    assert (buffer.td_priorities.numbers > 0).all(axis=1).tolist() == [True, True, False]
    play(buffer, 2)
    assert (buffer.td_priorities.numbers > 0).all(axis=1).tolist() == [True, False, True]


@pytest.mark.parametrize("arguments", [{}, ONCE])
@pytest.mark.parametrize("steps", [5, 11])
def test_a_state_brings_back_the_same_draws(steps: int, arguments: Any) -> None:
    buffer, other = made(n_steps=2, **arguments), made(n_steps=2, **arguments)
    play(buffer, steps), play(other, 13)
    buffer.update_priorities(np.arange(10), np.random.default_rng(0).random(10) * 9)
    state = buffer_state(buffer)
    assert len(state["td_priorities"]) == min(steps + bool(arguments), 8)
    restore_buffer(other, state)
    play(buffer, 1), play(other, 1)
    np.random.seed(2)
    one = buffer.sample(50)
    np.random.seed(2)
    two = other.sample(50)
    assert np.array_equal(one.indices, two.indices)
    assert all(torch.equal(getattr(one, name), getattr(two, name)) for name in one._fields[:-1])
    state["td_priorities"][1, 1] = np.nan
    with pytest.raises(ValueError, match="the priorities are not all numbers of at least 0"):
        restore_buffer(other, state)
