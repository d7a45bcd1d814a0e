"""Interventions that are to be tried: by names and arguments, as a config has them."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from agents.plasticity.protocols import Intervention
from agents.plasticity.registry import INTERVENTIONS

Candidate = str | Mapping[str, Any]
"""Name of an intervention, or a mapping of it and its arguments, as in a config."""
REDO: Mapping[str, Any] = {"name": "redo", "allow_full": True}
"""ReDo as it is tried: on a copy, whose worth is measured, a layer that is silent altogether may be redrawn, too."""
NO_REMEDY: Mapping[str, str] = {
    "reset": "it is the general form of the other resets; name its criterion and selection",
    "auto": "it chooses from others",
    "oracle": "it is a fresh agent, with which others are compared",
}
"""Registered, but nothing to try by itself -> why."""


def described(candidate: Candidate) -> dict[str, Any]:
    """A candidate as a mapping of its name and arguments.

    Raises:
        ValueError: nothing of that name is registered.
    """
    given = {"name": candidate} if isinstance(candidate, str) else candidate
    if not isinstance(given, Mapping):
        raise ValueError(f"candidates has {candidate!r}; give its name, or a mapping of its name and arguments")
    if not isinstance(name := given.get("name"), str) or name not in INTERVENTIONS:
        raise ValueError(f"candidates has {name!r}; choose from {', '.join(INTERVENTIONS)}")
    return dict(given)


def no_remedy(given: Mapping[str, Any]) -> str:
    """Why a candidate is nothing to try by itself; empty where it is something."""
    name = given["name"]
    return "" if name == "reset" and len(given) > 1 else NO_REMEDY.get(name, "")


def built(given: Mapping[str, Any]) -> Intervention:
    """A candidate that takes all units for mature: the learner has been trained.

    Raises:
        ValueError: an argument is not known, or impossible.
    """
    arguments = {key: value for key, value in given.items() if key != "name"}
    target = INTERVENTIONS[given["name"]].resolve()
    known = inspect.signature(target).parameters
    if "maturity" in known:
        arguments["maturity"] = 0
    open_ended = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in known.values())
    if unknown := [key for key in arguments if key not in known and not open_ended]:
        raise ValueError(f"it has no argument {unknown[0]!r}; choose from {', '.join(known)}")
    try:
        found: Intervention = target(**arguments)
    except TypeError as error:
        raise ValueError(f"it does not take these arguments ({error})") from error
    return found
