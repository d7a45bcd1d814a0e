"""Do memory and speed stay as they are, however long a run is?

Each job runs as a user's would (`crl train` in a process of its own, one thread, all diagnostics and logs on) while its
resident memory, its CPU time and its steps are sampled. Memory is judged from the first 5% of the run on, with a replay
buffer from when it is full, since its pages fill lazily; speed by CPU time, which other work on the machine changes
least. A run that was killed goes on where it stopped.

    python benchmarks/soak.py main dqn sac        # main: 10M steps, an hour; dqn: 1M, 40 minutes; sac: 50k, 10 minutes
    python benchmarks/soak.py --plot
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SAMPLE_EVERY = 10.0  # seconds
KEPT = 300  # samples that a results file keeps of a run
WARM = 0.05  # share of the run before which nothing is judged
GROWTH = 0.02  # of memory that is allowed after that
MEGA = 1e6


class Job(NamedTuple):
    """A run, and what it needs beside the shipped config.

    Attributes:
        words: of `crl train`.
        full: steps until a replay buffer is full.
    """

    words: tuple[str, ...]
    full: int = 0


JOBS = {
    # 3 games of 500,000 steps, rounded up to rollouts of 8,192: 6.6 cycles are 10M steps.
    "main": Job(("configs/minatar3_ppo_gxd.yaml", "stream.cycles=7")),
    "dqn": Job(("configs/minatar3_dqn_gxd.yaml", "stream.steps_per_task=333_334"), full=100_000),
    # A transition of a pendulum is 36 bytes: the buffer that these 50,000 steps fill by half is 3.6 MB.
    "sac": Job(
        ("configs/pendulum_sac_regrama.yaml", "stream.steps_per_task=10_000", "normalize.obs=true",
         "normalize.reward=true"),
    ),
}  # fmt: skip


class Sample(NamedTuple):
    """What a run's process showed at one moment; `process` counts them, from 0."""

    process: int
    steps: int
    wall_seconds: float
    cpu_seconds: float
    resident_mb: float


