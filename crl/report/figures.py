"""The figures of a report but for those of its visits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import EngFormatter

from crl.config.messages import printable, shortened
from crl.measures import PLASTICITY
from crl.metrics import Scores
from crl.plot.figure import draw_group, draw_groups, explain, finish, shade
from crl.plot.reading import Curves
from crl.plot.thinning import thinned
from crl.report.arms import Compared

MOST_TASKS = 30  # rows of a heat map
MOST_OUTLINED = 60  # visits that are outlined in it
CELLS = 200  # columns of a heat map
ACROSS = 3  # heat maps beside one another
POINTS, LEAST = 3000, 50  # of all curves in a panel of plasticity, and of each
COLUMNS = ("actor", "critic", "features")  # networks in the order in which they are shown


def learning_curves(compared: Compared) -> Figure | None:
    """Returns over the stream, switches and units reset; None where no run has a row of logs yet."""
    drawn = [each for each in compared.drawn if each.runs]
    spans = compared.spans
    again = len({span.task for span in spans}) < len(spans)  # where none comes again a panel each would be bare
    return draw_groups(drawn, together=not again, spans=spans) if drawn else None


# ------------------------------------------------------------------ evaluations: each task over time


def heat_maps(compared: Compared) -> Figure | None:
    """Each task's return over time, a map for each arm; None where none was evaluated."""
    arms = [(arm, scores) for arm in compared.arms if (scores := [run.scores for run in arm.runs if run.scores])]
    if not arms:
        return None
    found = [scores for _, of in arms for scores in of]
    tasks = list(dict.fromkeys(task for scores in found for task in scores.tasks))
    end = max(float(scores.steps[-1]) for scores in found)
    if not end:  # before the first update
        return None
    shown = tasks[:MOST_TASKS]
    maps = [_map(of, shown, end) for _, of in arms]
    low = np.nanmin([np.nanmin(each, axis=1, initial=np.inf) for each in maps], axis=0)[:, None]
    high = np.nanmax([np.nanmax(each, axis=1, initial=-np.inf) for each in maps], axis=0)[:, None]
    rows, columns = -(-len(arms) // ACROSS), min(len(arms), ACROSS)
    height = rows * (0.19 * len(shown) + 0.75) + 0.4
    figure = Figure(figsize=(3.6 * columns + 1.6, height), dpi=110, layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    image = None
    for place, (axis, (arm, _), values) in enumerate(zip(axes.flat, arms, maps, strict=False)):
        shares = (values - low) / np.where(high > low, high - low, 1)
        image = axis.imshow(
            shares, aspect="auto", interpolation="none", vmin=0, vmax=1, extent=(0, end, len(shown) - 0.5, -0.5)
        )
        axis.set_title(arm.name, fontsize="small")
        _outline(axis, compared, shown)
        axis.set_yticks(range(len(shown)), [printable(shortened(task)) for task in shown], fontsize="small")
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.tick_params(axis="x", labelsize="small", labelbottom=place + ACROSS >= len(arms))
    for axis in axes.flat[len(arms) :]:
        axis.remove()
    assert image is not None
    bar = figure.colorbar(image, ax=axes.flat[: len(arms)].tolist(), shrink=min(1, 2 / height))
    bar.set_label("lowest to highest\nreturn of the task", fontsize="small")  # fits beside a single row
    bar.ax.tick_params(labelsize="small")
    figure.supxlabel("steps", fontsize="small")
    return figure


def _map(runs: Sequence[Scores], tasks: Sequence[str], end: float) -> np.ndarray:
    """Mean over runs of the newest return of each task at each time: (tasks, `CELLS`), nan before the first."""
    times = (np.arange(CELLS) + 0.5) * end / CELLS
    found = np.full((len(runs), len(tasks), CELLS), np.nan)
    for run, place in np.ndindex(len(runs), len(tasks)):
        steps, values = runs[run].of(tasks[place])
        if len(steps):
            places = np.searchsorted(steps, times, side="right") - 1
            inside = (places >= 0) & (times <= runs[run].steps[-1])  # not beyond where a run has come
            found[run, place, inside] = values[places[inside]]
    known = ~np.isnan(found)
    counts = known.sum(axis=0)
    sums = np.where(known, found, 0).sum(axis=0)
    means: np.ndarray = np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)
    return means


def _outline(axis: Axes, compared: Compared, tasks: Sequence[str]) -> None:
    """Outline each task's cells while it is trained."""
    if len(compared.segments) > MOST_OUTLINED:
        return
    for segment in compared.segments:
        if segment.task in tasks:
            corner = (segment.start, tasks.index(segment.task) - 0.5)
            style: dict[str, Any] = {"fill": False, "edgecolor": "#fefefe", "linewidth": 1.1}  # in any theme
            axis.add_patch(Rectangle(corner, segment.stop - segment.start, 1, **style))


# ------------------------------------------------------------------ plasticity: measures of the networks


def plasticity_curves(compared: Compared, category: str) -> Figure | None:
    """The measures of a category over steps, a row for each and a column for each network; None where there is none."""
    runs = sum(len(each.runs) for each in compared.drawn)
    points = max(LEAST, POINTS // max(runs, 1))
    drawn = [replace(each, runs=thinned(each.runs, points)) for each in compared.drawn if each.runs]
    tags = {
        tag for each in drawn for run in each.runs for tag in run.plasticity if not np.isnan(run.plasticity[tag]).all()
    }
    networks = sorted({_network(tag) for tag in tags}, key=lambda name: ((*COLUMNS, name).index(name), name))
    measures = [name for name in PLASTICITY[category] if any(f"{network}/{name}" in tags for network in networks)]
    if not measures:
        return None
    size = (3.6 * len(networks) + 0.4, 1.45 * len(measures) + 1)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    axes = figure.subplots(len(measures), len(networks), sharex=True, squeeze=False)
    first = None
    for row, name in enumerate(measures):
        for axis, network in zip(axes[row], networks, strict=True):
            tag = f"{network}/{name}"
            if tag not in tags:
                axis.set_axis_off()
                continue
            for each in drawn:
                draw_group(axis, each, [line for run in each.runs if (line := _line(run, tag)) is not None])
            shade(axis, [], compared.spans)
            finish(axis)
            axis.set_title(f"{PLASTICITY[category][name]}: {network}", fontsize="small")
            axis.tick_params(labelsize="small", labelbottom=row == len(measures) - 1)
            axis.xaxis.set_major_formatter(EngFormatter(sep=""))
            first = first or axis
    assert first is not None
    figure.supxlabel("steps", fontsize="small")
    if len(drawn) > 1:
        explain(figure, first)
    return figure


def _network(tag: str) -> str:
    return tag.rpartition("/")[0]


def _line(run: Curves, tag: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Steps and values at which something was measured."""
    values = run.plasticity.get(tag)
    if values is None:
        return None
    known = ~np.isnan(values)
    return (run.steps[known], values[known]) if known.any() else None
