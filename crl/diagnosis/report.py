"""A diagnosis on the screen, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from agents.plasticity.diagnosis import SIGNS, Comparison, Finding
from crl.config import ConfigError
from crl.diagnosis.measuring import Examined
from crl.screen import console, say, tolerant


def show(found: Sequence[Examined]) -> None:
    """Print what each run's diagnosis says, and then all numbers, side by side where there are two."""
    for run in found:
        _show_findings(run)
    with tolerant():
        console().print(_table(found), markup=False, highlight=False)
    for sign in (sign for sign in SIGNS if any(key.endswith(f"/{sign}") for key in found[0].diagnosis.signs)):
        say(f"{sign}: {SIGNS[sign].meaning}")
    say(
        "trainability: share of an error that 100 steps of training remove from a copy; policy_: by the policy gradient"
    )


def _show_findings(run: Examined) -> None:
    diagnosis = run.diagnosis
    fresh = max((len(each.fresh) for each in diagnosis.trainability.values()), default=0)
    say(f"{run.folder.resolve().name}: after {run.steps:,} steps, in {run.task}, beside {fresh} fresh networks")
    for finding in diagnosis.findings:
        say(f"  found: {_sentence(finding)}")
    for network in diagnosis.unexplained:
        say(f"  {network} learns less than fresh networks do, by none of the mechanisms that are looked for")
    if not diagnosis.findings and not diagnosis.unexplained:
        say("  found: none; the networks can be trained as fresh ones can")


def _sentence(finding: Finding) -> str:
    where = finding.network if finding.place == finding.network else f"{finding.network} ({finding.place})"
    numbers = ", ".join(f"{sign} {_number(value)}" for sign, value in finding.signs.items())
    harm = "" if finding.trainability is None else f"; trainability {_number(finding.trainability)} of a fresh one's"
    return (
        f"{finding.mechanism} in {where}: strength {finding.strength:.2f}, confidence {finding.confidence:.2f} "
        f"({numbers}{harm})"
    )


def _table(found: Sequence[Examined]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("measure", overflow="fold")
    names = ["now"] if len(found) == 1 else [f"run {number + 1}" for number in range(len(found))]
    for name in (*names, "fresh", "least", "most", "start"):
        table.add_column(name, justify="right", no_wrap=True)
    first, *others = (_compared(run) for run in found)
    for key, each in first.items():
        beside = [_number(other[key].value) if key in other else "-" for other in others]
        start = "-" if each.start is None else _number(each.start)
        table.add_row(
            key, _number(each.value), *beside, *map(_number, (each.middle, min(each.fresh), max(each.fresh))), start
        )
    return table


def _compared(run: Examined) -> dict[str, Comparison]:
    return {**run.diagnosis.trainability, **run.diagnosis.signs}


def _number(value: float) -> str:
    return f"{value:.3g}"


def write_json(path: Path, found: Sequence[Examined]) -> None:
    """All numbers, of the first run and, where there is one, of that which it is compared with.

    Raises:
        ConfigError: the file cannot be written.
    """
    data = _as_json(found[0]) | ({"compared_with": _as_json(found[1])} if len(found) > 1 else {})
    try:
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(data, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be written ({error.strerror}); make room for it") from None
    say(f"written: {path}, in {sum(run.seconds for run in found):.1f} s")


def _as_json(run: Examined) -> dict[str, Any]:
    diagnosis = run.diagnosis
    return {
        "run": str(run.folder), "steps": run.steps, "task": run.task, "seconds": run.seconds,
        "findings": [asdict(finding) for finding in diagnosis.findings],
        "unexplained": list(diagnosis.unexplained),
        "trainability": {key: asdict(each) for key, each in diagnosis.trainability.items()},
        "signs": {key: asdict(each) for key, each in diagnosis.signs.items()},
        "gradient_shares": {name: list(each) for name, each in diagnosis.gradient_shares.items()},
        "value_sizes": {
            name: {str(step): size for step, size in each.items()} for name, each in diagnosis.value_sizes.items()
        },
    }  # fmt: skip
