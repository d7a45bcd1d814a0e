"""What is drawn: lines and their numbers, not pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from logged_run import logged_run
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from crl.plot.figure import MOST_PANELS, draw
from crl.plot.reading import read


def lines_of(axis: Axes) -> dict[str, tuple[list[float], list[float | None]]]:
    """Label -> steps and values of each line, None in gaps; lines without a label by their number."""
    found: dict[str, tuple[list[float], list[float | None]]] = {}
    for line in axis.get_lines():
        steps, values = (np.asarray(data, dtype=float).tolist() for data in line.get_data())
        if steps[0] != steps[-1]:  # the switches are upright
            found[str(line.get_label())] = (steps, [None if value != value else value for value in values])
    return found


def shaded(axis: Axes) -> list[tuple[float, float]]:
    boxes = [patch.get_bbox() for patch in axis.patches if isinstance(patch, Rectangle)]
    return [(box.x0, box.x1) for box in boxes]


def test_a_run(tmp_path: Path) -> None:
    figure = draw([read(logged_run(tmp_path / "run", "{agent: {name: ppo}, interventions: [{name: gxd}], seed: 3}"))])
    a, b, resets = figure.axes
    assert figure.get_suptitle() == "ppo, gxd, seed 3"
    assert [axis.get_ylabel() for axis in figure.axes] == ["a\nmean return", "b\nmean return", "units reset\nso far"]
    assert lines_of(a) == {"ppo, gxd, seed 3": ([10, 20, 20, 50, 60], [1, 2, None, 3, 4])}
    assert lines_of(b) == {"ppo, gxd, seed 3": ([30, 40], [7, 8])}
    steps = [10, 20, 30, 40, 50, 60]
    assert lines_of(resets) == {"actor": (steps, [0, 1, 1, 3, 3, 4]), "critic": (steps, [1, 1, 1, 1, 1, 1])}
    assert (shaded(a), shaded(b), shaded(resets)) == ([(0, 20), (40, 60)], [(20, 40)], [])
    assert [text.get_text() for text in a.texts] == ["a\nvisit 1", "b\nvisit 1", "a\nvisit 2"]
    assert a.get_xlim() == (0, 60)


def test_seeds_share_a_color_and_their_mean_is_drawn(tmp_path: Path) -> None:
    gxd = "{{agent: {{name: ppo}}, interventions: [{{name: gxd}}], seed: {}}}"
    runs = [
        logged_run(tmp_path / "1", gxd.format(1)),
        logged_run(tmp_path / "2", gxd.format(2), tasks=["a", "b"], extra=4),  # which goes on still
        logged_run(tmp_path / "3", "{agent: {name: ppo}, seed: 1}", extra=8),
    ]
    figure = draw([read(run) for run in runs])
    a, b, resets = figure.axes
    lines = lines_of(a)
    assert lines.pop("gxd (2 runs)") == ([10, 20, 20], [3, 4, None])
    assert lines.pop("plain") == ([10, 20, 20, 50, 60], [9, 10, None, 11, 12])
    assert sorted(lines.values()) == [([10, 20], [5, 6]), ([10, 20, 20, 50, 60], [1, 2, None, 3, 4])]
    assert lines_of(b)["gxd (2 runs)"] == ([30, 40], [9, 10])
    assert lines_of(resets)["plain"] == ([10, 20, 30, 40, 50, 60], [1, 2, 2, 4, 4, 5])
    assert {line.get_drawstyle() for line in resets.get_lines()[:4]} == {"steps-post"}
    colors = {str(line.get_label()): line.get_color() for line in a.get_lines()}
    assert colors["gxd (2 runs)"] != colors["plain"]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["gxd (2 runs)", "plain"]


def test_runs_that_reset_nothing_have_no_panel_for_it(tmp_path: Path) -> None:
    run = logged_run(tmp_path / "run", rows_per_visit=1)
    lines = (run / "progress.csv").read_text().splitlines()
    (run / "progress.csv").write_text("\n".join([lines[0], *(f"{line[:-3]}0,0" for line in lines[1:])]) + "\n")
    assert [axis.get_ylabel() for axis in draw([read(run)]).axes] == ["a\nmean return", "b\nmean return"]


def test_many_tasks_share_a_panel(tmp_path: Path) -> None:
    run = logged_run(tmp_path / "run", rows_per_visit=1)
    log = run / "progress.csv"
    names = [f"t{number}" for number in range(MOST_PANELS + 1)]
    rows = [["10" if column == number else "" for column in range(len(names))] for number in range(len(names))]
    lines = [",".join(["time/total_timesteps", "task/segment", *(f"Return/{name}" for name in names)])]
    lines += [",".join([str(10 * number + 10), str(number), *cells]) for number, cells in enumerate(rows)]
    log.write_text("\n".join(lines) + "\n")
    (axis,) = draw([read(run)]).axes  # and without resets none of theirs
    assert axis.get_ylabel() == "all tasks\nmean return"
    ((steps, values),) = lines_of(axis).values()
    assert [step for step, value in zip(steps, values, strict=True) if value is not None] == list(range(10, 100, 10))
    assert values.count(None) == len(names) - 1


def test_names_are_no_formulas(tmp_path: Path) -> None:
    run = logged_run(tmp_path / "run", "{agent: {name: '$x^{'}, seed: 1}")
    log = run / "progress.csv"
    log.write_text(log.read_text().replace("Return/a", "Return/$\\frac{"))
    alone = draw([read(run)])
    alone.savefig(tmp_path / "figure.svg")  # which reads formulas
    assert r"$\frac{" in alone.axes[0].get_ylabel().replace(r"\$", "$")
    two: list[Any] = [
        read(run),
        read(logged_run(tmp_path / "two", "{agent: {name: '$y^{'}, seed: 1}", tasks=["", "b"])),
    ]
    draw(two).savefig(tmp_path / "figure.svg")


def test_thousands_of_visits(tmp_path: Path) -> None:
    run = logged_run(tmp_path / "run", tasks=["a"] * 3000, rows_per_visit=1)
    axis, _ = draw([read(run)]).axes
    ((steps, values),) = lines_of(axis).values()
    assert (len(steps), None in values) == (3000, False)
    assert shaded(axis) == [(0, 30_000)]
    assert [text.get_text() for text in axis.texts] == ["a\nvisits 1 to 3000"]
