"""Which criterion knows what replacing a unit costs? Audits of agents with ReLU, tanh, and ReLU behind LayerNorm.

For each network and seed: train what `configs/minatar3_ppo.yaml` says on one game, then `crl audit` it. The table gives
over all seeds and layers, replaced by zero / by their mean:

* ``cost``: mean of Spearman's correlation of the utilities with the mean absolute change of a transition's loss;
* ``mean loss``: the same with the absolute change of the mean loss;
* ``lowest``: median of the cost of the tenth of the units that rank lowest, over the least that it can be.

``undefined`` counts the layers in which a criterion ranks nothing. What has its result file is not run again.

The network is the config's ``cnn`` (whose features are ReLU whatever the activation of actor and critic), or an ``mlp``
of two hidden layers of 128 units each for actor and critic, with that activation everywhere.

    python benchmarks/criteria_audit.py --network cnn      # about fifteen minutes on two cores
    python benchmarks/criteria_audit.py --network mlp
    python benchmarks/criteria_audit.py --report           # the table alone
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import fmean, median
from typing import Any

ROOT = Path(__file__).parents[1]
ARMS = {
    "relu": ["agent.activation=relu", "agent.norm=none"],
    "tanh": ["agent.activation=tanh", "agent.norm=none"],
    "layernorm": ["agent.activation=relu", "agent.norm=layer"],
}
NETWORKS = {
    "cnn": [],
    "mlp": ["agent.features=flatten", "agent.net_arch={pi: [128, 128], vf: [128, 128]}"],
}
REPLACEMENTS = ("zero", "mean")


def crl(*arguments: str) -> str:
    """What crl prints, run with one thread."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    command = [sys.executable, "-m", "crl.cli", *arguments]
    result = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(f"crl {' '.join(arguments)} failed:\n{result.stderr}")
    return result.stdout


def finished(folder: Path) -> Path | None:
    """The run in a folder that has ended."""
    runs = sorted(path.parent for path in folder.glob("*/results.json"))
    return runs[-1] if runs else None


def run_one(folder: Path, arm: str, seed: int, args: argparse.Namespace) -> None:
    """Train and audit one agent, as far as that has not been done."""
    run = finished(folder)
    if run is None:
        config = str(ROOT / "configs" / "minatar3_ppo.yaml")
        stream = ["stream.name=null", f"stream.tasks=[{args.game}]", f"stream.steps_per_task={args.steps}"]
        agent = [*NETWORKS[args.network], *ARMS[arm]]
        crl("train", config, *stream, "stream.cycles=1", *agent, f"seed={seed}", "device=cpu", f"runs={folder}")
        run = finished(folder)
    assert run is not None
    if not (run / "audit" / "audit.json").exists():
        (folder / "audit.txt").write_text(crl("audit", str(run), "--samples", str(args.samples)), encoding="utf-8")
    print(f"{arm} seed {seed}: {run}", flush=True)


def report(folders: dict[str, list[Path]]) -> None:
    """Print the table."""
    audits = {arm: [_audit(folder) for folder in each] for arm, each in folders.items()}
    labels = sorted(audits[next(iter(audits))][0]["criteria"], key=lambda label: -_quality(audits, label))
    print("\nmean return at the end: " + ", ".join(f"{arm} {_returns(each)}" for arm, each in folders.items()))
    columns = [f"{arm}: {column}" for arm in audits for column in ("cost", "mean loss", "lowest")]
    print(f"\n| criterion | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for label in labels:
        cells = [cell for each in audits.values() for cell in _cells(each, label)]
        print(f"| {label} | {' | '.join(cells)} |")


def _audit(folder: Path) -> dict[str, Any]:
    run = finished(folder)
    if run is None or not (run / "audit" / "audit.json").exists():
        raise SystemExit(f"{folder} holds no audit; run this without --report first")
    audit: dict[str, Any] = json.loads((run / "audit" / "audit.json").read_text(encoding="utf-8"))
    return audit


def _returns(folders: list[Path]) -> str:
    runs = [json.loads((finished(folder) / "results.json").read_text(encoding="utf-8")) for folder in folders]
    return " ".join(f"{run['visits'][-1]['mean_return']:.1f}" for run in runs)


def _quality(audits: dict[str, list[dict[str, Any]]], label: str) -> float:
    found = [_spearman(each, label, name, "absolute") for each in audits.values() for name in REPLACEMENTS]
    known = [value for values in found for value in values]
    return fmean(known) if known else -1.0


def _spearman(audits: list[dict[str, Any]], label: str, replacement: str, key: str) -> list[float]:
    found = [layer["criteria"][label][replacement]["spearman"][key] for audit in audits for layer in audit["layers"]]
    return [value for value in found if value is not None]


def _cells(audits: list[dict[str, Any]], label: str) -> list[str]:
    cells = []
    layers = sum(len(audit["layers"]) for audit in audits)
    for key in ("absolute", "mean_loss"):
        found = [_spearman(audits, label, name, key) for name in REPLACEMENTS]
        missing = layers - min(map(len, found))
        text = " / ".join(f"{fmean(values):.2f}" if values else "-" for values in found)
        cells.append(f"{text} ({missing} undefined)" if missing else text)
    ratios = [_ratio(audits, label, name) for name in REPLACEMENTS]
    return [*cells, " / ".join(ratios)]


def _ratio(audits: list[dict[str, Any]], label: str, replacement: str) -> str:
    found = [layer["criteria"][label][replacement]["lowest"] for audit in audits for layer in audit["layers"]]
    # null: only the best possible is nothing
    ratios = [float("inf") if one["ratio"] is None else one["ratio"] for one in found if one is not None]
    return f"{median(ratios):.3g}" if ratios else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--game", default="space_invaders")
    parser.add_argument("--network", default="cnn", choices=NETWORKS)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--steps", type=int, default=400_000)
    parser.add_argument("--samples", type=int, default=1024)
    parser.add_argument("--jobs", type=int, default=2, help="runs at once, one thread each")
    parser.add_argument("--out", type=Path, default=Path("runs/criteria_audit"))
    parser.add_argument("--report", action="store_true", help="print the table alone")
    args = parser.parse_args()
    title = f"{args.game}-{args.steps}-{args.network}"
    folders = {arm: [args.out / f"{title}-{arm}-s{seed}" for seed in args.seeds] for arm in args.arms}
    if not args.report:
        with ThreadPoolExecutor(args.jobs) as pool:
            jobs = [
                pool.submit(run_one, folder, arm, seed, args)
                for arm, each in folders.items()
                for seed, folder in zip(args.seeds, each, strict=True)
            ]
            for job in jobs:
                job.result()
    report(folders)


if __name__ == "__main__":
    main()
