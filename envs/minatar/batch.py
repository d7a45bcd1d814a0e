"""Many MinAtar games of one kind at once, by compiled kernels over arrays of games.

Each game has a module of its own, ``envs.minatar.<game>``, with its rules and these names:

- ``GAME``: the dtype of one game; a batch is an array of it, beside one of ``envs.minatar.random.PLAYER``.
- ``BOUNDS``: the least and largest value of each of its fields in a state, which keep all that play can reach and all
  indices inside the arrays.
- ``reset(games, players, seeds, boards)``: begin episodes in all games, after seeding those whose seed is not -1, and
  write the observations.
- ``step(games, players, actions, active, boards, last_boards, rewards, flags, sticky, ramping, limit)``: one step in
  the games that are active, and the observations of all. Where an episode ends, its last observation goes to
  ``last_boards`` and the next one begins. ``flags[0]`` are terminations, ``flags[1]`` truncations. Returns the number
  of episodes that ended. These two are made by ``envs.minatar.loops``.

Boards are uint8 arrays of shape (games, 1000) there: cell (y, x) and channel c at 100 y + 10 x + c.
"""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.arguments import check_render_mode, require_reset
from envs.catalogue import EPISODE_LIMIT, GAMES
from envs.checks import check_choice, check_int
from envs.games import Games, Seeds, Step
from envs.minatar.columns import columns, require_names, restored
from envs.minatar.package import N_ACTIONS, N_CHANNELS
from envs.minatar.parameters import Parameters
from envs.minatar.picture import METADATA, picture
from envs.minatar.recycling import Boards


