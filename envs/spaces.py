"""One observation space and one action space for a whole stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from gymnasium import Space
from gymnasium.spaces import Box, Discrete

from envs.catalogue import ACTIONS, OBSERVATIONS, TASKS
from envs.checks import check_argument, check_choice, check_int
from envs.fits import actions, observations, task_id
from envs.fits.base import Owners, Plan
from envs.games import Games, SyncGames
from envs.shifts import layers_of
from envs.task import Task, making

APART = "put them into separate streams"


@dataclass(frozen=True)
class SpaceMapping:
    """The declared way in which tasks of different spaces become one stream.

    Args:
        observations: "pad" puts zeros at the ends of all axes, "resize" gives images one height and width and pads
            their channels.
        size: height and width to resize to; None for the largest of all tasks.
        actions: "union" has all actions of all tasks by their names, those that a task lacks do its noop; a list of
            names is the union in that order; "pad" leaves the last numbers of continuous ones to the tasks that have
            as many; "same" says that they mean the same where tasks do not say so by themselves.
    """

    observations: str | None = None
    size: tuple[int, int] | None = None
    actions: str | tuple[str, ...] | None = None

    @classmethod
    def of(cls, given: Mapping[str, Any] | None) -> SpaceMapping:
        """What was declared, checked.

        Raises:
            ValueError: a key or a value is unknown.
        """
        if not isinstance(given, Mapping | None):
            raise ValueError(f"spaces must be a mapping, got {given!r}; write {{'observations': 'pad'}}")
        found = {key: value for key, value in (given or {}).items() if value is not None}
        for key in found:
            check_argument("spaces", key, [field.name for field in fields(cls)])
        if "observations" in found:
            check_choice("spaces.observations", found["observations"], OBSERVATIONS)
        if "size" in found:
            found["size"] = _checked_size(found["size"], found.get("observations"))
        if isinstance(found.get("actions"), list | tuple):
            found["actions"] = actions.names_of("spaces.actions", found["actions"])
        elif "actions" in found:
            check_choice("spaces.actions", found["actions"], ACTIONS)
        return cls(**found)


def _checked_size(size: Any, how: str | None) -> tuple[int, int]:
    if how != "resize":
        raise ValueError(f"spaces.size={size!r} is of images that are resized; give spaces.observations='resize'")
    if not isinstance(size, list | tuple) or len(size) != 2:
        raise ValueError(f"spaces.size must be a height and a width, got {size!r}; give two such as [84, 84]")
    height, width = (check_int("spaces.size", side, 1, "give a height and a width such as [84, 84]") for side in size)
    return height, width


class Shared(NamedTuple):
    """Tasks that share their spaces."""

    tasks: tuple[Task, ...]
    observation_space: Space[Any]
    action_space: Space[Any]
    sentences: tuple[str, ...]
    """What was done for that, for the log."""
    meanings: tuple[str, ...]
    """Of the Discrete actions, where they are known."""


class _Kind(NamedTuple):
    """The spaces of a task, what its actions mean, where that is known, and of which world they are."""

    observations: Space[Any]
    actions: Space[Any]
    meanings: tuple[str, ...]
    world: str
    """Name of one of ours; empty for others, which may be one under several names."""


def common_spaces(tasks: Sequence[Task], mapping: SpaceMapping = SpaceMapping(), *, observed: bool = False) -> Shared:
    """The observation space and the action space that all ``tasks`` have, or get by a declared mapping.

    One game of each is made and closed, and one for all variants that differ in arguments of shifts alone.

    Args:
        tasks: of a stream; those that were fitted for another are as they were there where nothing is asked for.
        mapping: how spaces that differ become one.
        observed: whether observations tell their task.

    Raises:
        ValueError: an environment or a shift cannot be made, or two tasks differ in a space or in what actions mean
            and no mapping makes them one.
    """
    if observed or mapping != SpaceMapping():
        tasks = [replace(task, fit=()) for task in tasks]
    kinds, places = _kinds_of(tasks)
    owners: list[list[str]] = [[] for _ in kinds]
    for task, place in zip(tasks, places, strict=True):
        owners[place].append(task.name)
    plans = [_seen(kinds, owners, mapping), _played(kinds, owners, mapping)]
    fits = [[plan.specs[place] for plan in plans] for place in places]
    seen = plans[0].space
    if observed:
        plan = task_id.plan(seen, len(tasks))
        seen = plan.space
        fits = [[*fit, spec] for fit, spec in zip(fits, plan.specs, strict=True)]
        plans.append(plan)
    fitted = [
        replace(task, fit=own) if (own := tuple(filter(None, fit))) else task
        for task, fit in zip(tasks, fits, strict=True)
    ]
    sentences = tuple(plan.sentence for plan in plans if any(plan.specs))
    return Shared(tuple(fitted), seen, plans[1].space, sentences, plans[1].meanings)


def _kinds_of(tasks: Sequence[Task]) -> tuple[list[_Kind], list[int]]:
    """The different spaces and meanings that there are, and which of them each task has."""
    kinds: list[_Kind] = []
    places: list[int] = []
    games: Games | None = None
    before = tasks[0]
    for task in tasks:
        with making(task):
            if games is not None and task.plays_as(before):
                task.remake(games)  # refuses now what would otherwise be refused at a switch
            else:
                # A batch of one: an environment of MinAtar would load its package, which takes seconds.
                games = task.make_games(1)
                games.close()
            said = _said_by(task, layers_of(games)[-1])
        before, world = task, getattr(task.world, "id", "")
        meanings = _meanings(task, games.single_action_space, said)
        kind = _Kind(
            games.single_observation_space,
            games.single_action_space,
            meanings,
            world if world in TASKS and not task.fit else "",
        )
        if kind not in kinds:
            kinds.append(kind)
        places.append(kinds.index(kind))
    return kinds, places


def _meanings(task: Task, space: Space[Any], said: tuple[str, ...]) -> tuple[str, ...]:
    """What each of the Discrete actions of a task means; empty where nobody says, and of fitted tasks.

    Args:
        task: whose entry goes before the world.
        space: of the actions.
        said: by the world.

    Raises:
        ValueError: the entry names more or fewer than there are.
    """
    if task.fit:
        return ()  # the actions are those of another stream
    count = int(space.n) if isinstance(space, Discrete) else 0
    if task.actions and len(task.actions) != count:
        raise ValueError(
            f"task {task.name!r} names {len(task.actions)} actions, but has {space}; give one name for each"
        )
    names = task.actions or said
    return names if len(names) == count else ()  # wrappers may have changed what the environment inside says


def _said_by(task: Task, games: Games) -> tuple[str, ...]:
    """What a world of ours, its batch or its first environment, as Atari's do, says of its actions; in lower case."""
    key = "get_action_meanings"
    said = getattr(task.world, "action_meanings", ())
    if not said and isinstance(games, SyncGames):
        said = games.envs[0].get_wrapper_attr(key)() if games.envs[0].has_wrapper_attr(key) else ()
    elif not said:
        said = getattr(games, key, tuple)()
    return tuple(str(name).strip().lower() for name in said or ())


