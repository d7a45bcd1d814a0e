"""The five MinAtar games, one game at a time, played by the ``minatar`` package."""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.arguments import check_render_mode, require_reset
from envs.catalogue import EPISODE_LIMIT, GAMES
from envs.checks import check_choice
from envs.minatar.parameters import Parameters
from envs.minatar.picture import METADATA, picture
from envs.state import copied, random_state, restore_random

N_CHANNELS = 10
N_ACTIONS = 6

# What a game holds that no step changes; the generator is saved on its own.
_CONSTANT = frozenset({"channels", "action_map", "ramping", "random"})


class MinAtarEnv(gymnasium.Env[Any, Any]):
    """One MinAtar game, step for step the game of ``minatar.gym.BaseEnv``, in a space that all five games share.

    Observations are boolean arrays of shape (10, 10, 10) in (height, width, channel); games with fewer channels leave
    the last ones empty. All six actions are offered in every game, so that "left" stays "left". Actions are sticky
    and difficulty ramps up, as the package does by default. The sticky action outlives an episode, as there, but
    ``reset(seed=...)`` forgets it, so that a seed alone decides what follows.

    Args:
        game: one of ``envs.catalogue.GAMES``.
        episode_limit: steps after which an unfinished episode is truncated (greedy Seaquest agents never die).
        sticky_prob: probability that the last action is played again in place of the one given.
        ramping: whether games become more difficult the longer they are survived.
        render_mode: None or "rgb_array".

    Raises:
        ValueError: the game is unknown or an argument is out of range.

    >>> env = MinAtarEnv("breakout")
    >>> observation, info = env.reset(seed=0)
    >>> observation.shape, int(observation.sum())
    ((10, 10, 10), 33)
    """

    metadata = METADATA

    def __init__(
        self,
        game: str,
        episode_limit: int = EPISODE_LIMIT,
        *,
        sticky_prob: float = 0.1,
        ramping: bool = True,
        render_mode: str | None = None,
    ) -> None:
        check_choice("game", game, GAMES)
        self._parameters = Parameters(sticky_prob, ramping, episode_limit)
        self.render_mode = check_render_mode(render_mode, METADATA["render_modes"])
        # Imported here because the package loads matplotlib, which takes a second.
        import minatar

        self.game = game
        self.observation_space = gymnasium.spaces.Box(0, 1, (10, 10, N_CHANNELS), np.bool_)
        self.action_space = gymnasium.spaces.Discrete(N_ACTIONS)
        self._minatar = minatar.Environment(game)
        self._apply(self._parameters)
        # The package starts with two generators, one for the sticky actions and one for the game; seeding joins them.
        self._minatar.seed(int(self.np_random.integers(2**32)))
        self._elapsed = 0
        self._began = False

    @property
    def episode_limit(self) -> int:
        """Steps after which an unfinished episode is truncated."""
        return self._parameters.episode_limit

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.bool_], dict[str, Any]]:
        """Begin an episode; a ``seed`` (0 to 2**32 - 1) makes it and all that follow repeatable.

        Returns:
            The first observation, shape (10, 10, 10), and an empty info.
        """
        super().reset(seed=seed, options=options)
        if seed is not None:
            self._minatar.seed(seed)
            self._minatar.last_action = 0
        self._minatar.reset()
        self._elapsed = 0
        self._began = True
        return self._observe(), {}

    def step(self, action: int) -> tuple[NDArray[np.bool_], float, bool, bool, dict[str, Any]]:
        """Play one frame of the game with ``action`` (0 to 5: nothing, left, up, right, down, fire).

        Returns:
            Observation (10, 10, 10), reward, terminated, truncated, an empty info; a step that ends the game by itself
            is terminated and never also truncated.
        """
        reward, terminated = self._minatar.act(int(action))
        self._elapsed += 1
        truncated = self._elapsed >= self.episode_limit and not terminated
        return self._observe(), float(reward), bool(terminated), truncated, {}

    def render(self) -> NDArray[np.uint8] | None:
        """A picture of the board, (320, 320, 3), or None without a ``render_mode``.

        Raises:
            gymnasium.error.ResetNeeded: there was neither a ``reset`` nor a ``set_state``.
        """
        require_reset(self._began, "MinAtarEnv.render")
        return None if self.render_mode is None else picture(self._observe())

    def configure(self, **parameters: Any) -> None:
        """Change ``episode_limit``, ``sticky_prob`` or ``ramping``, from the next step on.

        Raises:
            ValueError: a value is out of range, or another argument is named.
        """
        self._apply(self._parameters.changed(**parameters))

    def get_state(self) -> dict[str, Any]:
        """All that decides the future of this env, as copies: arrays, numbers, text, lists and dicts of these."""
        variables = vars(self._minatar.env).items()
        return {
            "game": self.game,
            "parameters": self._parameters.as_dict(),
            "variables": {name: copied(value) for name, value in variables if name not in _CONSTANT},
            "random": copied(self._minatar.random.get_state(legacy=False)),
            "last_action": int(self._minatar.last_action),
            "elapsed": self._elapsed,
            **random_state(self),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``get_state`` returned.

        Raises:
            ValueError: the state is of another game.
        """
        if state["game"] != self.game:
            raise ValueError(f"a state of {state['game']!r} cannot be set on {self.game!r}; make an env of that game")
        self._apply(Parameters(**state["parameters"]))
        for name, value in state["variables"].items():
            setattr(self._minatar.env, name, copied(value))
        self._minatar.random.set_state(state["random"])
        self._minatar.last_action = state["last_action"]
        self._elapsed, self._began = state["elapsed"], True
        restore_random(self, state)

    def _apply(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._minatar.sticky_action_prob = parameters.sticky_prob
        self._minatar.env.ramping = parameters.ramping

    def _observe(self) -> NDArray[np.bool_]:
        board: NDArray[np.bool_] = self._minatar.state()
        if board.shape[2] == N_CHANNELS:
            return board
        padded = np.zeros((10, 10, N_CHANNELS), np.bool_)
        padded[:, :, : board.shape[2]] = board
        return padded
