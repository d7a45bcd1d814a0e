"""The streams known by name."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from envs.catalogue.tasks import PROCGEN_GAMES, TASKS


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
        spaces: how tasks of different spaces become one (see ``envs.spaces.SpaceMapping``); None where they are alike.
    """

    tasks: tuple[str, ...]
    steps_per_task: int
    cycles: int
    description: str
    source: str
    worlds: Callable[[int], tuple[Mapping[str, Any], ...]] | None = None
    spaces: Mapping[str, Any] | None = None

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


def _levels(task: str, levels: Sequence[int], description: str, source: str) -> NamedStream:
    """A stream of single levels of a ProcGen task."""
    return NamedStream(
        tasks=tuple(f"level_{level}" for level in levels),
        steps_per_task=2_000_000,
        cycles=1,
        description=f"{description} of ProcGen's {task}, one after the other",
        source=source,
        worlds=lambda seed: tuple({"id": task, "start_level": level, "num_levels": 1} for level in levels),
    )


_CORA = ("climber", "dodgeball", "ninja", "starpilot", "bigfish", "fruitbot")

_PROCGEN: dict[str, NamedStream] = (
    {
        f"cchain/{game}": _levels(
            f"{game}_hard", range(20, 30), "ten hard levels", "C-CHAIN, arXiv 2506.00592 (its levels and steps)"
        )
        for game in PROCGEN_GAMES
    }
    | {
        f"plasticine/{game}": _levels(
            f"{game}_easy", range(0, 200, 20), "ten easy levels", "Plasticine, arXiv 2504.17490 (its levels and steps)"
        )
        for game in PROCGEN_GAMES
    }
    | {
        "cora/procgen": NamedStream(
            tasks=_CORA,
            steps_per_task=5_000_000,
            cycles=5,
            description="200 easy levels of each of six ProcGen games, one game after the other",
            source="CORA, arXiv 2110.10067 (which evaluates on all levels; here on the 200)",
            worlds=lambda seed: tuple({"id": f"{game}_easy", "num_levels": 200} for game in _CORA),
        )
    }
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
        "mujoco3": NamedStream(
            tasks=("hopper", "walker2d", "halfcheetah"),
            steps_per_task=1_000_000,
            cycles=1,
            description="three robots of MuJoCo with bodies of their own, one after the other",
            source="this project",
            spaces=MappingProxyType({"observations": "pad", "actions": "pad"}),
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
    | _PROCGEN
)
"""The named streams."""
