"""What interventions would do for an ill agent: a table, what to paste into a config, and JSON."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich import box
from rich.table import Table

from agents.optimizers import ADAM, OPTIMIZERS
from agents.plasticity.diagnosis import usual
from agents.plasticity.diagnosis.matching import USUAL_OF_ALL
from agents.plasticity.findings import NEGLIGIBLE, Trial, Usual, best_of
from agents.plasticity.registry import NETWORKS
from agents.plasticity.trials import NO_REMEDY
from crl.config.messages import printable
from crl.diagnosis.continuation import SEEDS, Continued
from crl.diagnosis.measuring import Examined
from crl.diagnosis.wording import in_words, number_of, returns_of, snippet, with_what
from crl.screen import console, say, tolerant

NEXT_RUN = "what networks are made of, and their optimizer, cannot be put into an agent that lives"


def show_remedies(run: Examined) -> None:
    """Print what was tried, what is usually named, and what to paste; nothing where nothing was tried."""
    tried = [trial for trial in run.trials if not trial.hindrance]
    if not run.trials:
        return
    with tolerant():
        console().print(_table(tried), markup=False, highlight=False)
    say("before, after: the lowest trainability without and with it, a fresh network having 1; by: what it changes at")
    say("once, KL of a policy, mean square of values over theirs. Penalties had as many steps as the probe has.")
    for trial in run.trials:
        if trial.hindrance and trial.candidate["name"] not in NO_REMEDY:
            say(f"  not tried: {trial.candidate['name']}: {trial.hindrance}")
    for each in usual(run.diagnosis.findings, run.trials):
        say(f"  {_beside(each)}")
    say(f"  {NEXT_RUN}; for the next run: {'; '.join(_next_run())}")
    if run.continued is not None:
        _show_continued(run.continued)
    if (best := best_of(tried)) is None:
        say(f"  nothing that was tried regains {NEGLIGIBLE} of a fresh network's trainability")
    else:
        say(f"to paste:\n{snippet(best)}")


def _show_continued(continued: Continued) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("went on with", overflow="fold")
    for name in ("mean return", *(f"seed {number + 1}" for number in range(SEEDS)), "episodes"):
        table.add_column(name, justify="right")
    for each in continued.found:
        table.add_row(with_what(each), *returns_of(each), f"{sum(each.episodes):,}")
    say(f"gone on for {continued.steps:,} steps of {printable(continued.task)}, with the same seeds:")
    with tolerant():
        console().print(table, markup=False, highlight=False)
    say(f"of {SEEDS} seeds all are shown, and nothing is claimed")


def _table(trials: Sequence[Trial]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("tried on a copy", overflow="fold")
    outputs = list(dict.fromkeys(name for trial in trials for name in trial.changes))
    for name in ("before", "after", *(f"{name} by" for name in outputs), "loss by", "seconds", "kB"):
        table.add_column(name, justify="right")
    for trial in trials:
        _, before, after = trial.lowest
        rise = max(trial.loss_changes.values(), default=math.nan)
        numbers = (before, after, *(trial.changes.get(name, math.nan) for name in outputs), rise)
        shown = [number_of(number) for number in numbers]
        table.add_row(in_words(trial.candidate), *shown, f"{trial.seconds:.1f}", f"{trial.memory / 1000:,.0f}")
    return table


def _beside(found: Usual) -> str:
    named = f"usually named for {found.mechanism} in {found.network}: {found.usual}"
    if found.most is None or found.best is None:
        return f"{named}; nothing could be tried"
    most = f"the most, {found.most:.2f}, is regained by {in_words(found.best)}"
    if found.regained is None:
        return f"{named}, which could not be tried; {most}"
    verdict = "they agree" if found.agrees else "they do not agree"
    return f"{named}, which regains {found.regained:.2f}; {most}: {verdict} ({USUAL_OF_ALL} is named for all)"


def _next_run() -> list[str]:
    optimizers = [f"agent.optimizer: {name}" for name in OPTIMIZERS if name != ADAM]
    return [*(line.strip() for line in NETWORKS), *optimizers]


def remedies_as_json(run: Examined) -> dict[str, Any]:
    """All that was tried, with what to paste; and what only the next run can have."""
    trials = [
        {**_finite(asdict(trial)), "config": snippet(trial)} if not trial.hindrance else
        {"candidate": dict(trial.candidate), "hindrance": trial.hindrance}
        for trial in run.trials
    ]  # fmt: skip
    beside = [{**asdict(each), "agrees": each.agrees} for each in usual(run.diagnosis.findings, run.trials)]
    continued = None if run.continued is None else _finite(asdict(run.continued))
    return {
        "trials": trials,
        "usual": beside,
        "next_run": _next_run() if run.trials else [],
        "continued": continued,
    }


def _finite(value: Any) -> Any:
    """With None for what JSON has no number for."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
