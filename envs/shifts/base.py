"""What all shifts of a batch of games share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.games import Games, Seeds, Step
from envs.shifts.draws import Draws
from envs.shifts.one_game import OneGame
from envs.state import copied


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


def layers_of(games: Games) -> list[Games]:
    """The shifts around a batch from outside in, and last the batch of the world itself."""
    layers = [games]
    while isinstance(layers[-1], VectorShift):
        layers.append(layers[-1].games)
    return layers


def _text(value: Any) -> str:
    return str(value.tolist() if isinstance(value, np.ndarray) else value)
