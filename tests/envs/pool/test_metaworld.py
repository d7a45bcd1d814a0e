"""Meta-World's arguments and success."""

from __future__ import annotations

import numpy as np
import pytest
from fake_pool import FakePool, install

from envs.catalogue import METAWORLD
from envs.pool.metaworld import MetaWorldGames


@pytest.fixture(autouse=True)
def pools(monkeypatch: pytest.MonkeyPatch) -> list[FakePool]:
    return install(monkeypatch)


def test_the_goal_is_shown_unless_it_is_to_be_hidden(pools: list[FakePool]) -> None:
    made = MetaWorldGames("metaworld/peg-unplug-side", 2)
    assert (made.single_observation_space.shape, made.single_action_space.shape) == ((39,), (4,))
    assert (made.reset(seed=0)[0].dtype, len(METAWORLD)) == (np.float32, 50)
    MetaWorldGames("metaworld/hammer", 2, partially_observable=True, episode_limit=200).reset(seed=0)
    keys = ("partially_observable", "max_episode_steps")
    assert [(pool.id, *(pool.given[key] for key in keys)) for pool in pools] == [
        ("MetaWorld/PegUnplugSide-v3", False, 500), ("MetaWorld/Hammer-v3", True, 200),
    ]  # fmt: skip


def test_success_is_told_in_every_step_and_of_the_whole_episode(pools: list[FakePool]) -> None:
    """Fake games succeed in the second step of an episode alone."""
    made = MetaWorldGames("metaworld/hammer", 4)
    made.reset(seed=0)
    elapsed = np.zeros(4, np.int64)
    for _ in range(40):
        *_, terminations, truncations, info = made.step(np.zeros((4, 4)))
        elapsed += 1
        ended = terminations | truncations
        assert info["_success"].tolist() == (~ended).tolist()
        assert info["success"].tolist() == (elapsed == 2).tolist()
        if ended.any():
            said = info["final_info"]
            assert said["_success"].tolist() == said["_is_success"].tolist() == ended.tolist()
            assert (said["success"] == (elapsed == 2))[ended].all()
            assert (said["is_success"] == 1)[ended].all()  # an episode has at least two steps
        elapsed[ended] = 0


def test_refusals() -> None:
    with pytest.raises(
        ValueError, match=r"^a task of Meta-World must be one of .*; did you mean 'metaworld/push-wall'"
    ):
        MetaWorldGames("metaworld/push_wall", 2)
    with pytest.raises(ValueError, match=r"^partially_observable must be true or false, got 'no'; give false to show"):
        MetaWorldGames("metaworld/push", 2, partially_observable="no")  # type: ignore[arg-type]
