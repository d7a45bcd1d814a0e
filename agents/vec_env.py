"""Gymnasium's vector environments as Stable-Baselines3's `VecEnv`."""

from __future__ import annotations

import inspect
import time
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from stable_baselines3.common.env_util import is_wrapped
from stable_baselines3.common.vec_env import VecEnv, VecMonitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnvIndices, VecEnvObs, VecEnvStepReturn

from agents.infos import ConstantInfos, Infos, dicts_of

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
        self._constant = ConstantInfos({})  # of the last step
        super().__init__(venv.num_envs, venv.single_observation_space, venv.single_action_space)

    def reset(self) -> VecEnvObs:
        options = {"options": self._options[0]} if self._options[0] else {}
        # SB3 counts its seeds up from the first one, and so does Gymnasium from the one it is given.
        observations, infos = self.venv.reset(seed=self._seeds[0], **options)
        self.reset_infos = dicts_of(infos, range(self.num_envs))
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
        if not self._constant.are_those_of(vector_infos):
            self._constant = ConstantInfos(vector_infos)
        infos = Infos(self.num_envs, self._constant, vector_infos)
        ended = np.flatnonzero(dones).tolist()
        last_infos = dicts_of(final_infos, ended)
        for i, first, last in zip(ended, infos.take(ended), last_infos, strict=True):
            self.reset_infos[i] = first
            # A copy: it may be the game's own, which the game writes to.
            last["terminal_observation"] = deepcopy(final_observations[i])
            last["TimeLimit.truncated"] = bool(truncated[i] and not terminated[i])
        infos.put(ended, last_infos)
        return _copy(observations), rewards.astype(np.float32), dones, infos

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
    before, and that is its return. Where it plays an episode with each of its lives (``life_lost``), those of one game
    count as one. What a game itself says in its infos under ``episode`` is not told.
    """

    def __getstate__(self) -> dict[str, Any]:
        # What SB3's wrappers know of their class can be neither copied nor pickled, and so agents could not be.
        return {key: value for key, value in vars(self).items() if key != "class_attributes"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.class_attributes = dict(inspect.getmembers(type(self)))

    def step_wait(self) -> VecEnvStepReturn:
        """As in SB3, which makes another list of all infos; here only those that ended are touched."""
        observations, rewards, dones, infos = self.venv.step_wait()
        # SB3, and all who count episodes, take what stands under this name for an episode that has ended.
        if isinstance(infos, Infos):  # which are made for this step; others may be the games' own
            infos.forget("episode")
        else:
            infos = [
                {key: value for key, value in info.items() if key != "episode"} if done or "episode" in info else info
                for info, done in zip(infos, dones, strict=True)
            ]
        self.episode_returns += rewards
        self.episode_lengths += 1
        for i in np.flatnonzero(dones).tolist():
            info = infos[i]
            if info.get("life_lost") and not info.get("task_switched"):
                continue  # the game goes on, and so does what it has come to
            if not info.get("cut_by_switch") and not info.get("life_lost"):
                info["episode"] = self._episode(i, info)
            self.episode_returns[i] = self.episode_lengths[i] = 0
        return observations, rewards, dones, infos

    def _episode(self, game: int, info: dict[str, Any]) -> dict[str, Any]:
        """What is told of an episode that has ended."""
        played = {"r": self.episode_returns[game], "l": self.episode_lengths[game]}
        if "unscaled_return" in info:
            played["r"] = float(info["unscaled_return"])
        episode = {
            **played,
            "t": round(time.time() - self.t_start, 6),
            **{key: info[key] for key in self.info_keywords},
        }
        self.episode_count += 1
        if self.results_writer:
            self.results_writer.write_row(episode)
        return episode


def _copy(observations: Any) -> Any:
    """SB3 keeps observations over the next step, and a vector environment may reuse its arrays."""
    if isinstance(observations, dict):
        return {key: _copy(value) for key, value in observations.items()}
    if isinstance(observations, tuple):
        return tuple(map(_copy, observations))
    return np.array(observations)


def action_meanings(env: VecEnv) -> list[str] | None:
    """What each action is called in the world of an environment; None where it does not say."""
    adapter = env.unwrapped
    found = getattr(adapter.venv, "action_meanings", None) if isinstance(adapter, VectorEnvAdapter) else None
    return [*found] if found else None
