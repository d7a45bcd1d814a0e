"""Draw the learning curves of a run, with the switches between tasks and the resets of units.

python benchmarks/plot_run.py runs/<run folder> docs/figure.png
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import matplotlib.pyplot as plt

from crl.monitoring import tag_of


def rows_of(path: Path) -> list[dict[str, float]]:
    """A row of numbers per log row; empty cells are left out."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items() if value} for row in csv.DictReader(file)]


def draw(run: Path, out: Path) -> None:
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))
    rows = rows_of(run / "progress.csv")
    tasks = list(dict.fromkeys(visit["task"] for visit in results["visits"]))
    figure, axes = plt.subplots(
        len(tasks) + 1, 1, sharex=True, figsize=(9, 1.5 * len(tasks) + 1.6), layout="constrained"
    )
    colors = {task: f"C{number}" for number, task in enumerate(tasks)}
    for axis, task in zip(axes, tasks, strict=False):
        visits = [visit for visit in results["visits"] if visit["task"] == task]
        for visit in visits:
            inside = [r for r in rows if visit["start"] < r["time/total_timesteps"] <= visit["start"] + visit["steps"]]
            seen = [r for r in inside if f"task/{tag_of(task)}/ep_rew_mean" in r]
            steps = [r["time/total_timesteps"] / 1e6 for r in seen]
            axis.plot(steps, [r[f"task/{tag_of(task)}/ep_rew_mean"] for r in seen], color=colors[task])
        axis.set_ylabel(f"{task.replace('_', ' ')}\nmean return")
        axis.set_ylim(bottom=0)
    networks = list(results["resets"])
    bottom = [0.0] * len(rows)
    steps = [row["time/total_timesteps"] / 1e6 for row in rows]
    for network, shade in zip(networks, ("#444444", "#888888", "#c4c4c4"), strict=False):
        heights = [row.get(f"reset/{network}/units", 0.0) for row in rows]
        axes[-1].bar(steps, heights, width=0.012 * steps[-1] / 3, bottom=bottom, color=shade, label=network)
        bottom = [low + height for low, height in zip(bottom, heights, strict=True)]
    axes[-1].set_ylim(0, 1.5 * max(bottom, default=1.0) or 1.0)  # room for the legend
    axes[-1].legend(loc="upper right", fontsize="small", ncols=3)
    axes[-1].set_ylabel("units reset")
    axes[-1].set_xlabel("million steps")
    for axis in axes:
        for visit in results["visits"]:
            start, stop = visit["start"] / 1e6, (visit["start"] + visit["steps"]) / 1e6
            axis.axvspan(start, stop, color=colors[visit["task"]], alpha=0.08, linewidth=0)
            axis.axvline(start, color="black", linewidth=0.6, linestyle=":")
        axis.set_xlim(0, steps[-1])
        axis.spines[["top", "right"]].set_visible(False)
    for visit in results["visits"]:
        middle = (visit["start"] + visit["steps"] / 2) / 1e6
        label = f"{visit['task'].replace('_', ' ')}\nvisit {visit['visit']}"
        axes[0].annotate(label, (middle, 1.02), xycoords=("data", "axes fraction"), ha="center", fontsize="small")
    figure.savefig(out, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    draw(args.run, args.out)


if __name__ == "__main__":
    main()
