"""Drawing the arguments of tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from envs.catalogue import DRAWS, SHIFTS, is_draw
from envs.checks import check_int, check_number

LARGEST_SIZE = 1_000_000


def drawn(key: str, value: Any, generator: np.random.Generator) -> Any:
    """The value of an argument, drawn where it says how.

    Args:
        key: the argument's name, for messages.
        value: the value itself, or a mapping with one of ``envs.catalogue.DRAWS`` and, for a list, ``size``.
        generator: what is drawn from.

    Raises:
        ValueError: something cannot be drawn so.
    """
    if not is_draw(value):
        return value
    (kind,) = value.keys() - {"size"}
    size = value.get("size")
    if size is not None and check_int(f"size of {key}", size, 1, "give the number of values to draw") > LARGEST_SIZE:
        raise ValueError(f"size of {key} must be at most {LARGEST_SIZE:,}, got {size:,}; give fewer values")
    parameters = value[kind]
    if kind == "choice":
        if not isinstance(parameters, list | tuple) or not parameters:
            raise ValueError(f"{key} is drawn by choice of {parameters!r}; give a list of values to choose from")
        picks = generator.integers(len(parameters), size=size)
        return parameters[picks] if size is None else [parameters[pick] for pick in picks]
    first, second = _two(key, kind, parameters)
    try:
        return np.asarray(_DRAWS[kind](generator, first, second, size)).tolist()
    except (OverflowError, ValueError) as error:
        raise ValueError(f"{key} is drawn as {kind} of {parameters!r}; give smaller numbers") from error


def drawn_for_shift(name: str, given: Mapping[str, Any], generator: np.random.Generator) -> dict[str, Any]:
    """The arguments of a shift, drawn where they say how; a seed that is left out is drawn, too."""
    arguments = {key: drawn(f"{name}.{key}", value, generator) for key, value in given.items()}
    left_out = SHIFTS[name].drawn
    if left_out is not None and not arguments:  # another argument may stand for it
        arguments[left_out] = int(generator.integers(2**32))
    return arguments


def _two(key: str, kind: str, parameters: Any) -> tuple[float, float]:
    if not isinstance(parameters, list | tuple) or len(parameters) != 2:
        raise ValueError(f"{key} is drawn as {kind} of {parameters!r}; give two numbers, {DRAWS[kind]}")
    first, second = (check_number(f"{kind} of {key}", each, DRAWS[kind]) for each in parameters)
    low = 0.0 if kind == "normal" else first  # the second is a standard deviation there
    if second < low or (kind == "log_uniform" and first <= 0) or (kind == "integers" and first % 1 + second % 1):
        raise ValueError(f"{key} is drawn as {kind} of {parameters!r}; give two numbers, {DRAWS[kind]}")
    return first, second


_DRAWS: Mapping[str, Callable[..., Any]] = {
    "uniform": lambda generator, low, high, size: generator.uniform(low, high, size),
    "log_uniform": lambda generator, low, high, size: np.exp(generator.uniform(np.log(low), np.log(high), size)),
    "normal": lambda generator, mean, std, size: generator.normal(mean, std, size),
    "integers": lambda generator, low, high, size: generator.integers(int(low), int(high), size, endpoint=True),
}
