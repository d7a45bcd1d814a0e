"""One environment as a batch of one, so that a shift of batches is also one of an environment."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.games import Games, Seeds, Step
from envs.infos import UNSCALED


class OneGame(Games):
    """An environment as a batch of one, whose episodes begin when it is reset.

    The step that ends an episode returns its last observation, and there is no ``final_obs``.

    Attributes:
        info: what the environment has said last.
    """

    num_envs = 1

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        self.env = env
        self.metadata = env.metadata
        self.single_observation_space, self.single_action_space = env.observation_space, env.action_space
        self.observation_space = batch_space(env.observation_space, 1)
        self.action_space = batch_space(env.action_space, 1)
        self.info: dict[str, Any] = {}

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, self.info = self.env.reset(seed=seed, options=options)  # type: ignore[arg-type]
        return [observation], {}

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """Take a step with the only action."""
        observation, reward, terminated, truncated, self.info = self.env.step(actions[0])
        said: dict[str, Any] = {}
        if (terminated or truncated) and UNSCALED in self.info:
            one = np.ones(1, np.bool_)
            said = {"final_info": {UNSCALED: np.array([self.info[UNSCALED]]), f"_{UNSCALED}": one}, "_final_info": one}
        return [observation], np.array([float(reward)]), np.array([terminated]), np.array([truncated]), said

    def configure(self, **parameters: Any) -> None:
        """Change arguments of the environment."""
        self.env.get_wrapper_attr("configure")(**parameters)
