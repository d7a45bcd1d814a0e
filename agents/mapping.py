"""What of a policy's parameters another policy can begin with whose world has other observations or actions.

A parameter is kept where it belongs to what both worlds have: all layers between observations and actions; of those
that read observations the channels of images, or the values of vectors, by their positions up to the shorter; of those
that put out actions, or read them, the actions of the same name, or, where names are not known, all of them if both
worlds have as many of the same kind. What reads each place of a map with a weight of its own is kept for maps of the
same size alone. All else stays as the new policy was drawn: further channels and values, actions that are not known,
and the bias of a unit none of whose incoming weights is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from agents.sb3_units import Axes, Axis, policy_axes

DEVIATION = "log_std"
"""The parameter of PPO's policies that those have whose actions are numbers."""
Places = tuple[Tensor, Tensor]
"""Of an axis: where it takes something over, and from where."""


@dataclass(frozen=True)
class Actions:
    """What is known of a world's actions.

    Attributes:
        kind: of their space: the name of its class, and of several choices how many values each has.
        names: of each action to choose from, or of each dimension of one; None where they are not known.
    """

    kind: str
    names: tuple[str, ...] | None = None

    @classmethod
    def of(cls, space: spaces.Space[Any], names: Sequence[str] | None = None) -> Self:
        """Those of a space."""
        several = f" {space.nvec}" if isinstance(space, spaces.MultiDiscrete) else ""
        return cls(f"{type(space).__name__}{several}", None if names is None else tuple(names))


