"""The end of what a buffer stores; samples are tested with the learners."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from small_off_policy import ours
from stable_baselines3.common.buffers import ReplayBuffer

from agents.buffers.sampling import cut_episodes, sample_newest


@pytest.mark.parametrize("kind", ["arrays", "bool tensors"])
def test_episodes_that_are_cut_are_truncated(kind: str) -> None:
    buffer: ReplayBuffer = ours("dqn-mlp", n_envs=2).learn(24).replay_buffer
    assert buffer.pos == 12
    buffer.dones[11], buffer.timeouts[11] = [1, 0], 0
    if kind == "bool tensors":
        buffer.dones, buffer.timeouts = (torch.as_tensor(each).bool() for each in (buffer.dones, buffer.timeouts))
    before = np.asarray(buffer.dones[:11]).copy(), np.asarray(buffer.timeouts[:11]).copy()
    cut_episodes(buffer)
    assert buffer.dones[11].tolist() == [1, 1]
    assert buffer.timeouts[11].tolist() == [0, 1]
    assert np.array_equal(np.asarray(buffer.dones[:11]), before[0])
    assert np.array_equal(np.asarray(buffer.timeouts[:11]), before[1])


def test_hindsight_knows_that_an_episode_was_cut() -> None:
    buffer = ours("sac-her").learn(4).replay_buffer
    assert not buffer.ep_length.any()
    cut_episodes(buffer)
    assert buffer.ep_length[:5, 0].tolist() == [4, 4, 4, 4, 0]
    assert buffer._current_ep_start.tolist() == [4]


def test_of_observations_that_are_stored_once_the_newest_transitions_are_drawn_whole() -> None:
    space = spaces.Box(0, 100, (1,), np.float32)
    arguments = {"optimize_memory_usage": True, "handle_timeout_termination": False}
    buffer = ReplayBuffer(4, space, spaces.Discrete(2), device="cpu", **arguments)
    for step in range(6):  # the row of step 2 holds what step 5 has led to
        buffer.add(np.array([[step]]), np.array([[step + 1]]), np.array([[0]]), np.array([step]), np.array([0]), [{}])
    batch = sample_newest(buffer, 3, 50, torch.Generator().manual_seed(0), None)
    assert torch.equal(batch.next_observations, batch.observations + 1)
    drawn = [sample_newest(buffer, 3, 50, torch.Generator().manual_seed(seed), None).rewards for seed in range(20)]
    assert set(torch.cat(drawn).flatten().tolist()) == {3, 4, 5}
    cut_episodes(buffer)
    assert (buffer.dones[1].tolist(), buffer.timeouts[1].tolist()) == ([1], [0])  # an end, as all are
