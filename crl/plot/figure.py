"""The figure of one run or several: a panel for each task, and one for the units that were reset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from crl.config.messages import printable, shortened
from crl.labels import labels
from crl.plot.reading import Curves, Numbers, Span

MOST_PANELS = 8  # tasks that have a panel each; those of more share one
MOST_SPANS = 12  # that are named above the panels, and so many times more that are shaded
COLORS = 10  # of matplotlib's cycle
STYLES = ("-", "--", ":")
INCHES = 0.6, 0.065  # that a line of the legend and each letter of its name take, about
SHADE = "0.93"
PANEL, TOGETHER = 1.5, 3.0  # inches: height of a panel, and of one for all tasks where that is asked for
THIN: dict[str, Any] = {"linewidth": 0.8, "alpha": 0.4}  # one of several runs that have their mean drawn

Line = tuple[Numbers, Numbers]
"""Steps and values; a gap where a value is nan."""


@dataclass(frozen=True)
class Group:
    """Runs that are drawn alike.

    Attributes:
        label: in the legend.
        color: of its lines.
        runs: its curves; none where it has none yet.
        dashes: how its lines are drawn.
        mark: name of its lines in an SVG.
    """

    label: str
    color: Any
    runs: list[Curves]
    dashes: str = "-"
    mark: str | None = None

    @property
    def style(self) -> dict[str, Any]:
        """Of its lines."""
        return {"color": self.color, "linestyle": self.dashes, "gid": self.mark}


def draw(runs: Sequence[Curves]) -> Figure:
    """Draw runs, each named by what it differs from the others."""
    return draw_groups(_groups(runs))


def draw_groups(groups: Sequence[Group], *, together: bool = False, spans: Sequence[Span] | None = None) -> Figure:
    """Returns over steps, in a panel for each task whose visits are shaded; below, units reset from the beginning.

    Runs that differ in nothing but their seeds have one color beside others, and their mean is drawn where all of them
    have a row. Where units were reset, those of each network are drawn of a single run, of several those of all
    networks together.

    Args:
        groups: of runs, of which at least one has curves.
        together: whether all tasks share a panel, however few they are.
        spans: what is played when; left out, what the longest run plays.
    """
    runs = [run for group in groups for run in group.runs]
    longest = max(runs, key=lambda run: float(run.steps.max()))
    spans = longest.spans() if spans is None else spans
    tasks = list(dict.fromkeys(task for run in runs for task in run.played().values()))
    panels: list[str | None] = [None] if together or not 0 < len(tasks) <= MOST_PANELS else [*tasks]
    resets = any(counts[-1] for run in runs for counts in run.resets.values())
    heights = [TOGETHER if together else PANEL] * len(panels) + [PANEL] * resets
    figure = Figure(figsize=(9, sum(heights) + 1.2), dpi=110, layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
    for axis, task in zip(axes, panels, strict=False):
        _draw_returns(axis, task, groups)
        shade(axis, [span for span in spans if span.task == task], spans)
    if resets:
        _draw_resets(axes[-1], groups)
        shade(axes[-1], [], spans)
    if len(spans) <= MOST_SPANS:
        _name(axes[0], spans)
    axes[-1].set_xlabel("steps")
    axes[-1].xaxis.set_major_formatter(EngFormatter(sep=""))
    axes[-1].set_xlim(0, float(longest.steps.max()))
    if len(groups) > 1:
        explain(figure, axes[0])
    else:
        figure.suptitle(groups[0].label, fontsize="medium", parse_math=False)
    return figure


def _groups(runs: Sequence[Curves]) -> list[Group]:
    together: dict[str, list[Curves]] = {}
    for run, label in zip(runs, labels([run.config for run in runs]), strict=True):
        together.setdefault(label, []).append(run)
    return [
        Group(label if len(found) == 1 else f"{label} ({len(found)} runs)", color, found, dashes)
        for (label, found), (color, dashes) in zip(together.items(), styles(len(together)), strict=True)
    ]


def styles(count: int) -> list[tuple[Any, str]]:
    """The color and the dashes of so many groups."""
    if count <= COLORS * len(STYLES):
        return [(f"C{number % COLORS}", STYLES[number // COLORS]) for number in range(count)]
    return [(color, STYLES[0]) for color in colormaps["turbo"](np.linspace(0, 1, count))]


def _draw_returns(axis: Axes, task: str | None, groups: Sequence[Group]) -> None:
    for group in groups:
        draw_group(axis, group, [_returns(run, task) for run in group.runs])
    name = "all tasks" if task is None else printable(shortened(task))
    axis.set_ylabel(f"{name}\nmean return", fontsize="small", parse_math=False)
    finish(axis)


def _draw_resets(axis: Axes, groups: Sequence[Group]) -> None:
    if len(groups) == len(groups[0].runs) == 1:
        run = groups[0].runs[0]
        for number, (network, counts) in enumerate(run.resets.items()):
            style: dict[str, Any] = {
                "color": f"C{number + 1}",
                "linestyle": STYLES[number % len(STYLES)],
            }  # two may have equal counts
            axis.step(run.steps, counts, where="post", linewidth=1.2, label=network, **style)
        axis.legend(loc="upper left", fontsize="small", frameon=False)
    else:
        for group in groups:
            lines = [(run.steps, np.sum([*run.resets.values()], axis=0)) for run in group.runs if run.resets]
            draw_group(axis, group, lines, drawstyle="steps-post")
    axis.set_ylabel("units reset\nso far", fontsize="small")
    finish(axis)


def draw_group(axis: Axes, group: Group, lines: Sequence[Line], drawstyle: str = "default") -> None:
    """Each run, and where there are several their mean in its place in the legend."""
    if len(lines) == 1:
        axis.plot(*lines[0], linewidth=1.4, label=group.label, drawstyle=drawstyle, **group.style)
        return
    for line in lines:
        axis.plot(*line, drawstyle=drawstyle, **group.style, **THIN)
    if lines:
        axis.plot(*mean_of(lines), linewidth=1.6, label=group.label, drawstyle=drawstyle, **group.style)


def _returns(run: Curves, task: str | None) -> Line:
    """A run's returns in a task, or in all of them, with a gap before each visit that does not follow another."""
    there = run.tasks == task if task is not None else run.tasks != ""
    steps, returns, segments = run.steps[there], run.returns[there], run.segments[there]
    apart = 1 if task is not None else 0  # visits that follow one another are of variants of the task
    gaps = np.flatnonzero(np.diff(segments) > apart) + 1
    return np.insert(steps, gaps, steps[gaps - 1]), np.insert(returns, gaps, np.nan)


