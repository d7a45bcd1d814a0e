"""The end of what a buffer stores; samples are tested with the learners."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_off_policy import ours
from stable_baselines3.common.buffers import ReplayBuffer

from agents.buffers.sampling import cut_episodes


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
