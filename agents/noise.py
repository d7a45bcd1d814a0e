"""Noise on actions, by name or as a number, where Stable-Baselines3 takes objects."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import Any, TypeAlias

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.noise import (
    ActionNoise,
    NormalActionNoise,
    OrnsteinUhlenbeckActionNoise,
    VectorizedActionNoise,
)

from agents import settings

Noise: TypeAlias = ActionNoise | Mapping[str, Any] | float | None
"""SB3's; or ``{"name": "normal", "sigma": 0.1}``, ``{"name": "ornstein_uhlenbeck", "sigma": 0.1, "theta": 0.15,
"dt": 0.01}`` or the standard deviation of normal noise, alike for all actions, whose range is from -1 to 1."""
KINDS: dict[str, type[ActionNoise]] = {
    "normal": NormalActionNoise,
    "ornstein_uhlenbeck": OrnsteinUhlenbeckActionNoise,
}


def built(given: Noise, actions: spaces.Space[Any]) -> ActionNoise | None:
    """The noise as SB3 takes it.

    Raises:
        ValueError: it is impossible.
    """
    if given is None or isinstance(given, ActionNoise):
        return given
    try:
        found = settings.action_noise(float(given) if isinstance(given, Real) else given)
    except ValueError as error:
        raise ValueError(f"action_noise={given} {error}") from None
    arguments = dict(found) if isinstance(found, Mapping) else {"name": "normal", "sigma": found}
    kind, sigma = KINDS[arguments.pop("name")], arguments.pop("sigma")
    mean = np.zeros(actions.shape or (), np.float32)
    return kind(mean, np.full_like(mean, sigma), **arguments)  # type: ignore[call-arg]  # both begin with these two


def remembers(noise: ActionNoise | None) -> bool:
    """Whether there is noise that depends on what it was before."""
    base = noise.base_noise if isinstance(noise, VectorizedActionNoise) else noise
    return base is not None and not isinstance(base, NormalActionNoise)
