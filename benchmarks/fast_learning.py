"""Does ``agent.speed: fast`` learn as ``exact`` does?

PPO on single MinAtar games with the settings of the shipped configs, both speeds with the same seeds and nothing else
between them. The score is the mean return of the training episodes that end in the last quarter of a run. A run that
has its result file is not run again, so that what was interrupted is gone on with.

    python -m benchmarks.fast_learning                # a quarter of an hour on one core
    python -m benchmarks.fast_learning --report       # the table alone
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

GAMES = ("breakout", "space_invaders")
SPEEDS = ("exact", "fast")
POINTS = 20
"""Of a curve: means over as many equal parts of the run."""
RESULTS = Path(__file__).parent / "results" / "fast_learning"


def run_one(speed: str, game: str, seed: int, steps: int, path: Path) -> None:
    """Train, and write what was learnt and what it took."""
    from stable_baselines3.common.callbacks import BaseCallback

    import envs
    from agents import PPO
    from benchmarks.minatar_learning import N_ENVS, ppo_settings

    class Episodes(BaseCallback):
        """(step, return) of every training episode."""

        def _init_callback(self) -> None:
            self.rows: list[tuple[int, float]] = []

        def _on_step(self) -> bool:
            infos = self.locals["infos"]
            for i in np.flatnonzero(self.locals["dones"]).tolist():
                self.rows.append((self.num_timesteps, float(infos[i]["episode"]["r"])))
            return True

    model, episodes = PPO(env=envs.make(game, n_envs=N_ENVS), seed=seed, speed=speed, **ppo_settings()), Episodes()
    start = time.process_time()
    model.learn(steps, callback=episodes, log_interval=None)
    seconds = time.process_time() - start
    parts = [[r for step, r in episodes.rows if (step - 1) * POINTS // steps == part] for part in range(POINTS)]
    last = [r for part in parts[-POINTS // 4 :] for r in part]
    if not last:
        raise SystemExit(f"no episode of {game} ended in the last quarter of {steps:,} steps; give more --steps")
    result = {
        "speed": speed, "game": game, "seed": seed, "steps": steps, "processor_seconds": round(seconds, 1),
        "return": round(mean(last), 4), "curve": [round(mean(part), 4) if part else None for part in parts],
    }  # fmt: skip
    path.write_text(json.dumps(result) + "\n", encoding="utf-8")


def interval(values: list[float]) -> tuple[float, float]:
    """Student's 95% interval of a mean."""
    from scipy import stats

    half = stats.t.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return mean(values) - half, mean(values) + half


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: each game's returns at both speeds, and the difference seed by seed."""
    lines = [
        "| game | steps | exact, seed by seed | fast, seed by seed | fast - exact, 95% interval |",
        "|---|---|---|---|---|",
    ]
    for game, steps in sorted({(r["game"], r["steps"]) for r in results}):
        by = {
            s: {r["seed"]: r["return"] for r in results if (r["game"], r["steps"], r["speed"]) == (game, steps, s)}
            for s in SPEEDS
        }
        seeds = sorted(by["exact"].keys() & by["fast"].keys())
        if len(seeds) < 2:
            continue
        shown = [
            f"{mean(by[s][seed] for seed in seeds):.2f} (" + ", ".join(f"{by[s][seed]:.2f}" for seed in seeds) + ")"
            for s in SPEEDS
        ]
        low, high = interval([by["fast"][seed] - by["exact"][seed] for seed in seeds])
        lines.append(f"| {game} | {steps:,} | {shown[0]} | {shown[1]} | {low:+.2f} to {high:+.2f} |")
    return "\n".join(lines)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=list(GAMES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--report", action="store_true", help="print the table of what is there and run nothing")
    parser.add_argument("--one", nargs=3, metavar=("SPEED", "GAME", "SEED"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    def path(speed: str, game: str, seed: int) -> Path:
        return Path(args.out / f"{game}__{speed}__s{seed}__{args.steps}.json")

    if args.one:
        speed, game, seed = args.one[0], args.one[1], int(args.one[2])
        run_one(speed, game, seed, args.steps, path(speed, game, seed))
        return
    todo = product(args.seeds, args.games, SPEEDS) if not args.report else ()
    for seed, game, speed in todo:
        if not path(speed, game, seed).exists():
            command = [sys.executable, "-m", "benchmarks.fast_learning", "--one", speed, game, str(seed)]
            command += ["--steps", str(args.steps), "--out", str(args.out)]
            subprocess.run(command, check=True, env={"OMP_NUM_THREADS": "1", **os.environ})
            print(f"done: {speed} {game} {seed}", flush=True)
    print(table([json.loads(each.read_text(encoding="utf-8")) for each in sorted(args.out.glob("*.json"))]))


if __name__ == "__main__":
    main()
