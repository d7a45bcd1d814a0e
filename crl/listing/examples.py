"""A part of a config for each name."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from agents.optimizers import ADAM
from agents.plasticity.registry import INTERVENTIONS
from crl.config.keys import Key
from crl.listing.kinds import OF_SPACES, ONE_OF, Kind

VALUES: Mapping[str, Any] = {
    "amplitude": 8.0,
    "criterion": "gxd",
    "end": 2.0,
    "high": 15.0,
    "low": 5.0,
    "mean": 10.0,
    "offset": 0.5,
    "period": 50_000,
    "probability": 0.25,
    "rate": 1e-4,
    "scale": 0.5,
    "selection": {"name": "percentage", "share": 0.02},
    "share": 0.02,
    "size": [84, 84],
    "skip": 2,
    "start": 10.0,
    "std": 0.1,
    "steps": 100_000,
    "tau": 0.025,
}
"""Argument that has to be given -> what examples give."""


def example(kind: Kind, name: str, keys: Sequence[Key]) -> dict[str, Any]:
    """A part of a config that has it."""
    needed = {key.name: VALUES.get(key.name, "...") for key in keys if key.default is None and "." not in key.name}
    if kind is Kind.streams:
        return {"stream": {"name": name}}
    if kind is Kind.spaces:
        key = next(key for key, names in OF_SPACES.items() if name in names)
        size = {each.name: VALUES[each.name] for each in keys}
        return {"stream": {"spaces": {key: name, **size}}}
    if kind in (Kind.tasks, Kind.shifts, Kind.drifts):
        return {"stream": {"tasks": [_task(kind, name, keys, needed)], "steps_per_task": 100_000}}
    if kind is Kind.agents:
        return {"agent": {"name": name, "n_envs": 8, "learning_rate": 3e-4}}
    if kind is Kind.schedules:
        return {"agent": {"learning_rate": {name: [1e-3, 0]}}}
    if kind is Kind.optimizers:
        return {"agent": {"optimizer": name if name == ADAM else {"name": name, **_telling(keys)}}}
    if kind is Kind.parts:
        return {"parts": [{"name": name, **needed}]}
    if kind is Kind.interventions:
        boundary = {"stream": {"boundary": "revealed"}}
        given = needed or _telling(keys)
        code = INTERVENTIONS[name].resolve()
        uses = "..." not in needed.values() and code(**given).uses_boundaries
        return {**(boundary if uses else {}), "interventions": [{"name": name, **given}]}
    named = {"name": name, **needed} if needed else name
    parts = {"criterion": VALUES["criterion"], "selection": VALUES["selection"], ONE_OF[kind]: named}
    return {"interventions": [{"name": "reset", **parts}]}


def _telling(keys: Sequence[Key]) -> dict[str, Any]:
    """The argument whose default an example shows: it is what is set first."""
    found = (key for key in keys if key.default not in (None, "null", "false") and "." not in key.name)
    return {key.name: json.loads(str(key.default)) for key in itertools.islice(found, 1)}


def _task(kind: Kind, name: str, keys: Sequence[Key], needed: Mapping[str, Any]) -> dict[str, Any]:
    if kind is Kind.shifts:
        board = name in ("pixel_permutation", "action_permutation")
        return {"id": "breakout" if board else "pendulum", "shifts": [{"name": name, **needed} if needed else name]}
    if kind is Kind.drifts:
        return {"id": "pendulum", "drift": {"gravity": {"kind": name, **needed}}}
    first = next(key for key in keys if key.default not in (None, "null"))
    return {"id": name, first.name: json.loads(str(first.default))}