def mean_of(lines: Sequence[Line]) -> Line:
    """Mean at the steps that all lines have; the gaps are those of the first."""
    known = [dict(zip(steps[~np.isnan(values)], values[~np.isnan(values)], strict=True)) for steps, values in lines]
    steps, first = lines[0]
    there = np.isnan(first) | np.array([all(step in each for each in known) for step in steps], dtype=bool)
    kept = steps[there]
    means = [np.nan if np.isnan(value) else np.mean([each[step] for each in known])
             for step, value in zip(kept, first[there], strict=True)]  # fmt: skip
    return kept, np.array(means)


def shade(axis: Axes, shaded: Sequence[Span], spans: Sequence[Span]) -> None:
    """Shade some of the visits, and mark all switches, if they are not too many."""
    if len(spans) > MOST_SPANS * MOST_SPANS:
        return
    for span in shaded:
        axis.axvspan(span.start, span.stop, color=SHADE, linewidth=0, zorder=0)
    for span in spans[1:]:
        axis.axvline(span.start, color="0.4", linewidth=0.6, linestyle=":", zorder=1)


def _name(axis: Axes, spans: Sequence[Span]) -> None:
    """Write above the panels what is played when."""
    for span in spans:
        visits = f"visit {span.first}" if span.first == span.last else f"visits {span.first} to {span.last}"
        axis.annotate(
            f"{printable(shortened(span.task))}\n{visits}",
            ((span.start + span.stop) / 2, 1.02),
            xycoords=("data", "axes fraction"),
            ha="center",
            fontsize="small" if len(spans) <= MOST_SPANS // 2 else "x-small",
            parse_math=False,
        )


def explain(figure: Figure, axis: Axes) -> None:
    """Write above all panels what the lines of one are."""
    handles, names = axis.get_legend_handles_labels()
    fitting = figure.get_figwidth() // (INCHES[0] + INCHES[1] * max(map(len, names), default=0))
    style: dict[str, Any] = {"fontsize": "small", "frameon": False, "ncols": max(1, min(len(names), int(fitting)))}
    legend = figure.legend(handles, names, loc="outside upper center", **style)
    for text in legend.get_texts():
        text.set_parse_math(False)


def finish(axis: Axes) -> None:
    """Have an axis begin at 0 where nothing is below, and leave out the lines that close it."""
    if axis.dataLim.y0 >= 0:
        axis.set_ylim(bottom=0)
    axis.spines[["top", "right"]].set_visible(False)
