"""What a buffer holds is saved, or the buffer is refused."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from small_off_policy import ours
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer, RolloutBuffer
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

import envs
from agents import PPO
from agents.buffers.state import buffer_state, check_saveable, restore_buffer
from agents.training_state import restore_training_state, training_state
from crl import storage

SPACES = spaces.Box(-1, 1, (3,), np.float32), spaces.Discrete(2)


class Ranked(ReplayBuffer):
    """Holds priorities in a tensor, and what a prioritised buffer holds beside them."""

    def __init__(self, *args: Any, start: float = 1.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.priorities = torch.full((self.buffer_size, self.n_envs), start)
        self.tree = np.full(7, start)
        self.largest: float | np.float32 = start
        self.span = (0, int(start))
        self.means = {"reward": start, "norms": np.full(2, start)}
        self.dtype = torch.float32


class Told(NStepReplayBuffer):
    """Keeps in its own way what it was told."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.told: deque[float] = deque()

    def add(self, *args: Any) -> None:
        self.told.append(float(args[3].sum()))
        super().add(*args)

    def state(self) -> dict[str, Any]:
        return {"told": list(self.told)}

    def restore(self, state: dict[str, Any]) -> None:
        self.told = deque(state["told"])


class Queue(ReplayBuffer):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting: deque[float] = deque()


def made(cls: type[ReplayBuffer], **arguments: Any) -> Any:
    return cls(8, *SPACES, device="cpu", n_envs=2, **arguments)  # four rows


def fill(buffer: ReplayBuffer, rows: int) -> None:
    for row in range(1, rows + 1):
        ones = np.ones((2, 3), np.float32)
        buffer.add(ones * row, ones * (row + 1), np.ones(2), np.full(2, row), np.zeros(2), [{}, {}])


def test_the_rows_that_are_filled_are_saved_without_a_copy() -> None:
    buffer = made(ReplayBuffer)
    fill(buffer, 3)
    state = buffer_state(buffer)
    stored = {"observations", "next_observations", "actions", "rewards", "dones", "timeouts"}
    assert state.keys() == {*stored, "pos", "full"}
    assert (state["pos"], state["full"]) == (3, False)
    for name in stored:
        assert len(state[name]) == 3
        assert np.shares_memory(state[name], getattr(buffer, name))
    other = made(ReplayBuffer)
    fill(other, 5)
    memory = other.rewards
    restore_buffer(other, state)
    assert other.rewards is memory
    assert other.rewards[:3, 0].tolist() == [1, 2, 3]
    assert (other.pos, other.full) == (3, False)
    fill(buffer, 3)
    assert all(len(buffer_state(buffer)[name]) == 4 for name in stored)


def test_where_observations_are_stored_once_the_newest_next_one_is_saved() -> None:
    arguments = {"optimize_memory_usage": True, "handle_timeout_termination": False}
    buffer, other = made(ReplayBuffer, **arguments), made(ReplayBuffer, **arguments)
    fill(buffer, 2)
    restore_buffer(other, buffer_state(buffer))
    assert other._get_samples(np.array([1])).next_observations.tolist() == [[3, 3, 3]]


def test_tensors_and_numbers_of_ones_own_are_saved_whole() -> None:
    buffer, other = made(Ranked, start=2.0), made(Ranked)
    buffer.largest = np.float32(2)
    memory = other.priorities, other.tree, other.means["norms"]
    state = buffer_state(buffer)
    assert state["priorities"] is buffer.priorities
    restore_buffer(other, state)
    found = other.priorities, other.tree, other.means["norms"]
    assert all(one is two for one, two in zip(found, memory, strict=True))
    assert other.priorities.unique().tolist() == [2.0]
    assert (other.tree == 2).all()
    assert (other.means["norms"] == 2).all()
    assert (other.largest, other.span, other.means["reward"]) == (2.0, (0, 2), 2.0)
    assert type(other.largest) is np.float32


def test_a_buffer_that_knows_itself_what_to_save_is_asked() -> None:
    buffer, other = made(Told), made(Told)
    fill(buffer, 2)
    assert buffer_state(buffer) == {"told": [2.0, 4.0]}
    restore_buffer(other, buffer_state(buffer))
    assert list(other.told) == [2.0, 4.0]


def test_what_would_be_lost_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^Queue\.waiting is a deque, which a checkpoint would lose; give the buffer"):
        check_saveable(made(Queue))
    goals = ours("sac-her", replay_buffer_kwargs={"copy_info_dict": True}).replay_buffer
    assert isinstance(goals, HerReplayBuffer)
    with pytest.raises(ValueError, match=r"^HerReplayBuffer\.infos is a ndarray, which a checkpoint would lose"):
        buffer_state(goals)


