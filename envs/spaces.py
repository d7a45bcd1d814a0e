"""One observation space and one action space for a whole stream."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from gymnasium import Space

from envs.task import Task, making


def common_spaces(tasks: Sequence[Task]) -> tuple[Space[Any], Space[Any]]:
    """The observation space and the action space that all ``tasks`` have.

    One game of each is made and closed, and one for all variants that differ in arguments of shifts alone.

    Raises:
        ValueError: If an environment cannot be made, or two tasks differ in a space.
    """
    first = _spaces(tasks[0])
    for before, task in pairwise(tasks):
        if task.plays_as(before):
            continue
        for kind, expected, found in zip(("observation", "action"), first, _spaces(task), strict=True):
            if found != expected:
                raise ValueError(
                    f"tasks {tasks[0].name!r} and {task.name!r} have different {kind} spaces, {expected} and {found}; "
                    "put them into separate streams, or register a version of one that is wrapped to the other's space"
                )
    return first


def _spaces(task: Task) -> tuple[Space[Any], Space[Any]]:
    with making(task):
        games = task.make_games(1)  # and no single environment: that of MinAtar loads the package, which takes seconds
        games.close()
    return games.single_observation_space, games.single_action_space
