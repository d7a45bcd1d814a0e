"""Steps per second of the main job, resets and diagnostics on, against Stable-Baselines3's PPO on the same games.

A third side, `package`, is the main job with its games played by the ``minatar`` package one after another, as crl does
where numba cannot be imported: what batched games bring.

Both sides play SpaceInvaders, Asterix and Seaquest one after another with the same network, settings, seed and number
of threads, and write TensorBoard and CSV logs. They run in alternation, each in a process of its own; a run's rate is
its steps over the seconds from the first step to the end of the last update.

    python benchmarks/ppo_speed.py            # about nine minutes on two cores
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent))
from minatar_learning import N_ENVS, ppo_settings, stock_env

ROOT = Path(__file__).resolve().parent.parent
GAMES = ("space_invaders", "asterix", "seaquest")


def stock(steps: int, folder: Path) -> float:
    """Steps per second of SB3's PPO, in this process."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.logger import configure

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    model = PPO(env=stock_env(GAMES[0]), seed=1, **ppo_settings())
    model.set_logger(configure(str(folder), ["csv", "tensorboard"]))
    seconds = 0.0
    for game in GAMES:
        model.set_env(stock_env(game))
        start = time.perf_counter()
        model.learn(steps, reset_num_timesteps=False)
        seconds += time.perf_counter() - start
    return model.num_timesteps / seconds


WITHOUT_NUMBA = "import sys; sys.modules['numba'] = None; from crl.cli import main; main()"


def crl(config: str, steps: int, folder: Path, *, batched: bool = True) -> float:
    """Steps per second of `crl train`."""
    words = [
        config,
        f"stream.steps_per_task={steps}",
        "stream.cycles=1",
        f"runs={folder}",
        "device=cpu",
        "evaluation.every=null",
    ]
    program = ["-m", "crl.cli"] if batched else ["-W", "ignore::UserWarning", "-c", WITHOUT_NUMBA]
    subprocess.run([sys.executable, *program, "train", *words], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    results = json.loads(next(folder.glob("*/results.json")).read_text(encoding="utf-8"))
    return float(results["steps"] / results["train_seconds"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=8 * 8192, help="of each game")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--configs", nargs="+", default=["configs/minatar3_ppo_gxd.yaml"])
    parser.add_argument("--stock", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.stock:
        print(stock(args.steps, args.stock))
        return
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    rates: dict[str, list[float]] = {side: [] for side in ("stock", "package", *args.configs)}
    for repeat in range(args.repeats):
        for side, found in rates.items():
            with tempfile.TemporaryDirectory() as name:
                if side == "stock":
                    command = [sys.executable, __file__, "--stock", name, "--steps", str(args.steps)]
                    run = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
                    found.append(float(run.stdout.split()[-1]))
                elif side == "package":
                    found.append(crl(args.configs[0], args.steps, Path(name), batched=False))
                else:
                    found.append(crl(side, args.steps, Path(name)))
            print(f"repeat {repeat + 1}: {side} {found[-1]:,.0f} steps/s", flush=True)
    for side, found in rates.items():
        stock_ratio, package_ratio = (median(found) / median(rates[other]) for other in ("stock", "package"))
        print(
            f"{side}: median {median(found):,.0f} steps/s, {stock_ratio:.3f} times stock (required: 0.9), "
            f"{package_ratio:.3f} times package (required: 1.12)"
        )
    print(f"{N_ENVS} games, {args.threads} threads")


if __name__ == "__main__":
    main()
