"""The tasks known by name, and what a task's entry may say."""

from collections.abc import Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any, NamedTuple

from envs.catalogue.suites import ATARI, DMC, METAWORLD, PROCGEN

GAMES: tuple[str, ...] = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")
"""The five MinAtar games, by the names that the ``minatar`` package gives them."""


class NamedWorld(NamedTuple):
    """A world of ours known by name.

    Attributes:
        description: one line for listings.
        target: where its record is ("module:attribute"), see ``envs.worlds``.
        restores: whether a resumed run finds its games as they were.
    """

    description: str
    target: str
    restores: bool = True

    def resolve(self) -> Any:
        """Import the record."""
        module, _, attribute = self.target.partition(":")
        return getattr(import_module(module), attribute)


TASKS: Mapping[str, NamedWorld] = MappingProxyType(
    {game: NamedWorld("MinAtar game (arXiv 1903.03176)", f"envs.minatar.worlds:{game}") for game in GAMES}
    | {
        "cartpole": NamedWorld("CartPole-v1 with other physics", "envs.control.cartpole:cartpole"),
        "acrobot": NamedWorld("Acrobot-v1 with other physics", "envs.control.acrobot:acrobot"),
        "mountain_car": NamedWorld("MountainCar-v0 with other physics", "envs.control.mountain_car:mountain_car"),
        "mountain_car_continuous": NamedWorld(
            "MountainCarContinuous-v0 with other physics",
            "envs.control.mountain_car_continuous:mountain_car_continuous",
        ),
        "pendulum": NamedWorld("Pendulum-v1 with other physics", "envs.control.pendulum:pendulum"),
        "ant": NamedWorld("Ant-v5 with other physics (extra mujoco)", "envs.mujoco:ant"),
        "halfcheetah": NamedWorld("HalfCheetah-v5 with other physics (extra mujoco)", "envs.mujoco:halfcheetah"),
        "hopper": NamedWorld("Hopper-v5 with other physics (extra mujoco)", "envs.mujoco:hopper"),
        "walker2d": NamedWorld("Walker2d-v5 with other physics (extra mujoco)", "envs.mujoco:walker2d"),
    }
    | {
        task: NamedWorld(f"{description}; extra {extra})", f"envs.pool.{module}:{task}", restores=False)
        for tasks, description, extra, module in (
            (PROCGEN, "ProcGen game (arXiv 1912.01588", "procgen", "procgen"),
            (ATARI, "Atari game (arXiv 1207.4708", "envpool", "atari"),
            (DMC, "task of DeepMind Control (arXiv 1801.00690", "envpool", "dmc"),
            (METAWORLD, "task of Meta-World (arXiv 1910.10897", "envpool", "metaworld"),
        )
        for task in tasks
    }
)
"""Every plain name that a task may have."""


CONTROL, MUJOCO = (
    tuple(name for name, world in TASKS.items() if world.target.startswith(package))
    for package in ("envs.control", "envs.mujoco")
)
"""Gymnasium's control tasks and MuJoCo's, with arguments for what a stream changes."""


ABOUT: tuple[str, ...] = ("name", "steps", "shifts", "drift", "variants", "actions")
"""Keys of a task's entry that are no arguments of its world."""

LIMIT = "max_episode_steps"
"""The argument that every Gymnasium id takes."""


WHOLE: frozenset[str] = frozenset(
    (
        "difficulty", "episode_limit", "every", "frame_skip", "frame_stack", "integers", LIMIT, "mode", "noop_max",
        "num_levels", "permutation", "seed", "size", "skip", "start_level", "steps", "variants",
    )
)  # fmt: skip
"""Keys of a task's entry, and of what is in it, whose numbers are whole."""


EPISODE_LIMIT = 2500
"""Steps after which an unfinished episode of a MinAtar game is truncated, where nothing else is asked for."""


def is_game(entry: object) -> bool:
    """Whether a task's entry is one of the MinAtar games, be it with arguments."""
    return (entry.get("id") if isinstance(entry, Mapping) else entry) in GAMES
