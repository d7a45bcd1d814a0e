"""Which runs of an ablation are trained together: seeds of one arm, as `vectorize: seeds` asks for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from crl.ablation.plan import Planned, why_alone
from crl.config.messages import in_words

MOST = 16  # runs in a team: one of more is hardly cheaper, and all of them are lost where its worker is killed


def why_apart(runs: Sequence[Planned]) -> dict[str, str]:
    """Arm -> why its runs cannot be trained together, of the arms of these runs for which that is so.

    Raises:
        ConfigError: an arm cannot be built here.
    """
    first: dict[str, Planned] = {}
    for run in runs:
        first.setdefault(run.cell.arm, run)
    return {arm: reason for arm, run in first.items() if (reason := why_alone(run)) is not None}


def formed(runs: Sequence[Planned], apart: Mapping[str, str], workers: int) -> dict[str, list[Planned]]:
    """Name of each team -> its runs; those that are in none are trained alone.

    Args:
        runs: that are to be trained.
        apart: of `why_apart`.
        workers: that are to have something to do: arms are shared out among them.
    """
    arms: dict[str, list[Planned]] = {}
    for run in runs:
        arms.setdefault(run.cell.arm, []).append(run)
    found = {}
    for arm, members in arms.items():
        if arm in apart:
            continue
        wanted = max(math.ceil(workers / len(arms)), math.ceil(len(members) / MOST))
        for team in _shared_out(members, wanted):
            if len(team) > 1:
                found[f"{arm}__s{team[0].cell.seed}-s{team[-1].cell.seed}"] = team
    return found


def _shared_out(members: list[Planned], teams: int) -> list[list[Planned]]:
    """The members in so many teams that differ by one at most, each of them one or more."""
    bounds = [len(members) * number // teams for number in range(teams + 1)]
    return [members[start:end] for start, end in itertools.pairwise(bounds) if start < end]


def told(apart: Mapping[str, str]) -> list[str]:
    """A sentence for each reason of `why_apart`, with the arms that it is of."""
    arms: dict[str, list[str]] = {}
    for arm, reason in apart.items():
        arms.setdefault(reason, []).append(arm)
    return [
        f"vectorize=seeds trains the seeds of {in_words(names)} one by one: {reason}" for reason, names in arms.items()
    ]
