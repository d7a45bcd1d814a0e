"""One game that goes through a stream of tasks, as Gymnasium's ``Env``."""

from __future__ import annotations

from inspect import signature
from typing import Any

import gymnasium
from gymnasium.error import ResetNeeded
from gymnasium.vector.utils import concatenate, create_empty_array, iterate

from envs.catalogue import TASKS
from envs.infos import info_of
from envs.making import make
from envs.state import copied
from envs.vector import StreamVectorEnv

_OF_STREAMS = signature(make).parameters.keys() - {"episode_limit"}


class StreamEnv(gymnasium.Env[Any, Any]):
    """A stream of tasks for one game: what ``gymnasium.make("envs:crl/minatar3-v0")`` returns.

    A switch of task truncates the episode (``info["cut_by_switch"]``); the next ``reset()`` begins one of the new task.
    Every info says in ``task``, ``task_index``, ``segment`` and ``task_switched`` what it is of. ``reset(seed=s)``
    starts the stream over, ``reset()`` begins a new episode where the stream stands.

    Args:
        what: As for ``envs.make``.
        render_mode: "rgb_array" for pictures, uint8 (height, width, 3).
        **arguments: others of ``envs.make``: steps_per_task, cycles, order, lengths, seed, stream_seed, ...; where
            ``what`` is the name of a task, its entry's, too: ``gymnasium.make("envs:crl/pendulum-v0", gravity=5.0)``.

    Raises:
        ValueError: As ``envs.make``.

    >>> env = gymnasium.make("envs:crl/minatar3-v0", steps_per_task=1000)
    >>> observation, info = env.reset(seed=0)
    >>> observation.shape, info["task"]
    ((10, 10, 10), 'space_invaders')
    """

    metadata: dict[str, Any] = {  # noqa: RUF012 (declared so by gymnasium.Env)
        key: StreamVectorEnv.metadata[key] for key in ("render_modes", "render_fps")
    }

    def __init__(self, what: Any, render_mode: str | None = None, **arguments: Any) -> None:
        self.venv = make_vector(1, what, render_mode=render_mode, **arguments)
        self.render_mode = render_mode
        self.observation_space = self.venv.single_observation_space
        self.action_space = self.venv.single_action_space
        self._next: tuple[Any, dict[str, Any]] | None = None  # the first of the episode after one that has ended
        self._frame: Any = None  # what was rendered last of the episode
        self._begun = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; a ``seed`` starts the stream over.

        Returns:
            Its first observation, and info.
        """
        super().reset(seed=seed)
        begun, self._next, self._frame, self._begun = self._next, None, None, True
        if begun is None or seed is not None or options:
            observations, info = self.venv.reset(seed=seed, options=options)
            said = info_of(info, 0)
            if begun is not None and seed is None:
                said["task_switched"] = begun[1]["task_switched"]
            begun = self._first(observations), said
        return begun

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take a step.

        Raises:
            gymnasium.error.ResetNeeded: the episode has ended, or none has begun.
        """
        if self._next is not None or not self._begun:
            raise ResetNeeded("StreamEnv.step was called between two episodes; call reset first")
        empty: Any = create_empty_array(self.action_space, 1)
        actions = concatenate(self.action_space, [action], empty)
        observations, rewards, terminations, truncations, info = self.venv.step(actions)
        last, last_info = info.pop("final_obs", None), info.pop("final_info", {})
        observation, said = self._first(observations), info_of(info, 0)
        if terminations[0] or truncations[0]:
            self._next = observation, said
            observation, said = last[0], info_of(last_info, 0)
        return observation, float(rewards[0]), bool(terminations[0]), bool(truncations[0]), said

    def render(self) -> Any:
        """A picture of the game, uint8 (height, width, 3); None without ``render_mode``.

        After an episode has ended it is the last one that was asked for before: the game has gone on to the next.
        """
        if self._next is None or self._frame is None:
            frames = self.venv.render()
            self._frame = None if frames is None else frames[0]
        return self._frame

    def get_state(self) -> dict[str, Any]:
        """All that decides the future of this env, see `StreamVectorEnv.get_state`.

        Raises:
            NotImplementedError: the games cannot be saved.
        """
        begun = None
        if self._next is not None:
            observation, info = self._next
            begun = [copied(self.observation_space.to_jsonable([observation])), copied(info)]
        return {"stream": self.venv.get_state(), "next": begun}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``get_state`` returned.

        Raises:
            ValueError: it is of another stream.
        """
        self.venv.set_state(state["stream"])
        self._next = None
        if state["next"] is not None:
            observation, info = state["next"]
            self._next = self.observation_space.from_jsonable(observation)[0], copied(info)
        self._frame, self._begun = None, True

    def close(self) -> None:
        """Close the game."""
        self.venv.close()

    def _first(self, observations: Any) -> Any:
        return next(iter(iterate(self.venv.observation_space, observations)))


def make_vector(num_envs: int, what: Any, **arguments: Any) -> StreamVectorEnv:
    """What ``gymnasium.make_vec("envs:crl/minatar3-v0", num_envs=8)`` returns: ``envs.make`` in Gymnasium's words."""
    if isinstance(what, str) and what in TASKS:
        entry = {key: arguments.pop(key) for key in [*arguments] if key not in _OF_STREAMS}
        what = {"id": what, **entry} if entry else what
    return make(what, n_envs=num_envs, **arguments)
