"""A diagnosis on the screen, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from agents.plasticity.diagnosis import SIGNS
from agents.plasticity.findings import NEGLIGIBLE, Comparison, Finding
from crl.config import ConfigError
from crl.diagnosis.measuring import Examined
from crl.diagnosis.remedies import remedies_as_json, show_remedies
from crl.diagnosis.source import Source
from crl.diagnosis.wording import lines_of
from crl.screen import console, say, tolerant
from crl.storage import replace_file


def show(found: Sequence[Examined]) -> None:
    """Print what each run's diagnosis says, and then all numbers, side by side where there are two."""
    for run in found:
        _show_findings(run)
        for line in lines_of(run.origin):
            say(f"  source: {line}")
        show_remedies(run)
    with tolerant():
        console().print(_table(found), markup=False, highlight=False)
    for sign in (sign for sign in SIGNS if any(key.endswith(f"/{sign}") for key in found[0].diagnosis.signs)):
        say(f"{sign}: {SIGNS[sign].meaning}")
    say(
        f"trainability: share of an error that {found[0].probe_steps:,} steps of training remove from a copy; policy_: "
        "by the policy gradient"
    )


def _show_findings(run: Examined) -> None:
    diagnosis = run.diagnosis
    fresh = max((len(each.fresh) for each in diagnosis.trainability.values()), default=0)
    say(f"{run.folder.resolve().name}: after {run.steps:,} steps, in {run.task}, beside {fresh} fresh networks")
    for finding in diagnosis.findings:
        say(f"  found: {_sentence(finding)}")
    for network in diagnosis.unexplained:
        say(f"  {network} learns less than fresh networks do, by none of the mechanisms that are looked for")
    for key in diagnosis.untold:
        removed = diagnosis.trainability[key].middle
        more = f"more, such as --steps {10 * run.probe_steps}" if removed else "an earlier --checkpoint, if one is kept"
        say(
            f"  {key} tells nothing: {run.probe_steps:,} steps at this learning rate remove only {_number(removed)} of "
            f"the error even of fresh networks, and nothing can be named below {NEGLIGIBLE}; give {more}"
        )
    if not diagnosis.findings and not diagnosis.unexplained:
        told = len(diagnosis.untold) < len(diagnosis.trainability)
        well = "" if diagnosis.untold else "; the networks can be trained as fresh ones can"
        say(f"  found: none{well}" if told else "  found: none, but whether the networks can be trained is not known")
    for finding in diagnosis.unmissed:
        say(f"  not missed, but often cheap to revive: {_sentence(finding)}")


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
    for name in (*names, "fresh", "least", "most", f"at {found[0].earliest:,}"):
        table.add_column(name, justify="right", no_wrap=True)
    first, *others = (_compared(run) for run in found)
    for key, each in first.items():
        beside = [_number(other[key].value) if key in other else "-" for other in others]
        earliest = "-" if each.earliest is None else _number(each.earliest)
        table.add_row(
            key, _number(each.value), *beside, *map(_number, (each.middle, min(each.fresh), max(each.fresh))), earliest
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
        replace_file(path, f"{json.dumps(data, indent=1, allow_nan=False)}\n".encode())
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be written ({error.strerror}); make room for it") from None
    say(f"written: {path}, in {sum(run.seconds for run in found):.1f} s")


def _as_json(run: Examined) -> dict[str, Any]:
    diagnosis = run.diagnosis
    return {
        "run": str(run.folder), "steps": run.steps, "earliest": run.earliest, "task": run.task,
        "probe_steps": run.probe_steps, "seconds": run.seconds,
        "findings": [asdict(finding) for finding in diagnosis.findings],
        "unexplained": list(diagnosis.unexplained),
        "unmissed": [asdict(finding) for finding in diagnosis.unmissed],
        "untold": list(diagnosis.untold),
        "trainability": {key: asdict(each) for key, each in diagnosis.trainability.items()},
        "signs": {key: asdict(each) for key, each in diagnosis.signs.items()},
        "sources": [_source_as_json(source) for source in run.origin.sources],
        "settings": {name: dict(each) for name, each in run.origin.settings.items()},
        "gradient_shares": {name: list(each) for name, each in diagnosis.gradient_shares.items()},
        "value_sizes": {
            name: {str(step): size for step, size in each.items()} for name, each in diagnosis.value_sizes.items()
        },
        **remedies_as_json(run),
    }  # fmt: skip


def _source_as_json(source: Source) -> dict[str, Any]:
    """Without what is not defined of no change."""
    found = asdict(source)
    change = found.pop("change")
    return found | {"change": change and {key: value for key, value in change.items() if value == value}}
