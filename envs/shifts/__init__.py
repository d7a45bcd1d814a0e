"""Shifts: wrappers that make new tasks of old ones, for any Gymnasium environment, and for batches of games.

>>> import gymnasium
>>> specs = [("observation_noise", {"std": 0.1}), ("reward_sign", {})]
>>> apply(gymnasium.make("CartPole-v1", disable_env_checker=True), specs)
<RewardSign<ObservationNoise<TimeLimit<OrderEnforcing<CartPoleEnv<CartPole-v1>>>>>>
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import gymnasium

from envs import catalogue
from envs.checks import check_argument, check_choice
from envs.games import Games
from envs.shifts.action_permutation import ActionPermutation, VectorActionPermutation
from envs.shifts.base import VectorShift, layers_of
from envs.shifts.frame_skip import FrameSkip, VectorFrameSkip
from envs.shifts.observation_noise import ObservationNoise, VectorObservationNoise
from envs.shifts.observation_offset import ObservationOffset, VectorObservationOffset
from envs.shifts.pixel_permutation import PixelPermutation, VectorPixelPermutation
from envs.shifts.reward_scale import RewardScale, VectorRewardScale
from envs.shifts.reward_sign import RewardSign, VectorRewardSign
from envs.shifts.sticky_actions import StickyActions, VectorStickyActions
from envs.shifts.wrapper import Shift

__all__ = [
    "SHIFTS",
    "ActionPermutation",
    "FrameSkip",
    "ObservationNoise",
    "ObservationOffset",
    "PixelPermutation",
    "RewardScale",
    "RewardSign",
    "Shift",
    "StickyActions",
    "VectorActionPermutation",
    "VectorFrameSkip",
    "VectorObservationNoise",
    "VectorObservationOffset",
    "VectorPixelPermutation",
    "VectorRewardScale",
    "VectorRewardSign",
    "VectorShift",
    "VectorStickyActions",
    "apply",
    "apply_games",
    "layers_of",
]

SHIFTS: Mapping[str, type[Shift]] = MappingProxyType(
    {
        "pixel_permutation": PixelPermutation,
        "action_permutation": ActionPermutation,
        "observation_offset": ObservationOffset,
        "observation_noise": ObservationNoise,
        "reward_scale": RewardScale,
        "reward_sign": RewardSign,
        "sticky_actions": StickyActions,
        "frame_skip": FrameSkip,
    }
)
"""The wrapper of every shift in ``envs.catalogue.SHIFTS``; its ``batched`` is the same around a batch."""

Specs = Sequence[tuple[str, Mapping[str, Any]]]
"""Shifts by name, each with its arguments, from the innermost outwards."""


def apply(env: gymnasium.Env[Any, Any], specs: Specs) -> gymnasium.Env[Any, Any]:
    """``env`` inside the shifts of ``specs``, the first of which is the innermost.

    Raises:
        ValueError: a shift is unknown, or an argument is unknown, missing or out of range.
    """
    for name, arguments in _checked(specs):
        env = SHIFTS[name](env, **arguments)
    return env


def apply_games(games: Games, specs: Specs) -> Games:
    """``games`` inside the shifts of ``specs``, the first of which is the innermost.

    Raises:
        ValueError: as for `apply`.
    """
    for name, arguments in _checked(specs):
        games = SHIFTS[name].batched(games, **arguments)
    return games


def _checked(specs: Specs) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The specs, refused one by one where a name is unknown or an argument unknown or missing."""
    for name, arguments in specs:
        check_choice("a shift", name, SHIFTS)
        known = catalogue.SHIFTS[name].arguments
        for key in arguments:
            check_argument(f"the shift {name!r}", key, known)
        parameters = inspect.signature(SHIFTS[name]).parameters
        for key in known:
            if key not in arguments and parameters[key].default is inspect.Parameter.empty:
                raise ValueError(f"the shift {name!r} needs the argument {key!r}, got {dict(arguments)!r}; give it")
        yield name, arguments
