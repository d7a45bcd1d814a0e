"""The main job of `crl train`, logs on, against Stable-Baselines3's PPO with the same network, settings, logs, games.

All sides play SpaceInvaders, Asterix and Seaquest one after another. ``package`` is the main job with its games played
by the ``minatar`` package one after another, as crl does where numba cannot be imported: what batched games bring.
Seconds are those of training, from the first step to the end of the last update.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from benchmarks.harness.declared import MEGABYTES, ROOT, Missing, Repetition, Row, Side, Spent
from benchmarks.minatar_learning import ppo_settings, stock_env

TITLE = "Is the main job as fast and as small as with SB3?"
GAMES = ("space_invaders", "asterix", "seaquest")
MLP = ("agent.features=flatten", "agent.net_arch={pi: [64, 64], vf: [64, 64]}", "agent.activation=tanh")


def stock(steps: int, n_envs: int, network: str = "cnn", device: str = "cpu") -> Repetition:
    """SB3's PPO for so many steps of each game."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.logger import configure

    _check_device(device)
    settings = ppo_settings() | {"device": device}
    if network == "mlp":  # of two hidden layers of 64, tanh, as SB3's own default is
        settings = {**settings, "policy": "MlpPolicy", "policy_kwargs": {}}

    def repetition() -> Spent:
        model = PPO(env=stock_env(GAMES[0], n_envs), seed=1, **settings)
        seconds = 0.0
        with tempfile.TemporaryDirectory() as folder:
            model.set_logger(configure(folder, ["csv", "tensorboard"]))
            for game in GAMES:
                model.set_env(stock_env(game, n_envs))
                start = time.perf_counter()
                model.learn(steps, reset_num_timesteps=False)
                seconds += time.perf_counter() - start
            model.logger.close()
        return Spent(model.num_timesteps, seconds)

    return repetition


def crl(
    steps: int,
    n_envs: int,
    config: str = "configs/minatar3_ppo_gxd.yaml",
    overrides: Sequence[str] = (),
    network: str = "cnn",
    device: str = "cpu",
    batched: bool = True,
) -> Repetition:
    """`crl train` for so many steps of each game."""
    if not batched:
        sys.modules["numba"] = None  # type: ignore[assignment]
    import_module("crl.run")  # what `train` needs, before it is timed
    from crl import train

    _check_device(device)
    changes = [
        f"stream.steps_per_task={steps}", "stream.cycles=1", "evaluation.every=null",
        f"agent.n_envs={n_envs}", f"device={device}", *(MLP if network == "mlp" else ()), *overrides,
    ]  # fmt: skip

    def repetition() -> Spent:
        with tempfile.TemporaryDirectory() as runs:
            results = train(str(ROOT / config), [*changes, f"runs={runs}"])
        return Spent(results.steps, results.train_seconds)

    return repetition


def by_jax(steps: int, n_envs: int) -> Repetition:
    """PPO by JAX on the same games of gymnax, its updates and rollouts compiled before they are timed."""
    from benchmarks.speed import jax_ppo

    return jax_ppo.trained(GAMES, steps, n_envs)


def _check_device(device: str) -> None:
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise Missing("this machine has no GPU of CUDA's")


def _jobs(name: str, title: str, sides: dict[str, Side], fresh: bool = True, **more: Any) -> Row:
    """Sides that play all games; `more` are other arguments of the row."""
    more["settings"] = {"steps": 8 * 8192, "n_envs": 64, **more.get("settings", {})}
    return Row(name, title, sides, quick={"steps": 1024, "n_envs": 8}, fresh=fresh, threads=None, **more)


PLAIN = {"config": "configs/minatar3_ppo.yaml"}
FAST = {"overrides": ["agent.speed=fast"]}
ROWS = [
    _jobs(
        "ppo/cnn",
        "PPO, CNN, minatar3, 64 games, GXD's resets, diagnostics and logs on",
        {"SB3": Side(stock), "exact": Side(crl, at_least=1.5), "fast": Side(crl, FAST, at_least=3.0)},
    ),
    _jobs(
        "ppo/cnn_plain",
        "PPO, CNN, minatar3, 64 games, without resets",
        {"SB3": Side(stock), "exact": Side(crl, PLAIN), "fast": Side(crl, PLAIN | FAST)},
    ),
    _jobs(
        "ppo/package",
        "the main job with its games one after another",
        {"package": Side(crl, {"batched": False}), "exact": Side(crl, at_least=1.12)},
    ),
    _jobs(
        "ppo/mlp",
        "PPO, MLP of 2 x 64, minatar3, 64 games, diagnostics and logs on",
        {
            "SB3": Side(stock),
            "exact": Side(crl, PLAIN, at_least=1.5),
            "fast": Side(crl, PLAIN | FAST, at_least=3.3),
        },
        settings={"network": "mlp"},
    ),
    _jobs(
        "ppo/mlp_jax",
        "PPO, MLP of 2 x 64, minatar3, 64 games, beside PPO by JAX on gymnax",
        {
            "JAX": Side(by_jax, needs=("gymnax", "optax"), elsewhere=True),
            "exact": Side(crl, {**PLAIN, "network": "mlp"}),
            "fast": Side(crl, {**PLAIN, **FAST, "network": "mlp"}, at_least=1.0),
        },
        fresh=False,  # what is compiled stays
    ),
    _jobs(
        "ppo/gpu",
        "PPO, CNN, minatar3, 4,096 games on a GPU, resets, diagnostics and logs on",
        {"SB3": Side(stock), "exact": Side(crl), "fast": Side(crl, FAST)},
        settings={"n_envs": 4096, "device": "cuda", "steps": 4 * 128 * 4096},
    ),
    _jobs(
        "ppo/memory",
        "peak memory of the main job",
        {"SB3": Side(stock), "exact": Side(crl, at_most=1.0), "fast": Side(crl, FAST, at_most=1.0)},
        unit=MEGABYTES,
    ),
]
