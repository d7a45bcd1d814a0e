"""Gymnasium's vector environments as Stable-Baselines3's `VecEnv`."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.vec_env import VecEnv, VecMonitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

PYTHONS = tuple(np.dtype(kind) for kind in (bool, np.int64, np.float64))
"""Types of arrays in vector infos whose entries are read as Python's bool, int and float."""

Games: TypeAlias = gymnasium.Env[Any, Any] | VecEnv | VectorEnv[Any, Any, Any] | str
"""What an algorithm plays: as in SB3, or a Gymnasium `VectorEnv` with same-step resets."""


class VectorEnvAdapter(VecEnv):
    """A Gymnasium `VectorEnv` that resets on the same step, behind SB3's interface.

    An ended episode's last observation becomes ``terminal_observation``, its own info the step's info, the new
    episode's info goes to ``reset_infos``; ``TimeLimit.truncated`` is set, so that SB3 bootstraps truncated episodes.

    Args:
        venv: a vector environment whose ``metadata["autoreset_mode"]`` is `AutoresetMode.SAME_STEP`.

    Raises:
        ValueError: it resets in another way, which would put transitions into the buffers that never happened.
    """

    def __init__(self, venv: VectorEnv) -> None:
        mode = venv.metadata.get("autoreset_mode")
        if mode != AutoresetMode.SAME_STEP:
            raise ValueError(
                f"the vector environment {venv} has autoreset_mode {mode}, SB3 needs AutoresetMode.SAME_STEP; "
                f"make it with gymnasium.make_vec(..., vector_kwargs={{'autoreset_mode': AutoresetMode.SAME_STEP}})"
            )
        self.venv = venv
        self._actions: np.ndarray | None = None
        self._constant: dict[str, Any] = {}  # what the last infos had that cannot change
        self._constant_infos: list[dict[str, Any]] = [{} for _ in range(venv.num_envs)]  # for each environment
        super().__init__(venv.num_envs, venv.single_observation_space, venv.single_action_space)

    def reset(self) -> VecEnvObs:
        options = {"options": self._options[0]} if self._options[0] else {}
        # SB3 counts its seeds up from the first one, and so does Gymnasium from the one it is given.
        observations, infos = self.venv.reset(seed=self._seeds[0], **options)
        self.reset_infos = _per_env(infos, self.num_envs)
        self._reset_seeds()
        self._reset_options()
        copied: VecEnvObs = _copy(observations)
        return copied

    def step_async(self, actions: np.ndarray) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, terminated, truncated, vector_infos = self.venv.step(self._actions)
        dones = np.logical_or(terminated, truncated)
        final_observations = vector_infos.pop("final_obs", None)
        vector_infos.pop("_final_obs", None)
        final_infos = vector_infos.pop("final_info", {})
        vector_infos.pop("_final_info", None)
        infos = self._infos(vector_infos)
        for info in infos:
            info["TimeLimit.truncated"] = False
        if dones.any():
            ended = _per_env(final_infos, self.num_envs)
            for i in np.flatnonzero(dones):
                self.reset_infos[i], infos[i] = infos[i], ended[i]
                # A copy: it may be the game's own, which the game writes to.
                infos[i]["terminal_observation"] = deepcopy(final_observations[i])
                infos[i]["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
        return _copy(observations), rewards.astype(np.float32), dones, infos

    def _infos(self, vector_infos: dict[str, Any]) -> list[dict[str, Any]]:
        """One info for each environment; what a stream says in every step, by the same read-only arrays, is kept."""
        constant = {
            key: vector_infos[key]
            for name, values in vector_infos.items()
            if _is_constant(values) and _is_constant(vector_infos.get(f"_{name}"))
            for key in (name, f"_{name}")
        }
        held = self._constant
        if len(constant) != len(held) or any(held.get(key) is not values for key, values in constant.items()):
            self._constant, self._constant_infos = constant, _per_env(constant, self.num_envs)
        infos = [info.copy() for info in self._constant_infos]
        _add({key: values for key, values in vector_infos.items() if key not in constant}, infos)
        return infos

    def close(self) -> None:
        self.venv.close()

    def get_images(self) -> Sequence[np.ndarray | None]:
        frames = self.venv.render()
        return [None] * self.num_envs if frames is None else [np.asarray(frame) for frame in frames]

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """Each game's attribute, or else the vector environment's own, the same for all games."""
        games = self._games()
        if attr_name in ("observation_space", "action_space"):  # the vector environment's are the batch's
            values = [getattr(self.venv, f"single_{attr_name}")] * self.num_envs
        elif games and games[0].has_wrapper_attr(attr_name):
            values = [game.get_wrapper_attr(attr_name) for game in games]
        elif hasattr(self.venv, attr_name):
            values = [getattr(self.venv, attr_name)] * self.num_envs
        elif hasattr(self.venv, "get_attr"):
            values = list(self.venv.get_attr(attr_name))
        else:
            raise AttributeError(f"{self.venv} has no attribute {attr_name!r}")
        return [values[i] for i in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Set an attribute of games."""
        for game in self._chosen(attr_name, indices):
            game.set_wrapper_attr(attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Call a method of games."""
        games = self._chosen(method_name, indices)
        return [game.get_wrapper_attr(method_name)(*method_args, **method_kwargs) for game in games]

    def _games(self) -> Sequence[gymnasium.Env[Any, Any]]:
        """The games of a vector environment that holds them in this process."""
        games: Sequence[gymnasium.Env[Any, Any]] = getattr(self.venv, "envs", ())
        return games

    def _chosen(self, name: str, indices: VecEnvIndices) -> list[gymnasium.Env[Any, Any]]:
        games = self._games()
        if not games:
            raise AttributeError(
                f"{self.venv} plays its games in another process or all at once, {name!r} cannot be reached in one"
            )
        return [games[i] for i in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        wrapped = [is_wrapped(game, wrapper_class) for game in self._games()] or [False] * self.num_envs
        return [wrapped[i] for i in self._get_indices(indices)]


class StreamMonitor(VecMonitor):
    """SB3's episode statistics without the episodes that a task switch cut short.

    Where a game scales its rewards for learning, an episode's info says in ``unscaled_return`` what they came to
    before, and that is its return.
    """

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, dones, infos = super().step_wait()
        for i in np.flatnonzero(dones):
            if infos[i].get("cut_by_switch"):
                del infos[i]["episode"]
            elif "unscaled_return" in infos[i]:
                infos[i]["episode"]["r"] = float(infos[i]["unscaled_return"])
        return observations, rewards, dones, infos


def _per_env(vector_infos: dict[str, Any], n_envs: int) -> list[dict[str, Any]]:
    """Gymnasium's dict of arrays (``key`` with its mask ``_key``) as one dict for each environment."""
    infos: list[dict[str, Any]] = [{} for _ in range(n_envs)]
    _add(vector_infos, infos)
    return infos


def _add(vector_infos: dict[str, Any], infos: list[dict[str, Any]]) -> None:
    """Put the values that are marked into the environments' own infos."""
    for key, values in vector_infos.items():
        mask = vector_infos.get(f"_{key}")
        if mask is None:
            continue
        marked = np.flatnonzero(mask)
        rows: Sequence[Any]
        if isinstance(values, dict):
            nested = _per_env(values, len(infos))
            rows = [nested[i] for i in marked.tolist()]
        elif values.ndim == 1 and (values.dtype in PYTHONS or values.dtype.kind in "SU"):
            rows = values[marked].tolist()
        else:
            rows = values[marked]
        for i, value in zip(marked.tolist(), rows, strict=True):
            infos[i][key] = value


def _is_constant(values: Any) -> bool:
    """Whether nobody can change an array; a read-only view may be of memory that its owner writes to."""
    return isinstance(values, np.ndarray) and values.flags.owndata and not values.flags.writeable


def _copy(observations: Any) -> Any:
    """SB3 keeps observations over the next step, and a vector environment may reuse its arrays."""
    if isinstance(observations, dict):
        return {key: _copy(value) for key, value in observations.items()}
    if isinstance(observations, tuple):
        return tuple(map(_copy, observations))
    return np.array(observations)
