"""What all shifts share: one wrapper of an environment and its twin around a batch of games."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.checks import did_you_mean
from envs.games import Games, Step
from envs.state import Layer, plain

EnvStep = tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]


class Arguments:
    """The arguments of a shift, which it shares with its twin: checked, changed and saved alike."""

    _inside: tuple[gymnasium.Space[Any], gymnasium.Space[Any]]
    """Observation space and action space of one game without the shift."""

    def _begin(
        self, observations: gymnasium.Space[Any], actions: gymnasium.Space[Any], arguments: dict[str, Any]
    ) -> None:
        self._inside = observations, actions
        self._arguments = self._made_with = self._checked(**arguments)
        self._take(**self._arguments)

    def _checked(self, *_: Any, **arguments: Any) -> dict[str, Any]:
        """The arguments as they are kept, refused where they are wrong; nothing is changed yet."""
        raise NotImplementedError

    def _take(self, **arguments: Any) -> None:
        """Put checked arguments into force."""
        for name, value in arguments.items():
            setattr(self, name, value)

    def _split(self, changes: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """All arguments after the ``changes`` that are this shift's, and the changes that are not."""
        own = {name: value for name, value in changes.items() if name in self._arguments}
        rest = {name: value for name, value in changes.items() if name not in own}
        return (self._checked(**(self._arguments | own)) if own else {}), rest

    def _change(self, arguments: dict[str, Any]) -> None:
        if arguments:
            self._arguments = arguments
            self._take(**arguments)

    def _draws_key(self, name: str) -> str:
        """What tells the draws of this shift, called ``name``, from those of others, be it of the same kind inside."""
        inside: Any = self
        depth = -1
        while isinstance(inside, gymnasium.Wrapper | VectorShift):
            depth += type(inside) is type(self)
            inside = inside.games if isinstance(inside, VectorShift) else inside.env
        return f"{name}{depth or ''}"

    def _arguments_state(self) -> dict[str, Any]:
        return {"made_with": plain(self._made_with), "arguments": plain(self._arguments)}

    def _set_arguments_state(self, state: dict[str, Any]) -> None:
        for name, value in self._made_with.items():
            saved = state["made_with"].get(name)
            if not np.array_equal(saved, value):
                raise ValueError(
                    f"a state with the {name} {_text(saved)} of {type(self).__name__} cannot be set on one with "
                    f"{_text(value)}; make the environment or its stream with the arguments that it was saved with"
                )
        self._change(self._checked(**state["arguments"]))


def _text(value: Any) -> str:
    return str(value.tolist() if isinstance(value, np.ndarray) else value)


class Shift(Layer, RecordConstructorArgs, Arguments):
    """A wrapper that makes a new task of an old one, for any Gymnasium environment.

    What a shift draws comes from a generator of its own, see ``envs.shifts.draws``, so that the environment's draws are
    what they would be without it.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], **arguments: Any) -> None:
        RecordConstructorArgs.__init__(self, **arguments)
        Layer.__init__(self, env)
        self._begin(env.observation_space, env.action_space, arguments)

    def configure(self, **arguments: Any) -> None:
        """Change arguments in place, from the next step on, checked as when the shift was made.

        Arguments that this shift does not take are passed on to the environment.

        Raises:
            ValueError: If a value is out of range, or nobody inside takes the argument.
        """
        own, rest = self._split(arguments)
        if rest:
            if not self.env.has_wrapper_attr("configure"):
                name = next(iter(rest))
                raise ValueError(
                    f"{type(self).__name__} takes no argument {name!r}, only {', '.join(self._arguments)}, and "
                    f"{type(self.env.unwrapped).__name__} has no argument that can be changed"
                    f"{did_you_mean(name, self._arguments) or '; remove it'}"
                )
            self.env.get_wrapper_attr("configure")(**rest)
        self._change(own)

    def get_state(self) -> dict[str, Any]:
        """The arguments, so that a state of another world is noticed, and what this shift holds besides."""
        return self._arguments_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``get_state`` returned.

        Raises:
            ValueError: If it was saved by a shift that was made with other arguments.
        """
        self._set_arguments_state(state)


