"""Arguments that worlds share: physics, checked alike when a world is made and while it is played, limit and scale."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, NoReturn

import gymnasium
from gymnasium.error import ResetNeeded
from gymnasium.vector import VectorEnv
from gymnasium.wrappers import TimeLimit

from envs.checks import check_int, check_number, did_you_mean


@dataclass(frozen=True)
class Quantity:
    """One number of a world's physics, and which values it may take.

    Args:
        default: the number that it has.
        remedy: what to give, for refusals.
        above: the number must be larger.
        minimum: the number must be at least this.
        optional: whether None may stand for what the model itself has.
    """

    default: float | None
    remedy: str
    above: float = float("-inf")
    minimum: float = float("-inf")
    optional: bool = False


Quantities = Mapping[str, Quantity]


def defaults(quantities: Quantities) -> dict[str, float | None]:
    """The numbers that a world has where nothing else is given."""
    return {name: quantity.default for name, quantity in quantities.items()}


def checked_physics(quantities: Quantities, parameters: Mapping[str, Any], world: str) -> dict[str, Any]:
    """``parameters`` as numbers.

    Raises:
        ValueError: a name is not among ``quantities``, or a value is out of range.
    """
    values: dict[str, Any] = {}
    for name, value in parameters.items():
        if name not in quantities:
            refuse_change(name, quantities, world)
        quantity = quantities[name]
        if quantity.optional and value is None:
            values[name] = None
        else:
            values[name] = check_number(name, value, quantity.remedy, above=quantity.above, low=quantity.minimum)
    return values


def refuse_change(name: str, known: Iterable[str], world: str) -> NoReturn:
    """Refuse to change what is not among ``known``.

    Raises:
        ValueError: always.
    """
    known = tuple(known)
    raise ValueError(
        f"{world} cannot change {name!r} while it is played, only {', '.join(known)}"
        f"{did_you_mean(name, known) or '; leave it out'}"
    )


class Configurable:
    """A world whose physics ``configure`` changes in place; ``physics`` holds the present values by name."""

    quantities: ClassVar[Quantities]
    physics: Mapping[str, Any] = MappingProxyType({})

    def configure(self, **parameters: Any) -> None:
        """Change arguments of the world's physics in place, from the next step on; what is not named stays.

        Raises:
            ValueError: a name is unknown or a value is out of range; nothing has changed then.
        """
        self.physics = {**self.physics, **checked_physics(self.quantities, parameters, type(self).__name__)}
        self._apply_physics()

    def _apply_physics(self) -> None:
        """Make the world follow ``physics``."""
        raise NotImplementedError


def limited(env: gymnasium.Env[Any, Any], episode_limit: int) -> gymnasium.Env[Any, Any]:
    """``env`` with a limit on the steps of an episode."""
    return TimeLimit(env, check_episode_limit(episode_limit))


def check_episode_limit(episode_limit: object) -> int:
    """Return ``episode_limit``.

    Raises:
        ValueError: it is not a whole number of at least 1.
    """
    return check_int("episode_limit", episode_limit, 1, "give a number of steps such as 400")


def check_reward_scale(reward_scale: object) -> float:
    """Return ``reward_scale``.

    Raises:
        ValueError: it is not a finite number above 0.
    """
    return check_number("reward_scale", reward_scale, "give a factor such as 0.05", above=0)


def check_render_mode(render_mode: str | None, modes: Sequence[str]) -> str | None:
    """Return ``render_mode``.

    Raises:
        ValueError: it is neither None nor one of ``modes``.
    """
    if render_mode is not None and render_mode not in modes:
        raise ValueError(
            f"render_mode must be None or one of {', '.join(modes)}, got {render_mode!r}"
            f"{did_you_mean(render_mode, modes) or '; leave it out to draw nothing'}"
        )
    return render_mode


def require_reset(begun: bool, call: str) -> None:
    """Refuse a call, such as "MinAtarGames.step", where nothing has ``begun``.

    Raises:
        gymnasium.error.ResetNeeded: nothing has.
    """
    if not begun:
        raise ResetNeeded(f"{call} was called before reset; call reset first")


def require_render_mode(env: gymnasium.Env[Any, Any] | VectorEnv[Any, Any, Any]) -> None:
    """Refuse to draw an env that was made to draw nothing.

    Raises:
        ValueError: its ``render_mode`` is None.
    """
    if env.render_mode is None:
        raise ValueError(f"{type(env).__name__} was made without a render_mode; give render_mode='rgb_array'")
