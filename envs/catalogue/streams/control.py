"""Streams of Gymnasium's control tasks.

TRAC's sequences of Atari's games are not among the published streams: its code leaves to the user which games they are.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from envs.catalogue.streams.named import NamedStream, fixed

# ------------------------------------------------------------------ offsets, TRAC and C-CHAIN

_LEVELS = 10
_LEVEL_NAMES = tuple(f"level_{level}" for level in range(_LEVELS))
_LIMIT, _SCALE = 400, 1 / 20  # of episodes, in steps, and of rewards


def _known(task: str, offset: list[float]) -> dict[str, Any]:
    """A level of a control task of ours."""
    return {"id": task, "offset": offset, "episode_limit": _LIMIT, "reward_scale": _SCALE}


def _registered(id: str, offset: list[float]) -> dict[str, Any]:
    """The same of a task of Gymnasium's."""
    shifts = [{"name": "observation_offset", "offset": offset}, {"name": "reward_scale", "scale": _SCALE}]
    return {"id": id, "max_episode_steps": _LIMIT, "shifts": shifts}


def _levels(
    level: Callable[[list[float]], Mapping[str, Any]], dimensions: int, std: float, seed: int
) -> tuple[Mapping[str, Any], ...]:
    """Ten levels of one control task: the first as it is, the others with an offset on each observation dimension."""
    import numpy as np

    # The key keeps these draws apart from those of the order, which come from the seed itself.
    generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    offsets = generator.normal(0.0, std, (_LEVELS, dimensions))
    offsets[0] = 0.0
    return tuple({"name": name, **level(offset)} for name, offset in zip(_LEVEL_NAMES, offsets.tolist(), strict=True))


_TASKS: Mapping[str, tuple[str, Callable[[list[float]], Mapping[str, Any]], int]] = {
    "cartpole": ("CartPole-v1", partial(_known, "cartpole"), 4),
    "acrobot": ("Acrobot-v1", partial(_known, "acrobot"), 6),
    "lunarlander": ("LunarLander-v3", partial(_registered, "LunarLander-v3"), 8),
    "mountaincar": ("MountainCar-v0", partial(_known, "mountain_car"), 2),
}
"""Name in streams -> Gymnasium's id, a level with an offset, and how many numbers are observed."""


def _offsets(
    task: str, source: str, config: str, differs: str, *, steps: int = 160_000, std: float = 2.0
) -> NamedStream:
    id, level, dimensions = _TASKS[task]
    extra = " (extra box2d)" if task == "lunarlander" else ""
    return NamedStream(
        tasks=_LEVEL_NAMES,
        steps_per_task=steps,
        cycles=1,
        description=f"ten levels of {id}, each after the first with an offset of its own on observations{extra}",
        source=source,
        worlds=partial(_levels, level, dimensions, std),
        differs=f"{differs}; there LunarLander-v2" if task == "lunarlander" else differs,
        config=config,
    )


_C_CHAIN = "C-CHAIN, arXiv 2506.00592 (there the end of the 400 steps is no truncation), after TRAC, 2405.16642"
_C_CHAIN_DIFFERS = (
    "offsets are drawn from the stream's seed, there from numpy's generator; eight games play the 800 steps of an "
    "iteration, there one"
)
_TRAC_DIFFERS = (
    "a level lasts 160,000 steps, there 200 iterations of two episodes of at most 400 steps, whatever they come to; "
    "offsets are drawn from the stream's seed, there from numpy's generator"
)

# ------------------------------------------------------------------ pendulums

# Gravity in m/s^2 and length in m; the mass is 1 kg.
_PENDULUMS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"earth": (10.0, 1.0), "moon": (1.6, 1.5), "short": (10.0, 0.7), "mars": (3.7, 1.8), "long": (10.0, 1.4)}
)
_SWINGING = {"kind": "sinusoidal", "mean": 10.0, "amplitude": 8.0, "period": 50_000}

STREAMS: Mapping[str, NamedStream] = {
    **{
        f"cchain/{task}": _offsets(task, _C_CHAIN, "cartpole_ppo.yaml", _C_CHAIN_DIFFERS)
        for task in ("cartpole", "acrobot", "lunarlander")
    },
    "cchain/mountaincar": _offsets(
        "mountaincar", _C_CHAIN, "cartpole_ppo.yaml", _C_CHAIN_DIFFERS, steps=320_000, std=0.02
    ),
    **{
        f"trac/{task}": _offsets(task, "TRAC, arXiv 2405.16642", "cartpole_ppo_trac.yaml", _TRAC_DIFFERS)
        for task in ("cartpole", "acrobot", "lunarlander")
    },
    "pendulum5": NamedStream(
        tasks=tuple(_PENDULUMS),
        steps_per_task=20_000,
        cycles=1,
        description="Pendulum-v1 with a gravity and a length of its own in each task",
        source="this project; the first task is Gymnasium's own",
        worlds=fixed(
            {
                name: {"id": "pendulum", "gravity": gravity, "length": length}
                for name, (gravity, length) in _PENDULUMS.items()
            }
        ),
        config="pendulum_sac_regrama.yaml",
    ),
    "pendulum_drift": NamedStream(
        tasks=("pendulum~gravity",),
        steps_per_task=100_000,
        cycles=1,
        description="Pendulum-v1 whose gravity swings between 2 and 18 m/s^2 in 50,000 steps, without a boundary",
        source="this project",
        worlds=lambda seed: ({"id": "pendulum", "drift": {"gravity": _SWINGING}},),
        config="pendulum_sac_regrama.yaml",
    ),
}
