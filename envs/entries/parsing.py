"""Reading what users write for tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envs.catalogue import ABOUT, SHIFTS, is_draw
from envs.checks import check_int, did_you_mean
from envs.drift import Drift, drift_from
from envs.fits.actions import names_of
from envs.state import json_value


@dataclass(frozen=True)
class Parsed:
    """An entry in its parts; arguments, also those of shifts, may still say how they are drawn."""

    id: str
    arguments: dict[str, Any]
    shifts: list[tuple[str, Mapping[str, Any]]]
    drift: Mapping[str, Drift]
    variants: int | None
    steps: int | None
    name: str | None
    actions: tuple[str, ...]


def parsed_from(entry: object) -> Parsed:
    """The parts of an entry.

    Raises:
        ValueError: it is of another kind, or a part is.
    """
    given = _given(entry)
    id, name = given.pop("id"), given.pop("name", None)
    about = {key: given.pop(key, None) for key in ABOUT if key != "name"}
    if name is not None and (not isinstance(name, str) or not name):
        raise ValueError(f"the name of task {id!r} must be text and not empty, got {name!r}; put one into quotes")
    counts = {
        key: None if about[key] is None else check_int(f"{key} of {id!r}", about[key], 1, "leave it out or give 10")
        for key in ("variants", "steps")
    }
    shifts = about["shifts"] if about["shifts"] is not None else []
    if not isinstance(shifts, list | tuple):
        raise ValueError(
            f"shifts of task {id!r} must be a list, got {shifts!r}; write [pixel_permutation] or "
            "[{name: reward_scale, scale: 0.5}]"
        )
    actions = about["actions"] if about["actions"] is not None else ()
    if not isinstance(actions, list | tuple):
        raise ValueError(f"actions of task {id!r} must be a list, got {actions!r}; write [noop, left, right]")
    return Parsed(
        id,
        given,
        [_shift(id, shift) for shift in shifts],
        _drifts(id, about["drift"]),
        **counts,
        name=name,
        actions=names_of(f"actions of task {id!r}", actions) if actions else (),
    )


def _given(entry: object) -> dict[str, Any]:
    """An entry as a mapping with ``id``."""
    if isinstance(entry, str):
        return {"id": entry}
    if not isinstance(entry, Mapping):
        raise ValueError(
            f"a task must be a name or a mapping with an id, got {entry!r}; "
            "write 'breakout', 'CartPole-v1' or {'id': 'Pendulum-v1', 'g': 5.0}"
        )
    if not isinstance(entry.get("id"), str) or not all(isinstance(key, str) for key in entry):
        raise ValueError(
            f"a task given as a mapping needs an id and arguments by name, got {dict(entry)!r}; "
            "write {'id': 'Pendulum-v1', 'g': 5.0}"
        )
    return dict(entry)


def _shift(id: str, shift: object) -> tuple[str, Mapping[str, Any]]:
    given = {"name": shift} if isinstance(shift, str) else dict(shift) if isinstance(shift, Mapping) else {}
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise ValueError(
            f"a shift of task {id!r} must be a name or a mapping with one, got {shift!r}; write pixel_permutation or "
            "{name: reward_scale, scale: 0.5}"
        )
    if name not in SHIFTS:
        remedy = did_you_mean(name, SHIFTS) or f"; give one of {', '.join(SHIFTS)}"
        raise ValueError(f"unknown shift {name!r} of task {id!r}{remedy}")
    return name, json_value(given)


def _drifts(id: str, drift: object) -> dict[str, Drift]:
    if drift is None:
        return {}
    if not isinstance(drift, Mapping):
        raise ValueError(
            f"drift of task {id!r} must be a mapping from arguments to schedules, got {drift!r}; write "
            "{gravity: {kind: linear, start: 10, end: 2, steps: 100000}}"
        )
    found = {}
    for key, schedule in drift.items():
        try:
            found[str(key)] = drift_from(schedule)
        except ValueError as error:
            raise ValueError(f"drift of {key!r} in task {id!r}: {error}") from error
    return found


def label_of(parsed: Parsed, arguments: Mapping[str, Any], shifts: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    """What a task is called that has no name: ``breakout(episode_limit=4)+reward_scale(scale=0.5)~gravity``."""
    parts = [_call(parsed.id, arguments), *(_call(name, given) for name, given in shifts)]
    return "".join(["+".join(parts), *(f"~{key}" for key in parsed.drift)])


def _call(name: str, arguments: Mapping[str, Any]) -> str:
    shown = (f"{key}={'*' if is_draw(value) else repr(json_value(value))}" for key, value in sorted(arguments.items()))
    return f"{name}({', '.join(shown)})" if arguments else name
