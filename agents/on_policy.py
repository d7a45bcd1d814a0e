"""What learns from rollouts: how it plays them, and what its policy shows of a batch of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import CategoricalDistribution
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.type_aliases import MaybeCallback
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor
from torch.distributions import Distribution

from agents.acting import Actor
from agents.buffers import sampling
from agents.buffers.on_device import sent
from agents.buffers.rollout import by_game
from agents.buffers.rollout_on_device import RolloutBufferOnDevice, on_device
from agents.buffers.sampling import RolloutBatch as Batch
from agents.learner import LearnerMixin
from agents.networks.distributions import LeanCategorical
from agents.plasticity.outputs import Form
from agents.sde import noise_log_std
from agents.spaces import check_played
from agents.speed.live import AtOnce


class Team(Protocol):
    """Agents that act and learn together, see `agents.batched`."""

    def actor(self, agent: Any) -> Actor:
        """With which an agent plays the rollout that begins."""

    def update(self, agent: Any) -> None:
        """Make what an agent's update computes."""


class OnPolicyMixin(LearnerMixin, OnPolicyAlgorithm):
    """A `LearnerMixin` that learns from each rollout and drops it; mixed into PPO, in front of it.

    Its rollouts are SB3's with less around them. With ``speed="fast"`` the episodes that a step truncates are valued
    together, where SB3 asks the policy once for each. With a buffer on the device a step sends one copy of the
    observations and waits for one of the actions: values and log-probabilities stay there.

    Attributes:
        team: with which it acts and learns, see `agents.batched`; None for itself alone.
    """

    COUNTERS: ClassVar[tuple[str, ...]] = ("_iterations",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._iterations = 0  # rollouts since `learn` began
        self.team: Team | None = None
        self._at_once: AtOnce | None = None  # where speed is fast, on a CPU
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        self.rollout_buffer = by_game(on_device(self.rollout_buffer))
        distribution = getattr(self.policy, "action_dist", None)  # a policy of one's own may have none
        if type(distribution) is CategoricalDistribution:
            self.policy.action_dist = LeanCategorical(distribution.action_dim)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "team", "_at_once"]

    def _take_speed(self) -> None:
        super()._take_speed()
        self._at_once = None if self._quick is None or self.device.type != "cpu" else AtOnce(self._quick)

    # ------------------------------------------------------------------ rollouts

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 1,
        tb_log_name: str = "PPO",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> Self:
        """SB3's loop; it counts its rollouts where a callback can put the count back with which training goes on."""
        self._iterations = 0
        total_timesteps, callback = self._setup_learn(
            total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar
        )
        callback.on_training_start(locals(), globals())
        assert self.env is not None
        while self.num_timesteps < total_timesteps:
            if not self.collect_rollouts(self.env, callback, self.rollout_buffer, n_rollout_steps=self.n_steps):
                break
            self._iterations += 1
            self._update_current_progress_remaining(self.num_timesteps, total_timesteps)
            if log_interval is not None and self._iterations % log_interval == 0:
                self.dump_logs(self._iterations)
            self.train()
        callback.on_training_end()
        return self

    def fill_buffer(self) -> None:
        assert self.env is not None
        _, callback = self._setup_learn(self.n_steps * self.n_envs)
        self.collect_rollouts(self.env, callback, self.rollout_buffer, n_rollout_steps=self.n_steps)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """A rollout; False where a callback has ended it. Callbacks find the same locals as in SB3's."""
        resident = rollout_buffer if isinstance(rollout_buffer, RolloutBufferOnDevice) else None
        assert self._last_obs is not None
        self.policy.set_training_mode(False)
        n_steps = 0
        rollout_buffer.reset()
        if self.use_sde:
            self.policy.reset_noise(env.num_envs)
        callback.on_rollout_start()
        actor = Actor(self) if self.team is None else self.team.actor(self)

        while n_steps < n_rollout_steps:
            if self.use_sde and self.sde_sample_freq > 0 and n_steps % self.sde_sample_freq == 0:
                self.policy.reset_noise(env.num_envs)
            obs_tensor = self._seen(self._last_obs) if resident is None else resident.observe(self._last_obs)
            sampled, values, log_probs = actor.act(obs_tensor)
            actions = sampled.cpu().numpy()
            clipped_actions = self._playable(actions)
            new_obs, rewards, dones, infos = env.step(clipped_actions)

            self.num_timesteps += env.num_envs
            callback.update_locals(_shown(locals()))
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
            n_steps += 1
            if isinstance(self.action_space, spaces.Discrete):
                actions = actions.reshape(-1, 1)
            games, beyond = self._values_beyond(dones, infos)
            if resident is not None:
                resident.bootstrap(games, beyond)
            elif games:
                rewards[games] += self.gamma * torch.cat(beyond).cpu().numpy()
            rollout_buffer.add(
                self._last_obs,  # type: ignore[arg-type]
                actions if resident is None else sampled,  # type: ignore[arg-type]
                rewards,
                self._last_episode_starts,  # type: ignore[arg-type]
                values,
                log_probs,
            )
            self._last_obs = new_obs  # type: ignore[assignment]
            self._last_episode_starts = dones

        values = actor.value(self._seen(new_obs))
        rollout_buffer.compute_returns_and_advantage(last_values=values, dones=dones)
        callback.update_locals(_shown(locals()))
        callback.on_rollout_end()
        return True

    def _seen(self, observations: Any) -> Any:
        """Observations as the policy takes them."""
        if isinstance(observations, np.ndarray) and self.device.type == "cuda":
            return sent(observations, self.device)
        return obs_as_tensor(observations, self.device)

    def _playable(self, actions: np.ndarray) -> np.ndarray:
        """Actions within the bounds of their space.

        Raises:
            ValueError: they are no numbers.
        """
        if not isinstance(self.action_space, spaces.Box):
            return actions
        check_played(actions)
        if self.policy.squash_output:
            return self.policy.unscale_action(actions)
        clipped: np.ndarray = np.clip(actions, self.action_space.low, self.action_space.high)
        return clipped

    def _values_beyond(self, dones: np.ndarray, infos: Sequence[dict[str, Any]]) -> tuple[list[int], list[Tensor]]:
        """The games whose episodes were truncated, and the values of where they would have gone on, in few tensors."""
        ended = np.flatnonzero(dones).tolist()
        if not ended:
            return [], []
        last = {
            game: infos[game]["terminal_observation"]
            for game in ended
            if infos[game].get("TimeLimit.truncated", False) and infos[game].get("terminal_observation") is not None
        }
        together = self._quick is not None and bool(last)
        asked = [_stacked([*last.values()])] if together else [*last.values()]
        with torch.no_grad(), self._quickly():
            found = [self.policy.predict_values(self.policy.obs_to_tensor(each)[0]).flatten() for each in asked]
        return [*last], found

    # ------------------------------------------------------------------ what a batch shows

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        """At most `n` transitions of the last rollout, without replacement."""
        return sampling.moved(sampling.sample_rollout(self.rollout_buffer, n, generator), self._upload)

    @property
    def output_forms(self) -> Mapping[str, Form]:
        """``actor``: logits or means; ``critic``: values."""
        actions = self.action_space
        if isinstance(actions, spaces.Discrete):
            actor = Form("logits", (int(actions.n),))
        elif isinstance(actions, spaces.MultiDiscrete):
            actor = Form("logits", tuple(actions.nvec.tolist()))
        elif isinstance(actions, spaces.MultiBinary):
            actor = Form("bits", (math.prod(actions.shape),))
        else:
            actor = Form("means", (math.prod(actions.shape or ()),))
        return {"actor": actor, "critic": Form("values", (1,), self.vf_coef)}

    def _outputs(self, batch: Batch, names: Collection[str]) -> Mapping[str, Tensor]:
        """The networks' outputs on the batch.

        Returns:
            ``actor``: action logits or means, (batch, actions), with gSDE behind them the log standard deviations of
            the actions, (batch, 2 x actions); ``critic``: values, (batch, 1).
        """
        policy = self.policy
        features = policy.extract_features(batch.observations)
        pi, vf = features if isinstance(features, tuple) else (features, features)
        found: dict[str, Tensor] = {}
        if "actor" in names:
            latent = policy.mlp_extractor.forward_actor(pi)
            found["actor"] = policy.action_net(latent)
            if policy.use_sde:
                noise = noise_log_std(policy.action_dist, latent, policy.log_std)
                found["actor"] = torch.cat([found["actor"], noise], dim=1)
        if "critic" in names:
            found["critic"] = policy.value_net(policy.mlp_extractor.forward_critic(vf))
        return found

    def distributions(self, batch: Batch) -> tuple[Distribution, ...]:
        """The policy on the batch's observations, in evaluation mode.

        One Categorical for discrete actions, one for each part of multi-discrete ones, one Bernoulli (batch, bits) or
        Normal (batch, actions; before a squashing) otherwise.
        """
        with self._evaluation():
            found = self.policy.get_distribution(batch.observations).distribution
        return tuple(found) if isinstance(found, list) else (found,)

    def td_targets(self, batch: Batch) -> None:
        """None: returns and advantages are in the batch."""


def _shown(held: Mapping[str, Any]) -> dict[str, Any]:
    """What callbacks find of a rollout's locals, and hold till the next one: not what it keeps of the weights."""
    return {name: value for name, value in held.items() if name != "actor"}


def _stacked(observations: Sequence[Any]) -> Any:
    """Observations of single games as those of a batch."""
    if isinstance(observations[0], dict):
        return {key: np.stack([each[key] for each in observations]) for key in observations[0]}
    return np.stack(observations)
