"""What stands for envpool where that is not installed: games whose every step is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, Space

from envs.pool import games

_WALKER = {"orientations": (14,), "height": (), "velocity": (9,)}
_QUADRUPED = {
    "egocentric_state": (44,), "torso_velocity": (3,), "torso_upright": (), "imu": (6,), "force_torque": (24,),
    "origin": (3,), "rangefinder": (20,), "ball_state": (9,), "target_position": (3,),
}  # fmt: skip
_DOG = {
    "joint_angles": (73,), "joint_velocites": (73,), "torso_pelvis_height": (2,), "z_projection": (9,),
    "torso_com_velocity": (3,), "inertial_sensors": (9,), "foot_forces": (12,), "touch_sensors": (4,),
    "actuator_state": (38,), "ball_state": (6,), "target_position": (3,),
}  # fmt: skip
BODIES = {"Walker": (_WALKER, 6), "Quadruped": (_QUADRUPED, 12), "Dog": (_DOG, 38), "Acrobot": (_WALKER, 1)}
"""Of DeepMind Control -> what envpool observes, and how many numbers an action has."""
FIRST = ("orientations", "egocentric_state", "joint_angles")
"""What stands first in dm_control's vectors of these bodies."""


def spec_of(id: str, **options: Any) -> SimpleNamespace:
    """The spaces of a task, as envpool says them."""
    seen: Space
    if id.startswith("MetaWorld/"):
        seen, moves = Box(-np.inf, np.inf, (39,), np.float64), Box(-1.0, 1.0, (4,), np.float32)
    elif id.endswith("-v1"):
        fields, size = next(body for name, body in BODIES.items() if id.startswith(name))
        seen = Dict({name: Box(-np.inf, np.inf, shape, np.float64) for name, shape in fields.items()})
        moves = Box(-1.0, 1.1, (size,), np.float64)
    elif id.endswith("-v5"):
        if options["mode"] > 15:
            raise RuntimeError("Invalid game mode requested")
        seen = Box(0, 255, (options["stack_num"], 84, 84), np.uint8)
        moves = Discrete(18 if options["full_action_space"] else 6)
    else:
        seen, moves = Box(0, 255, (3, 64, 64), np.uint8), Discrete(15)
    return SimpleNamespace(gymnasium_observation_space=seen, gymnasium_action_space=moves)


class FakePool:
    """As envpool plays: a finished game that is not reset begins its next episode in a step that plays nothing.

    An episode lasts as many steps as its game draws, 2 to 5, those of 5 are truncated. The reward is the action, or the
    first number of it. The first four numbers of an observation are the game's level, its seed, the episode and the
    steps of that (below 256), all else is 0. Infos say ``success`` in the second step of an episode. With
    ``episodic_life`` an episode is a life, of which a game has two, and infos say whether it is over (``terminated``);
    where a game is told to reset it begins with both, otherwise with what it has left.

    Attributes:
        made: those that were made, in their order.
        phantoms: steps that played nothing.
    """

    made: list[FakePool]

    def __init__(self, id: str, **given: Any) -> None:
        assert given["env_type"] == "gymnasium"
        self.id, self.given, self.phantoms = id, given, 0
        spec = spec_of(id, **given)
        self.seen, self.moves = spec.gymnasium_observation_space, spec.gymnasium_action_space
        count = given["num_envs"]
        self.seeds = np.array(given["seed"])
        self.draws = [np.random.default_rng(seed % 2**32) for seed in given["seed"]]
        self.episodes, self.elapsed, self.lengths = np.zeros((3, count), np.int64)
        self.levels, self.lives = np.zeros((2, count), np.int64)
        self.finished = np.ones(count, np.bool_)
        self.made.append(self)

    def reset(self, ids: Any = None) -> tuple[Any, dict[str, Any]]:
        ids = np.arange(len(self.seeds)) if ids is None else ids
        for game in ids:
            self._begin(game, 2)
        return self._observations(ids), {"elapsed_step": self.elapsed[ids].copy()}

    def step(self, actions: Any, ids: Any) -> tuple[Any, ...]:
        taken = np.int32 if isinstance(self.moves, Discrete) else self.moves.dtype
        assert (actions.dtype, ids.dtype) == (taken, np.int32)
        phantom = self.finished[ids].copy()
        for game in ids[phantom]:
            self._begin(game, self.lives[game] or 2)
        self.phantoms += int(phantom.sum())
        self.elapsed[ids[~phantom]] += 1
        ended = ~phantom & (self.elapsed[ids] >= self.lengths[ids])
        truncated = ended & (self.lengths[ids] == 5)
        self.finished[ids] = ended
        self.lives[ids[ended]] -= 1 if self.given.get("episodic_life") else 2
        self.lives[ids[truncated]] = 0
        raw = np.where(phantom, 0, actions.reshape(len(ids), -1)[:, 0]).astype(np.float32)
        infos = {
            "elapsed_step": self.elapsed[ids].copy(),
            "success": (self.elapsed[ids] == 2).astype(np.float64),
            "terminated": (self.lives[ids] == 0).astype(np.int32),
            "reward": raw,
        }
        rewards = np.sign(raw) if self.given.get("reward_clip") else raw.copy()
        return self._observations(ids), rewards, ended & ~truncated, truncated, infos

    def _begin(self, game: int, lives: int) -> None:
        first, count = self.given.get("start_level", 0), self.given.get("num_levels", 0)
        self.levels[game] = first + self.draws[game].integers(count or 2**31 - 1)
        self.lengths[game] = self.draws[game].integers(2, 6)
        self.episodes[game] += 1
        self.elapsed[game], self.finished[game], self.lives[game] = 0, False, lives

    def _observations(self, ids: Any) -> Any:
        told = np.stack(
            [values[ids] % 256 for values in (self.levels, self.seeds, self.episodes, self.elapsed)], axis=1
        )
        if isinstance(self.seen, Dict):
            seen = {key: np.zeros((len(ids), *(space.shape or ()))) for key, space in self.seen.items()}
            seen[next(key for key, values in seen.items() if key in FIRST)][:, :4] = told
            seen.update({key: values + 9 for key, values in seen.items() if key in ("origin", "ball_state")})
            return seen
        observations = np.zeros((len(ids), *(self.seen.shape or ())), self.seen.dtype)
        observations[(slice(None), *[0] * (observations.ndim - 2), slice(4))] = told
        return observations


def install(monkeypatch: Any) -> list[FakePool]:
    """Have the games of envpool be these; returns those that are made from now on."""
    FakePool.made = []
    envpool = SimpleNamespace(make=FakePool, make_spec=spec_of)
    monkeypatch.setattr(games, "load_envpool", lambda *given: envpool)
    return FakePool.made
