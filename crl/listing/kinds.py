"""What can be listed."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from agents.optimizers import OPTIMIZERS
from agents.plasticity.registry import CRITERIA, INTERVENTIONS, SELECTIONS
from agents.specs import AGENTS
from crl.config.fields import SCHEDULES
from crl.config.parts import PARTS
from envs.catalogue import ACTIONS, DRIFTS, OBSERVATIONS, SHIFTS, SPACES, STREAMS, TASKS


class Kind(StrEnum):
    """What is listed."""

    streams = "streams"
    tasks = "tasks"
    shifts = "shifts"
    drifts = "drifts"
    spaces = "spaces"
    agents = "agents"
    optimizers = "optimizers"
    schedules = "schedules"
    criteria = "criteria"
    selections = "selections"
    interventions = "interventions"
    parts = "parts"


OF_SPACES = {"observations": OBSERVATIONS, "actions": ACTIONS}
"""Key of stream.spaces -> what it may be."""

ONE_OF = {Kind.criteria: "criterion"} | {kind: kind.value.removesuffix("s") for kind in Kind if kind != Kind.criteria}
"""What one of a kind is called."""

REGISTRIES: Mapping[Kind, Mapping[str, Any]] = {
    Kind.streams: STREAMS,
    Kind.tasks: TASKS,
    Kind.shifts: SHIFTS,
    Kind.drifts: DRIFTS,
    Kind.spaces: SPACES,
    Kind.agents: AGENTS,
    Kind.optimizers: OPTIMIZERS,
    Kind.schedules: SCHEDULES,
    Kind.criteria: CRITERIA,
    Kind.selections: SELECTIONS,
    Kind.interventions: INTERVENTIONS,
    Kind.parts: PARTS,
}
