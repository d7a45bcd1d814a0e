"""Names of interventions and criteria, and where their code is. Importing this loads no torch."""

from __future__ import annotations

import importlib
from typing import Any, NamedTuple


class Entry(NamedTuple):
    """Where a name's code is ("module:attribute"), and what it does in one line."""

    target: str
    summary: str

    def resolve(self) -> Any:
        """Import the module and return the attribute."""
        module, attribute = self.target.split(":")
        return getattr(importlib.import_module(module), attribute)


INTERVENTIONS: dict[str, Entry] = {
    "gxd": Entry("agents.plasticity.resets:GXD", "reset the units that are cheapest to replace, at a steady rate"),
    "redo": Entry("agents.plasticity.resets:ReDo", "reset units whose activation is low in their layer"),
    "regrama": Entry("agents.plasticity.resets:ReGraMa", "reset units whose weight gradient is low in their layer"),
}

CRITERIA: dict[str, Entry] = {
    "gxd": Entry("agents.plasticity.criteria:gxd", "first-order cost: mean absolute gradient times difference"),
    "redo": Entry("agents.plasticity.criteria:redo", "mean absolute activation"),
    "regrama": Entry("agents.plasticity.criteria:regrama", "mean absolute gradient of the incoming weights"),
}
