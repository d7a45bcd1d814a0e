"""Do DQN and SAC of crl learn, and as Stable-Baselines3's do?

* DQN on MinAtar, 200,000 steps of one game with the settings of ``configs/minatar3_dqn_gxd.yaml``, with and without GXD
  resets: the mean return of the training episodes that end in the last 20,000 steps, against that of random play.
  Required: three times random on breakout or space_invaders.
* SAC on Pendulum, 10,000 steps, without and with ReGraMa on the critics, and SB3's own on the same settings: the mean
  return of 20 evaluation episodes. Required: above -200, and on par with SB3.

    python benchmarks/off_policy_learning.py --jobs 2            # about forty minutes on two cores
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

ROOT = Path(__file__).resolve().parent.parent
GAMES = ("breakout", "space_invaders")
DQN_STEPS, LAST = 200_000, 20_000
SAC_STEPS, EPISODES = 10_000, 20
RUNS = {
    **{f"dqn-{game}-{arm}": ("dqn", game, arm) for game in GAMES for arm in ("random", "none", "gxd")},
    **{f"sac-pendulum-{arm}": ("sac", "Pendulum-v1", arm) for arm in ("stock", "none", "regrama")},
}


def dqn(game: str, arm: str, seed: int) -> dict[str, Any]:
    """Mean return at the end of training, or of random play."""
    import yaml
    from stable_baselines3.common.callbacks import BaseCallback

    import envs
    from agents import DQN
    from agents.plasticity import GXD

    class Late(BaseCallback):
        returns: list[float]

        def _init_callback(self) -> None:
            self.returns = []

        def _on_step(self) -> bool:
            if self.num_timesteps > DQN_STEPS - LAST:
                self.returns += [float(info["episode"]["r"]) for info in self.locals["infos"] if "episode" in info]
            return True

    agent = yaml.safe_load((ROOT / "configs" / "minatar3_dqn_gxd.yaml").read_text(encoding="utf-8"))["agent"]
    agent = {key: value for key, value in agent.items() if key not in ("name", "features", "net_arch", "activation")}
    env = envs.make(game, n_envs=agent.pop("n_envs"), seed=seed)
    # The config's epsilon falls over the first 100,000 steps of its run.
    agent["exploration_fraction"] = 100_000 / DQN_STEPS
    if arm == "random":
        agent.update(learning_starts=DQN_STEPS)
    model = DQN("CnnPolicy", env, interventions=[GXD()] if arm == "gxd" else [], seed=seed, device="cpu", **agent)
    late = Late()
    model.learn(DQN_STEPS, callback=late, log_interval=10**9)
    return {
        "score": mean(late.returns),
        "episodes": len(late.returns),
        "resets": model.units_reset() if arm == "gxd" else {},
    }


def sac(name: str, arm: str, seed: int) -> dict[str, Any]:
    """Mean return of the trained agent, acting deterministically."""
    import gymnasium
    import stable_baselines3
    from stable_baselines3.common.evaluation import evaluate_policy
    from stable_baselines3.common.monitor import Monitor

    import agents
    from agents.plasticity import ReGraMa

    cls = stable_baselines3.SAC if arm == "stock" else agents.SAC
    more = {"interventions": [ReGraMa(networks=["critic"])]} if arm == "regrama" else {}
    model = cls("MlpPolicy", name, learning_rate=1e-3, seed=seed, device="cpu", **more)
    model.learn(SAC_STEPS)
    world = Monitor(gymnasium.make(name))
    world.reset(seed=1000 + seed)
    score, _ = evaluate_policy(model, world, n_eval_episodes=EPISODES)
    return {"score": float(score), "episodes": EPISODES, "resets": model.units_reset() if more else {}}


def run(name: str, seed: int) -> None:
    """One run in this process; prints its result."""
    import torch

    torch.set_num_threads(1)
    algorithm, world, arm = RUNS[name]
    start = time.perf_counter()
    found = {"dqn": dqn, "sac": sac}[algorithm](world, arm, seed)
    print(json.dumps({**found, "seconds": time.perf_counter() - start}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=2, help="runs at once, a thread each")
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--runs", nargs="+", default=list(RUNS), choices=list(RUNS))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        run(args.one[0], int(args.one[1]))
        return

    def start(job: tuple[str, int]) -> dict[str, Any]:
        command = [sys.executable, __file__, "--one", job[0], str(job[1])]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        print(f"{job[0]} seed {job[1]}: {found}", flush=True)
        return found

    jobs = [(name, seed) for name in args.runs for seed in args.seeds]
    with ThreadPoolExecutor(args.jobs) as pool:
        found = dict(zip(jobs, pool.map(start, jobs), strict=True))
    print("| run | " + " | ".join(f"seed {seed}" for seed in args.seeds) + " | mean |")
    print("|---" * (len(args.seeds) + 2) + "|")
    for name in args.runs:
        scores = [found[name, seed]["score"] for seed in args.seeds]
        print(f"| {name} | " + " | ".join(f"{score:.2f}" for score in scores) + f" | {mean(scores):.2f} |")


if __name__ == "__main__":
    main()
