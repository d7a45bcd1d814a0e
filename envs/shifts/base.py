"""What all shifts share: one around a batch of games, and around one environment, which is a batch of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, SupportsFloat

import gymnasium
import numpy as np
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from envs.checks import did_you_mean
from envs.games import Games, Seeds, Step
from envs.shifts.draws import Draws
from envs.state import Layer, copied

EnvStep = tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]
UNSCALED = "unscaled_return"
"""Key of the info of a step that ends an episode: the return before scaling."""


class VectorShift(Games):
    """A shift around a batch of games, equal to as many games that are wrapped one by one.

    Args:
        games: the batch that is shifted.
        args: the shift's arguments, as the wrapper around one environment takes them.
        kwargs: the same by name.

    Raises:
        ValueError: as the wrapper around one environment.
    """

    _held: ClassVar[tuple[str, ...]] = ()
    """Arrays that its state has beside the arguments, without the underscore that their names begin with."""
    _draws: Draws | None = None

    def __init__(self, games: Games, *args: Any, **kwargs: Any) -> None:
        self.games = games
        self.num_envs = games.num_envs
        self.metadata = games.metadata
        self.render_mode = games.render_mode
        self.single_observation_space, self.observation_space = games.single_observation_space, games.observation_space
        self.single_action_space, self.action_space = games.single_action_space, games.action_space
        self._begin(self._checked(*args, **kwargs))

    @property
    def label(self) -> str:
        """The shift's name in messages."""
        return type(self).__name__.removeprefix("Vector")

    @property
    def saves(self) -> bool:  # type: ignore[override]
        """Whether the games inside can be saved."""
        return self.games.saves

    @property
    def envs(self) -> Sequence[gymnasium.Env[Any, Any]]:
        """The games one by one, without the shift, where they are played so."""
        envs: Sequence[gymnasium.Env[Any, Any]] = self.games.envs  # type: ignore[attr-defined]
        return envs

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As in `Games`; seeds begin the shift's own draws anew."""
        if self._draws is not None:
            self._draws.seed(seed)
        return self.games.reset(seed=seed, options=options)

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """As in `Games`."""
        return self.games.step(actions, active)

    def render(self) -> Any:
        """Frames of the games inside."""
        return self.games.render()

    def close_extras(self, **kwargs: Any) -> None:
        """Close the games inside."""
        self.games.close(**kwargs)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={_text(value)}" for name, value in self.arguments.items())
        return f"{type(self).__name__}({self.games!r}, {arguments})"

    # ------------------------------------------------------------------ arguments

    def _begin(self, checked: dict[str, Any]) -> None:
        self.arguments = self._made_with = checked
        self._take(**checked)

    def _checked(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The arguments by name as they are kept, refused where they are wrong; nothing is changed yet."""
        raise NotImplementedError

    def _take(self, **arguments: Any) -> None:
        """Put checked arguments into force."""
        for name, value in arguments.items():
            setattr(self, name, value)

    def configure(self, **parameters: Any) -> None:
        """Change arguments in place, from the next step on; those that are not the shift's are passed on inside.

        Raises:
            ValueError: a value is out of range, or nobody inside takes the argument.
        """
        own = {name: value for name, value in parameters.items() if name in self.arguments}
        checked = self._checked(**(self.arguments | own)) if own else {}
        rest = {name: value for name, value in parameters.items() if name not in own}
        if rest:
            self.games.configure(**rest)
        self._change(checked)

    def _change(self, arguments: dict[str, Any]) -> None:
        if arguments:
            self.arguments = arguments
            self._take(**arguments)

    def remake(self, **arguments: Any) -> None:
        """Become the shift that these arguments make, around the same games, which are to be reset next.

        Arguments that are not given are those that this shift was made with.

        Raises:
            ValueError: As when the shift is made.
        """
        self._begin(self._checked(**{**self._made_with, **arguments}))

    # ------------------------------------------------------------------ state

    def own_state(self) -> dict[str, Any]:
        """The arguments, so that a state of another world is noticed, and what the shift holds for each game."""
        held = {name: getattr(self, f"_{name}").copy() for name in self._held}
        draws = {} if self._draws is None else {"draws": self._draws.get_state()}
        return {"made_with": copied(self._made_with), "arguments": copied(self.arguments)} | draws | held

    def set_own_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``own_state`` returned.

        Raises:
            ValueError: it was saved by a shift that was made with other arguments.
        """
        for name, value in self._made_with.items():
            saved = state["made_with"].get(name)
            if not np.array_equal(saved, value):
                raise ValueError(
                    f"a state with the {name} {_text(saved)} of {self.label} cannot be set on one with "
                    f"{_text(value)}; make the environment or its stream with the arguments that it was saved with"
                )
        self._change(self._checked(**state["arguments"]))
        if self._draws is not None:
            self._draws.set_state(state["draws"])
        for name in self._held:
            setattr(self, f"_{name}", np.array(state[name], getattr(self, f"_{name}").dtype))

    def get_state(self) -> dict[str, Any]:
        """The state of the games inside, and the shift's own."""
        return {"games": self.games.get_state()} | self.own_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """As in `Games`.

        Raises:
            ValueError: the state is of another world, or of a shift that was made with other arguments.
        """
        self.set_own_state(state)
        self.games.set_state(state["games"])

    def _draws_key(self, name: str) -> str:
        """What tells the draws of this shift, called ``name``, from those of others, be it of the same kind inside."""
        inside: Any = self.games
        depth = 0
        while isinstance(inside, VectorShift | OneGame | gymnasium.Wrapper):
            depth += type(inside) is type(self) or type(getattr(inside, "shift", None)) is type(self)
            inside = inside.games if isinstance(inside, VectorShift) else inside.env
        return f"{name}{depth or ''}"


def _text(value: Any) -> str:
    return str(value.tolist() if isinstance(value, np.ndarray) else value)


def layers_of(games: Games) -> list[Games]:
    """The shifts around a batch from outside in, and last the batch of the world itself."""
    layers = [games]
    while isinstance(layers[-1], VectorShift):
        layers.append(layers[-1].games)
    return layers


class VectorObservationShift(VectorShift):
    """A shift that changes observations, those in ``final_obs`` among them, and nothing else."""

    def __init__(self, games: Games, *args: Any, **kwargs: Any) -> None:
        super().__init__(games, *args, **kwargs)
        self.single_observation_space = self._space()
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As in `Games`; the first observations are shifted, too."""
        observations, info = super().reset(seed=seed, options=options)
        return self._seen(np.asarray(observations), None), info

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """As in `Games`; observations are shifted, all else is the games'."""
        observations, rewards, terminations, truncations, info = self.games.step(actions, active)
        if "final_obs" in info:  # before what follows them, as in one game after the other
            info = info | {"final_obs": self._final(info["final_obs"], info["_final_obs"])}
        return self._seen(np.asarray(observations), active), rewards, terminations, truncations, info

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

    def _space(self) -> gymnasium.spaces.Box:
        """The space of one game's shifted observations: unbounded, so that one space serves all arguments."""
        return gymnasium.spaces.Box(-np.inf, np.inf, self._box().shape, np.float32)

    def _shifted(self, observations: NDArray[Any], games: NDArray[np.intp] | None = None) -> NDArray[Any]:
        """A fresh array of shifted ``observations``, one for each of ``games`` (None: for all in order)."""
        raise NotImplementedError

    def _box(self) -> gymnasium.spaces.Box:
        """The space of one game's observations without the shift."""
        space = self.games.single_observation_space
        if not isinstance(space, gymnasium.spaces.Box):
            raise ValueError(f"{self.label} needs observations in a Box, got {space}; flatten them first")
        return space


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


class Shift(Layer, RecordConstructorArgs):
    """A wrapper that makes a new task of an old one, for any Gymnasium environment.

    What a shift draws comes from a generator of its own, see ``envs.shifts.draws``, so that the environment's draws are
    what they would be without it. The shift's arguments are attributes of the wrapper.

    Attributes:
        shift: the same around the environment as a batch of one.
    """

    batched: ClassVar[type[VectorShift]]

    def __init__(self, env: gymnasium.Env[Any, Any], **arguments: Any) -> None:
        RecordConstructorArgs.__init__(self, **arguments)
        Layer.__init__(self, env)
        self._game = OneGame(env)
        self.shift = self.batched(self._game, **arguments)
        if self.shift.single_observation_space is not env.observation_space:
            self.observation_space = self.shift.single_observation_space

    def __getattr__(self, name: str) -> Any:
        shift = vars(self).get("shift")
        if shift is not None and name in shift.arguments:
            return getattr(shift, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; a ``seed`` begins the shift's draws anew."""
        observations, _ = self.shift.reset(seed=seed, options=options)
        return observations[0], self._game.info

    def step(self, action: Any) -> EnvStep:
        """Take a step."""
        observations, rewards, terminations, truncations, said = self.shift.step([action])
        info = self._game.info
        if UNSCALED in said.get("final_info", ()):
            info = info | {UNSCALED: float(said["final_info"][UNSCALED][0])}
        return observations[0], float(rewards[0]), bool(terminations[0]), bool(truncations[0]), info

    def configure(self, **arguments: Any) -> None:
        """Change arguments in place, from the next step on, checked as when the shift was made.

        Arguments that this shift does not take are passed on to the environment.

        Raises:
            ValueError: a value is out of range, or nobody inside takes the argument.
        """
        known = self.shift.arguments
        rest = [name for name in arguments if name not in known]
        if rest and not self.env.has_wrapper_attr("configure"):
            raise ValueError(
                f"{type(self).__name__} takes no argument {rest[0]!r}, only {', '.join(known)}, and "
                f"{type(self.env.unwrapped).__name__} has no argument that can be changed"
                f"{did_you_mean(rest[0], known) or '; remove it'}"
            )
        self.shift.configure(**arguments)

    def get_state(self) -> dict[str, Any]:
        """What this shift holds, without the environment."""
        return self.shift.own_state()

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``get_state`` returned.

        Raises:
            ValueError: it was saved by a shift that was made with other arguments.
        """
        self.shift.set_own_state(state)
