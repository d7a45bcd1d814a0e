"""Which spaces SB3's policies can play, and which spaces of others an agent can go on in."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space

ARRAYS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
"""Kinds of spaces that SB3's policies take, of observations also in a dict."""


def check_playable(observations: spaces.Space[Any], actions: spaces.Space[Any]) -> None:
    """Refuse what SB3 would misread, or meet with an error from its depths.

    Raises:
        ValueError: a space, or a part of a dict of observations, is one of these.
    """
    parts = observations.spaces if isinstance(observations, spaces.Dict) else {None: observations}
    for key, part in parts.items():
        if isinstance(part, spaces.Dict | spaces.Tuple):
            continue  # SB3 has a sentence of its own
        whose = "the observations" if key is None else f"the part {key!r} of the observations"
        if not isinstance(part, ARRAYS):
            raise ValueError(f"SB3 has no policy for {whose} {part}; give one array in a wrapper")
        if isinstance(part, spaces.Box) and not (part.shape and np.prod(part.shape)):
            raise ValueError(
                f"SB3 needs an array of at least one number, unlike {whose} {part}; give one in a wrapper "
                "(gymnasium.wrappers.TransformObservation)"
            )
        _check_numbers(f"{whose} {part}", part, "TransformObservation")
    if isinstance(actions, spaces.Box) and not np.prod(actions.shape):
        raise ValueError(f"SB3 needs at least one number, unlike the actions {actions}; give one in a wrapper")
    _check_numbers(f"the actions {actions}", actions, "TransformAction")


def _check_numbers(named: str, space: spaces.Space[Any], wrapper: str) -> None:
    """Refuse discrete numbers that do not start at 0 or do not stand in a row."""
    if not isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        return
    if np.any(space.start):
        raise ValueError(f"SB3 counts from 0, unlike {named}; shift them in a wrapper (gymnasium.wrappers.{wrapper})")
    if len(space.shape or ()) > 1:
        raise ValueError(f"SB3 needs one axis, unlike {named}; flatten it in a wrapper (gymnasium.wrappers.{wrapper})")


def check_played(actions: np.ndarray) -> None:
    """Refuse actions of a box that a network which has diverged gives.

    Torch's distributions miss them too, but in no process that has once used `torch.compile`, which turns that off.

    Raises:
        ValueError: some are no numbers.
    """
    if np.isnan(actions).any():
        raise ValueError(
            "the policy gives actions that are no numbers (nan): training has diverged, or the observations hold such; "
            "look at the losses, and take a smaller learning_rate"
        )


def going_on_with(own: spaces.Space[Any], world: spaces.Space[Any]) -> spaces.Space[Any]:
    """The observations with which an agent goes on in a world: the world's where they hold its own, with a warning.

    They do if they are boxes of the same shape and type, alone or in dicts, with bounds as far or further. What SB3
    takes for images, which it scales, is held by images alone.
    """
    if world == own or not _holds(world, own):
        return own
    warnings.warn(f"the agent's observations were {own}; it goes on with the world's, {world}", stacklevel=3)
    return world


def _holds(wide: spaces.Space[Any], narrow: spaces.Space[Any]) -> bool:
    if isinstance(wide, spaces.Dict) and isinstance(narrow, spaces.Dict):
        return wide.spaces.keys() == narrow.spaces.keys() and all(
            _holds(part, narrow[key]) for key, part in wide.spaces.items()
        )
    if not (isinstance(wide, spaces.Box) and isinstance(narrow, spaces.Box)):
        return bool(wide == narrow)
    return bool(
        (wide.shape, wide.dtype, is_image_space(wide)) == (narrow.shape, narrow.dtype, is_image_space(narrow))
        and (wide.low <= narrow.low).all()
        and (wide.high >= narrow.high).all()
    )
