"""Rollouts of policies whose forwards may round in another way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv

from agents.speed.layers import Quick


class QuickRollouts(OnPolicyAlgorithm):
    """SB3's loop over the steps of a rollout, with `Quick` around the policy; mixed into PPO.

    The episodes that a step truncates are valued together, where SB3 asks the policy once for each.
    """

    def _collect_quickly(
        self, quick: Quick, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """A rollout; False where a callback has ended it. Callbacks find the same locals as in SB3's."""
        assert self._last_obs is not None
        self.policy.set_training_mode(False)
        n_steps = 0
        rollout_buffer.reset()
        if self.use_sde:
            self.policy.reset_noise(env.num_envs)
        callback.on_rollout_start()

        while n_steps < n_rollout_steps:
            if self.use_sde and self.sde_sample_freq > 0 and n_steps % self.sde_sample_freq == 0:
                self.policy.reset_noise(env.num_envs)
            obs_tensor = obs_as_tensor(self._last_obs, self.device)  # type: ignore[arg-type]
            with torch.no_grad(), quick:
                actions, values, log_probs = self.policy(obs_tensor)
            actions = actions.cpu().numpy()
            clipped_actions = actions
            if isinstance(self.action_space, spaces.Box):
                if self.policy.squash_output:
                    clipped_actions = self.policy.unscale_action(actions)
                else:
                    clipped_actions = np.clip(actions, self.action_space.low, self.action_space.high)
            new_obs, rewards, dones, infos = env.step(clipped_actions)

            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
            n_steps += 1
            if isinstance(self.action_space, spaces.Discrete):
                actions = actions.reshape(-1, 1)
            self._bootstrap_truncated(quick, rewards, dones, infos)
            rollout_buffer.add(
                self._last_obs,  # type: ignore[arg-type]
                actions,
                rewards,
                self._last_episode_starts,  # type: ignore[arg-type]
                values,
                log_probs,
            )
            self._last_obs = new_obs  # type: ignore[assignment]
            self._last_episode_starts = dones

        with torch.no_grad(), quick:
            values = self.policy.predict_values(obs_as_tensor(new_obs, self.device))  # type: ignore[arg-type]
        rollout_buffer.compute_returns_and_advantage(last_values=values, dones=dones)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _bootstrap_truncated(
        self, quick: Quick, rewards: np.ndarray, dones: np.ndarray, infos: Sequence[dict[str, Any]]
    ) -> None:
        """Add to the last rewards of truncated episodes the discounted values of where they were cut off."""
        ended = [(game, infos[game]) for game in np.flatnonzero(dones).tolist()]
        last = {
            game: info["terminal_observation"]
            for game, info in ended
            if info.get("TimeLimit.truncated", False) and info.get("terminal_observation") is not None
        }
        if not last:
            return
        observations, _ = self.policy.obs_to_tensor(_stacked([*last.values()]))
        with torch.no_grad(), quick:
            values = self.policy.predict_values(observations)
        rewards[[*last]] += self.gamma * values.flatten().cpu().numpy()


def _stacked(observations: Sequence[Any]) -> Any:
    """Observations of single games as those of a batch."""
    if isinstance(observations[0], dict):
        return {key: np.stack([each[key] for each in observations]) for key in observations[0]}
    return np.stack(observations)
