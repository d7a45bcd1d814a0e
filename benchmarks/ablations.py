"""What is kept of the ablations in `configs/ablations`: small tables of all runs that are finished.

`benchmarks/ablations/NAME/` gets `runs.csv` and `visits.csv`, which `crl ablate` writes, `compare.csv`, the numbers of
`crl compare`, and, where units were reset, `costs.csv`: for each run how many, what replacing them was predicted to
change a transition's loss by, all units of a reset together and to first order, and what it did change it by. In
`finished.json.xz` is of each run what `crl ablate` and `crl compare` need to take it for finished: put back below
`runs/ablations`, an ablation of hours is gone on with on any machine.

What is printed is the table of the README: the returns at the ends of visits, of all tasks together as shares of the
oracle's where there are several, with 95% bootstrap intervals over seeds, best first; and by how much they differ from
those of the arm `none`, paired by seed, with p corrected for all comparisons (Holm).

    python benchmarks/ablations.py resets              # what is finished
    python benchmarks/ablations.py resets --train      # go on with it first, from where what is kept ends
    python benchmarks/ablations.py resets --shown      # the table of what is kept
    python benchmarks/ablations.py --figure            # draw all that is kept, docs/ablations.png
"""

from __future__ import annotations

import argparse
import csv
import json
import lzma
import shutil
import subprocess
import sys
from collections.abc import Iterator
from math import isfinite
from pathlib import Path

from crl.ablation import grid, record
from crl.compare.groups import MEASURES
from crl.compare.rows import ALL

ROOT = Path(__file__).resolve().parent.parent
CONFIGS, KEPT, RUNS = ROOT / "configs" / "ablations", ROOT / "benchmarks" / "ablations", ROOT / "runs" / "ablations"
RETURN = MEASURES[0].name
COSTS = ("predicted_cost", "realised_cost")
FINISHED = "finished.json.xz"
OF_A_RUN = (".config_hash", "config.yaml", "versions.txt", "results.json", "evaluations.csv")


def crl(*words: str) -> int:
    """The exit code of a command of `crl`."""
    return subprocess.run([sys.executable, "-m", "crl.cli", *words], cwd=ROOT, check=False).returncode


def costs(runs: Path) -> Iterator[list[str | int | float]]:
    """For each run that is finished and has reset units: its name, arm and seed, units, predicted and realised cost."""
    for run in table(runs / "runs.csv"):
        rows = table(runs / run["run"] / "progress.csv")
        if not rows:
            continue
        # Of the whole reset; those of its networks are in there.
        columns = {kind: [tag for tag in rows[0] if tag.endswith(f"/{kind}") and tag.count("/") == 1] for kind in COSTS}
        if not columns[COSTS[0]]:
            continue
        units = [tag for tag in rows[0] if tag.startswith("reset/") and tag.endswith("/units")]
        sums = [_sum(rows, columns[kind]) for kind in COSTS]
        yield [run["run"], run["arm"], run["seed"], int(_sum(rows, units)), *(float(f"{value:.6g}") for value in sums)]


