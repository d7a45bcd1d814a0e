"""Steps per second of `agents.DQN` and `agents.SAC` without interventions, against Stable-Baselines3's.

Both sides train in one process on the same kind of environment with the same seed and one thread, a chunk of steps each
in turn, so that both meet the same weather; the rate is that of the median chunk. At the end both must hold the same
parameters, or the comparison would be of different things.

    python benchmarks/off_policy_speed.py            # about five minutes
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
from minatar_learning import stock_env

CHUNK = 500  # steps
WARM_UP = 1_000


def dqn_minatar(cls: Any) -> Any:
    """Breakout, 16 games, four updates of 32 transitions for 16 steps."""
    from torch import nn

    from agents.networks import MinAtarCNN

    kwargs = {"features_extractor_class": MinAtarCNN, "net_arch": [], "activation_fn": nn.ReLU}
    settings = {"learning_starts": WARM_UP, "buffer_size": 20_000, "train_freq": 1, "gradient_steps": 4}
    return cls("CnnPolicy", stock_env("breakout", 16), policy_kwargs=kwargs, **settings)


def dqn_cartpole(cls: Any) -> Any:
    """One CartPole, an update of 32 transitions every four steps."""
    return cls("MlpPolicy", "CartPole-v1", learning_starts=WARM_UP, buffer_size=20_000)


def sac_pendulum(cls: Any) -> Any:
    """One Pendulum, an update of 256 transitions every step."""
    return cls("MlpPolicy", "Pendulum-v1", learning_starts=WARM_UP, buffer_size=20_000)


JOBS = {"dqn minatar": dqn_minatar, "dqn cartpole": dqn_cartpole, "sac pendulum": sac_pendulum}


def compare(job: str, chunks: int) -> tuple[list[float], list[float]]:
    """Seconds of each chunk, of stock and of ours."""
    import stable_baselines3
    import torch

    import agents

    name = job.split()[0].upper()
    sides = [JOBS[job](lambda *a, cls=cls, **k: cls(*a, seed=1, device="cpu", **k))
             for cls in (getattr(stable_baselines3, name), getattr(agents, name))]  # fmt: skip
    # Each side goes on with its own random numbers.
    generators = [_generators()] * 2
    seconds: tuple[list[float], list[float]] = ([], [])
    for chunk in range(chunks + 1):
        for side, model in enumerate(sides):
            _restore(generators[side])
            start = time.perf_counter()
            # The first one fills the buffer.
            model.learn(CHUNK if chunk else 2 * WARM_UP, reset_num_timesteps=chunk == 0, log_interval=10)
            if chunk:
                seconds[side].append(time.perf_counter() - start)
            generators[side] = _generators()
    same = zip(*(model.policy.state_dict().values() for model in sides), strict=True)
    assert all(torch.equal(*pair) for pair in same), "both sides must learn the same"
    return seconds


def _generators() -> tuple[Any, Any]:
    import numpy as np
    import torch

    return np.random.get_state(), torch.get_rng_state()


def _restore(state: tuple[Any, Any]) -> None:
    import numpy as np
    import torch

    np.random.set_state(state[0])
    torch.set_rng_state(state[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=40, help=f"of {CHUNK} steps, for each side")
    parser.add_argument("--jobs", nargs="+", default=list(JOBS), choices=list(JOBS))
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    for job in args.jobs:
        stock, ours = compare(job, args.chunks)
        rates = [CHUNK / median(found) for found in (stock, ours)]
        print(
            f"{job}: stock {rates[0]:,.0f} steps/s, ours {rates[1]:,.0f}, {rates[1] / rates[0]:.3f} times stock "
            "(required: 0.95)",
            flush=True,
        )


if __name__ == "__main__":
    main()
