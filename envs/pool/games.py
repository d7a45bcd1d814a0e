"""Many games of one kind at once, played by envpool."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.arguments import check_render_mode, require_reset
from envs.checks import check_int
from envs.games import LIFE_LOST, Games, Seeds, Step
from envs.pool.loading import load_envpool
from envs.threads import available_threads

LARGEST = 2**31 - 1
"""Whole number that envpool takes."""


class PoolGames(Games):
    """``n_envs`` games of envpool whose episodes restart in the step that ends them.

    Envpool resets a finished game in the next step, which plays nothing; here it is told to reset at once, and no step
    that plays nothing is handed on. It fixes seeds where games are made, so ``reset(seed=...)`` makes others. What its
    games hold can be neither read nor copied, so they cannot be saved.

    Each suite is a class of its own, which checks a task's arguments, says what envpool is given for them, and reads
    what envpool answers.

    Args:
        task: the task's name.
        n_envs: games played side by side.
        id: what envpool calls the task.
        options: what envpool is given for the task's arguments.
        render_mode: None or "rgb_array".
        tallies: key of the info that ends an episode -> which of envpool's infos it is made of, and how that of one
            step is joined to that of the steps before.
        **given: the task's arguments, to be shown.

    Raises:
        ImportError: envpool is not installed, or cannot be imported.
        ValueError: an argument is out of range.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (declared so by gymnasium.vector.VectorEnv)
        "autoreset_mode": AutoresetMode.SAME_STEP,
        "render_modes": ["rgb_array"],
        "render_fps": 15,
    }
    suite: ClassVar[str]
    """Its name in messages."""
    extra: ClassVar[str] = "envpool"
    """What brings envpool."""
    meanings: ClassVar[tuple[str, ...]] = ()
    """What each of its Discrete actions means, where a task has all of them."""
    told: ClassVar[tuple[str, ...]] = ()
    """Numbers of envpool's infos that each step passes on."""
    heard: ClassVar[tuple[str, ...]] = ()
    """Others that `_over` looks at."""

    def __init__(
        self,
        task: str,
        n_envs: int,
        id: str,
        options: Mapping[str, Any],
        *,
        render_mode: str | None,
        tallies: Mapping[str, tuple[str, np.ufunc]] | None = None,
        **given: Any,
    ) -> None:
        self.task = task
        self.num_envs = check_int("n_envs", n_envs, 1, "give the number of games played side by side")
        self.render_mode = self._checked_render_mode(render_mode)
        self._id, self._options, self._given = id, options, given
        self._envpool = load_envpool(self.suite, self.extra)
        spec = _spec(self._envpool.make_spec, id, tuple(options.items()))
        self.single_observation_space = self._observed_space(spec.gymnasium_observation_space)
        self.single_action_space, self._taken = _action_space(spec.gymnasium_action_space)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._everyone = np.arange(self.num_envs, dtype=np.int32)
        self._pool: Any = None  # of envpool, from the first reset on
        self._observations = np.zeros(self.observation_space.shape or (), self.observation_space.dtype)
        self._tallies = tallies or {}
        self._tallied = {key: np.zeros(self.num_envs) for key in self._tallies}

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
        self._observations = self._observed(self._pool.reset()[0])
        self._tallied = {key: np.zeros(self.num_envs) for key in self._tallies}
        return self._observations, {}

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """As in `Games`; info has what the suite tells, and where episodes ended ``final_obs`` and ``final_info``.

        Raises:
            gymnasium.error.ResetNeeded: ``reset`` was never called.
            ValueError: an action is out of range, or there are more or fewer than games.
        """
        require_reset(self._pool is not None, f"{type(self).__name__}.step")
        checked = self._checked_actions(actions)
        observations, rewards, terminations, truncations, said = self._played(checked, active)
        for key, (source, joined) in self._tallies.items():
            self._tallied[key] = joined(self._tallied[key], said[source])
        ended = terminations | truncations
        playing = np.ones(self.num_envs, np.bool_) if active is None else active
        info = _masked({key: said[key] for key in self.told}, playing & ~ended)
        if ended.any():
            info |= self._restart(observations, ended, self._over(terminations, truncations, said), said)
        self._observations = observations
        return observations, rewards, terminations, truncations, info

    def get_state(self) -> dict[str, Any]:
        """Games of envpool have no state that could be read.

        Raises:
            NotImplementedError: always.
        """
        raise NotImplementedError(f"games of {self.suite} cannot be saved, since envpool keeps their state to itself")

    def set_state(self, state: dict[str, Any]) -> None:
        """As `get_state`.

        Raises:
            NotImplementedError: always.
        """
        self.get_state()

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """What each game shows, uint8 (height, width, 3), or None without a ``render_mode``.

        Raises:
            gymnasium.error.ResetNeeded: ``reset`` was never called.
        """
        require_reset(self._pool is not None, f"{type(self).__name__}.render")
        return None if self.render_mode is None else tuple(self._pictures())

    def close_extras(self, **kwargs: Any) -> None:
        """Let envpool's games and threads go."""
        self._pool = None

    def __repr__(self) -> str:
        given = "".join(f", {name}={value}" for name, value in self._given.items())
        return f"{type(self).__name__}({self.task!r}, {self.num_envs}{given})"

    # ------------------------------------------------------------------ what a suite may read in its own way

    def _observed_space(self, space: Any) -> Box:
        """The space of one game's observations, from envpool's."""
        return Box(space.low, space.high, dtype=space.dtype.type)

    def _observed(self, seen: Any) -> NDArray[Any]:
        """Observations of some games as one array that belongs to nobody else, from envpool's."""
        observations: NDArray[Any] = seen
        return observations

    def _over(
        self, terminations: NDArray[np.bool_], truncations: NDArray[np.bool_], said: Mapping[str, Any]
    ) -> NDArray[np.bool_]:
        """Which games have come to an end with their episodes; others go on with what they have come to."""
        return terminations | truncations

    def _pictures(self) -> NDArray[np.uint8]:
        """What all games show."""
        raise NotImplementedError

    # ------------------------------------------------------------------ envpool

    def _checked_render_mode(self, render_mode: str | None) -> str | None:
        modes = self.metadata["render_modes"]
        if render_mode is not None and not modes:
            raise ValueError(
                f"{self.suite} is not drawn, since envpool ends the process where it finds nothing to draw with, got "
                f"render_mode={render_mode!r}; leave it out"
            )
        return check_render_mode(render_mode, modes)

    def _made(self, seeds: Any) -> Any:
        """Fresh games of envpool with these seeds, whose first reset begins their episodes."""
        try:
            numbers = np.array(seeds, np.uint32)
        except (OverflowError, TypeError, ValueError) as error:
            raise ValueError(
                f"seed must be a whole number from 0 to {2**32 - 1} for every game, got {seeds!r}; envpool seeds all "
                "of its games where it makes them"
            ) from error
        return self._envpool.make(
            self._id,
            env_type="gymnasium",
            num_envs=len(numbers),
            seed=numbers.view(np.int32).tolist(),  # envpool takes these 32 bits with a sign
            num_threads=min(available_threads(), len(numbers)),
            **self._options,
        )

    def _played(self, actions: NDArray[Any], active: NDArray[np.bool_] | None) -> Step:
        """A step of all games, or of some while the others stand still, with what is heard of envpool's infos."""
        heard = (*self.told, *self.heard, *(source for source, _ in self._tallies.values()))
        if active is None:
            seen, gained, terminations, truncations, said = self._pool.step(actions, self._everyone)
            told = {key: said[key] for key in heard}
            return self._observed(seen), gained.astype(np.float64), terminations, truncations, told
        playing = self._everyone[active]
        observations, rewards = self._observations.copy(), np.zeros(self.num_envs)
        terminations, truncations = np.zeros((2, self.num_envs), np.bool_)
        told = {key: np.zeros(self.num_envs) for key in heard}
        if len(playing):
            seen, gained, terminated, truncated, said = self._pool.step(actions[playing], playing)
            observations[playing], rewards[playing] = self._observed(seen), gained
            terminations[playing], truncations[playing] = terminated, truncated
            for key in heard:
                told[key][playing] = said[key]
        return observations, rewards, terminations, truncations, told

    def _restart(
        self,
        observations: NDArray[Any],
        ended: NDArray[np.bool_],
        over: NDArray[np.bool_],
        said: Mapping[str, Any],
    ) -> dict[str, Any]:
        """Begin new episodes where they have ended: their first observations take the place of the last ones."""
        final_obs = np.full(self.num_envs, None, object)
        for game in np.flatnonzero(ended).tolist():
            final_obs[game] = observations[game].copy()
        final_info = _masked({key: said[key] for key in self.told}, ended) | _masked(self._tallied, over)
        self._tallied = {key: np.where(over, 0, values) for key, values in self._tallied.items()}
        lost = ended & ~over
        if lost.any():
            final_info |= _masked({LIFE_LOST: lost}, lost)
        if over.any():
            observations[over] = self._observed(self._pool.reset(self._everyone[over])[0])
        if lost.any():  # told to reset they would begin anew; envpool's own reset goes on with the next life
            idle = np.zeros((int(lost.sum()), *(self.single_action_space.shape or ())), self._taken)
            observations[lost] = self._observed(self._pool.step(idle, self._everyone[lost])[0])
        return {"final_obs": final_obs, "_final_obs": ended, "final_info": final_info, "_final_info": ended}

    def _checked_actions(self, actions: Any) -> NDArray[Any]:
        given, space = np.asarray(actions), self.single_action_space
        if isinstance(space, Discrete):
            if given.shape != (self.num_envs,) or given.dtype.kind not in "iu":
                raise ValueError(
                    f"actions must be {self.num_envs} whole numbers, got shape {given.shape} of {given.dtype}; "
                    "give one action for each game"
                )
            if given.min() < 0 or given.max() >= space.n:
                raise ValueError(f"actions must be from 0 to {space.n - 1}, got {given.tolist()}; all games take these")
        elif given.shape != self.action_space.shape or given.dtype.kind not in "iuf":
            raise ValueError(
                f"actions must be numbers of shape {self.action_space.shape}, got shape {given.shape} of "
                f"{given.dtype}; give a row for each game"
            )
        elif not np.isfinite(given).all():
            games = np.flatnonzero(~np.isfinite(given).all(axis=1)).tolist()
            raise ValueError(f"actions must be finite, got others for games {games}; look for a diverged policy")
        return given.astype(self._taken)


@lru_cache(64)
def _spec(make_spec: Callable[..., Any], id: str, options: tuple[tuple[str, Any], ...]) -> Any:
    """What envpool says of a task; of a game of Atari's this takes a fifth of a second."""
    return make_spec(id, **dict(options))


def numbers(size: int) -> Box:
    """The space of observations that are so many numbers without bounds."""
    return Box(-np.inf, np.inf, (size,), np.float32)


def _action_space(space: Any) -> tuple[gymnasium.Space[Any], Any]:
    """The space of one game's actions, from envpool's, and the type that envpool takes them in."""
    if isinstance(space, Discrete):
        return Discrete(int(space.n)), np.int32
    return Box(space.low.astype(np.float32), space.high.astype(np.float32), dtype=np.float32), space.dtype


def _masked(values: Mapping[str, NDArray[Any]], mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Infos of the games that a mask marks, as Gymnasium keeps them."""
    infos: dict[str, Any] = {}
    for key, array in values.items():
        infos |= {key: array, f"_{key}": mask.copy()}
    return infos
