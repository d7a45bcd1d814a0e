"""Observations of replay on the learner's device: the minibatches are those of a buffer in main memory."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from forced_device import force
from gymnasium import spaces
from small_off_policy import assert_same, ours, state
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from agents.buffers import on_device, replay_on_device
from agents.buffers.replay_on_device import (
    ArrayOnDevice,
    NStepReplayBufferOnDevice,
    PrioritizedReplayBufferOnDevice,
    ReplayBufferOnDevice,
)
from agents.buffers.state import buffer_state, restore_buffer

KEEPS_NEXT = {"replay_buffer_kwargs": {"handle_timeout_termination": False}}
CASES: dict[str, tuple[str, type, dict[str, Any]]] = {
    "boards": ("dqn-board", ReplayBufferOnDevice, {"n_envs": 2}),
    "images, half of the memory": ("dqn-cnn", ReplayBufferOnDevice, {"optimize_memory_usage": True, **KEEPS_NEXT}),
    "n-step returns": ("sac-mlp", NStepReplayBufferOnDevice, {"n_steps": 3, "n_envs": 2}),
    "priorities": ("sac-board", PrioritizedReplayBufferOnDevice, {"replay": "prioritized", "n_steps": 2}),
    "td3": ("td3-mlp", ReplayBufferOnDevice, {"buffer_size": 32}),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def built(case: str, *, there: bool) -> Any:
    """An agent whose replay is on the device, or with the host."""
    kind, cls, settings = CASES[case]
    with pytest.MonkeyPatch.context() as patch:
        if there:
            force(patch)
        model = ours(kind, **settings)
    assert isinstance(model.replay_buffer, cls) is there
    return model


def test_training_is_that_of_a_buffer_in_main_memory(case: str) -> None:
    mine, its = (built(case, there=there).learn(48) for there in (True, False))
    assert_same(state(mine), state(its))
    # And what interventions are given.
    for draw in ("sample", "sample_newest"):
        span = () if draw == "sample" else (16,)
        found = [getattr(model, draw)(9, *span, torch.Generator().manual_seed(3)) for model in (mine, its)]
        assert all(map(torch.equal, *[[part for part in batch if isinstance(part, Tensor)] for batch in found]))


def test_what_it_holds_is_saved_as_arrays_and_goes_on_where_there_is_no_device(case: str) -> None:
    mine, its = (built(case, there=there).learn(40) for there in (True, False))
    saved = [buffer_state(model.replay_buffer) for model in (mine, its)]
    assert saved[0].keys() == saved[1].keys()
    for name, value in saved[0].items():
        assert type(value) is type(saved[1][name])
        assert np.array_equal(value, saved[1][name])
    for there, taken in ((True, saved[1]), (False, saved[0])):
        other = built(case, there=there)
        restore_buffer(other.replay_buffer, taken)
        batches = []
        for model in (other, mine):
            np.random.seed(2)
            batches.append([part for part in model.replay_buffer.sample(16) if isinstance(part, Tensor)])
        assert all(map(torch.equal, *batches))
    lacking = {**saved[0], "observations": saved[0]["observations"][1:]}
    with pytest.raises(ValueError, match="the saved observations is of another buffer"):
        restore_buffer(built(case, there=True).replay_buffer, lacking)


def test_a_minibatch_is_sent_as_indices_and_what_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is read back."""
    model = built("boards", there=True).learn(32)
    sent, send = [], replay_on_device.sent
    monkeypatch.setattr(replay_on_device, "sent", lambda array, device: sent.append(array.shape) or send(array, device))
    for method in ("item", "tolist", "cpu", "numpy", "nonzero", "__bool__", "__index__", "__array__"):
        monkeypatch.setattr(Tensor, method, lambda *arguments: pytest.fail("the host has waited"))
    batch = model.replay_buffer.sample(8)
    assert sent == [(8,), (8,)]  # the indices of both observations; the rest is sent by `to_torch`
    assert (batch.observations.dtype, batch.observations.shape) == (torch.bool, (8, 10, 10, 10))


class Own(VecNormalize):
    """May do anything."""

    def normalize_obs(self, obs: Any) -> Any:
        return super().normalize_obs(obs)


@pytest.mark.parametrize("settings", [{}, {"norm_obs": False}, {"clip_obs": 0.5}])
@pytest.mark.parametrize("cls", [VecNormalize, Own])
@pytest.mark.parametrize("case", ["td3", "n-step returns", "boards"])
def test_observations_are_normalised_where_they_are(
    case: str, cls: type[VecNormalize], settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the last bit as on the host, where those of other classes go, which may do more."""
    batches, fetched = [], []
    fetch = Tensor.cpu
    monkeypatch.setattr(Tensor, "cpu", lambda tensor: fetched.append(tensor) or fetch(tensor))
    for there in (True, False):
        model = built(case, there=there)
        normalize = cls(model.env, training=True, **settings)
        model.set_env(normalize)
        model.learn(32)
        np.random.seed(1)
        fetched.clear()
        batches.append(model.replay_buffer.sample(8, normalize))
        assert len(fetched) == (2 if there and cls is Own and normalize.norm_obs else 0)
    assert batches[0].observations.any()
    assert batches[0].observations.dtype == batches[1].observations.dtype
    assert all(map(torch.equal, batches[0][:5], batches[1][:5]))


def test_boards_are_kept_as_bits_and_forgotten() -> None:
    board = spaces.Box(0, 1, (3, 5), np.bool_)
    array = ArrayOnDevice((4, 2, *board.shape), board.dtype, torch.device("cpu"))
    assert (len(array), array.shape, array.nbytes) == (4, (4, 2, 3, 5), 4 * 2 * 2)
    shown = np.random.default_rng(0).random((4, 2, 3, 5)) < 0.5
    for row in range(4):
        array[row] = shown[row]
    rows, games = np.array([3, 0, 3]), np.array([1, 0, 1])
    assert np.array_equal(array[rows, games, :].numpy(), shown[rows, games])
    with pytest.raises(IndexError, match="takes an array of rows and one of games, got 3"):
        array[3]


def test_a_pickled_buffer_can_be_sampled() -> None:
    """As `save_replay_buffer` of SB3 writes it."""
    buffer = built("boards", there=True).learn(32).replay_buffer
    found = []
    for each in (buffer, pickle.loads(pickle.dumps(buffer))):
        np.random.seed(1)
        found.append(each.sample(8))
    assert all(map(torch.equal, found[0][:5], found[1][:5]))


def test_what_has_no_room_stays_with_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_device, "DEVICES", {"cpu"})
    monkeypatch.setattr(on_device, "free_bytes", lambda device: 2**28)
    with pytest.warns(
        UserWarning,
        match="the replay buffer of 0.2 GiB stays in main memory, for cpu has 0.2 GiB free, of which it may take 50%; "
        "a smaller one is kept there",
    ):
        model = ours("dqn-board", buffer_size=10**6)  # of bits
    assert not isinstance(model.replay_buffer, ReplayBufferOnDevice)
