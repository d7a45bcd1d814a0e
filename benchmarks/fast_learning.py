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
from statistics import mean
from typing import Any

from crl.statistics import Sample, paired_difference

GAMES = ("breakout", "space_invaders")
SPEEDS = ("exact", "fast")
POINTS = 20
"""Of a curve: means over as many equal parts of the run."""
RESULTS = Path(__file__).parent / "results" / "fast_learning"


def run_one(speed: str, game: str, seed: int, steps: int, path: Path) -> None:
    """Train, and write what was learnt and what it took."""
    import envs
    from agents import PPO
    from benchmarks.episodes import Episodes
    from benchmarks.minatar_learning import N_ENVS, ppo_settings

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


def difference(ours: dict[int, float], theirs: dict[int, float]) -> str:
    """Of returns by seed, as `crl compare` has it: of fewer than five seeds without an interval."""
    found = paired_difference(*(Sample({seed: {"": score} for seed, score in each.items()}) for each in (ours, theirs)))
    assert found is not None
    return f"{found.value:+.2f}" + ("" if found.low is None else f" [{found.low:+.2f}, {found.high:+.2f}]")


def table(results: list[dict[str, Any]]) -> str:
    """Markdown: each game's returns at both speeds, and the difference seed by seed."""
    lines = [
        "| game | steps | exact, seed by seed | fast, seed by seed | fast - exact |",
        "|---|---|---|---|---|",
    ]
    for game, steps in sorted({(r["game"], r["steps"]) for r in results}):
        by = {
            s: {r["seed"]: r["return"] for r in results if (r["game"], r["steps"], r["speed"]) == (game, steps, s)}
            for s in SPEEDS
        }
        seeds = sorted(by["exact"].keys() & by["fast"].keys())
        if not seeds:
            continue
        shown = [
            f"{mean(by[s][seed] for seed in seeds):.2f} (" + ", ".join(f"{by[s][seed]:.2f}" for seed in seeds) + ")"
            for s in SPEEDS
        ]
        lines.append(f"| {game} | {steps:,} | {shown[0]} | {shown[1]} | {difference(by['fast'], by['exact'])} |")
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