FORGED: dict[str, Any] = {
    "the saved rewards": {"rewards": np.zeros((3, 1), np.float32)},
    "the saved dones": {"dones": np.zeros((2, 2), np.float32)},
    "the saved actions": {"actions": np.zeros((3, 2, 1), np.int32)},
    "the saved timeouts": {"timeouts": torch.zeros(3, 2)},
    "the saved buffer stands at row 4 of 4": {"pos": 4},
    "the saved buffer stands at row True of 4": {"pos": True},
    "the saved buffer is of another kind: sample": {"sample": 1},
    "the saved buffer is of another kind: n_envs": {"n_envs": 1},
    "the saved buffer is of another kind: __dict__": {"__dict__": {}},
}


@pytest.mark.parametrize("message", FORGED)
def test_the_state_of_another_buffer_is_refused(message: str) -> None:
    buffer = made(Ranked)
    fill(buffer, 3)
    with pytest.raises(ValueError, match=f"^{message}"):
        restore_buffer(made(Ranked), {**buffer_state(buffer), **FORGED[message]})


def test_a_state_that_lacks_something_is_refused() -> None:
    buffer = made(Ranked)
    state = {name: value for name, value in buffer_state(buffer).items() if name != "largest"}
    with pytest.raises(ValueError, match=r"^the saved buffer is of another kind: largest$"):
        restore_buffer(buffer, state)


class Turned(ReplayBuffer):
    """Lays its rewards out by game, or flat."""

    flat = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.rewards = np.zeros(self.rewards.size if self.flat else self.rewards.shape[::-1], np.float32)

    def add(self, *args: Any) -> None:
        kept, self.rewards = self.rewards, np.zeros((self.buffer_size, self.n_envs))
        super().add(*args)
        self.rewards = kept
        place = slice(2 * self.pos - 2, 2 * self.pos) if self.flat else (slice(None), self.pos - 1)
        self.rewards[place] = args[3]


@pytest.mark.parametrize("flat", [False, True])
def test_transitions_in_another_layout_are_saved_whole(flat: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Turned, "flat", flat)
    buffer, other = made(Turned), made(Turned)
    fill(buffer, 3)
    state = buffer_state(buffer)
    assert (state["rewards"].sum(), len(state["actions"])) == (2 * (1 + 2 + 3), 3)
    restore_buffer(other, state)
    assert np.array_equal(other.rewards, buffer.rewards)


class Growing(NStepReplayBuffer):
    """Holds at last what it was not built with."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.last: Any = None
        self.seen: dict[Any, Any] = {}
        self.scale: Any = 1.0

    def _get_samples(self, batch_inds: Any, env: Any = None) -> Any:
        self.last, self.drawn = batch_inds, (len(batch_inds), 1)
        self.seen |= {0: 1.5, "norms": np.ones(2)}
        self.scale = torch.tensor(2.0)
        self.gamma = 0.5
        return super()._get_samples(batch_inds, env)


def test_what_a_buffer_comes_to_hold_is_put_back(tmp_path: Path) -> None:
    buffer, other = made(Growing), made(Growing)
    fill(buffer, 3)
    buffer.sample(3)
    storage.write(tmp_path / "1", buffer_state(buffer))
    restore_buffer(other, storage.read(tmp_path / "1"))
    assert other.last.tolist() == buffer.last.tolist()
    assert other.last is not buffer.last
    assert other.drawn == (3, 1)
    assert other.seen.keys() == {0, "norms"}
    assert (other.seen[0], other.seen["norms"].tolist()) == (1.5, [1, 1])
    assert torch.equal(other.scale, torch.tensor(2.0))
    assert other.gamma == 0.5
    del other.drawn
    restore_buffer(other, buffer_state(made(Growing)))
    assert other.last is None
    assert other.scale == 1.0


class Counting(RolloutBuffer):
    """Counts its rollouts."""

    rollouts = 0

    def reset(self) -> None:
        self.rollouts += 1
        super().reset()


@pytest.mark.parametrize("cls", [RolloutBuffer, Counting])
def test_of_a_rollout_buffer_only_what_is_not_used_up_is_saved(cls: type[RolloutBuffer]) -> None:
    def build() -> PPO:
        arguments = {"n_steps": 4, "batch_size": 8, "device": "cpu", "rollout_buffer_class": cls}
        return PPO("MlpPolicy", envs.make("cartpole", n_envs=2, seed=0), **arguments)

    model, other = build().learn(16), build()
    state = training_state(model)
    assert ("rollout" in state) == (cls is Counting)
    other._setup_learn(16)
    restore_training_state(other, state)
    if cls is Counting:
        assert state["rollout"] == {"rollouts": 3}
        assert other.rollout_buffer.rollouts == 3
