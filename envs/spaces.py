"""One observation space and one action space for a whole stream."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from gymnasium import Space

from envs.games import Games
from envs.task import Task, making


def common_spaces(tasks: Sequence[Task]) -> tuple[Space[Any], Space[Any]]:
    """The observation space and the action space that all ``tasks`` have.

    One game of each is made and closed, and one for all variants that differ in arguments of shifts alone.

    Raises:
        ValueError: an environment or a shift cannot be made, or two tasks differ in a space.
    """
    first = games = _one_game(tasks[0])
    for before, task in pairwise(tasks):
        if task.plays_as(before):
            with making(task):
                task.remake(games)  # refuses now what would otherwise be refused at a switch
            continue
        games = _one_game(task)
        for kind, expected, found in (
            ("observation", first.single_observation_space, games.single_observation_space),
            ("action", first.single_action_space, games.single_action_space),
        ):
            if found != expected:
                raise ValueError(
                    f"tasks {tasks[0].name!r} and {task.name!r} have different {kind} spaces, {expected} and {found}; "
                    "put them into separate streams, or register a version of one that is wrapped to the other's space"
                )
    return first.single_observation_space, first.single_action_space


def _one_game(task: Task) -> Games:
    """A batch of one game, closed again; an environment of MinAtar would load its package, which takes seconds."""
    with making(task):
        games = task.make_games(1)
        games.close()
    return games
