"""Where what was found comes from, and what was tried, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from agents.plasticity.findings import Trial
from crl.config.messages import printable, shortened
from crl.diagnosis.continuation import Continuation
from crl.diagnosis.source import UNEXPLAINED, VALUES, Origin, Source
from crl.statistics.changes import FEWEST, Change


def lines_of(origin: Origin) -> Iterator[str]:
    """A line for each source, and one for each network's settings."""
    if origin.unlogged is not None:
        yield origin.unlogged
    for source in origin.sources:
        yield _line(source, logged=origin.unlogged is None)
    for network, settings in origin.settings.items():
        known = {key.replace("_", " "): shown(value) for key, value in settings.items() if value is not None}
        yield f"{network} has " + ", ".join(f"{key} {value}" for key, value in known.items())


def shown(setting: Any) -> str:
    """The value of a setting; a learning rate of a schedule has more digits than anybody reads."""
    return f"{setting:.4g}" if isinstance(setting, float) else printable(shortened(str(setting)))


def _line(source: Source, *, logged: bool) -> str:
    change, curve = source.change, f"{source.measure} of {source.network}"
    if change is None:
        return f"{curve} has {source.points} points, of which nothing can be told; {_remedy(source, logged=logged)}"
    if change.kind == "none":
        return (
            f"{curve} shows no change for good in {source.points} points: it was so from the first one on, or it varies"
        )
    return f"{curve} went from {change.before:.3g} to {change.after:.3g}, {when(source)} (support {change.support:.2f})"


def _remedy(source: Source, *, logged: bool) -> str:
    if source.measure == VALUES:
        return f"train with checkpoint.visits=true, which keeps the parameters of every visit, for {FEWEST} of them"
    if source.measure == UNEXPLAINED.name:
        return f"it is measured once per visit, so train for {FEWEST} visits at least"
    if logged and not source.points:  # a longer run would have no more of what is not measured of this network
        return "no row of the run's log has it"
    return f"{FEWEST} are needed, so train longer" if logged else "it needs the run's logs"


def when(source: Source) -> str:
    """Since when it is so, of a curve that has changed."""
    change = source.change
    assert change is not None
    at = f"by step {change.end:,.0f}, at once" if change.kind == "sudden" else ""
    if change.kind == "gradual":
        at = f"little by little from step {change.begin:,.0f} to {change.end:,.0f}"
    if source.visit is not None:
        of = "" if source.task is None else f" to {printable(shortened(source.task))}"
        at += f" at the switch{of} (visit {source.visit})"
    return f"{at}; {_interval(change)}"


def _interval(change: Change) -> str:
    what = "between" if change.kind == "sudden" else "beginning between"
    return f"{what} {change.earliest:,.0f} and {change.latest:,.0f} by 95%"


def number_of(value: float) -> str:
    """With two digits; a dash where it is not known."""
    return "-" if math.isnan(value) else f"{value + 0.0:.2g}"  # without the sign of -0.0


def snippet(trial: Trial) -> str:
    """A candidate as a part of a config."""
    comment = "  # at revealed task switches; with period: at every so many gradient steps" if trial.at_switches else ""
    return f"interventions:\n- {_flow(trial.candidate)}{comment}"


def _flow(candidate: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(dict(candidate), default_flow_style=True, sort_keys=False, width=math.inf)
    return text.strip()


def in_words(candidate: Mapping[str, Any]) -> str:
    """A candidate in words."""
    arguments = [f"{key} {value}" for key, value in candidate.items() if key != "name"]
    return f"{candidate['name']} ({', '.join(arguments)})" if arguments else str(candidate["name"])


def returns_of(continuation: Continuation) -> list[str]:
    """The mean over seeds and each seed's, with a dash where no episode has ended."""
    return ["-" if math.isnan(number) else f"{number:.4g}" for number in (continuation.mean, *continuation.returns)]


def with_what(continuation: Continuation) -> str:
    """What an agent went on with, in words."""
    return "nothing" if continuation.candidate is None else in_words(continuation.candidate)
