"""What a stream plays: batches of games of one task, each reset in the step that ends its episode."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.vector.utils import concatenate, iterate
from numpy.typing import NDArray

from envs.infos import add_info, copied
from envs.state import can_save, get_env_state, set_env_state

Step: TypeAlias = tuple[Any, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]
Seeds: TypeAlias = int | Sequence[int | None] | None
"""Of all games, see `Games`."""
LIFE_LOST = "life_lost"
"""Key of the info of a step that ends an episode with a life, of a game that goes on."""


class Games(VectorEnv[Any, Any, Any]):
    """A batch of games of one task; what Gymnasium's ``VectorEnv`` leaves open is settled here.

    - Episodes restart in the step that ends them (``AutoresetMode.SAME_STEP``): the step's observation is the new
      episode's first, and ``info["final_obs"]`` holds the old one's last for the games that ``info["_final_obs"]``
      marks (a numeric array of all games' observations or one of objects, whose other entries mean nothing),
      ``info["final_info"]`` and ``info["_final_info"]`` what the last step said. Where a game plays an episode with
      each of its lives, ``life_lost`` there marks those whose game goes on: what it has come to so far is no result.
    - Observations, rewards and flags of a step are arrays that later steps leave alone.
    - ``reset(seed=s)`` seeds game i with s + i; a list gives each game its own seed. Whatever was played before, equal
      seeds are followed by equal games.
    """

    saves: bool = False
    """Whether ``get_state`` and ``set_state`` work."""

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin new episodes in all games."""
        raise NotImplementedError

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """Take one step in every game, or in those that ``active`` (n_envs,) marks.

        The others stand still: their observation is the last one, their reward 0, no flag is set, and no info is
        theirs.
        """
        raise NotImplementedError

    def configure(self, **parameters: Any) -> None:
        """Change arguments of the world in place, from the next step on, under the names that made it.

        Raises:
            ValueError: a value is out of range, or the argument cannot be changed.
        """
        raise ValueError(f"{type(self).__name__} has no argument that can be changed, got {', '.join(parameters)}")

    def get_state(self) -> dict[str, Any]:
        """All that decides the future of the games: arrays, numbers, text, lists and dicts of these."""
        raise NotImplementedError

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``get_state`` returned; no reset is needed. All games take the first step after it.

        Raises:
            ValueError: the state is of another world.
        """
        raise NotImplementedError

    def _seeds_from(self, seed: Seeds) -> Sequence[int | None]:
        """The seed of every game, None where it goes on with its generator."""
        if seed is None:
            return [None] * self.num_envs
        if not isinstance(seed, Sequence):
            return [operator.index(seed) + game for game in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise ValueError(
                f"seed must have one entry for each of the {self.num_envs} games, got {len(seed)}; give one number or "
                "as many as there are games"
            )
        return seed


class WorldError(ValueError):
    """A user's environment has answered with what its spaces or Gymnasium's interface do not allow."""


RAISED = "raised by an environment of task"  # a note on what it has raised


def is_of_environment(error: BaseException) -> bool:
    """Whether an environment that is played by `SyncGames` raised an error, or gave a wrong answer."""
    return isinstance(error, WorldError) or any(note.startswith(RAISED) for note in getattr(error, "__notes__", ()))


@contextmanager
def _noted(task: str) -> Iterator[None]:
    """Around calls of environments: what they raise gets a note of whose it is."""
    try:
        yield
    except BaseException as error:
        if not is_of_environment(error):
            error.add_note(f"{RAISED} {task!r}")
        raise


class SyncGames(SyncVectorEnv, Games):
    """Games of any Gymnasium environment, one after the other in this process.

    What an environment raises passes with a note that says so, see `is_of_environment`.

    Args:
        factories: one for each game.
        task: name of the task, for messages.
    """

    def __init__(self, factories: Sequence[Callable[[], gymnasium.Env[Any, Any]]], task: str) -> None:
        with _noted(task):
            super().__init__(factories, copy=True, autoreset_mode=AutoresetMode.SAME_STEP)
        self._task = task

    @property
    def saves(self) -> bool:  # type: ignore[override]
        """Whether the environments and all wrappers around them have ``get_state`` and ``set_state``."""
        return can_save(self.envs[0])

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As in `Games`.

        Raises:
            ValueError: there are more or fewer seeds than games.
            WorldError: an observation is not of its space.
        """
        infos: dict[str, Any] = {}
        seeds = self._seeds_from(seed)
        with _noted(self._task):
            for i, own in enumerate(seeds):
                self._begin(i, infos, seed=own, options=options)
        return self._observe(), infos

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """As in `Games`.

        Raises:
            WorldError: an environment answers with anything but a step, or an observation is not of its space.
        """
        infos: dict[str, Any] = {}
        playing = np.ones(self.num_envs, np.bool_) if active is None else active
        rewards = np.zeros(self.num_envs)
        terminations, truncations = np.zeros((2, self.num_envs), np.bool_)
        each = list(iterate(self.action_space, actions))
        with _noted(self._task):
            for i in np.flatnonzero(playing).tolist():
                answer = self.envs[i].step(each[i])
                observation, rewards[i], terminations[i], truncations[i], info = self._read(answer)
                self._env_obs[i] = copied(observation)  # the environment may write to its own, as late as in its reset
                if terminations[i] or truncations[i]:
                    add_info(infos, {"final_obs": self._env_obs[i], "final_info": info}, i, self.num_envs)
                    self._begin(i, infos)
                else:
                    add_info(infos, info, i, self.num_envs)
        return self._observe(), rewards, terminations, truncations, infos

    def _begin(self, game: int, infos: dict[str, Any], **arguments: Any) -> None:
        """Begin an episode in one game, and add what it says of that to ``infos``."""
        answer = self.envs[game].reset(**arguments)
        if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], dict)):
            raise WorldError(
                f"task {self._task!r} answered a reset with {answer!r:.200}, not with an observation and a dict of "
                "infos"
            )
        self._env_obs[game] = copied(answer[0])
        add_info(infos, answer[1], game, self.num_envs)

    def _read(self, answer: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """What an environment's ``step`` has returned."""
        try:
            observation, reward, terminated, truncated, info = answer
            return observation, float(reward), bool(terminated), bool(truncated), dict(info)
        except (TypeError, ValueError) as error:
            raise WorldError(
                f"task {self._task!r} answered a step with {answer!r:.200}, not with an observation, a reward, "
                f"terminated, truncated and a dict of infos ({error})"
            ) from error

    def _observe(self) -> Any:
        """The last observations of all games as one."""
        try:
            self._observations = concatenate(self.single_observation_space, self._env_obs, self._observations)
        except (TypeError, ValueError, LookupError) as error:
            raise WorldError(
                f"task {self._task!r} gave an observation that is not of its space {self.single_observation_space} "
                f"({error})"
            ) from error
        return deepcopy(self._observations)

    def configure(self, **parameters: Any) -> None:
        """Change arguments of every game by its own ``configure(**parameters)``.

        Raises:
            ValueError: the environment has no such method, or refuses a value.
        """
        if not self.envs[0].has_wrapper_attr("configure"):
            raise ValueError(
                f"task {self._task!r} cannot change {', '.join(parameters)} while it is played: "
                f"{type(self.envs[0].unwrapped).__name__} has no method configure; implement it there"
            )
        for env in self.envs:
            env.get_wrapper_attr("configure")(**parameters)

    def get_state(self) -> dict[str, Any]:
        """The state of every game, see ``envs.state``."""
        with _noted(self._task):
            return {"games": [get_env_state(env, self._task) for env in self.envs]}

    def set_state(self, state: dict[str, Any]) -> None:
        """As in `Games`."""
        games = state["games"]
        if not isinstance(games, list) or len(games) != self.num_envs:
            raise ValueError(
                f"a state of other games cannot be set on {self.num_envs} of task {self._task!r}, played one by one; "
                "make as many as were saved, and have numba as then"
            )
        self.reset()
        with _noted(self._task):
            for env, game in zip(self.envs, games, strict=True):
                set_env_state(env, game, self._task)
