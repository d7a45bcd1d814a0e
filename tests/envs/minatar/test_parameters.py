"""What can be chosen about a game."""

from typing import Any

import numpy as np
import pytest

from envs.minatar.parameters import Parameters


def test_changed_leaves_the_rest() -> None:
    parameters = Parameters(episode_limit=7).changed(ramping=False)
    assert parameters.as_dict() == {"episode_limit": 7, "sticky_prob": 0.1, "ramping": False}
    assert Parameters(sticky_prob=1).sticky_prob == 1.0
    assert type(Parameters(episode_limit=np.int64(7)).as_dict()["episode_limit"]) is int


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"episode_limit": 0}, "episode_limit must be a whole number of at least 1, got 0"),
        (
            {"episode_limit": 2**70},
            "episode_limit must be at most 2147483647, got 1180591620717411303424; give",
        ),
        (
            {"sticky_prob": -0.1},
            r"sticky_prob must be a finite number from 0 to 1, got -0\.1; give a probability",
        ),
        ({"sticky_prob": float("nan")}, "sticky_prob must be a finite number from 0 to 1, got nan"),
        ({"ramping": 1}, "ramping must be True or False, got 1"),
    ],
)
def test_refusals(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Parameters(**arguments)
    with pytest.raises(ValueError, match=message):
        Parameters().changed(**arguments)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot change 'gravity' while it is played, only sticky_prob, ramping"):
        Parameters().changed(gravity=1.0)
