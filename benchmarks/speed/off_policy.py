"""DQN and SAC without interventions against Stable-Baselines3's, and SAC against sbx, which is SAC by JAX.

SB3's side and ``exact`` train on the same kind of environment with the same seed and must hold the same parameters, or
the comparison would be of different things; ``fast`` rounds otherwise. sbx has networks of its own, of the same sizes.
"""

from __future__ import annotations

import hashlib
from typing import Any

from benchmarks.harness.declared import Repetition, Row, Side, Spent
from benchmarks.minatar_learning import stock_env

TITLE = "Are DQN and SAC as fast as SB3's, and SAC as sbx's?"
WARM_UP = 1_000  # steps, which fill the buffer


def trained(
    package: str, algorithm: str, steps: int, env: str, games: int | None = None, same: bool = True, **settings: Any
) -> Repetition:
    """An algorithm of a package, for so many steps more in each repetition.

    Args:
        package: `agents`, `stable_baselines3` or `sbx`.
        algorithm: of it.
        steps: of a repetition.
        env: a Gymnasium id, or a MinAtar game of which there are `games`.
        games: at once; None for one world of Gymnasium's.
        same: whether it must learn what other sides do.
        settings: of the algorithm.
    """
    from importlib import import_module

    made = getattr(import_module(package), algorithm)
    given: dict[str, Any] = {"learning_starts": WARM_UP, "buffer_size": 20_000, "seed": 1, **settings}
    if package != "sbx":
        given["device"] = "cpu"
    if games is None:
        model = made("MlpPolicy", env, **given)
    else:
        from torch import nn

        from agents.networks import MinAtarCNN

        kwargs = {"features_extractor_class": MinAtarCNN, "net_arch": [], "activation_fn": nn.ReLU}
        model = made("CnnPolicy", stock_env(env, games), policy_kwargs=kwargs, **given)
    model.learn(2 * WARM_UP)

    def repetition() -> Spent:
        before = model.num_timesteps
        model.learn(steps, reset_num_timesteps=False, log_interval=10)
        return Spent(model.num_timesteps - before, learnt=_digest(model) if same else "")

    return repetition


def _digest(model: Any) -> str:
    """Of all parameters."""
    found = hashlib.sha256()
    for tensor in model.policy.state_dict().values():
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


def _row(
    name: str, title: str, least: float, settings: dict[str, Any], threads: int | None = 1, fast: float | None = None
) -> Row:
    """Ours against SB3's; a repetition is a matter of seconds, and there are many."""
    sides = {
        "SB3": Side(trained, {"package": "stable_baselines3"}),
        "exact": Side(trained, {"package": "agents"}, at_least=least),
        "fast": Side(trained, FAST, at_least=fast),
    }
    return Row(name, title, sides, settings=settings, quick={"steps": 200}, repetitions=15, threads=threads)


FAST = {"package": "agents", "same": False, "speed": "fast"}
MINATAR = {"algorithm": "DQN", "env": "breakout", "train_freq": 1}
PENDULUM = {"algorithm": "SAC", "env": "Pendulum-v1", "steps": 500}
ROWS = [
    _row(
        "off_policy/dqn_64",
        "DQN, CNN, Breakout, 64 games, a gradient step for 4 steps",
        1.3,
        {**MINATAR, "games": 64, "gradient_steps": 16, "steps": 64 * 40},
        None,
        fast=2.0,
    ),
    _row(
        "off_policy/dqn_16",
        "DQN, CNN, Breakout, 16 games, a gradient step for 4 steps",
        0.95,
        {**MINATAR, "games": 16, "gradient_steps": 4, "steps": 16 * 80},
    ),
    _row(
        "off_policy/dqn_cartpole",
        "DQN, one CartPole, a gradient step for 4 steps",
        0.95,
        {"algorithm": "DQN", "env": "CartPole-v1", "steps": 2_000},
    ),
    _row("off_policy/sac", "SAC, one Pendulum, a gradient step for each", 1.0, PENDULUM, None),
    Row(
        "off_policy/sac_sbx",
        "SAC, one Pendulum, beside SAC by JAX",
        {
            "sbx": Side(trained, {"package": "sbx", "same": False}, needs=("sbx-rl",), elsewhere=True),
            "exact": Side(trained, {"package": "agents", "same": False}),
            "fast": Side(trained, FAST, at_least=1.0),
        },
        settings=PENDULUM,
        quick={"steps": 200},
        repetitions=15,
        threads=None,
    ),
]