class VectorShift(Arguments, Games):
    """The twin of a shift: the same around a batch of games, equal to as many games that are wrapped one by one.

    Attributes:
        games: The batch that is shifted.
    """

    def __init__(self, games: Games, **arguments: Any) -> None:
        self.games = games
        self.num_envs = games.num_envs
        self.metadata = games.metadata
        self.render_mode = games.render_mode
        self.single_observation_space, self.observation_space = games.single_observation_space, games.observation_space
        self.single_action_space, self.action_space = games.single_action_space, games.action_space
        self._begin(games.single_observation_space, games.single_action_space, arguments)

    @property
    def saves(self) -> bool:  # type: ignore[override]
        """Whether the games inside can be saved."""
        return self.games.saves

    @property
    def envs(self) -> Sequence[gymnasium.Env[Any, Any]]:
        """The games one by one, without the shift, where they are played so."""
        envs: Sequence[gymnasium.Env[Any, Any]] = self.games.envs  # type: ignore[attr-defined]
        return envs

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """As in `Games`."""
        return self.games.reset(seed=seed, options=options)

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """As in `Games`."""
        return self.games.step(actions, active)

    def configure(self, **parameters: Any) -> None:
        """Change arguments in place, from the next step on; those that are not the shift's are passed on inside.

        Raises:
            ValueError: If a value is out of range, or nobody inside takes the argument.
        """
        own, rest = self._split(parameters)
        if rest:
            self.games.configure(**rest)
        self._change(own)

    def remake(self, **arguments: Any) -> None:
        """Become the shift that these arguments make, around the same games, which are to be reset next.

        Arguments that are not given are those that this shift was made with.

        Raises:
            ValueError: As when the shift is made.
        """
        self._begin(*self._inside, {**self._made_with, **arguments})

    def get_state(self) -> dict[str, Any]:
        """The state of the games inside, the arguments, and what the shift holds for each game besides."""
        return {"games": self.games.get_state()} | self._arguments_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """As in `Games`.

        Raises:
            ValueError: If the state is of another world, or of a shift that was made with other arguments.
        """
        self._set_arguments_state(state)
        self.games.set_state(state["games"])

    def render(self) -> Any:
        """Frames of the games inside."""
        return self.games.render()

    def close_extras(self, **kwargs: Any) -> None:
        """Close the games inside."""
        self.games.close(**kwargs)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={_text(value)}" for name, value in self._arguments.items())
        return f"{type(self).__name__}({self.games!r}, {arguments})"


def layers_of(games: Games) -> list[Games]:
    """The twins of shifts around a batch from outside in, and last the batch of the world itself."""
    layers = [games]
    while isinstance(layers[-1], VectorShift):
        layers.append(layers[-1].games)
    return layers


class Observing(Arguments):
    """What a shift of observations shares with its twin: the arithmetic, on rows of observations."""

    def _space(self) -> gymnasium.spaces.Box:
        """The space of one game's shifted observations."""
        raise NotImplementedError

    def _shifted(self, observations: NDArray[Any], games: NDArray[np.intp] | None = None) -> NDArray[Any]:
        """A fresh array of shifted ``observations``, one for each of ``games`` (None: for all in order)."""
        raise NotImplementedError

    def _box(self) -> gymnasium.spaces.Box:
        """The space of one game's observations without the shift."""
        space = self._inside[0]
        if not isinstance(space, gymnasium.spaces.Box):
            name = type(self).__name__
            raise ValueError(f"{name} needs observations in a Box, got {space}; flatten them first")
        return space


class ObservationShift(Observing, Shift):
    """A shift that changes observations and nothing else."""

    def __init__(self, env: gymnasium.Env[Any, Any], **arguments: Any) -> None:
        super().__init__(env, **arguments)
        self.observation_space = self._space()

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; the first observation is shifted, too."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._shifted(np.asarray(observation)[None])[0], info

    def step(self, action: Any) -> EnvStep:
        """Take a step; the observation is shifted, all else is the environment's."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        return self._shifted(np.asarray(observation)[None])[0], reward, terminated, truncated, info


class VectorObservationShift(Observing, VectorShift):
    """The twin of a shift that changes observations, those in ``final_obs`` among them."""

    def __init__(self, games: Games, **arguments: Any) -> None:
        super().__init__(games, **arguments)
        self.single_observation_space = self._space()
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[Any], dict[str, Any]]:
        """As in `Games`; the first observations are shifted, too."""
        observations, info = self.games.reset(seed=seed, options=options)
        return self._seen(observations, None), info

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """As in `Games`; observations are shifted, all else is the games'."""
        observations, rewards, terminations, truncations, info = self.games.step(actions, active)
        if terminations.any() or truncations.any():  # before what follows them, as in one game after the other
            info = info | {"final_obs": self._final(info["final_obs"], info["_final_obs"])}
        return self._seen(observations, active), rewards, terminations, truncations, info

    def _seen(self, observations: NDArray[Any], active: NDArray[np.bool_] | None) -> NDArray[Any]:
        """The shifted observations of all games, of which those ``active`` have moved."""
        return self._shifted(observations)

    def _final(self, observations: NDArray[Any], ended: NDArray[np.bool_]) -> NDArray[Any]:
        """The shifted last observations of the games that ``ended``, in the form in which the games gave them."""
        games = np.flatnonzero(ended)
        if observations.dtype != object:
            final = np.zeros(self.observation_space.shape or (), self.observation_space.dtype)
            final[games] = self._shifted(observations[games], games)
            return final
        final = np.full(self.num_envs, None, object)
        for game, row in zip(games, self._shifted(np.stack(observations[games].tolist()), games), strict=True):
            final[game] = row
        return final
