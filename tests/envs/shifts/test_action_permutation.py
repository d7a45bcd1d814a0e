"""Actions that mean one another."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shifted import Rewarding

from envs.games import SyncGames
from envs.shifts import ActionPermutation, VectorActionPermutation


class Started(Rewarding):
    """Actions count from 5."""

    action_space = gymnasium.spaces.Discrete(3, start=5)


def _executed(env: gymnasium.Env, actions: Any) -> list[int]:
    env.reset()
    return [int(env.step(action)[0][1]) for action in actions]


def test_actions_are_relabelled() -> None:
    env = ActionPermutation(Rewarding(), permutation=[2, 0, 1])
    assert _executed(env, [0, 1, 2, np.int64(0)]) == [2, 0, 1, 2]
    assert env.executed == [2, 0, 1]
    assert env.action_space == Rewarding.action_space
    assert _executed(ActionPermutation(Started(), permutation=[6, 7, 5]), [5, 6, 7]) == [6, 7, 5]


def test_a_seed_decides_the_permutation() -> None:
    assert ActionPermutation(Rewarding(), seed=5).executed == np.random.default_rng(5).permutation(3).tolist()
    assert ActionPermutation(Started(), 5).executed == [6, 7, 5]
    assert len({tuple(ActionPermutation(Rewarding(), seed).executed) for seed in range(40)}) == 6


def test_the_twin_relabels_every_game_s_action() -> None:
    games = VectorActionPermutation(SyncGames([Rewarding] * 3, "rewarding"), permutation=(2, 0, 1))
    games.reset()
    assert games.step(np.array([0, 1, 2]))[0][:, 1].tolist() == [2, 0, 1]
    assert games.step([2, 2, 2], np.array([True, False, True]))[0][:, 1].tolist() == [1, 0, 1]
    games.configure(permutation=[0, 1, 2])
    assert games.step(np.array([0, 1, 2]))[0][:, 1].tolist() == [0, 1, 2]


@settings(max_examples=30, deadline=None)
@given(n=st.integers(1, 20), start=st.integers(-5, 5), seed=st.integers(0, 2**40))
def test_every_action_can_still_be_chosen(n: int, start: int, seed: int) -> None:
    world = Rewarding()
    world.action_space = gymnasium.spaces.Discrete(n, start=start)
    assert sorted(ActionPermutation(world, seed).executed) == list(range(start, start + n))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {},
            "ActionPermutation needs a seed or a permutation, got seed=None and permutation=None; give one of",
        ),
        ({"seed": 1, "permutation": [0, 1, 2]}, "ActionPermutation needs a seed or a permutation, got seed=1 and perm"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1; give a number such as 1"),
        (
            {"permutation": [0, 1]},
            r"permutation must list each of the actions 0 to 2 once, got \[0, 1\]; give one",
        ),
        ({"permutation": [0, 1, 1]}, r"permutation must .*, got \[0, 1, 1\]; give one such as \[1, 2, 0\]"),
        ({"permutation": [0.0, 1.0, 2.0]}, "permutation must list each"),
        ({"permutation": [False, True, 2]}, "permutation must list each"),
        ({"permutation": 3}, "permutation must list each of the actions 0 to 2 once, got 3; give"),
    ],
)
def test_refusals(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as refusal:
        ActionPermutation(Rewarding(), **arguments)
    assert "\n" not in str(refusal.value)


def test_actions_must_be_discrete() -> None:
    world = Rewarding()
    world.action_space = gymnasium.spaces.Box(0, 1, (1,))
    with pytest.raises(ValueError, match=r"^ActionPermutation needs Discrete actions, got Box.*; use it on such a"):
        ActionPermutation(world, 1)
