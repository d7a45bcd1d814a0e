"""`agents.buffers.ahead`: the minibatches of SB3's own buffer, drawn in the same order from the same generator."""

from __future__ import annotations

from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.vec_env import VecNormalize

from agents.buffers import ahead
from agents.buffers.bits import BitArray, keep_bits
from agents.buffers.prioritized import PrioritizedReplayBuffer

SPACES: dict[str, spaces.Space[Any]] = {
    "boards": spaces.Box(0, 1, (5, 3, 3), bool),
    "images": spaces.Box(0, 255, (1, 6, 6), np.uint8),
    "vectors": spaces.Box(-3, 3, (3,), np.float32),
    "numbers": spaces.Discrete(7),
}
LEAN = {"optimize_memory_usage": True, "handle_timeout_termination": False}


def filled(space: spaces.Space[Any], n_envs: int, rows: int, **arguments: Any) -> ReplayBuffer:
    """A buffer of 6 rows that so many have been written to."""
    buffer = ReplayBuffer(6 * n_envs, space, spaces.Discrete(4), "cpu", n_envs, **arguments)
    space.seed(1)
    random = np.random.default_rng(2)
    for _ in range(rows):
        observations, following = (np.stack([space.sample() for _ in range(n_envs)]) for _ in range(2))
        dones = random.random(n_envs) < 0.3
        infos = [{"TimeLimit.truncated": bool(cut)} for cut in random.random(n_envs) < 0.5]
        buffer.add(observations, following, random.integers(4, size=n_envs), random.random(n_envs), dones, infos)
    return buffer


def assert_alike(
    buffer: ReplayBuffer, n: int, count: int, env: VecNormalize | None = None, stock: ReplayBuffer | None = None
) -> None:
    np.random.seed(3)
    expected = [(stock or buffer).sample(n, env) for _ in range(count)]
    after = np.random.random()
    np.random.seed(3)
    found = list(chain.from_iterable(ahead.minibatches(buffer, n, count, env)))
    assert np.random.random() == after
    assert len(found) == count
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.discounts is theirs.discounts is None
        for own, other in zip(mine[:5], theirs[:5], strict=True):
            assert (own.dtype, own.shape) == (other.dtype, other.shape)
            assert torch.equal(own, other)


@pytest.mark.parametrize("rows", [4, 9], ids=["filling", "full"])
@pytest.mark.parametrize("n_envs", [1, 64])
@pytest.mark.parametrize("space", SPACES)
def test_minibatches_are_sb3s(space: str, n_envs: int, rows: int) -> None:
    for arguments in ({}, LEAN):
        buffer = filled(SPACES[space], n_envs, rows, **arguments)
        for count in (1, 5):
            assert_alike(buffer, 7, count)


def test_boards_that_are_kept_as_bits_are_the_same() -> None:
    stock, buffer = (filled(SPACES["boards"], 3, 0) for _ in range(2))
    keep_bits(buffer)
    assert isinstance(buffer.observations, BitArray)
    full = filled(SPACES["boards"], 3, 9)
    for each in (stock, buffer):
        for name in ("observations", "next_observations"):
            getattr(each, name)[:] = getattr(full, name)
        each.pos, each.full = full.pos, True
    assert_alike(buffer, 8, 4, stock=stock)


def test_only_so_much_is_gathered_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = filled(SPACES["images"], 2, 9)
    monkeypatch.setattr(ahead, "GATHERED", 3 * 4 * 36 + 1)  # three minibatches of four images
    assert [len(some) for some in ahead.minibatches(buffer, 4, 8)] == [3, 3, 2]
    assert_alike(buffer, 4, 8)
    monkeypatch.setattr(ahead, "GATHERED", 1)
    assert [len(some) for some in ahead.minibatches(buffer, 4, 2)] == [1, 1]


def test_vectors_stand_apart_and_images_do_not() -> None:
    """What is converted first is copied then."""
    for space, apart in (("vectors", True), ("images", False)):
        ((first, second),) = ahead.minibatches(filled(SPACES[space], 2, 6), 4, 2)
        pointers = {each.observations.untyped_storage().data_ptr() for each in (first, second)}
        assert (len(pointers) == 2) == apart


def test_normalised_as_sb3_does() -> None:
    env = VecNormalize(make_vec_env("Pendulum-v1", 2))
    env.obs_rms.mean, env.obs_rms.var, env.ret_rms.var = np.arange(3.0), np.arange(1.0, 4.0), np.array(3.0)
    assert_alike(filled(SPACES["vectors"], 2, 9), 6, 3, env)


def test_only_sb3s_own_buffer_is_known() -> None:
    space, actions = SPACES["vectors"], spaces.Discrete(4)
    assert ahead.draws_ahead(ReplayBuffer(4, space, actions, "cpu"))
    assert not any(
        ahead.draws_ahead(kind(4, space, actions, "cpu")) for kind in (NStepReplayBuffer, PrioritizedReplayBuffer)
    )
    assert not ahead.draws_ahead(None)
