"""Does PPO of crl learn as well as PPO of Stable-Baselines3, with GXD resets and with none?

Every game alone, one fixed setting, three arms that differ in nothing else:

* ``stock``: ``stable_baselines3.PPO`` on the `minatar` package's own Gymnasium environments in a ``DummyVecEnv``;
* ``none``: ``agents.PPO`` on ``envs.make`` without interventions;
* ``gxd``: the same with GXD resets at their defaults.

The score is the mean return of the training episodes that end in the last 100,000 steps; the table gives the ratio of
each arm to ``stock``, game by game and on average. A run that has its result file is not run again.

    python benchmarks/minatar_learning.py --jobs 2            # about an hour on two cores
    python benchmarks/minatar_learning.py --report            # the table alone
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import mean
from typing import Any

GAMES = ("space_invaders", "freeway", "breakout", "seaquest", "asterix")
ARMS = ("stock", "none", "gxd")
FLOORS = {"space_invaders": 35.0, "freeway": 30.0, "breakout": 5.0, "seaquest": 2.5, "asterix": 2.5}
N_ENVS = 64
EPISODE_LIMIT = 2_500
LAST = 100_000


def ppo_settings() -> dict[str, Any]:
    """The shipped MinAtar configs' settings, as keyword arguments of SB3's PPO."""
    from torch import nn

    from agents.networks import MinAtarCNN

    return {
        "policy": "CnnPolicy",
        "n_steps": 128,
        "batch_size": 1024,
        "n_epochs": 4,
        "learning_rate": 1e-3,
        "ent_coef": 0.01,
        "device": "cpu",
        "policy_kwargs": {
            "features_extractor_class": MinAtarCNN,
            "net_arch": {"pi": [64], "vf": [64]},
            "activation_fn": nn.ReLU,
        },
    }


def stock_env(game: str, n_envs: int = N_ENVS) -> Any:
    """SB3's own vectorisation of the `minatar` package's environments, padded to ten channels, six actions."""
    import gymnasium
    import minatar.gym
    import numpy as np
    from gymnasium.wrappers import TimeLimit, TransformObservation
    from stable_baselines3.common.env_util import make_vec_env

    minatar.gym.register_envs()
    space = gymnasium.spaces.Box(0.0, 1.0, (10, 10, 10), dtype=bool)

    def pad(board: np.ndarray) -> np.ndarray:
        padded = np.zeros((10, 10, 10), bool)  # np.pad would cost as much as the game
        padded[:, :, : board.shape[2]] = board
        return padded

    def make() -> gymnasium.Env:
        name = f"MinAtar/{game.title().replace('_', '')}-v0"
        env = gymnasium.make(name, disable_env_checker=True)
        return TransformObservation(TimeLimit(env, EPISODE_LIMIT), pad, space)

    return make_vec_env(make, n_envs=n_envs)


def make_model(arm: str, game: str, seed: int) -> Any:
    if arm == "stock":
        from stable_baselines3 import PPO as StockPPO

        return StockPPO(env=stock_env(game), seed=seed, **ppo_settings())
    import envs
    from agents import PPO
    from agents.plasticity.resets import GXD

    interventions = [GXD()] if arm == "gxd" else []
    return PPO(env=envs.make(game, n_envs=N_ENVS), seed=seed, interventions=interventions, **ppo_settings())


def run_one(arm: str, game: str, seed: int, steps: int, path: Path) -> None:
    from benchmarks.episodes import Episodes

    model, episodes, start = make_model(arm, game, seed), Episodes(), time.perf_counter()
    model.learn(steps, callback=episodes, log_interval=None)
    seconds = time.perf_counter() - start
    last = [r for step, r in episodes.rows if steps - LAST < step <= steps]
    if not last:
        raise SystemExit(f"no episode of {game} ended in the last {LAST:,} of {steps:,} steps; give more --steps")
    weights = {name: float(p.detach().double().abs().sum()) for name, p in model.policy.named_parameters()}
    result = {
        "arm": arm, "game": game, "seed": seed, "steps": steps, "seconds": seconds,
        "return": mean(last), "episodes": len(last), "weights": weights,
    }  # fmt: skip
    path.write_text(json.dumps(result, indent=1), encoding="utf-8")


def report(folder: Path, games: list[str], seeds: list[int], steps: int) -> None:
    results = [json.loads(p.read_text(encoding="utf-8")) for p in sorted(folder.glob("*.json"))]
    table = {(r["arm"], r["game"], r["seed"]): r for r in results if r["steps"] == steps}
    ratios: dict[str, list[float]] = {arm: [] for arm in ARMS[1:]}
    print(
        f"mean return of the last {LAST:,} of {steps:,} steps, per seed {seeds}, and ratio of the seeds' means to stock"
    )
    for game in games:
        runs = {arm: [table[arm, game, seed] for seed in seeds if (arm, game, seed) in table] for arm in ARMS}
        if any(len(found) < len(seeds) for found in runs.values()):
            print(
                f"{game:15s} incomplete: "
                + ", ".join(f"{arm} {len(found)}/{len(seeds)}" for arm, found in runs.items())
            )
            continue
        cells = []
        for arm in ARMS:
            returns = [r["return"] for r in runs[arm]]
            cells.append(f"{arm} " + " ".join(f"{r:6.2f}" for r in returns))
            if arm != "stock":
                ratio = mean(returns) / mean(r["return"] for r in runs["stock"])
                ratios[arm].append(ratio)
                cells[-1] += f" -> {ratio:.3f}"
        same = all(a["weights"] == b["weights"] for a, b in zip(runs["stock"], runs["none"], strict=True))
        low = [arm for arm in ARMS if mean(r["return"] for r in runs[arm]) < FLOORS[game]]
        print(f"{game:15s} {' | '.join(cells)} | none == stock: {same} | below the floor {FLOORS[game]}: {low or 'no'}")
    for arm, values in ratios.items():
        if len(values) == len(games):
            print(f"mean ratio of {arm} to stock over {len(games)} games: {mean(values):.3f} (required: 0.85)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--games", nargs="+", default=list(GAMES), choices=GAMES)
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--jobs", type=int, default=2, help="runs at once, one thread each")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/minatar_learning"))
    parser.add_argument("--report", action="store_true", help="print the table of what is there and run nothing")
    parser.add_argument("--one", nargs=3, metavar=("ARM", "GAME", "SEED"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    def path(arm: str, game: str, seed: int) -> Path:
        return Path(args.out / f"{arm}__{game}__s{seed}__{args.steps}.json")

    if args.one:
        arm, game, seed = args.one[0], args.one[1], int(args.one[2])
        run_one(arm, game, seed, args.steps, path(arm, game, seed))
        return

    def launch(arm: str, game: str, seed: int) -> None:
        command = [sys.executable, __file__, "--one", arm, game, str(seed)]
        command += ["--steps", str(args.steps), "--out", str(args.out)]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
        print(f"done: {arm} {game} {seed}", flush=True)

    if not args.report:
        todo = [(a, g, s) for a in args.arms for g in args.games for s in args.seeds if not path(a, g, s).exists()]
        with ThreadPoolExecutor(args.jobs) as pool:
            list(pool.map(lambda run: launch(*run), todo))
    report(args.out, args.games, args.seeds, args.steps)


if __name__ == "__main__":
    main()