class UnlikeError(ValueError):
    """Two policies differ in more than what their worlds ask of them.

    Attributes:
        name: of the first parameter that does.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f"the policies differ in {name}")
        self.name = name


@dataclass(frozen=True)
class Mapped:
    """What a policy begins with.

    Attributes:
        state: its whole ``state_dict``.
        kept: name of each parameter -> where it is the other policy's, of its shape.
        moved: names of those whose numbers do not all stand where they stood in the other policy.
    """

    state: dict[str, Tensor]
    kept: dict[str, Tensor]
    moved: frozenset[str]


def mapped(
    policy: BasePolicy, found: Mapping[str, Tensor], own: Actions | None = None, theirs: Actions | None = None
) -> Mapped:
    """What a policy begins with, if another one's parameters are mapped to it.

    Args:
        policy: as it was drawn; it stays so.
        found: the other one's ``state_dict``.
        own: the actions of the policy's world; left out, those of its space.
        theirs: those of the other's world, as far as they are known.

    Raises:
        UnlikeError: the policies differ in more than what their worlds ask of them, or are not understood and differ.
    """
    state: dict[str, Any] = policy.state_dict(keep_vars=True)
    own = own or Actions.of(policy.action_space)
    shapes, others = ({name: tensor.shape for name, tensor in each.items()} for each in (state, found))
    alike = shapes == others
    if alike and _as_ever(own, theirs):
        return _whole(state, found)
    try:
        axes = policy_axes(policy)
    except ValueError as error:  # somebody else's, with layers that are not known
        if alike:
            return _whole(state, found)
        raise UnlikeError(next(name for name in [*state, *found] if shapes.get(name) != others.get(name))) from error
    return _Mapping(state, found, axes, own, theirs).mapped()


def _as_ever(own: Actions, theirs: Actions | None) -> bool:
    """Whether as many actions are the same ones, each at its place."""
    if theirs is None:
        return True
    known = own.names is not None and theirs.names is not None
    return own.kind == theirs.kind and (not known or own.names == theirs.names)


def _whole(state: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> Mapped:
    kept = {name: torch.ones(tensor.shape, dtype=torch.bool) for name, tensor in state.items()}
    return Mapped(dict(found), kept, frozenset())


class _Mapping:
    """Of one policy to another.

    Args:
        state: of the policy that begins, its own tensors.
        found: of the other one.
        axes: of the first one's parameters.
        own: actions of its world.
        theirs: of the other one's.
    """

    def __init__(
        self,
        state: Mapping[str, Tensor],
        found: Mapping[str, Tensor],
        axes: Mapping[Tensor, Axes],
        own: Actions,
        theirs: Actions | None,
    ) -> None:
        self._state, self._found = state, found
        self._axes = {name: axes.get(tensor, (None,) * tensor.dim()) for name, tensor in state.items()}
        for name in dict.fromkeys([*state, *found]):
            self._check_layers(name)
        outputs = next(name for name, each in self._axes.items() if len(each) == 2 and each[0] is Axis.ACTIONS)
        self._own_count, self._count = len(state[outputs]), len(found[outputs])
        for name in state:
            self._check_actions(name)
        if theirs is None and (DEVIATION in state) != (DEVIATION in found):
            theirs = Actions("other")  # the actions of one world are numbers, and those of the other are not
        self._actions = _actions_kept(own, theirs, self._own_count, self._count)

    def _check_layers(self, name: str) -> None:
        """Refuse a parameter that differs beyond what belongs to the world."""
        if name == DEVIATION and (name in self._state) != (name in self._found):
            return
        if name not in self._state or name not in self._found:
            raise UnlikeError(name)
        sizes, others = self._state[name].shape, self._found[name].shape
        alike = zip(self._axes[name], sizes, others, strict=False)
        if len(sizes) != len(others) or any(axis is None and size != other for axis, size, other in alike):
            raise UnlikeError(name)

    def _check_actions(self, name: str) -> None:
        """Refuse a parameter that knows of another number of actions than the other policy has."""
        others = self._found[name].shape if name in self._found else ()
        for axis, other in zip(self._axes[name], others, strict=False):
            known = {Axis.ACTIONS: other == self._count, Axis.FEATURES_AND_ACTIONS: other > self._count}
            if axis is not None and not known.get(axis, True):
                raise UnlikeError(name)

    def mapped(self) -> Mapped:
        """What the policy begins with."""
        places = {name: self._places(name) for name in self._state}
        kept = {name: _marked(tensor, places[name]) for name, tensor in self._state.items()}
        for name, mask in kept.items():
            weight = kept.get(f"{name.removesuffix('bias')}weight")
            if name.endswith(".bias") and weight is not None and weight.dim() > mask.dim() == 1:
                mask &= weight.flatten(1).any(1)
        filled: dict[Tensor, Tensor] = {}  # once, what several networks share
        for name, tensor in self._state.items():
            if tensor not in filled:
                filled[tensor] = self._filled(name, places[name], kept[name])
        state = {name: filled[tensor] for name, tensor in self._state.items()}
        stay = {name for name, other in self._found.items() if name in state and _is_equal(state[name], other)}
        return Mapped(state, kept, frozenset(state.keys() - stay))

    def _places(self, name: str) -> list[Places]:
        """Of each axis; none where the other policy has no such parameter."""
        if name not in self._found:
            return [_first(0) for _ in self._axes[name]]
        sizes = zip(self._axes[name], self._state[name].shape, self._found[name].shape, strict=True)
        return [self._of_axis(*each) for each in sizes]

    def _of_axis(self, axis: Axis | None, size: int, other: int) -> Places:
        match axis:
            case None:
                return _first(size)
            case Axis.OBSERVATIONS:
                return _first(min(size, other))
            case Axis.PLACES:
                return _first(size if size == other else 0)
            case Axis.ACTIONS:
                return self._actions
        features, others = size - self._own_count, other - self._count
        (to, start), (first, _) = self._actions, _first(min(features, others))
        return torch.cat([first, features + to]), torch.cat([first, others + start])

    def _filled(self, name: str, places: Sequence[Places], kept: Tensor) -> Tensor:
        """The policy's own parameter, with the other's numbers where they are kept."""
        own = self._state[name].detach().cpu().clone()
        if not kept.any():
            return own
        block = self._found[name].to(own.dtype)
        for axis, (_, start) in enumerate(places):
            block = block.index_select(axis, start)
        filled = own.clone()
        filled[_index(places)] = block
        return torch.where(kept, filled, own)


def _actions_kept(own: Actions, theirs: Actions | None, count: int, other: int) -> Places:
    """Where the actions are that both worlds have, of `count` and of `other`."""
    if theirs is not None and theirs.kind != own.kind:
        return _first(0)
    names, others = own.names, None if theirs is None else theirs.names
    if names is None or others is None or (len(names), len(others)) != (count, other):
        return _first(count if count == other else 0)
    pairs = [(place, others.index(name)) for place, name in enumerate(names) if name in others]
    to, start = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).unbind(1)
    return to, start


def _is_equal(own: Tensor, other: Tensor) -> bool:
    return torch.equal(own, other.to(own.dtype))


def _first(count: int) -> Places:
    both = torch.arange(count)
    return both, both


def _index(places: Sequence[Places]) -> tuple[Tensor, ...]:
    """What indexes the places of all axes together."""
    return tuple(to.view(-1, *[1] * (len(places) - 1 - axis)) for axis, (to, _) in enumerate(places))


def _marked(tensor: Tensor, places: Sequence[Places]) -> Tensor:
    mask = torch.zeros(tensor.shape, dtype=torch.bool)
    mask[_index(places)] = True
    return mask
