"""Atari (Bellemare et al., arXiv 1207.4708): the games of the 2600, with their modes and difficulties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.catalogue import ATARI
from envs.checks import check_choice, check_flag, check_int, check_number
from envs.infos import UNSCALED
from envs.pool.games import LARGEST, PoolGames
from envs.pool.worlds import worlds

CELL = 4  # a picture's pixels, for each of an observation's
MOST_FRAMES = 64  # of an observation, and of an action


class AtariGames(PoolGames):
    """Games of Atari, as envpool plays them: by default those of the DQN papers (``NoFrameskip-v4`` of Gym).

    Observations are uint8 images of shape (``frame_stack``, 84, 84): grey, the newest last, each the brighter of the
    last two frames of an action in every pixel. The newer defaults of the field, Machado et al.'s (arXiv 1709.06009;
    ``ALE/...-v5`` of Gymnasium), are ``repeat_action_probability`` 0.25, ``noop_max`` 1 and ``fire_reset`` False.

    Rewards are the game's points. Where they are clipped the info that ends a game has ``unscaled_return``, and where
    an episode is a life, that of a life whose game goes on has ``life_lost``.

    Args:
        task: one of ``envs.catalogue.ATARI``, such as "atari/space_invaders".
        n_envs: games played side by side.
        mode: of the game, by its number in the Arcade Learning Environment; None for the game's own.
        difficulty: as ``mode``.
        full_action_space: whether there are all 18 actions, with the same meaning in all games; else those that the
            game uses, whose numbers mean something else in another game.
        frame_stack: frames of an observation.
        frame_skip: frames that an action lasts.
        repeat_action_probability: with which a frame repeats the action before.
        noop_max: an episode begins with at most so many frames of no action, drawn; at least 1.
        fire_reset: whether fire is pressed where an episode begins, in games that have it.
        episodic_life: whether an episode is a life; a game goes on with the next one.
        reward_clip: whether rewards are their signs, for learning; returns are reported without it.
        episode_limit: steps after which an unfinished game is truncated.
        render_mode: None or "rgb_array".

    Raises:
        ImportError: envpool is not installed, or cannot be imported.
        ValueError: an argument is out of range, or the game has no such mode or difficulty.
    """

    suite = "Atari"
    meanings = (
        "noop", "fire", "up", "right", "left", "down", "upright", "upleft", "downright", "downleft", "upfire",
        "rightfire", "leftfire", "downfire", "uprightfire", "upleftfire", "downrightfire", "downleftfire",
    )  # fmt: skip
    heard = ("terminated",)

    def __init__(
        self,
        task: str,
        n_envs: int,
        *,
        mode: int | None = None,
        difficulty: int | None = None,
        full_action_space: bool = True,
        frame_stack: int = 4,
        frame_skip: int = 4,
        repeat_action_probability: float = 0.0,
        noop_max: int = 30,
        fire_reset: bool = True,
        episodic_life: bool = False,
        reward_clip: bool = False,
        episode_limit: int = 27_000,
        render_mode: str | None = None,
    ) -> None:
        game = check_choice("an Atari task", task, ATARI).removeprefix("atari/")
        given = {name: value for name, value in locals().items() if name in _OPTIONS}
        options = {_OPTIONS[name]: _checked(name, value) for name, value in given.items()}
        self._lives = options["episodic_life"]
        id = "".join(word.capitalize() for word in game.split("_")) + "-v5"
        tallies = {UNSCALED: ("reward", np.add)} if options["reward_clip"] else None
        try:
            super().__init__(task, n_envs, id, options, render_mode=render_mode, tallies=tallies, **given)
        except RuntimeError as error:  # its emulator alone knows what a game has
            raise ValueError(
                f"{task} cannot be played with mode={mode} and difficulty={difficulty} ({error}); give those that "
                "https://ale.farama.org lists for the game, or leave them out"
            ) from error

    def _over(
        self, terminations: NDArray[np.bool_], truncations: NDArray[np.bool_], said: Mapping[str, Any]
    ) -> NDArray[np.bool_]:
        over: NDArray[np.bool_] = terminations | truncations
        return over & (truncations | (np.asarray(said["terminated"]) != 0)) if self._lives else over

    def _pictures(self) -> NDArray[np.uint8]:
        newest: NDArray[np.uint8] = self._observations[:, -1, :, :, None]
        return newest.repeat(CELL, axis=1).repeat(CELL, axis=2).repeat(3, axis=3)


_OPTIONS = {
    "mode": "mode",
    "difficulty": "difficulty",
    "full_action_space": "full_action_space",
    "frame_stack": "stack_num",
    "frame_skip": "frame_skip",
    "repeat_action_probability": "repeat_action_probability",
    "noop_max": "noop_max",
    "fire_reset": "use_fire_reset",
    "episodic_life": "episodic_life",
    "reward_clip": "reward_clip",
    "episode_limit": "max_episode_steps",
}
"""Argument -> what envpool calls it."""
_WHOLE = {
    "mode": (0, LARGEST, "give one of the game's modes such as 0, or leave it out"),
    "difficulty": (0, LARGEST, "give one of the game's difficulties such as 0, or leave it out"),
    "frame_stack": (1, MOST_FRAMES, "give the frames of an observation such as 4"),
    "frame_skip": (1, MOST_FRAMES, "give the frames that an action lasts such as 4"),
    "noop_max": (1, LARGEST, "give the most frames of no action that an episode begins with such as 30"),
    "episode_limit": (1, LARGEST, "give a number of steps such as 27000"),
}
"""Argument that is a whole number -> the least, the largest, and what to give."""


def _checked(name: str, value: Any) -> Any:
    """The value of an argument as envpool takes it.

    Raises:
        ValueError: it is out of range.
    """
    if name in ("mode", "difficulty") and value is None:
        return -1
    if name in _WHOLE:
        least, most, remedy = _WHOLE[name]
        return check_int(name, value, least, remedy, maximum=most)
    if name == "repeat_action_probability":
        return check_number(name, value, "give a probability such as 0.25", low=0, high=1)
    return check_flag(name, value, "give one of them")


__getattr__ = worlds(ATARI, AtariGames)
