"""What is kept of the ablations in `configs/ablations`: small tables of all runs that are finished.

`benchmarks/ablations/NAME/` gets `runs.csv` and `visits.csv`, which `crl ablate` writes, `compare.csv`, the numbers of
`crl compare`, and, where units were reset, `costs.csv`: for each run how many, what replacing them was predicted to
change a transition's loss by, all units of a reset together and to first order, and what it did change it by.

    python benchmarks/ablations.py resets              # what is finished
    python benchmarks/ablations.py resets --train      # go on with it first
"""

from __future__ import annotations

import argparse
import csv
import shutil
import subprocess
import sys
from collections.abc import Iterator
from math import isfinite
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIGS, KEPT, RUNS = ROOT / "configs" / "ablations", ROOT / "benchmarks" / "ablations", ROOT / "runs" / "ablations"
COSTS = ("predicted_cost", "realised_cost")


def crl(*words: str) -> int:
    """The exit code of a command of `crl`."""
    return subprocess.run([sys.executable, "-m", "crl.cli", *words], cwd=ROOT, check=False).returncode


def costs(runs: Path) -> Iterator[list[str | int | float]]:
    """For each run that is finished and has reset units: its name, arm and seed, units, predicted and realised cost."""
    with (runs / "runs.csv").open(encoding="utf-8", newline="") as file:
        finished = list(csv.DictReader(file))
    for run in finished:
        with (runs / run["run"] / "progress.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        if not rows:
            continue
        # Of the whole reset; those of its networks are in there.
        columns = {kind: [tag for tag in rows[0] if tag.endswith(f"/{kind}") and tag.count("/") == 1] for kind in COSTS}
        if not columns[COSTS[0]]:
            continue
        units = [tag for tag in rows[0] if tag.startswith("reset/") and tag.endswith("/units")]
        sums = [_sum(rows, columns[kind]) for kind in COSTS]
        yield [run["run"], run["arm"], run["seed"], int(_sum(rows, units)), *(float(f"{value:.6g}") for value in sums)]


def _sum(rows: list[dict[str, str]], tags: list[str]) -> float:
    values = (float(row[tag]) for row in rows for tag in tags if row[tag])
    return sum(value for value in values if isfinite(value))


def collect(name: str) -> None:
    """Write the tables of an ablation."""
    runs, kept = RUNS / name, KEPT / name
    kept.mkdir(parents=True, exist_ok=True)
    for table in ("runs.csv", "visits.csv"):
        shutil.copyfile(runs / table, kept / table)
    found = list(costs(runs))
    if found:
        with (kept / "costs.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["run", "arm", "seed", "units_reset", *COSTS])
            writer.writerows(found)
    if code := crl("compare", str(runs), "--csv", str(kept / "compare.csv")):
        sys.exit(code)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(path.stem for path in CONFIGS.glob("*.yaml")))
    parser.add_argument("--train", action="store_true", help="go on with the ablation first")
    args = parser.parse_args()
    if args.train and (code := crl("ablate", str(CONFIGS / f"{args.name}.yaml"))):
        sys.exit(code)
    collect(args.name)


if __name__ == "__main__":
    main()
