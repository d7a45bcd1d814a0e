"""The games, the control tasks and the named streams: plain data, read without importing Gymnasium or a game."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import MappingProxyType
from typing import Any, NamedTuple

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
)
"""Every plain name that a task may have."""

CONTROL, MUJOCO = (
    tuple(name for name, world in TASKS.items() if world.target.startswith(package))
    for package in ("envs.control", "envs.mujoco")
)
"""Gymnasium's control tasks and MuJoCo's, with arguments for what a stream changes."""

ABOUT: tuple[str, ...] = ("name", "steps", "shifts", "drift", "variants")
"""Keys of a task's entry that are no arguments of its world."""

LIMIT = "max_episode_steps"
"""The argument that every Gymnasium id takes."""

WHOLE: frozenset[str] = frozenset(
    {"episode_limit", "every", "integers", LIMIT, "permutation", "seed", "size", "skip", "steps", "variants"}
)
"""Keys of a task's entry, and of what is in it, whose numbers are whole."""

DRAWS: Mapping[str, str] = MappingProxyType(
    {
        "uniform": "such as [0.5, 2]: the smallest and the largest value",
        "log_uniform": "such as [0.02, 2]: the smallest value, above 0, and the largest",
        "normal": "such as [0, 2]: the mean and the standard deviation",
        "integers": "such as [0, 9]: the smallest and the largest whole number",
        "choice": "such as [1, 2, 5]: the values to choose from",
    }
)
"""How an argument may be drawn, and what is given for that."""


def is_draw(value: object) -> bool:
    """Whether an argument's value says how to draw it."""
    return isinstance(value, Mapping) and len(value.keys() - {"size"}) == 1 and bool(value.keys() & set(DRAWS))


EPISODE_LIMIT = 2500
"""Steps after which an unfinished episode of a MinAtar game is truncated, where nothing else is asked for."""


def is_game(entry: object) -> bool:
    """Whether a task's entry is one of the MinAtar games, be it with arguments."""
    return (entry.get("id") if isinstance(entry, Mapping) else entry) in GAMES


@dataclass(frozen=True)
class NamedStream:
    """A stream known by name.

    Args:
        tasks: names of the tasks in the order in which they are visited.
        steps_per_task: default length of a segment, in transitions of one game.
        cycles: default number of times that the list is gone through.
        description: one line for listings.
        source: where this sequence comes from.
        worlds: from the stream's seed, the entries that the tasks are made from (see ``envs.entries.tasks_from``); None
            where the names are the entries.
    """

    tasks: tuple[str, ...]
    steps_per_task: int
    cycles: int
    description: str
    source: str
    worlds: Callable[[int], tuple[Mapping[str, Any], ...]] | None = None

    def entries(self, seed: int) -> tuple[str | Mapping[str, Any], ...]:
        """What the tasks are made from, in their order, in a stream with this seed."""
        return self.tasks if self.worlds is None else self.worlds(seed)

    @property
    def restores(self) -> bool:
        """Whether a resumed run finds the games as they were; others are rebuilt at every checkpoint."""
        ids = [entry if isinstance(entry, str) else entry["id"] for entry in self.entries(0)]
        return all(id in TASKS and TASKS[id].restores for id in ids)


_LEVELS = 10


def _cchain_levels(task: str, dimensions: int, seed: int) -> tuple[Mapping[str, Any], ...]:
    """Ten levels of one control task: the first as it is, the others with an offset on each observation dimension."""
    import numpy as np

    # The key keeps these draws apart from those of the order, which come from the seed itself.
    generator = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(1,)))
    offsets = generator.normal(0.0, 2.0, (_LEVELS, dimensions))
    offsets[0] = 0.0
    common = {"id": task, "episode_limit": 400, "reward_scale": 1 / 20}
    return tuple(common | {"offset": offset} for offset in offsets.tolist())


def _cchain(task: str, gymnasium_id: str, dimensions: int) -> NamedStream:
    return NamedStream(
        tasks=tuple(f"level_{level}" for level in range(_LEVELS)),
        steps_per_task=160_000,
        cycles=1,
        description=f"ten levels of {gymnasium_id}, each after the first with an offset of its own on observations",
        source="C-CHAIN, arXiv 2506.00592 (there the end of the 400 steps is no truncation), after TRAC, 2405.16642",
        worlds=partial(_cchain_levels, task, dimensions),
    )


# Gravity in m/s^2 and length in m; the mass is 1 kg.
_PENDULUMS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"earth": (10.0, 1.0), "moon": (1.6, 1.5), "short": (10.0, 0.7), "mars": (3.7, 1.8), "long": (10.0, 1.4)}
)


def _pendulums(seed: int) -> tuple[Mapping[str, Any], ...]:
    """The pendulums, the same for every seed."""
    return tuple({"id": "pendulum", "gravity": gravity, "length": length} for gravity, length in _PENDULUMS.values())


