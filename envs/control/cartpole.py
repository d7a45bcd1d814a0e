"""A pole on a cart, CartPole-v1: one game, and a batch of them on Gymnasium's vectorised physics."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
from gymnasium.envs.classic_control import CartPoleEnv, utils
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from envs.arguments import (
    Quantity,
    check_episode_limit,
    check_render_mode,
    checked_physics,
    defaults,
    require_render_mode,
)
from envs.checks import check_int
from envs.control.base import GRAVITY, MASS, ControlWorld, naming_pygame
from envs.games import Games, Seeds, Step
from envs.state import copied
from envs.worlds import WorldSpec

_START = (-0.05, 0.05)  # Gymnasium's bounds of every number of a start


class CartPole(ControlWorld, CartPoleEnv):
    """Gymnasium's cart and pole (the physics of CartPole-v1, without its time limit) with their state.

    Args:
        gravity: in m/s^2; below 0 the pole falls upwards.
        length: half of the pole's length, as Gymnasium counts it, in m, above 0.
        masscart: in kg, above 0.
        masspole: in kg, above 0.
        force_mag: the force that either action puts on the cart, in N, above 0.

    Raises:
        ValueError: an argument is out of range.
    """

    quantities = MappingProxyType(
        {
            "gravity": GRAVITY,
            "length": Quantity(0.5, "give half of the pole's length in metres, such as 0.5", above=0),
            "masscart": MASS,
            "masspole": replace(MASS, default=0.1),
            "force_mag": Quantity(10.0, "give newtons such as 10.0", above=0),
        }
    )
    _held = ("state", "steps_beyond_terminated")

    def _apply_physics(self) -> None:
        apply_cartpole(self, self.physics)


def apply_cartpole(world: Any, physics: Mapping[str, Any]) -> None:
    """Give a cart and pole of Gymnasium, single or a batch, these physics and what follows from them."""
    for name, value in physics.items():
        setattr(world, name, value)
    world.total_mass = world.masspole + world.masscart
    world.polemass_length = world.masspole * world.length


class CartPoleGames(Games):
    """Games of CartPole-v1, played at once by Gymnasium's ``CartPoleVectorEnv``.

    Gymnasium resets a game in the step after its end and returns that step, which nobody took, as one of the game's;
    it draws the starts of all games from one generator. Here a game restarts in the step that ends its episode, from a
    generator of its own: game i equals `CartPole` with the same arguments, limit and seed, bit for bit wherever numpy
    takes the cosine of an array as it takes that of a number, which a test asks.

    Args:
        n_envs: games played side by side.
        episode_limit: steps after which an unfinished episode is truncated.
        render_mode: None or "rgb_array"; then ``render`` returns one frame for each game.
        **physics: those of `CartPole`.

    Raises:
        ValueError: an argument is out of range.

    >>> games = CartPoleGames(3, gravity=3.7)
    >>> observations, _ = games.reset(seed=0)
    >>> ends = [games.step(np.array([0, 1, 1]))[2] for _ in range(12)]
    >>> np.sum(ends, axis=0).tolist()
    [1, 1, 1]
    """

    saves = True

    def __init__(
        self, n_envs: int, *, episode_limit: int = 500, render_mode: str | None = None, **physics: Any
    ) -> None:
        self.num_envs = check_int("n_envs", n_envs, 1, "give the number of games played side by side")
        self.metadata = CartPoleVectorEnv.metadata | {"autoreset_mode": AutoresetMode.SAME_STEP}
        self.render_mode = check_render_mode(render_mode, self.metadata["render_modes"])
        self._episode_limit = check_episode_limit(episode_limit)
        self._batch: Any = CartPoleVectorEnv(self.num_envs, self._episode_limit, self.render_mode)
        self.single_action_space, self.action_space = self._batch.single_action_space, self._batch.action_space
        self.single_observation_space = self._batch.single_observation_space
        self.observation_space = self._batch.observation_space
        self._physics: dict[str, Any] = {}
        self.configure(**defaults(CartPole.quantities) | physics)
        drawn = [seeding.np_random() for _ in range(self.num_envs)]
        self._generators: list[np.random.Generator] = [generator for generator, _ in drawn]
        self._seeds: list[int] = [own for _, own in drawn]

    def reset(self, *, seed: Seeds = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As in `Games`; ``options`` may hold ``low`` and ``high``, the bounds of every number of a game's start.

        Raises:
            ValueError: there are more or fewer seeds than games, or an option is no number.
        """
        for game, own in enumerate(self._seeds_from(seed)):
            if own is not None:
                self._generators[game], self._seeds[game] = seeding.np_random(own)
        self._batch.state = np.zeros((4, self.num_envs))
        self._begin(range(self.num_envs), *utils.maybe_parse_reset_bounds(options, *_START))
        return self._observe(), {}

    def step(self, actions: Any, active: NDArray[np.bool_] | None = None) -> Step:
        """As in `Games`."""
        batch = self._batch
        playing = np.ones(self.num_envs, np.bool_) if active is None else active
        state, steps = batch.state, batch.steps.copy()
        batch.prev_done = np.zeros(self.num_envs, np.bool_)  # else it would reset what has been reset
        _, ones, terminated, truncated, _ = batch.step(np.where(playing, actions, 0))
        if not playing.all():
            batch.state[:, ~playing], batch.steps[~playing] = state[:, ~playing], steps[~playing]
        rewards = np.where(playing, ones, 0.0).astype(np.float64)
        terminated, truncated = terminated & playing, truncated & playing
        observations, ended = self._observe(), terminated | truncated
        info: dict[str, Any] = {}
        if ended.any():
            info = {"final_obs": observations, "_final_obs": ended, "final_info": {}, "_final_info": ended.copy()}
            self._begin(np.flatnonzero(ended).tolist(), *_START)
            observations = self._observe()
        return observations, rewards, terminated, truncated, info

    def configure(self, **parameters: Any) -> None:
        """Change the physics of all games, from the next step on; what is not named stays.

        Raises:
            ValueError: a name is unknown or a value is out of range; nothing has changed then.
        """
        self._physics |= checked_physics(CartPole.quantities, parameters, "CartPole")
        apply_cartpole(self._batch, self._physics)

    def get_state(self) -> dict[str, Any]:
        """All that decides the future of the games, as copies: arrays, numbers, text, lists and dicts of these."""
        return {
            "world": self._world(),
            "physics": dict(self._physics),
            "state": copied(self._batch.state),
            "steps": self._batch.steps.copy(),
            "np_random": [copied(generator.bit_generator.state) for generator in self._generators],
            "np_random_seed": list(self._seeds),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``get_state`` returned, under the physics that it was saved with.

        Raises:
            ValueError: the state is of another world, number of games or episode limit.
        """
        if state["world"] != self._world():
            raise ValueError(
                f"a state of {state['world']} cannot be set on {self._world()}; make the games with the same arguments"
            )
        self.configure(**state["physics"])
        # They may have come through JSON as lists.
        self._batch.state, self._batch.steps = np.array(state["state"], np.float64), np.array(state["steps"], np.int32)
        for generator, own in zip(self._generators, state["np_random"], strict=True):
            generator.bit_generator.state = own
        self._seeds = list(state["np_random_seed"])

    def render(self) -> Any:
        """One frame for each game, uint8 of shape (400, 600, 3), with render_mode "rgb_array".

        Raises:
            ValueError: the games were made without a render_mode.
            ImportError: pygame is missing.
        """
        require_render_mode(self)
        with naming_pygame("CartPole"):
            return self._batch.render()

    def close_extras(self, **kwargs: Any) -> None:
        """Close what the games are drawn with."""
        if hasattr(self, "_batch"):  # the arguments were not refused
            self._batch.close(**kwargs)

    def _world(self) -> dict[str, Any]:
        return {"class": type(self).__name__, "n_envs": self.num_envs, "episode_limit": self._episode_limit}

    def _observe(self) -> NDArray[np.float32]:
        observations: NDArray[np.float32] = self._batch.state.T.astype(np.float32, order="C")
        return observations

    def _begin(self, games: Sequence[int], low: float, high: float) -> None:
        """Begin new episodes in ``games``, with the draws that a single CartPole makes."""
        for game in games:
            self._batch.state[:, game] = self._generators[game].uniform(low, high, 4)
            self._batch.steps[game] = 0


cartpole = WorldSpec(
    "cartpole", CartPole, CartPole.quantities, episode_limit=500, batch=CartPoleGames, action_meanings=("left", "right")
)
"""CartPole-v1 with other physics; the offset is of cart position in m and speed, pole angle in rad and speed."""
