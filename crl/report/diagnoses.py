"""What `crl diagnose` has found in the runs of a report, as tables."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from agents.plasticity.findings import Comparison, Finding, best_of
from crl.ablation.tables import table
from crl.config.messages import printable
from crl.diagnosis.recorded import Diagnosed
from crl.diagnosis.wording import in_words, number_of, returns_of, shown, snippet, when, with_what
from crl.report.arms import Arm, Compared
from crl.report.reading import Reported
from crl.report.tables import Table
from crl.shell import typed

NOT_KNOWN = "not known"
NONE, UNEXPLAINED = "none", "learns less than fresh networks, by none of the mechanisms looked for"


def undiagnosed(compared: Compared) -> str | None:
    """How runs that were not diagnosed can be; None where all were."""
    runs = [run for run in compared.runs if not run.diagnoses.found]
    if not runs:
        return None
    count = len(compared.runs)
    which = "none" if len(runs) == count else f"{len(runs)}"
    of = "the run has not" if count == 1 else f"{which} of {count} runs has" + (" not" if which != "none" else "")
    return f"{of} been diagnosed; that is done by {typed(['crl', 'diagnose', str(runs[0].folder)])}"


def findings(compared: Compared) -> Table:
    """What the newest diagnosis of each run has found, a row for each finding."""
    headings = ["arm", "seed", "after steps", "found", "where", "strength", "confidence", "trainability", "since"]
    rows = []
    for arm, run in _diagnosed(compared):
        newest = run.diagnoses.found[0]
        rows += [[arm.name, f"{run.seed}", f"{newest.steps:,}", *row] for row in _found(newest)]
    return Table("", headings, rows, numbers=False)


def _diagnosed(compared: Compared) -> Iterator[tuple[Arm, Reported]]:
    return ((arm, run) for arm in compared.arms for run in arm.runs if run.diagnoses.found)


def _found(diagnosed: Diagnosed) -> Iterator[list[str]]:
    """What was found, where, its numbers, and since when it is so."""
    for each in diagnosed.findings:
        since = _since(diagnosed, each.mechanism, each.network)
        yield [printable(each.mechanism), printable(each.place), *_numbers(each), since]
    for network in diagnosed.unexplained:
        yield [UNEXPLAINED, printable(network), "", "", "", _since(diagnosed, "", network)]
    if not diagnosed.findings and not diagnosed.unexplained:
        untold = f"; {', '.join(map(printable, diagnosed.untold))} {NOT_KNOWN}" if diagnosed.untold else ""
        yield [f"{NONE}{untold}", "", "", "", "", ""]
    for each in diagnosed.unmissed:
        yield [f"{printable(each.mechanism)}, not missed", printable(each.place), *_numbers(each), ""]


def _numbers(finding: Finding) -> list[str]:
    """Strength, confidence and, where it is known, trainability."""
    harm = "" if finding.trainability is None else f"{finding.trainability:.2f}"
    return [f"{finding.strength:.2f}", f"{finding.confidence:.2f}", harm]


def _since(diagnosed: Diagnosed, mechanism: str, network: str) -> str:
    for source in diagnosed.sources:
        if (source.mechanism, source.network) == (mechanism, network) and source.change is not None:
            return when(source) if source.change.kind != "none" else "the first measure on, or it varies"
    return NOT_KNOWN


def trainability(compared: Compared) -> Table:
    """The error that training removes of each run's networks, over that of the median fresh one."""
    known = [(arm, run, run.diagnoses.found[0]) for arm, run in _diagnosed(compared)]
    keys = list(dict.fromkeys(key for *_, newest in known for key in newest.trainability))
    rows = [[arm.name, f"{run.seed}", *(_ratio(newest, key) for key in keys)] for arm, run, newest in known]
    return Table("Trainability, of a fresh network's", ["arm", "seed", *map(printable, keys)], rows)


def _ratio(diagnosed: Diagnosed, key: str) -> str:
    if key in diagnosed.untold:
        return NOT_KNOWN
    if key not in diagnosed.trainability:
        return ""
    score = diagnosed.trainability[key]
    middle = Comparison(score.value, score.fresh).middle
    return f"{score.value / middle:.2f}" if middle else ""


def settings(compared: Compared) -> Table:
    """The settings that act on the networks in which something was found."""
    known = [
        (arm, run, network, each)
        for arm, run in _diagnosed(compared)
        for network, each in run.diagnoses.found[0].settings.items()
    ]
    keys = list(dict.fromkeys(key for *_, each in known for key in each))
    rows = [
        [arm.name, f"{run.seed}", printable(network), *(_setting(each.get(key)) for key in keys)]
        for arm, run, network, each in known
    ]
    headings = ["arm", "seed", "network", *(printable(key.replace("_", " ")) for key in keys)]
    return Table("Settings of these networks", headings, rows, numbers=False)


def _setting(value: Any) -> str:
    return "" if value is None else shown(value)


def trials(compared: Compared) -> Table:
    """What interventions did to copies of the agents, a row for each that could be tried."""
    known = [(arm, run, trial) for arm, run in _diagnosed(compared) for trial in run.diagnoses.found[0].tried]
    outputs = list(dict.fromkeys(name for *_, trial in known for name in trial.changes))
    rows = []
    for arm, run, trial in known:
        numbers = (*trial.lowest[1:], *(trial.changes.get(name, math.nan) for name in outputs))
        rows.append([arm.name, f"{run.seed}", printable(in_words(trial.candidate)), *map(number_of, numbers)])
    headings = ["arm", "seed", "tried on a copy", "before", "after", *(f"{printable(name)} by" for name in outputs)]
    return Table(
        "Lowest trainability before and after, and what outputs change by at once", headings, rows, numbers=False
    )


def continued(compared: Compared) -> Table:
    """What came of going on with the agents for a while, a row for each way in which one did."""
    rows = []
    for arm, run in _diagnosed(compared):
        if (further := run.diagnoses.found[0].continued) is None:
            continue
        for each in (went_on.continuation for went_on in further.found):
            mean, *of_seeds = returns_of(each)
            what = (printable(further.task), f"{further.steps:,}", printable(with_what(each)))
            rows.append([arm.name, f"{run.seed}", *what, mean, ", ".join(of_seeds), f"{sum(each.episodes):,}"])
    headings = ["arm", "seed", "task", "steps", "went on with", "mean return", "of each seed of games", "episodes"]
    return Table("Going on with the best of what was tried, and without", headings, rows, numbers=False)


def to_paste(compared: Compared) -> list[tuple[str, str]]:
    """What each run's config may be given, with whose it is."""
    best = ((arm, run, best_of(run.diagnoses.found[0].tried)) for arm, run in _diagnosed(compared))
    return [
        (f"to paste into the config of {arm.name}, seed {run.seed}", snippet(trial))
        for arm, run, trial in best
        if trial is not None
    ]


def as_csv(compared: Compared) -> bytes:
    """A row for each finding of every diagnosis."""
    headings = ("arm", "seed", "steps", "task", "found", "where", "strength", "confidence", "trainability", "since")
    rows = (
        [arm.name, run.seed, each.steps, each.task, *row]
        for arm, run in _diagnosed(compared)
        for each in run.diagnoses.found
        for row in _found(each)
    )
    return table(headings, rows)
