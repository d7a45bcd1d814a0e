"""Tasks that drift while they are played: where each argument that drifts lies, and where it stands."""

from __future__ import annotations

from dataclasses import replace

from envs.catalogue import SHIFTS
from envs.checks import did_you_mean
from envs.drift import Drift, Linear
from envs.games import Games
from envs.seeds import DRIFT, seeds_of
from envs.shifts import layers_of
from envs.task import Task, making


class Drifting:
    """What drifts in the games of a segment, each argument on a way of its own.

    Args:
        games: that are played.
        task: of the segment.
        seed: of the stream.
        segment: index.
    """

    def __init__(self, games: Games, task: Task, seed: int, segment: int) -> None:
        self._moved = [
            (*_place(games, task, key), _begun(drift, number, seed, segment))
            for number, (key, drift) in enumerate(task.drift.items())
        ]

    def move(self, passed: int) -> None:
        """Set all to where it stands so many steps after the segment began."""
        for layer, argument, drift in self._moved:
            layer.configure(**{argument: drift.value(passed)})


def held(task: Task, passed: int = 0, *, seed: int = 0, segment: int = 0) -> Task:
    """A task in which nothing drifts any more: each argument stays as it is at one step of a segment.

    Args:
        task: that is played there.
        passed: steps since the segment began.
        seed: of the stream.
        segment: index.

    >>> from envs.entries import task_from
    >>> drift = {"gravity": {"kind": "linear", "start": 10, "end": 2, "steps": 100}}
    >>> held(task_from({"id": "cartpole", "drift": drift}), 50).drift["gravity"].value(1000)
    6.0
    """
    drift: dict[str, Drift] = {}
    for number, (key, each) in enumerate(task.drift.items()):
        value = _begun(each, number, seed, segment).value(passed)
        drift[key] = Linear(start=value, end=value, steps=1)
    return replace(task, drift=drift) if drift else task


def check_drift(task: Task) -> None:
    """Refuse drifts of arguments that there are not, or beyond what the world can take.

    Raises:
        ValueError: a drift is one of these.
    """
    if not task.drift:
        return
    with making(task):
        games = task.make_games(1)
    try:
        for key, drift in task.drift.items():
            layer, argument = _place(games, task, key)
            for extreme in map(float, drift.bounds):
                try:
                    layer.configure(**{argument: extreme})
                except Exception as error:  # the world may be a user's
                    raise ValueError(f"drift of {key!r} in task {task.name!r} to {extreme:g}: {error}") from error
    finally:
        games.close()


def _begun(drift: Drift, number: int, seed: int, segment: int) -> Drift:
    """A drift as it runs in a segment; ``number`` is its own among all of the task."""
    return drift.begin(seeds_of(seed, segment, 1, DRIFT, number)[0])


def _place(games: Games, task: Task, key: str) -> tuple[Games, str]:
    """The layer of the games of ``task`` that takes the argument which drifts under ``key``, and the argument's name.

    Raises:
        ValueError: it is of a shift that the task does not have.
    """
    shift, dot, argument = key.rpartition(".")
    names = [name for name, _ in task.shifts]
    if dot and names.count(shift) > 1:
        raise ValueError(
            f"drift of {key!r} in task {task.name!r}: the task has the shift {shift!r} twice; list it once"
        )
    if dot and shift not in names:
        raise ValueError(
            f"drift of {key!r} in task {task.name!r}: the task has no shift {shift!r} "
            f"(its shifts are {', '.join(names) or 'none'}); add it to shifts"
        )
    if dot and argument not in SHIFTS[shift].arguments:  # a shift passes on what is not its own
        known = SHIFTS[shift].arguments
        raise ValueError(
            f"drift of {key!r} in task {task.name!r}: the shift {shift!r} takes no argument {argument!r}, only "
            f"{', '.join(known)}{did_you_mean(argument, known) or '; give another'}"
        )
    layers = layers_of(games)[len(task.fit) :]
    # The last one listed is the outermost.
    return layers[len(names) - 1 - names.index(shift) if dot else len(names)], argument
