"""What unit resets are put together of, by name: criteria and selections."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agents.plasticity.registry.entries import Code, Entry, registering

CRITERIA: dict[str, Entry] = {
    "gxd": Entry("agents.plasticity.criteria:gxd", "first-order cost of replacing a unit: gradient times difference"),
    "taylor": Entry("agents.plasticity.criteria:taylor", "gradient times activation: gxd with a reference of zero"),
    "redo": Entry("agents.plasticity.criteria:redo", "mean absolute activation"),
    "regrama": Entry("agents.plasticity.criteria:regrama", "mean absolute gradient of the incoming weights"),
    "regrama_preactivation": Entry(
        "agents.plasticity.criteria:regrama_preactivation", "mean absolute gradient at the activation function's input"
    ),
    "regrama_activation": Entry(
        "agents.plasticity.criteria:regrama_activation", "mean absolute gradient at the activation function's output"
    ),
    "contribution": Entry(
        "agents.plasticity.criteria:contribution", "activation times outgoing weights (plain, centred or adaptable)"
    ),
    "magnitude": Entry("agents.plasticity.criteria:magnitude", "incoming times outgoing weights"),
    "silence": Entry(
        "agents.plasticity.criteria:silence", "probability of so long a silence, by what the unit is used to"
    ),
    "random": Entry("agents.plasticity.criteria:random", "chance, as a baseline"),
}

SELECTIONS: dict[str, Entry] = {
    "rate": Entry("agents.plasticity.selections:Rate", "a share of the mature units per gradient step, lowest first"),
    "threshold": Entry("agents.plasticity.selections:Threshold", "units below a share of their layer's mean utility"),
    "absolute": Entry("agents.plasticity.selections:Absolute", "units whose utility is below a number"),
    "percentage": Entry("agents.plasticity.selections:Percentage", "the lowest share of each layer"),
    "budget": Entry("agents.plasticity.selections:Budget", "the cheapest units, up to a share of the loss in all"),
    "calibrated": Entry("agents.plasticity.selections:Calibrated", "a part of every unit, more of the lower ones"),
}

COMPONENTS: dict[str, dict[str, Entry]] = {"criterion": CRITERIA, "selection": SELECTIONS}
"""Argument of `agents.plasticity.resets.UnitReset` -> the names that it takes."""


def criterion(name: str, *, summary: str = "a user's criterion") -> Callable[[Code], Code]:
    """Decorator that registers a function as a criterion (see `agents.plasticity.criteria`).

    Example::

        @criterion("peak", summary="largest activation in the batch")
        def peak(a):
            return a.flatten(2).amax((0, 2)) if a.dim() > 2 else a.amax(0)

    Raises:
        ValueError: another function has this name.
    """
    return registering("criterion", CRITERIA, name, lambda function: Entry(function, summary))


def build(part: str, spec: str | Mapping[str, Any]) -> Any:
    """What a name, or a mapping with a name and its arguments, stands for.

    Args:
        part: a key of `COMPONENTS`.
        spec: such as ``"gxd"`` or ``{"name": "rate", "rate": 1e-4}``.

    Raises:
        ValueError: the name or an argument is not known, or an argument is impossible; the message begins with the key.
    """
    arguments = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = arguments.pop("name", None)
    known = COMPONENTS[part]
    if name not in known:
        raise ValueError(f"{part}.name is {name!r}; choose from {', '.join(known)}")
    target = known[name].resolve()
    try:
        if part == "criterion":
            from agents.plasticity.criteria import Criterion

            return Criterion(name, target, arguments)
        return target(**arguments)
    except TypeError as error:
        raise ValueError(f"{part} {name!r} does not take these arguments: {error}") from error
    except ValueError as error:
        raise ValueError(f"{part}.{error}") from error