def table(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file, none where there is no such file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _sum(rows: list[dict[str, str]], tags: list[str]) -> float:
    values = (float(row[tag]) for row in rows for tag in tags if row[tag])
    return sum(value for value in values if isfinite(value))


def collect(name: str) -> None:
    """Write the tables of an ablation."""
    runs, kept = RUNS / name, KEPT / name
    kept.mkdir(parents=True, exist_ok=True)
    for file in ("runs.csv", "visits.csv"):
        shutil.copyfile(runs / file, kept / file)
    # Runs that were put back have no logs any more, but what these said of costs is there.
    found = {row["run"]: list(row.values()) for row in table(kept / "costs.csv")}
    found |= {str(row[0]): row for row in costs(runs)}
    if found:
        with (kept / "costs.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["run", "arm", "seed", "units_reset", *COSTS])
            writer.writerows(found[run["run"]] for run in table(runs / "runs.csv") if run["run"] in found)
    keep(name)
    if code := crl("compare", str(runs), "--csv", str(kept / "compare.csv")):
        sys.exit(code)


def keep(name: str) -> None:
    """Write down what makes the runs of an ablation that are finished count as that on another machine."""
    runs = RUNS / name
    found = {
        run["run"]: {file: path.read_text("utf-8") for file in OF_A_RUN if (path := runs / run["run"] / file).is_file()}
        for run in table(runs / "runs.csv")
    }
    (KEPT / name / FINISHED).write_bytes(lzma.compress(json.dumps(found).encode(), preset=9))


def put_back(name: str) -> None:
    """Make folders of the finished runs of an ablation that are not there."""
    path = KEPT / name / FINISHED
    if not path.is_file():
        return
    # `crl ablate` makes the folder of an ablation its own only while nothing is in it.
    record.keep(grid.read(CONFIGS / f"{name}.yaml")._replace(folder=RUNS / name))
    for run, files in json.loads(lzma.decompress(path.read_bytes())).items():
        folder = RUNS / name / run
        if not folder.exists():
            folder.mkdir()
            for file, text in files.items():
                (folder / file).write_text(text, "utf-8")


def returns(name: str) -> tuple[str, list[dict[str, str]]]:
    """What is kept of the returns of an ablation: what they are, and a row of `crl compare` for each arm."""
    found = [row for row in table(KEPT / name / "compare.csv") if row["measure"] == RETURN]
    tasks = {row["task"] for row in found}
    found = [row for row in found if row["task"] == ALL or len(tasks) == 1]
    return "return over the oracle's" if len(tasks) > 1 else "return", sorted(
        found, key=lambda row: -float(row["mean"])
    )


def rows(name: str) -> Iterator[str]:
    """The table of what is kept of an ablation, in Markdown."""
    heading, found = returns(name)
    yield f"| arm | seeds | {heading} | difference from `none` | p |"
    yield "|---" * 5 + "|"
    for row in found:
        known = [_interval(row, "mean"), _interval(row, "difference")]
        if not row["mean_low"]:  # fewer than five seeds: each of them
            scores = [f"{float(score.partition(':')[2]):.2f}" for score in row["scores"].split()]
            known[0] += f" ({', '.join(scores)})"
        p = row["p_holm"] and f"{float(row['p_holm']):.3f}".replace("0.000", "< 0.001")
        yield f"| `{row['group']}` | {row['seeds']} | {known[0]} | {known[1]} | {p} |"


def _interval(row: dict[str, str], of: str) -> str:
    if not row[of]:
        return ""
    low, high = (row[f"{of}_{end}"] and f"{float(row[f'{of}_{end}']):.2f}" for end in ("low", "high"))
    return f"{float(row[of]):.2f}" + (f" [{low}, {high}]" if low else "")


def draw(path: Path) -> None:
    """Draw the returns of all arms of what is kept, means and intervals, a panel for each ablation of several seeds."""
    from matplotlib.figure import Figure

    names = sorted(file.parent.name for file in KEPT.glob("*/compare.csv"))
    found = {name: returns(name) for name in names}
    found = {name: kept for name, kept in found.items() if any(int(row["seeds"]) > 1 for row in kept[1])}
    most = max(len(arms) for _, arms in found.values())
    figure = Figure(figsize=(4.5 * len(found), 0.6 + 0.24 * most), dpi=110, layout="constrained")
    for axis, (name, (heading, arms)) in zip(
        figure.subplots(1, len(found), squeeze=False)[0], found.items(), strict=True
    ):
        for place, row in enumerate(arms):
            color = {"none": "black", "oracle": "tab:gray"}.get(row["group"], "tab:blue")
            axis.plot(float(row["mean"]), -place, "o", color=color)
            if row["mean_low"]:
                axis.plot([float(row["mean_low"]), float(row["mean_high"])], [-place, -place], color=color)
        plain = next(row for row in arms if row["group"] == "none")
        axis.axvline(float(plain["mean"]), color="black", linewidth=0.6, linestyle=":")
        axis.set_yticks([-place for place in range(len(arms))], [row["group"] for row in arms])
        axis.set_xlim(0, 1.05 * axis.get_xlim()[1])
        axis.set_xlabel(heading)
        axis.set_title(name, fontsize="medium")
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", choices=sorted(path.stem for path in CONFIGS.glob("*.yaml")))
    parser.add_argument("--train", action="store_true", help="go on with the ablation first")
    parser.add_argument("--shown", action="store_true", help="train and collect nothing")
    parser.add_argument("--figure", action="store_true", help="draw all that is kept")
    args = parser.parse_args()
    if args.figure:
        draw(ROOT / "docs" / "ablations.png")
    if args.name is None:
        return
    if args.train:
        put_back(args.name)
        if code := crl("ablate", str(CONFIGS / f"{args.name}.yaml")):
            sys.exit(code)
    if not args.shown:
        collect(args.name)
    print("\n".join(rows(args.name)))


if __name__ == "__main__":
    main()
