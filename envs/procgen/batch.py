"""Many ProcGen games of one kind at once, played by envpool."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.arguments import check_render_mode, require_reset
from envs.catalogue import PROCGEN
from envs.checks import check_choice, check_int
from envs.games import Games, Seeds, Step
from envs.procgen.loading import pool_maker
from envs.threads import available_threads

N_ACTIONS = 15
LEVELS = 2**31 - 1
"""How many there are: the numbers below this."""
CELL = 5  # a picture's pixels, for each of an observation's


class ProcgenGames(Games):
    """``n_envs`` games of ProcGen whose episodes restart in the step that ends them.

    Observations are uint8 images of shape (3, 64, 64), channels first. In each episode a game plays one of its levels,
    which the game's seed draws; nothing else is drawn, so that with a single level the actions decide everything. An
    episode that has not ended by itself before envpool's limit for the game (500 to 6,000 steps) is truncated, and so
    is one that ends in that very step.

    Envpool resets a finished game in the next step, which plays nothing; here it is told to reset at once, and that
    step is never made. It fixes seeds where games are made, so ``reset(seed=...)`` makes others. What its games hold
    can be neither read nor copied, so they cannot be saved.

    Args:
        task: one of ``envs.catalogue.PROCGEN``, such as "starpilot_hard".
        n_envs: games played side by side.
        start_level: the first level, at least 0.
        num_levels: how many levels there are from there on; 0 for all, of which 0 is the first.
        render_mode: None or "rgb_array".

    Raises:
        ImportError: envpool is not installed, or cannot be imported.
        ValueError: an argument is out of range.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (declared so by gymnasium.vector.VectorEnv)
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "render_modes": ["rgb_array"],
        "render_fps": 15,
    }

    def __init__(
        self, task: str, n_envs: int, *, start_level: int = 0, num_levels: int = 0, render_mode: str | None = None
    ) -> None:
        game, _, mode = check_choice("a ProcGen task", task, PROCGEN).partition("_")
        self._id = f"{game.capitalize()}{mode.capitalize()}-v0"
        self.task = task
        self.num_envs = check_int("n_envs", n_envs, 1, "give the number of games played side by side")
        self._levels = _checked_levels(start_level, num_levels)
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        self.single_observation_space = gymnasium.spaces.Box(0, 255, (3, 64, 64), np.uint8)
        self.single_action_space = gymnasium.spaces.Discrete(N_ACTIONS)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._everyone = np.arange(self.num_envs, dtype=np.int32)
        self._make = pool_maker()
        self._pool: Any = None  # of envpool, from the first reset on
        self._observations = np.zeros(self.observation_space.shape or (), np.uint8)

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin new episodes in all games.

        Raises:
            ValueError: a seed is not from 0 to 2**32 - 1, their number is not that of the games, or some are None.
        """
        seeds = self._seeds_from(seed)
        if any(own is not None for own in seeds):
            self._pool = self._made(seeds)
        elif self._pool is None:
            self._pool = self._made(self.np_random.integers(2**32, size=self.num_envs).tolist())
        self._observations, _ = self._pool.reset()
        return self._observations, {}

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """As in `Games`; info is empty, or where episodes ended ``final_obs`` and an empty ``final_info``.

        Raises:
            gymnasium.error.ResetNeeded: ``reset`` was never called.
            ValueError: an action is out of range, or there are more or fewer than games.
        """
        require_reset(self._pool is not None, "ProcgenGames.step")
        checked = self._checked_actions(actions)
        if active is None:
            observations, gained, terminations, truncations, _ = self._pool.step(checked, self._everyone)
            rewards = gained.astype(np.float64)
        else:
            playing = self._everyone[active]
            observations, rewards = self._observations.copy(), np.zeros(self.num_envs)
            terminations, truncations = np.zeros((2, self.num_envs), np.bool_)
            if len(playing):
                rows, gained, terminated, truncated, _ = self._pool.step(checked[playing], playing)
                observations[playing], rewards[playing] = rows, gained
                terminations[playing], truncations[playing] = terminated, truncated
        info = self._restart(terminations | truncations, observations)
        self._observations = observations
        return observations, rewards, terminations, truncations, info

    def get_state(self) -> dict[str, Any]:
        """Games of envpool have no state that could be read.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError("games of ProcGen cannot be saved, since envpool keeps their state to itself")

    def set_state(self, state: dict[str, Any]) -> None:
        """As `get_state`.

        Raises:
            NotImplementedError: always.
        """
        self.get_state()

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """What each game shows, (320, 320, 3), or None without a ``render_mode``.

        Raises:
            gymnasium.error.ResetNeeded: ``reset`` was never called.
        """
        require_reset(self._pool is not None, "ProcgenGames.render")
        if self.render_mode is None:
            return None
        return tuple(self._observations.transpose(0, 2, 3, 1).repeat(CELL, axis=1).repeat(CELL, axis=2))

    def close_extras(self, **kwargs: Any) -> None:
        """Let envpool's games and threads go."""
        self._pool = None

    def __repr__(self) -> str:
        start_level, num_levels = self._levels
        return f"ProcgenGames({self.task!r}, {self.num_envs}, start_level={start_level}, num_levels={num_levels})"

    def _restart(self, ended: NDArray[np.bool_], observations: NDArray[np.uint8]) -> dict[str, Any]:
        """Begin new episodes where they have ended: their first observations take the place of the last ones."""
        if not ended.any():
            return {}
        final_obs = np.full(self.num_envs, None, object)
        for game in np.flatnonzero(ended).tolist():
            final_obs[game] = observations[game].copy()
        observations[ended], _ = self._pool.reset(self._everyone[ended])
        return {"final_obs": final_obs, "_final_obs": ended, "final_info": {}, "_final_info": ended}

    def _made(self, seeds: Any) -> Any:
        """Fresh games of envpool with these seeds, whose first reset begins their episodes."""
        try:
            numbers = np.array(seeds, np.uint32)
        except (OverflowError, TypeError, ValueError) as error:
            raise ValueError(
                f"seed must be a whole number from 0 to {2**32 - 1} for every game, got {seeds!r}; envpool seeds all "
                "of its games where it makes them"
            ) from error
        start_level, num_levels = self._levels
        return self._make(
            self._id,
            env_type="gymnasium",
            num_envs=self.num_envs,
            seed=numbers.view(np.int32).tolist(),  # envpool takes these 32 bits with a sign
            num_threads=min(available_threads(), self.num_envs),
            start_level=start_level,
            num_levels=num_levels,
        )

    def _checked_actions(self, actions: Any) -> NDArray[np.int32]:
        given = np.asarray(actions)
        if given.shape != (self.num_envs,) or given.dtype.kind not in "iu":
            raise ValueError(
                f"actions must be {self.num_envs} whole numbers, got shape {given.shape} of {given.dtype}; "
                "give one action for each game"
            )
        if given.min() < 0 or given.max() >= N_ACTIONS:
            raise ValueError(f"actions must be from 0 to {N_ACTIONS - 1}, got {given.tolist()}; all games take these")
        return given.astype(np.int32)


def _checked_levels(start_level: object, num_levels: object) -> tuple[int, int]:
    """The first level and how many there are.

    Raises:
        ValueError: there are no such levels.
    """
    start = check_int("start_level", start_level, 0, "give the first level such as 20")
    count = check_int("num_levels", num_levels, 0, "give how many levels there are such as 1, or 0 for all")
    if count == 0 and start:
        raise ValueError(
            f"num_levels=0 stands for all levels, which begin at 0, got start_level={start}; give how many there are "
            "from there on"
        )
    if start + count > LEVELS:
        raise ValueError(
            f"levels end at {LEVELS - 1:,}, got start_level={start:,} and num_levels={count:,}; give smaller numbers"
        )
    return start, count
