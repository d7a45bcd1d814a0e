"""DeepMind Control's ids and observations."""

from __future__ import annotations

import numpy as np
import pytest
from fake_pool import FakePool, install

from envs.catalogue import DMC
from envs.pool.dmc import FIELDS, DMCGames


@pytest.fixture(autouse=True)
def pools(monkeypatch: pytest.MonkeyPatch) -> list[FakePool]:
    return install(monkeypatch)


def test_every_task_has_fields_of_its_own_or_of_its_body() -> None:
    assert len(DMC) == 49
    names = [task.removeprefix("dmc/") for task in DMC]
    assert all(name in FIELDS or name.partition("-")[0] in FIELDS for name in names)
    assert set(FIELDS) <= {*names, *(name.partition("-")[0] for name in names)}


@pytest.mark.parametrize(
    ("task", "id", "size", "actions"),
    [
        ("dmc/walker-stand", "WalkerStand-v1", 24, 6),
        ("dmc/quadruped-walk", "QuadrupedWalk-v1", 78, 12),
        ("dmc/dog-trot", "DogTrot-v1", 223, 38),
        ("dmc/acrobot-swingup_sparse", "AcrobotSwingupSparse-v1", 23, 1),  # of the fake's 24 numbers all but the height
    ],
)
def test_what_dm_control_observes_is_one_vector(
    task: str, id: str, size: int, actions: int, pools: list[FakePool]
) -> None:
    made = DMCGames(task, 2, episode_limit=7)
    observations, _ = made.reset(seed=0)
    assert (pools[0].id, pools[0].given["max_episode_steps"]) == (id, 7)
    assert (observations.shape, observations.dtype) == ((2, size), np.float32)
    assert (made.single_action_space.shape, made.single_action_space.dtype) == ((actions,), np.float32)
    assert not (observations == 9).any()  # fields that envpool has for other tasks of the body


def test_the_fields_stand_in_their_order(pools: list[FakePool]) -> None:
    made = DMCGames("dmc/walker-walk", 2)
    seen = {"velocity": np.full((2, 9), 3.0), "height": np.array([2.0, 2.5]), "orientations": np.full((2, 14), 1.0)}
    assert made._observed(seen).tolist() == [[1.0] * 14 + [height] + [3.0] * 9 for height in (2.0, 2.5)]


def test_refusals() -> None:
    with pytest.raises(
        ValueError, match=r"^a task of DeepMind Control must be one of .*; did you mean 'dmc/walker-walk'"
    ):
        DMCGames("dmc/walker_walk", 2)
    with pytest.raises(ValueError, match=r"^episode_limit must be a whole number from 1 to 2147483647, got 0; give"):
        DMCGames("dmc/walker-walk", 2, episode_limit=0)
