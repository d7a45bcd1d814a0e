"""Rollouts as Stable-Baselines3 plays them, with less around them, and of data that stays on the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.distributions import DiagGaussianDistribution
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.preprocessing import preprocess_obs
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from agents.buffers.on_device import sent
from agents.buffers.rollout_on_device import RolloutBufferOnDevice
from agents.learner import LearnerMixin
from agents.networks.distributions import LeanCategorical
from agents.networks.reading import READERS, reader
from agents.spaces import check_played
from agents.speed import proximal
from agents.speed.kept import Kept
from agents.speed.live import AtOnce
from agents.speed.perceptrons import is_hooked
from agents.speed.threads import one_thread

SMALL = 2**24
"""Products of a forward up to which one thread is about as quick as two, of which one has to be woken every time."""


class Actor:
    """What an agent does in a rollout, by its own policy.

    Args:
        agent: whose rollout it is, which begins now.
    """

    def __init__(self, agent: Any) -> None:
        self.agent = agent

    @cached_property
    def _ways(self) -> tuple[Any, ...]:
        """In which it computes, and how it reads: found out where it does so by itself."""
        agent = self.agent
        threads = one_thread if agent._is_as_good_on_one() else nullcontext
        quickly = nullcontext if agent._is_small() else agent._quickly
        return threads, quickly, agent._reader(), Kept()

    def act(self, observations: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Actions, values and log-probabilities, as the policy's forward gives them."""
        threads, quickly, read, kept = self._ways
        policy, at_once = self.agent.policy, self.agent._at_once
        with torch.no_grad(), threads(), kept:
            seen, found = read(observations), None
            if at_once is not None:
                found = proximal.actions(at_once, policy, seen, quickly(), rows=self.agent.batch_size)
            if found is None:
                with quickly():
                    found = policy(seen)
        return found

    def value(self, observations: Any) -> Tensor:
        """Values, as `predict_values` of the policy gives them."""
        with torch.no_grad(), self.agent._quickly():
            found: Tensor = self.agent.policy.predict_values(observations)
        return found


class Team(Protocol):
    """Agents that act and learn together, see `agents.batched`."""

    def actor(self, agent: Any) -> Actor:
        """With which an agent plays the rollout that begins."""

    def update(self, agent: Any) -> None:
        """Make what an agent's update computes."""


class RolloutMixin(LearnerMixin, OnPolicyAlgorithm):
    """SB3's loop over the steps of a rollout, mixed into PPO: the same rollouts with less around them.

    With ``speed="fast"`` the episodes that a step truncates are valued together, where SB3 asks the policy once for
    each. With a buffer on the device a step sends one copy of the observations and waits for one of the actions: values
    and log-probabilities stay there.
    """

    team: Team | None
    _at_once: AtOnce | None

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

    def _is_small(self) -> bool:
        """Whether forwards of a rollout, each of whose weights is used about once, have few products; False of others.

        What `Quick` spares there is less than what it costs to be asked about every operation.
        """
        policy, observations = self.policy, self._last_obs
        if self.device.type != "cpu" or not isinstance(observations, np.ndarray):
            return False
        if type(policy).forward is not ActorCriticPolicy.forward or not policy.share_features_extractor:
            return False
        if type(policy.features_extractor) not in READERS:
            return False
        return len(observations) * sum(parameter.numel() for parameter in policy.parameters()) <= SMALL

    def _reader(self) -> Callable[[Any], Any]:
        """How SB3's own forward reads observations soonest in the rollout that begins; `Quick` looks for itself.

        A policy's forward of another kind gets what SB3 would give it.
        """
        exactly = self._quick is None or self._is_small()
        if exactly and type(self.policy).forward is ActorCriticPolicy.forward:
            return reader(self.policy)
        return lambda observations: observations

    def _is_as_good_on_one(self) -> bool:
        """Whether forwards of a rollout give the same on one thread, and are so small that waking others takes longer.

        With ``speed="exact"`` it is looked, at numbers drawn at random, whether sums are the same to the last bit: how
        a matrix product is dealt out to threads is decided by its shape.
        """
        if torch.get_num_threads() == 1 or not self._is_small():
            return False
        if self._quick is not None:
            return True
        policy = self.policy
        if type(policy.action_dist) not in (LeanCategorical, DiagGaussianDistribution):
            return False
        if any(map(is_hooked, policy.modules())):  # somebody counts the forwards
            return False
        seen = preprocess_obs(self._seen(self._last_obs), policy.observation_space, policy.normalize_images)
        assert isinstance(seen, Tensor)
        drawn = torch.randn(seen.shape, generator=torch.Generator("cpu").manual_seed(0), device="cpu")

        def outputs() -> list[Tensor]:
            pi, vf = policy.mlp_extractor(policy.features_extractor(drawn))
            return [policy.action_net(pi), policy.value_net(vf)]

        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            several = outputs()
            with one_thread():
                one = outputs()
        return all(map(torch.equal, several, one))

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


def _shown(held: Mapping[str, Any]) -> dict[str, Any]:
    """What callbacks find of a rollout's locals, and hold till the next one: not what it keeps of the weights."""
    return {name: value for name, value in held.items() if name != "actor"}


def _stacked(observations: Sequence[Any]) -> Any:
    """Observations of single games as those of a batch."""
    if isinstance(observations[0], dict):
        return {key: np.stack([each[key] for each in observations]) for key in observations[0]}
    return np.stack(observations)
