"""Does a killed run end as if it had never been killed, and what do its checkpoints cost?

For PPO, DQN and SAC on a small stream with resets and normalisation: one run to its end, and runs that are killed
(SIGKILL) at random moments and resumed until they end. Parameters must agree bit for bit, logs value by value except
for the clock's. Then the time of a checkpoint is measured, of the shipped configs at their default interval, and of a
full replay buffer.

    python benchmarks/kills.py --kills 100            # about a quarter of an hour
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

ROOT = Path(__file__).resolve().parent.parent

CLOCK = ("time/fps", "time/time_elapsed")  # of what a run logs
SMALL = ["normalize.obs=true", "normalize.reward=true", "interventions.0.period=50", "interventions.0.maturity=50"]
PENDULUM = [
    "configs/pendulum_sac_regrama.yaml", "stream.steps_per_task=300", "agent.learning_starts=100",
    "agent.buffer_size=1000", "agent.batch_size=32", "agent.net_arch={pi: [32], qf: [32]}", "interventions.0.tau=0.5",
]  # fmt: skip
CARTPOLE = ["configs/cartpole_ppo.yaml", "stream.steps_per_task=1600"]
RESETS = "interventions=[{name: gxd, period: 50, maturity: 50, rate: 1.0e-3}]"
DQN = [
    "configs/minatar3_dqn_gxd.yaml", "stream.name=cchain/cartpole", "stream.steps_per_task=800",
    "agent.features=flatten", "agent.n_envs=4", "agent.learning_starts=200", "agent.buffer_size=1000",
    "agent.net_arch=[32]",
    "agent.gradient_steps=2", "at_switch.random_steps=50", "interventions.0.rate=1e-3",
]  # fmt: skip
JOBS = {
    "ppo": [*CARTPOLE, RESETS, "agent.net_arch={pi: [32], vf: [32]}", *SMALL],
    "dqn": [*DQN, *SMALL],
    "sac": [*PENDULUM, *SMALL],
}


def start(*words: str) -> subprocess.Popen[str]:
    """A process of `crl`."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "crl.cli", *words]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, text=True)


def whole(job: str, runs: Path) -> tuple[Path, float]:
    """The folder of a run that nobody disturbs, and its seconds."""
    begun = time.perf_counter()
    process = start("train", *JOBS[job], "checkpoint.every=400", f"runs={runs}")
    if process.wait():
        raise RuntimeError(f"{job}: exit code {process.returncode}")
    return next(runs.iterdir()), time.perf_counter() - begun


def killed(job: str, runs: Path, seconds: float, dice: random.Random, most: int) -> tuple[Path, int]:
    """The folder of a run that is killed until it ends, and how often it was; `most` times at most."""
    kills = 0
    process = start("train", *JOBS[job], "checkpoint.every=400", f"runs={runs}")
    while True:
        try:
            process.wait(dice.uniform(0.3, 1.0) * seconds if kills < most else None)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            folders = list(runs.iterdir()) if runs.exists() else []
            begun = [folder for folder in folders if (folder / "config.yaml").exists()]
            if begun and (begun[0] / "results.json").exists():
                return begun[0], kills  # it came as the process was ending
            if begun:
                process = start("resume", str(begun[0]))
            else:
                process = start("train", *JOBS[job], "checkpoint.every=400", f"runs={runs}")
            continue
        if process.returncode:
            raise RuntimeError(f"{job}: exit code {process.returncode} after {kills} kills")
        return next(folder for folder in runs.iterdir() if (folder / "results.json").exists()), kills


def differences(one: Path, other: Path) -> list[str]:
    """What two runs do not agree in; empty where they are the same."""
    from crl import storage

    found = []
    states = []
    for run in (one, other):
        newest = max((run / "checkpoints").iterdir(), key=lambda path: int(path.name))
        states.append(storage.read(newest, ["learner", "random", "world"]))
    found += [part for part in states[0] if not _same(states[0][part], states[1][part])]
    for log, read in (("progress.csv", _rows), ("TensorBoard", _scalars)):
        if read(one) != read(other):
            found.append(log)
    results = [json.loads((run / "results.json").read_text(encoding="utf-8")) for run in (one, other)]
    return found + [key for key in ("visits", "resets", "steps") if results[0][key] != results[1][key]]


def _same(one: Any, other: Any) -> bool:
    """Whether two nested states are equal to the last bit, but for the seconds at which episodes ended."""
    if isinstance(one, dict):
        keys = one.keys() | other.keys()
        return all(key in one and key in other and (key == "t" or _same(one[key], other[key])) for key in keys)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return np.array_equal(one, other) if isinstance(one, np.ndarray) else bool(one == other)


