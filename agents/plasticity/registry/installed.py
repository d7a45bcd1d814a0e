"""What installed distributions register, by entry points."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from importlib.metadata import entry_points
from typing import Any

from agents.plasticity.registry.components import CRITERIA, SELECTIONS
from agents.plasticity.registry.entries import Entry, add
from agents.plasticity.registry.interventions import INTERVENTIONS

GROUP = "crl.plugins"
_KINDS: dict[str, dict[str, Entry]] = {"criteria": CRITERIA, "selections": SELECTIONS, "interventions": INTERVENTIONS}


def plugins(others: Mapping[str, MutableMapping[str, Any]] | None = None) -> None:
    """Register what installed distributions bring, without importing it.

    Args:
        others: kinds of things that can be added beside those of this package -> their registries.

    Raises:
        ValueError: a name is taken, or does not begin with a kind of thing that can be added.
    """
    kinds = {**_KINDS, **(others or {})}
    for point in entry_points(group=GROUP):
        kind, _, name = point.name.partition(".")
        origin = point.dist.name if point.dist is not None else point.value
        if kind not in kinds or not name:
            raise ValueError(
                f"the entry point {point.name!r} of {origin} is not understood; its name must begin with one of "
                f"{', '.join(f'{known}.' for known in kinds)}"
            )
        add(kinds[kind], name, Entry(point.value, f"from {origin}"))