class MinAtarGames(Games):
    """``n_envs`` games of one kind, each step for step ``MinAtarEnv`` with its seed, tens of times as fast or more.

    Observations, actions and what seeds and episode ends do are those of ``MinAtarEnv``; the sticky action outlives an
    episode, and ``reset(seed=...)`` forgets it. The first batch of a game on a machine compiles it, which takes some
    seconds and is kept on disk.

    Args:
        game: one of ``envs.catalogue.GAMES``.
        n_envs: games played side by side.
        episode_limit: steps after which an unfinished episode is truncated.
        sticky_prob: probability that the last action is played again in place of the one given.
        ramping: whether games become more difficult the longer they are survived.
        render_mode: None or "rgb_array".

    Raises:
        ImportError: numba cannot be imported; ``envs.minatar.make_games`` then takes the package.
        ValueError: an argument is out of range.

    >>> games = MinAtarGames("breakout", 3)
    >>> observations, info = games.reset(seed=0)
    >>> observations, rewards, terminations, truncations, info = games.step(np.array([0, 1, 3]))
    >>> observations.shape, rewards.tolist()
    ((3, 10, 10, 10), [0.0, 0.0, 0.0])
    """

    metadata: dict[str, Any] = METADATA | {"autoreset_mode": AutoresetMode.SAME_STEP}
    saves = True

    def __init__(
        self,
        game: str,
        n_envs: int,
        *,
        episode_limit: int = EPISODE_LIMIT,
        sticky_prob: float = 0.1,
        ramping: bool = True,
        render_mode: str | None = None,
    ) -> None:
        self.game = check_choice("game", game, GAMES)
        self.num_envs = check_int("n_envs", n_envs, 1, "give the number of games played side by side")
        self._parameters = Parameters(sticky_prob, ramping, episode_limit)
        self.render_mode = check_render_mode(render_mode, METADATA["render_modes"])
        self.single_observation_space = gymnasium.spaces.Box(0, 1, (10, 10, N_CHANNELS), np.bool_)
        self.single_action_space = gymnasium.spaces.Discrete(N_ACTIONS)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        # Imported here because numba takes a third of a second.
        from envs.minatar.random import BOUNDS, PLAYER

        rules = import_module(f"envs.minatar.{game}")
        self._kernels = rules.reset, rules.step
        self._bounds, self._player_bounds = rules.BOUNDS, BOUNDS
        self._games = np.zeros(self.num_envs, rules.GAME)
        self._players = np.zeros(self.num_envs, PLAYER)
        self._everyone = np.ones(self.num_envs, np.bool_)
        self._boards = Boards(self.num_envs, N_CHANNELS)
        self._last_boards = self._boards()
        self._began = False

    @property
    def episode_limit(self) -> int:
        """Steps after which an unfinished episode is truncated."""
        return self._parameters.episode_limit

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin new episodes in all games; games without a seed go on drawing from where their generators stand.

        Returns:
            The first observations, shape (n_envs, 10, 10, 10), and an empty info.

        Raises:
            ValueError: a seed is not from 0 to 2**32 - 1, or their number not that of the games.
        """
        seeds = self._seeds(seed)
        boards = self._boards()
        begin, _ = self._kernels
        begin(self._games, self._players, seeds, _flat(boards))
        self._began = True
        return boards, {}

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """Take one step in every game, or in those that ``active`` (n_envs,) marks.

        Args:
            actions: whole numbers, shape (n_envs,): 0 to 5 for nothing, left, up, right, down, fire.
            active: which games take the step; the others stand still and draw nothing.

        Returns:
            Observations (n_envs, 10, 10, 10), rewards, terminations and truncations (n_envs,), and info: empty, or
            where episodes ended ``final_obs`` (n_envs, 10, 10, 10) and an empty ``final_info`` with their masks. A step
            that ends a game by itself is terminated and never also truncated.

        Raises:
            gymnasium.error.ResetNeeded: there was neither a ``reset`` nor a ``set_state``.
            ValueError: an action is out of range, or a shape is wrong.
        """
        require_reset(self._began, "MinAtarGames.step")
        boards = self._boards()
        rewards, flags = np.zeros(self.num_envs), np.zeros((2, self.num_envs), np.bool_)
        n_ended = self._advance(self._checked_actions(actions), self._checked_active(active), boards, rewards, flags)
        info: dict[str, Any] = {}
        if n_ended:
            ended = flags[0] | flags[1]
            info = {"final_obs": self._last_boards, "_final_obs": ended, "final_info": {}, "_final_info": ended}
            self._last_boards = self._boards()
        return boards, rewards, flags[0], flags[1], info

    def configure(self, **parameters: Any) -> None:
        """Change ``episode_limit``, ``sticky_prob`` or ``ramping`` of all games, from the next step on.

        Raises:
            ValueError: a value is out of range, or another argument is named.
        """
        self._parameters = self._parameters.changed(**parameters)

    def get_state(self) -> dict[str, Any]:
        """All that decides the future of the games, as copies: arrays with a row for each game, numbers and text.

        Raises:
            gymnasium.error.ResetNeeded: there was neither a ``reset`` nor a ``set_state``.
        """
        require_reset(self._began, "MinAtarGames.get_state")
        return {
            "game": self.game,
            "n_envs": self.num_envs,
            "parameters": self._parameters.as_dict(),
            "games": columns(self._games),
            "players": columns(self._players),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``get_state`` returned; no reset is needed.

        Raises:
            ValueError: the state is of another game or of another number of games, or damaged: if anything is
                missing, has another shape, or is no whole number in its bounds. Nothing has changed then.
        """
        if isinstance(state.get("games"), list):
            raise ValueError(
                "a state of games that the minatar package played one by one cannot be set on a batch; go on without "
                "numba, as when it was saved"
            )
        require_names(state, ("game", "n_envs", "parameters", "games", "players"))
        if (state["game"], state["n_envs"]) != (self.game, self.num_envs):
            raise ValueError(
                f"a state of {state['n_envs']} games of {state['game']!r} cannot be set on {self.num_envs} of "
                f"{self.game!r}; make as many of that game"
            )
        require_names(state["parameters"], self._parameters.as_dict())
        parameters = Parameters(**state["parameters"])
        games = restored(state["games"], self.num_envs, self._games.dtype, self._bounds)
        players = restored(state["players"], self.num_envs, self._players.dtype, self._player_bounds)
        self._games, self._players, self._parameters, self._began = games, players, parameters, True

    def render(self) -> tuple[NDArray[np.uint8], ...] | None:
        """A picture of every game, (320, 320, 3) each, or None without a ``render_mode``.

        Raises:
            gymnasium.error.ResetNeeded: there was neither a ``reset`` nor a ``set_state``.
        """
        require_reset(self._began, "MinAtarGames.render")
        if self.render_mode is None:
            return None
        boards, nobody = self._boards(), np.zeros(self.num_envs, np.bool_)
        no_actions = np.zeros(self.num_envs, np.int64)
        self._advance(no_actions, nobody, boards, np.zeros(self.num_envs), np.zeros((2, self.num_envs), np.bool_))
        return tuple(picture(board) for board in boards)

    def __getstate__(self) -> dict[str, Any]:
        """For copies, also in other processes, which find the kernels on disk."""
        return {name: value for name, value in vars(self).items() if name != "_kernels"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        rules = import_module(f"envs.minatar.{self.game}")
        self._kernels = rules.reset, rules.step

    def __repr__(self) -> str:
        return f"MinAtarGames({self.game!r}, {self.num_envs})"

    def _advance(
        self,
        actions: NDArray[np.int64],
        active: NDArray[np.bool_],
        boards: NDArray[np.bool_],
        rewards: NDArray[np.float64],
        flags: NDArray[np.bool_],
    ) -> int:
        """One step of the active games, written into the last three; the number of episodes that ended."""
        chosen = self._parameters
        records, last_boards = (self._games, self._players), _flat(self._last_boards)
        written = (_flat(boards), last_boards, rewards, flags)
        _, play = self._kernels
        n_ended: int = play(
            *records, actions, active, *written, chosen.sticky_prob, chosen.ramping, chosen.episode_limit
        )
        return n_ended

    def _seeds(self, seed: Seeds) -> NDArray[np.int64]:
        """The seed of every game, -1 where it goes on with its generator."""
        drawn = np.full(self.num_envs, -1) if self._began else self.np_random.integers(2**32, size=self.num_envs)
        if seed is None:
            return drawn
        if isinstance(seed, Sequence | np.ndarray):
            if len(seed) != self.num_envs:
                raise ValueError(f"seed must be one number or {self.num_envs}, got {len(seed)}; give as many")
            goes_on = np.array([own is None for own in seed])
            given = np.array([0 if own is None else own for own in seed])
        else:
            first = check_int("seed", seed, 0, "give one number, game i gets seed + i")
            self._np_random, self._np_random_seed = seeding.np_random(first)
            goes_on, given = np.zeros(self.num_envs, np.bool_), np.arange(first, first + self.num_envs)
        if given.dtype.kind not in "iu" or given.min() < 0:
            raise ValueError(f"seed must be whole numbers of at least 0, got {seed!r}; give a number such as 0")
        if given.max() >= 2**32:
            raise ValueError(f"seed must be at most {2**32 - 1} for every game, got {given.max()}; give a smaller one")
        return np.where(goes_on, drawn, given.astype(np.int64))

    def _checked_actions(self, actions: Any) -> NDArray[np.int64]:
        given = np.asarray(actions)
        if given.shape != (self.num_envs,) or given.dtype.kind not in "iu":
            raise ValueError(
                f"actions must be {self.num_envs} whole numbers, got shape {given.shape} of {given.dtype}; "
                "give one action for each game"
            )
        checked = np.ascontiguousarray(given, np.int64)
        if checked.view(np.uint64).max() >= N_ACTIONS:  # one pass: below zero is huge here
            wrong = checked[(checked < 0) | (checked >= N_ACTIONS)][0]
            raise ValueError(f"actions must be from 0 to {N_ACTIONS - 1}, got {wrong}; all games take these six")
        return checked

    def _checked_active(self, active: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        if active is None:
            return self._everyone
        if np.shape(active) != (self.num_envs,):
            raise ValueError(
                f"active must have shape ({self.num_envs},), got {np.shape(active)}; mark every game True or False"
            )
        return np.ascontiguousarray(active, np.bool_)


def _flat(boards: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return boards.reshape(len(boards), -1).view(np.uint8)
