"""The shifts, kinds of drift and ways to one space known by name, and how arguments may be drawn."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

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


OBSERVATIONS: tuple[str, ...] = ("pad", "resize")
"""What a stream may do with observations that differ."""

ACTIONS: tuple[str, ...] = ("union", "pad", "same")
"""What a stream may do with actions that differ; a list of names is a union, too."""

SPACES: Mapping[str, NamedChange] = MappingProxyType(
    {
        "pad": NamedChange(
            "zeros behind observations that are shorter; of continuous actions a task takes as many as it has", ()
        ),
        "resize": NamedChange("one height and width for images, their channels padded", ("size",)),
        "union": NamedChange("all actions of all tasks by their names; those that a task lacks do its noop", ()),
        "same": NamedChange("actions mean the same in all tasks, which do not say so by themselves", ()),
    }
)
"""How spaces of a stream's tasks become one: of observations and of actions."""
