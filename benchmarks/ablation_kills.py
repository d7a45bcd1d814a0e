"""Does an ablation lose or double a run when its processes are killed at random?

One ablation is left alone. Another of the same grid is worked off while its workers are killed (SIGKILL) at random
moments, and now and then `crl ablate` itself, which is then started again while workers of its own may still live.
Every run must end in both, and with the same parameters, logs and results, bit for bit but for the clock.

    python benchmarks/ablation_kills.py --runs 200            # about an hour and a half on two cores
"""

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import yaml
from kills import ROOT, differences

BASE = {
    "stream": {"name": "cchain/cartpole", "steps_per_task": 400},
    "agent": {"name": "ppo", "n_envs": 4, "n_steps": 50, "batch_size": 50, "net_arch": {"pi": [32], "vf": [32]}},
    "checkpoint": {"every": 400, "keep": 2},
    "device": "cpu",
}
ARMS = {
    "none": {},
    "gxd": {"interventions": [{"name": "gxd", "period": 20, "maturity": 20, "rate": 1e-3}]},
    "l2_init": {"interventions": ["l2_init"]},
    "oracle": "oracle",
}
MOST = 2  # kills of a run, so that it is not taken for one that always dies
ITSELF = 0.05  # share of the kills that hit `crl ablate`


def describe(place: Path, runs: int) -> list[Path]:
    """Files of two ablations that differ in their folders alone."""
    (place / "base.yaml").write_text(yaml.safe_dump(BASE), encoding="utf-8")
    files = []
    for name in ("alone", "killed"):
        grid = {"base": "base.yaml", "arms": ARMS, "seeds": -(-runs // len(ARMS)), "folder": str(place / name)}
        files.append(place / f"{name}.yaml")
        files[-1].write_text(yaml.safe_dump(grid, sort_keys=False), encoding="utf-8")
    return files


def start(file: Path, workers: int) -> subprocess.Popen[bytes]:
    """`crl ablate`."""
    words = [sys.executable, "-m", "crl.cli", "ablate", str(file), "--workers", str(workers)]
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL)


def kill_at_random(file: Path, workers: int, pace: float, dice: random.Random) -> tuple[int, int, int]:
    """Work an ablation off under kills: the exit code, kills of workers, and kills of `crl ablate`.

    Args:
        file: of the ablation.
        workers: at once.
        pace: mean seconds between two kills.
        dice: decides when and whom.
    """
    hit: dict[str, int] = {}
    process, itself = start(file, workers), 0
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(dice.expovariate(1 / pace)), sum(hit.values()), itself
        if dice.random() < ITSELF:
            process.kill()
            process.wait()
            process, itself = start(file, workers), itself + 1
            continue
        with contextlib.suppress(psutil.Error):
            found = [(child, child.cmdline()) for child in psutil.Process(process.pid).children()]
            names = [(child, words[-1]) for child, words in found if "crl.ablation.worker" in words]
            names = [(child, name) for child, name in names if hit.get(name, 0) < MOST]
            if names:
                child, name = dice.choice(names)
                child.kill()
                hit[name] = hit.get(name, 0) + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        alone, killed = describe(place, args.runs)
        begun = time.perf_counter()
        if code := start(alone, args.workers).wait():
            raise RuntimeError(f"the ablation that was left alone ended with exit code {code}")
        seconds = time.perf_counter() - begun
        runs = sorted(path.parent.name for path in (place / "alone").glob("*/results.json"))
        code, kills, itself = kill_at_random(killed, args.workers, seconds / len(runs), random.Random(args.seed))
        if kills < len(runs) / 4:
            raise RuntimeError(f"only {kills} workers of {len(runs)} runs were killed, which shows nothing")
        lost = [run for run in runs if not (place / "killed" / run / "results.json").exists()]
        different = {
            run: found
            for run in runs
            if run not in lost and (found := differences(place / "alone" / run, place / "killed" / run))
        }
        print(f"{len(runs)} runs in {seconds:.0f} s, {seconds / len(runs):.1f} s each")
        print(f"under {kills} kills of workers and {itself} of crl ablate: exit code {code}, {len(lost)} lost")
        print(f"different from those left alone: {different or 'none'}")


if __name__ == "__main__":
    main()
