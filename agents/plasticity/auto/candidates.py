"""What a closed loop may apply: what acts at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agents.plasticity.trials import REDO, Candidate, acts_gradually, built, no_remedy

THREE: tuple[Candidate, ...] = (REDO, {"name": "shrink_and_perturb", "mode": "boundary"}, "head_reset")
"""Where none are given."""


def labels(candidates: Sequence[Mapping[str, Any]]) -> list[str]:
    """Their names, the second ``redo`` as ``redo_2``."""
    names = [given["name"] for given in candidates]
    met = [names[: number + 1].count(name) for number, name in enumerate(names)]
    return [name if times == 1 else f"{name}_{times}" for name, times in zip(names, met, strict=True)]


def refuse_unfit(given: Mapping[str, Any]) -> None:
    """Refuse a candidate that cannot be built, or that does not act at once.

    Raises:
        ValueError: it is one.
    """
    name = given["name"]
    if why := no_remedy(given):
        raise ValueError(f"candidates has {name!r}, but {why}")
    try:
        intervention = built(given)
    except ValueError as error:
        raise ValueError(f"candidates has {name!r}, but {error}") from error
    if acts_gradually(intervention):
        raise ValueError(
            f"candidates has {name!r}, which acts in every gradient step, so that no single act can be tried; list it "
            "among interventions itself"
        )