def soak(name: str, runs: Path) -> Path:
    """Run a job to its end and sample it; the file of samples. Goes on with what is there."""
    runs.mkdir(parents=True, exist_ok=True)
    samples = runs / "samples.csv"
    folder = next(iter(_folders(runs)), None)
    if folder is not None and (folder / "results.json").exists():
        return samples
    words = ["train", *JOBS[name].words, "threads=1", f"runs={runs}"] if folder is None else ["resume", str(folder)]
    earlier = _read(samples)
    number = earlier[-1].process + 1 if earlier else 0
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen([sys.executable, "-m", "crl.cli", *words], cwd=ROOT, env=environment)
    process, begun = psutil.Process(run.pid), time.perf_counter()
    with samples.open("a", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        while run.poll() is None:
            time.sleep(SAMPLE_EVERY)
            steps = _steps(runs)
            if steps:
                try:
                    memory, cpu = process.memory_info().rss / MEGA, sum(process.cpu_times()[:2])
                except psutil.Error:
                    break
                if not memory:
                    break  # it has ended
                writer.writerow(Sample(number, steps, round(time.perf_counter() - begun, 1), cpu, round(memory, 1)))
                file.flush()
    if run.wait():
        raise SystemExit(f"{name}: crl ended with exit code {run.returncode}")
    return samples


def _folders(runs: Path) -> list[Path]:
    return [path.parent for path in runs.glob("*/config.yaml")]


def _steps(runs: Path) -> int:
    """Steps at the last row of the run's log."""
    for folder in _folders(runs):
        log = folder / "progress.csv"
        if log.exists():
            with log.open(newline="", encoding="utf-8") as file:
                found = [row.get("time/total_timesteps") or "" for row in csv.DictReader(file)]
            return next((int(float(steps)) for steps in reversed(found) if steps), 0)  # a row may be half written
    return 0


def _read(samples: Path) -> list[Sample]:
    if not samples.exists():
        return []
    with samples.open(newline="", encoding="utf-8") as file:
        return [
            Sample(int(row[0]), int(row[1]), float(row[2]), float(row[3]), float(row[4])) for row in csv.reader(file)
        ]


def judged(name: str, samples: list[Sample], peak: dict[str, int]) -> dict[str, object]:
    """How memory and speed changed over the last process of a run, from when its memory is judged on."""
    total = samples[-1].steps
    last = [sample for sample in samples if sample.process == samples[-1].process]
    begin = max(WARM * total, JOBS[name].full * 1.05)
    kept = [sample for sample in last if sample.steps >= begin]
    memory = np.array([sample.resident_mb for sample in kept])
    tenth = max(len(memory) // 10, 1)
    first, end = memory[:tenth].mean(), memory[-tenth:].mean()
    steps = np.array([sample.steps for sample in kept], dtype=float)
    cpu = np.array([sample.cpu_seconds for sample in kept])
    middle = len(steps) // 2
    speeds = [
        float((part[-1] - part[0]) / (clock[-1] - clock[0]))
        for part, clock in ((steps[: middle + 1], cpu[: middle + 1]), (steps[middle:], cpu[middle:]))
    ]
    return {
        "steps": total,
        "judged_from": int(begin),
        "processes": samples[-1].process + 1,
        "resident_mb": [round(float(first), 1), round(float(end), 1)],
        "growth": round(float(end / first - 1), 4),
        "highest_over_first": round(float(memory.max() / first - 1), 4),
        "peak_mb": round(peak["process"] / MEGA, 1),
        "steps_per_cpu_second": [round(speed, 1) for speed in speeds],
        "speed_ratio": round(speeds[1] / speeds[0], 4),
    }


def report(name: str, runs: Path) -> None:
    """Print the verdict, and keep it with thinned samples among the results."""
    samples = _read(runs / "samples.csv")
    (folder,) = _folders(runs)
    found = judged(name, samples, json.loads((folder / "results.json").read_text(encoding="utf-8"))["peak_memory"])
    verdict = "flat" if float(str(found["growth"])) < GROWTH else "GROWS"
    print(f"{name}: memory {verdict}: {json.dumps(found)}")
    thinned = samples[:: max(1, len(samples) // KEPT)]
    RESULTS.mkdir(exist_ok=True)
    lines = [json.dumps({"job": name, **found}), *(json.dumps(sample) for sample in thinned)]
    (RESULTS / f"soak_{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def plot() -> None:
    """Memory and speed of all jobs that have results, into ``docs/soak.png``."""
    import matplotlib.pyplot as plt

    files = [path for name in JOBS if (path := RESULTS / f"soak_{name}.jsonl").exists()]
    figure, axes = plt.subplots(2, len(files), figsize=(3.6 * len(files), 4.6), squeeze=False, sharex="col")
    for column, path in zip(axes.T, files, strict=True):
        verdict, *rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
        samples = [Sample(*row) for row in rows]
        steps = np.array([sample.steps for sample in samples])
        column[0].plot(steps / 1e6, [sample.resident_mb for sample in samples])
        column[0].axvline(verdict["judged_from"] / 1e6, color="grey", linestyle=":")
        column[0].set(title=verdict["job"], ylim=(0, None), ylabel="resident memory (MB)")
        # Over a fortieth of the run each: steps are known at rows of the log, which come in lumps.
        pairs = [(a, b) for a, b in pairwise(samples[:: max(1, len(samples) // 40)]) if a.process == b.process]
        speed = [(b.steps - a.steps) / max(b.cpu_seconds - a.cpu_seconds, 1e-9) for a, b in pairs]
        column[1].plot([b.steps / 1e6 for _, b in pairs], speed)
        column[1].set(ylim=(0, None), xlabel="million steps", ylabel="steps per second of CPU")
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / "soak.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="*", choices=[*JOBS, []], help="of main, dqn, sac")
    parser.add_argument("--runs", type=Path, default=ROOT / "runs" / "soak")
    parser.add_argument("--plot", action="store_true", help="draw docs/soak.png from the results")
    arguments = parser.parse_args()
    for name in arguments.jobs:
        soak(name, arguments.runs / name)
        report(name, arguments.runs / name)
    if arguments.plot:
        plot()


if __name__ == "__main__":
    main()
