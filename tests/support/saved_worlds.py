"""The games of `small_ppo` and `small_off_policy` with a state that can be saved, as streams of one task."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from small_off_policy import Reach
from small_ppo import Images, Pairs

from envs.state import copied


class _Saved(gymnasium.Env[Any, Any]):
    """Counts, places and the generator; the observation is drawn anew at each step."""

    _kept = ("steps", "place", "goal")

    def get_state(self) -> dict[str, Any]:
        kept = {key: copied(getattr(self, key)) for key in self._kept if hasattr(self, key)}
        return {**kept, "generator": self.np_random.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> None:
        self.np_random.bit_generator.state = state["generator"]
        for key in self._kept:
            if key in state:
                setattr(self, key, copied(state[key]))


class SavedImages(_Saved, Images):
    pass


class SavedPairs(_Saved, Pairs):
    pass


class SavedReach(_Saved, Reach):
    pass


class TwoImages(SavedImages):
    action_space = spaces.Discrete(2)

    def step(self, action: Any) -> Any:
        return super().step(np.array([action, 0.0]))


class TwoPairs(SavedPairs):
    action_space = spaces.Discrete(2)

    def step(self, action: Any) -> Any:
        return super().step(np.array([action, 0.0]))


for world in (SavedImages, SavedPairs, SavedReach, TwoImages, TwoPairs):
    name = f"{world.__name__}-v0"
    if name not in gymnasium.registry:
        gymnasium.register(name, world, disable_env_checker=True)