def _variants(label: str, count: int, entry: dict[str, Any], steps: int, description: str, source: str) -> NamedStream:
    """A stream of one entry's variants, which are called ``label`` and their number."""
    return NamedStream(
        tasks=tuple(f"{label}#{variant}" for variant in range(count)),
        steps_per_task=steps,
        cycles=1,
        description=description,
        source=source,
        worlds=lambda seed: ({"variants": count} | entry,),
    )


_SWINGING = {"kind": "sinusoidal", "mean": 10.0, "amplitude": 8.0, "period": 50_000}

STREAMS: Mapping[str, NamedStream] = MappingProxyType(
    {
        "minatar3": NamedStream(
            tasks=("space_invaders", "asterix", "seaquest"),
            steps_per_task=500_000,
            cycles=1,
            description="three MinAtar games, one after the other",
            source="C-CHAIN, arXiv 2506.00592 (its order; the paper trains 2,000,000 steps a game)",
        ),
        "minatar5": NamedStream(
            tasks=("space_invaders", "asterix", "seaquest", "breakout", "freeway"),
            steps_per_task=500_000,
            cycles=1,
            description="all five MinAtar games, one after the other",
            source="minatar3 followed by the two remaining games of MinAtar, arXiv 1903.03176",
        ),
        "minatar_saf": NamedStream(
            tasks=("space_invaders", "asterix", "freeway"),
            steps_per_task=500_000,
            cycles=1,
            description="three MinAtar games, with freeway as the last",
            source="C-CHAIN, arXiv 2506.00592 (its second list; the paper trains 2,000,000 steps a game)",
        ),
        "permuted_breakout": _variants(
            "breakout+pixel_permutation",
            5000,
            {"id": "breakout", "shifts": ("pixel_permutation",)},
            8192,
            "Breakout with the positions of the board permuted anew in each task",
            "this project; permuted inputs as in Nature 632:768 (2024), there of MNIST",
        ),
        "cchain/cartpole": _cchain("cartpole", "CartPole-v1", 4),
        "cchain/acrobot": _cchain("acrobot", "Acrobot-v1", 6),
        "pendulum5": NamedStream(
            tasks=tuple(_PENDULUMS),
            steps_per_task=20_000,
            cycles=1,
            description="Pendulum-v1 with a gravity and a length of its own in each task",
            source="this project; the first task is Gymnasium's own",
            worlds=_pendulums,
        ),
        "pendulum_drift": NamedStream(
            tasks=("pendulum~gravity",),
            steps_per_task=100_000,
            cycles=1,
            description="Pendulum-v1 whose gravity swings between 2 and 18 m/s^2 in 50,000 steps, without a boundary",
            source="this project",
            worlds=lambda seed: ({"id": "pendulum", "drift": {"gravity": _SWINGING}},),
        ),
        "slippery_ant": _variants(
            "ant(friction=*)",
            10,
            {"id": "ant", "friction": {"log_uniform": [0.02, 2.0]}},
            2_000_000,
            "Ant-v5 with a friction of its own in each task, log-uniform from 0.02 to 2",
            "SlipperyAnt, Nature 632:768 (2024), arXiv 2306.13812 (there Ant-v3, switched at the end of an episode)",
        ),
    }
)
"""The named streams."""


class NamedChange(NamedTuple):
    """A shift or a kind of drift known by name; ``envs.shifts`` and ``envs.drift`` have their classes.

    Attributes:
        description: one line for listings.
        arguments: names of its arguments.
        drawn: the argument that a stream draws where it is left out, if there is one; of shifts alone.
    """

    description: str
    arguments: tuple[str, ...]
    drawn: str | None = None


SHIFTS: Mapping[str, NamedChange] = MappingProxyType(
    {
        "pixel_permutation": NamedChange("permutes the positions of observations", ("seed",), "seed"),
        "action_permutation": NamedChange("permutes what actions mean", ("seed", "permutation"), "seed"),
        "observation_offset": NamedChange("adds a constant to observations", ("offset",)),
        "observation_noise": NamedChange("adds Gaussian noise to observations", ("std",)),
        "reward_scale": NamedChange("scales rewards for learning; returns are reported unscaled", ("scale",)),
        "reward_sign": NamedChange("flips rewards, so that the aim is the opposite", ("sign",)),
        "sticky_actions": NamedChange("repeats the previous action with a probability", ("probability",)),
        "frame_skip": NamedChange("repeats every action and adds up the rewards", ("skip",)),
    }
)
"""The shifts, by the names that tasks give them."""


DRIFTS: Mapping[str, NamedChange] = MappingProxyType(
    {
        "linear": NamedChange("from one value to another, where it stays", ("start", "end", "steps", "every")),
        "sinusoidal": NamedChange("up and down around a mean", ("mean", "amplitude", "period", "phase", "every")),
        "random_walk": NamedChange(
            "Gaussian steps, reflected at two bounds", ("start", "std", "low", "high", "seed", "every")
        ),
    }
)
"""The kinds of drift."""
