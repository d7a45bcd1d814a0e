"""Actions of different games as one set: the union of what they mean, and continuous ones of different lengths."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.fits.base import Owners, Plan, Spec, VectorFit, grouped
from envs.games import Step

NOOP = "noop"
"""What the action is called that stands for those that a game lacks."""
NAMED = "with actions: [noop, left, ...] in a task's entry"


class VectorUnitedActions(VectorFit):
    """Discrete actions of the stream, for each of which the games have one of their own.

    Args:
        games: the batch.
        actions: the games' action for each of the stream's.
    """

    def _take(self, **arguments: Any) -> None:
        self._own = np.array(arguments["actions"])
        self.single_action_space = Discrete(len(self._own))
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """As in `Games`, with the games' own actions.

        Raises:
            ValueError: an action is none of the stream's.
        """
        given = np.asarray(actions)
        if ((given < 0) | (given >= len(self._own))).any():
            raise ValueError(f"actions must be from 0 to {len(self._own) - 1}, got {given}; give others")
        return self.games.step(self._own[given], active)


class VectorFittedBox(VectorFit):
    """Continuous actions of the stream, of which the games take the first ones, at the same place between their bounds.

    Args:
        games: the batch.
        low: bounds of the stream's actions, one for each number.
        high: see ``low``.
    """

    def _take(self, **arguments: Any) -> None:
        own = self.games.single_action_space
        assert isinstance(own, Box)  # `plan_box` refused all others
        low, high = (np.array(arguments[bound], own.dtype) for bound in ("low", "high"))
        self.single_action_space = Box(low, high, dtype=own.dtype.type)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._count = own.shape[0]
        self._low, self._high = low[: self._count], high[: self._count]
        self._widths = np.where(self._high > self._low, self._high - self._low, 1)  # a number may have one value alone
        self._scales = not ((self._low == own.low).all() and (self._high == own.high).all())

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """As in `Games`, with the games' own actions."""
        own = np.asarray(actions)[:, : self._count]
        if self._scales:
            space: Any = self.games.single_action_space
            shares = (own - self._low) / self._widths
            own = np.clip(space.low + shares * (space.high - space.low), space.low, space.high).astype(space.dtype)
        return self.games.step(own, active)


def names_of(key: str, given: Sequence[Any]) -> tuple[str, ...]:
    """What actions mean, as meanings are compared: in lower case.

    Raises:
        ValueError: these are no names, or one comes twice.
    """
    names = [str(name).strip().lower() for name in given]
    if not all(names) or len(set(names)) < max(len(names), 1) or not all(isinstance(name, str) for name in given):
        raise ValueError(f"{key} must be different names, got {list(given)!r}; write [noop, left, right]")
    return tuple(names)


def plan_union(
    owners: Owners,
    spaces: Sequence[gymnasium.Space[Any]],
    meanings: Sequence[Sequence[str]],
    union: Sequence[str] | None,
) -> Plan:
    """How Discrete actions become one set by what they mean.

    Args:
        owners: of the actions.
        spaces: of each of these.
        meanings: of each, in the order of the actions; empty where they are not known.
        union: what all actions together mean; None takes them in the order in which tasks bring them.

    Raises:
        ValueError: a meaning is not known, not in the union or that of several actions, or a game has no `NOOP` for
            what it lacks.
    """
    for (name, *_), space, own in zip(owners, spaces, meanings, strict=True):
        if not isinstance(space, Discrete):
            raise ValueError(
                f"task {name!r} has actions {space}, of which there is no union; give tasks with Discrete ones, or "
                "spaces: {actions: pad} for continuous ones"
            )
        if not own:
            raise ValueError(f"task {name!r} does not say what its {space.n} actions mean; say it {NAMED}")
        if len(set(own)) < len(own):  # all but one could not be chosen any more
            raise ValueError(f"task {name!r} has several actions of a name, {', '.join(own)}; tell them apart {NAMED}")
    united = list(dict.fromkeys(meaning for own in meanings for meaning in own)) if union is None else list(union)
    specs: list[Spec | None] = []
    lacking = []
    for tasks, space, own in zip(owners, spaces, meanings, strict=True):
        assert isinstance(space, Discrete)
        strange = [meaning for meaning in own if meaning not in united]
        if strange:
            raise ValueError(
                f"spaces.actions lists {', '.join(united)}, and task {tasks[0]!r} also has {', '.join(strange)}; add "
                "what is missing"
            )
        lacks = [meaning for meaning in united if meaning not in own]
        if lacks and NOOP not in own:
            raise ValueError(
                f"task {tasks[0]!r} has the actions {', '.join(own)} and lacks {', '.join(lacks)}, but has no {NOOP} "
                f"that could stand for them; call the one that shall do so {NOOP}, {NAMED}"
            )
        table = [int(space.start) + own.index(meaning if meaning in own else NOOP) for meaning in united]
        same = table == list(range(int(space.n)))
        specs.append(None if same else ("actions", {"actions": table}))
        lacking.append(", ".join(lacks))
    told = [f"in {tasks} {lacks} do {NOOP}" for lacks, tasks in grouped(lacking, owners).items() if lacks]
    sentence = "; ".join([f"actions are {', '.join(united)}", *told])
    return Plan(Discrete(len(united)), specs, sentence, tuple(united))


def plan_box(owners: Owners, spaces: Sequence[gymnasium.Space[Any]]) -> Plan:
    """How continuous actions of different lengths or bounds become one: the longest, with the first task's bounds.

    Args:
        owners: of the actions.
        spaces: of each of these.

    Raises:
        ValueError: some are no vectors of bounded numbers.
    """
    boxes: list[Box] = []
    for (name, *_), space in zip(owners, spaces, strict=True):
        if not isinstance(space, Box) or len(space.shape) != 1 or not space.is_bounded():
            raise ValueError(
                f"spaces.actions is 'pad', but task {name!r} has actions {space}, no vector of bounded numbers; give "
                "spaces: {actions: union} for Discrete ones, or put it into a stream of its own"
            )
        boxes.append(space)
    length = max(box.shape[0] for box in boxes)
    first = [next(box for box in boxes if box.shape[0] > place) for place in range(length)]  # to have each number
    low = [float(box.low[place]) for place, box in enumerate(first)]
    high = [float(box.high[place]) for place, box in enumerate(first)]
    dtype: Any = np.result_type(*(box.dtype for box in boxes))
    common = Box(np.array(low, dtype), np.array(high, dtype), dtype=dtype.type)
    specs = [None if box == common else ("box", {"low": low, "high": high}) for box in boxes]
    counts = grouped((box.shape[0] for box in boxes), owners)
    told = [f"{tasks} takes the first {count}" for count, tasks in counts.items() if count < length]
    if any((box.low != low[: box.shape[0]]).any() or (box.high != high[: box.shape[0]]).any() for box in boxes):
        told.append("each at the same place between its task's own bounds")
    return Plan(common, specs, "; ".join([f"actions are {length} numbers", *told]))