# ------------------------------------------------------------------ observations


def _seen(kinds: Sequence[_Kind], owners: Owners, mapping: SpaceMapping) -> Plan:
    """How observations become one."""
    spaces = [kind.observations for kind in kinds]
    if all(space == spaces[0] for space in spaces) and mapping.size is None:
        return Plan(spaces[0], [None] * len(spaces), "")
    if mapping.observations is not None:
        return observations.plan(owners, spaces, mapping.observations, mapping.size)
    other = next(place for place, space in enumerate(spaces) if space != spaces[0])
    raise ValueError(
        f"tasks {owners[0][0]!r} and {owners[other][0]!r} have different observation spaces, {spaces[0]} and "
        f"{spaces[other]}; declare how they become one, spaces: {{observations: pad}} (resize, of images), or {APART}"
    )


# ------------------------------------------------------------------ actions


def _played(kinds: Sequence[_Kind], owners: Owners, mapping: SpaceMapping) -> Plan:
    """How actions become one."""
    spaces, meanings = [kind.actions for kind in kinds], [kind.meanings for kind in kinds]
    how = mapping.actions
    if how == "pad":
        return actions.plan_box(owners, spaces)
    if how == "union" or isinstance(how, tuple):
        return actions.plan_union(owners, spaces, meanings, how if isinstance(how, tuple) else None)
    _check_alike(kinds, [tasks[0] for tasks in owners], declared=how == "same")
    return Plan(spaces[0], [None] * len(spaces), "", next(filter(None, meanings), ()))


def _check_alike(kinds: Sequence[_Kind], names: Sequence[str], *, declared: bool) -> None:
    """Refuse actions that mean different things, or may do so.

    Args:
        kinds: of the tasks.
        names: of a task that has each of them.
        declared: whether the user says that they mean the same.
    """
    remedy = APART
    if all(isinstance(kind.actions, Discrete) for kind in kinds):
        remedy = f"declare spaces: {{actions: union}}, {actions.NAMED} where its world names none, or {APART}"
    elif all(isinstance(kind.actions, Box) for kind in kinds):
        remedy = f"declare spaces: {{actions: pad}}, or {APART}"
    first, known = kinds[0], next((place for place, kind in enumerate(kinds) if kind.meanings), 0)
    for name, kind in zip(names, kinds, strict=True):
        tasks = f"tasks {names[0]!r} and {name!r}"
        if kind.actions != first.actions:
            raise ValueError(f"{tasks} have different action spaces, {first.actions} and {kind.actions}; {remedy}")
        if kind.meanings and kind.meanings != kinds[known].meanings:
            raise ValueError(
                f"tasks {names[known]!r} and {name!r} mean different things by the same actions, "
                f"{', '.join(kinds[known].meanings)} and {', '.join(kind.meanings)}; {remedy}"
            )
        unknown = isinstance(kind.actions, Discrete) and not (kind.meanings and first.meanings)
        others = kind.world != first.world and bool(kind.world and first.world)
        if unknown and not declared and (others or kind.observations != first.observations):
            raise ValueError(
                f"{tasks} are different worlds, which do not both say what their actions {kind.actions} mean; say it "
                f"{actions.NAMED}, or declare spaces: {{actions: same}} if they mean the same"
            )
