"""Boolean observations kept as bits are the ones that were stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer

import envs
from agents import DQN
from agents.buffers.bits import BitArray, keep_bits
from agents.buffers.state import buffer_state, restore_buffer

BOARD = spaces.Box(0, 1, (3, 3), np.bool_)


def test_nine_booleans_are_two_bytes() -> None:
    array = BitArray((4, 2, 3, 3))
    board = np.eye(3, dtype=bool)
    array[1] = np.stack([board, ~board])
    assert array.bits[1].tolist() == [[0b10001000, 0b10000000], [0b01110111, 0]]
    np.testing.assert_array_equal(array[np.array([1, 0]), np.array([1, 1]), :], [~board, np.zeros((3, 3))])
    np.testing.assert_array_equal(np.asarray(array)[1, 0], board)
    array[2:4] = array[1:3]
    np.testing.assert_array_equal(array[2], [board, ~board])
    assert (array.nbytes, len(array), array[0].dtype) == (16, 4, np.bool_)
    np.testing.assert_array_equal(array[2, 1, ...], ~board)
    for index in ((0, 0, 1), (0, 0, np.array([0, 1])), (..., 0)):
        with pytest.raises(IndexError, match="rows and games"):
            array[index]


@pytest.mark.parametrize(
    ("cls", "arguments"),
    [(ReplayBuffer, {}), (NStepReplayBuffer, {"n_steps": 2}),
     (ReplayBuffer, {"optimize_memory_usage": True, "handle_timeout_termination": False})],
)  # fmt: skip
def test_samples_are_sb3s_and_so_is_what_a_checkpoint_puts_back(cls: Any, arguments: dict[str, Any]) -> None:
    plain, bits, again = (cls(8, BOARD, spaces.Discrete(2), device="cpu", n_envs=2, **arguments) for _ in range(3))
    for buffer in (bits, again):
        keep_bits(buffer)
    draw = np.random.default_rng(0)
    for _ in range(6):  # more than the four rows
        obs, following = draw.integers(2, size=(2, 2, 3, 3)).astype(bool)
        for buffer in (plain, bits):
            buffer.add(obs, following, np.ones(2), np.ones(2), np.zeros(2), [{}, {}])
    restore_buffer(again, buffer_state(bits))
    samples = []
    for buffer in (plain, bits, again):
        np.random.seed(0)
        samples.append(buffer.sample(64))
    for field in ("observations", "next_observations", "rewards"):
        expected = getattr(samples[0], field)
        assert all(expected.equal(getattr(sample, field)) for sample in samples)
        assert all(expected.dtype == getattr(sample, field).dtype for sample in samples)
    assert isinstance(again.observations, BitArray)


def test_boards_of_games_are_kept_so_and_other_observations_are_not() -> None:
    def kept(name: str, **arguments: Any) -> Any:
        env = envs.make(name, n_envs=2, seed=0)
        return DQN("MlpPolicy", env, buffer_size=10, **arguments).replay_buffer.observations

    class Own(ReplayBuffer):
        pass

    assert kept("breakout").bits.shape == (5, 2, 125)
    assert isinstance(kept("cartpole"), np.ndarray)
    assert isinstance(kept("breakout", replay_buffer_class=Own), np.ndarray)