def _rows(run: Path) -> list[dict[str, str]]:
    with (run / "progress.csv").open(encoding="utf-8", newline="") as file:
        return [{key: row[key] for key in row if key not in CLOCK} for row in csv.DictReader(file)]


def _scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run), size_guidance={"scalars": 0}, purge_orphaned_data=False).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag not in CLOCK]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def checkpoint_share(config: str, overrides: list[str], interval: int) -> dict[str, Any]:
    """Seconds of a checkpoint, and its share of the time of the default interval."""
    code = (
        "import pathlib, sys, time\n"
        "from crl import checkpoints, run\n"
        "from crl.config import load, check_arguments\n"
        "spent, save = [], checkpoints.CheckpointCallback.save\n"
        "def timed(self):\n"
        "    start = time.perf_counter(); save(self); spent.append(time.perf_counter() - start)\n"
        "checkpoints.CheckpointCallback.save = timed\n"
        "config = check_arguments(load(pathlib.Path(sys.argv[1]), sys.argv[2:]))\n"
        "run.train(config, ['crl'])\n"
        "print(*spent)\n"
    )
    with tempfile.TemporaryDirectory() as name:
        words = [config, *overrides, f"runs={name}"]
        done = subprocess.run(
            [sys.executable, "-c", code, *words], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        spent = [float(word) for word in done.stdout.splitlines()[-1].split()]
        folder = next(Path(name).iterdir())
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        newest = max((folder / "checkpoints").iterdir(), key=lambda path: int(path.name))
        size = sum(file.stat().st_size for file in newest.iterdir())
    mean = sum(spent) / len(spent)
    training = results["train_seconds"] / results["steps"] * interval
    return {"seconds": mean, "share": mean / training, "megabytes": size / 1e6, "checkpoints": len(spent)}


def full_replay(transitions: int) -> tuple[float, float]:
    """Seconds and megabytes of a checkpoint of DQN with a full replay buffer of MinAtar boards; median of three."""
    import envs
    from agents import DQN
    from agents.training_state import training_state
    from crl import storage

    stream = envs.make("breakout", n_envs=16, seed=0)
    model = DQN("CnnPolicy", stream, buffer_size=transitions, learning_starts=100, seed=0, device="cpu").learn(320)
    buffer = model.replay_buffer
    assert buffer is not None
    dice = np.random.default_rng(0)
    for rows in np.array_split(np.arange(buffer.buffer_size), 1000):  # boards as full as Breakout's
        for boards in (buffer.observations, buffer.next_observations):
            boards[rows] = dice.random((len(rows), *boards.shape[1:]), np.float32) < 0.033
    buffer.full, buffer.pos = True, 0
    seconds = []
    with tempfile.TemporaryDirectory() as name:
        for number in range(3):
            begun = time.perf_counter()
            storage.write(Path(name) / str(number), training_state(model))
            seconds.append(time.perf_counter() - begun)
        size = sum(file.stat().st_size for file in (Path(name) / "0").iterdir())
    return sorted(seconds)[1], size / 1e6


SHARES = {
    "configs/minatar3_ppo_gxd.yaml": ["stream.steps_per_task=100000", "stream.cycles=1", "evaluation.every=null"],
    "configs/minatar3_dqn_gxd.yaml": ["stream.steps_per_task=40000", "checkpoint.every=30000"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100, help="in all")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--jobs", nargs="+", default=list(JOBS), choices=list(JOBS))
    parser.add_argument("--no-shares", action="store_true", help="leave out the time of checkpoints")
    args = parser.parse_args()
    dice = random.Random(args.seed)
    for number, job in enumerate(args.jobs):
        share = args.kills // len(args.jobs) + (number < args.kills % len(args.jobs))
        left, runs, different = share, 0, []
        with tempfile.TemporaryDirectory() as name:
            expected, seconds = whole(job, Path(name) / "whole")
            while left > 0:
                found, kills = killed(job, Path(name) / str(runs), seconds, dice, min(left, 10))
                different += differences(expected, found)
                left, runs = left - kills, runs + 1
        say = f"differ in {', '.join(sorted(set(different)))}" if different else "all equal"
        print(f"{job}: {share - left} kills in {runs} runs, {say}", flush=True)
    for config, overrides in SHARES.items() if not args.no_shares else ():
        print(config, checkpoint_share(config, overrides, 100_000), flush=True)
    if not args.no_shares:
        print("a full replay buffer of 1,000,000 transitions: {:.2f} s, {:.0f} MB".format(*full_replay(1_000_000)))


if __name__ == "__main__":
    main()
