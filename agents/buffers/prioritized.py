"""Prioritised replay: transitions are drawn the more often, the more wrong their values were."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from agents.buffers.sum_tree import SumTree


class PrioritizedSamples(NamedTuple):
    """SB3's `ReplayBufferSamples` and what prioritised replay adds.

    Attributes:
        weights: of each transition's loss, (batch, 1); at most 1, as the rarest of the batch has.
        indices: of the transitions, (batch,), for `PrioritizedReplayBuffer.update_priorities`.
    """

    observations: Tensor
    actions: Tensor
    next_observations: Tensor
    dones: Tensor
    rewards: Tensor
    discounts: Tensor
    weights: Tensor
    indices: np.ndarray


class PrioritizedReplayBuffer(ReplayBuffer):
    """SB3's replay buffer with proportional prioritisation (Schaul et al., arXiv 1511.05952), and n-step returns.

    A transition is drawn with a probability in proportion to (|TD error| + `epsilon`) ** `alpha`, by the error it had
    when it was drawn last; a new one has the highest priority that there has been. Draws are stratified: one from each
    of as many equal parts of the sum as are drawn. Losses are weighted by (N * probability) ** -`beta` over the largest
    such weight of the batch, in which N cancels. Each game's transitions have priorities of their own. N-step returns
    are those of SB3's `NStepReplayBuffer` bit for bit, and belong to the transition that they begin with.

    Args:
        buffer_size: as in SB3, and all up to `handle_timeout_termination`.
        observation_space: as in SB3; no Dict.
        action_space: as in SB3.
        device: as in SB3.
        n_envs: as in SB3.
        optimize_memory_usage: as in SB3.
        handle_timeout_termination: as in SB3.
        n_steps: rewards that a return adds up, at most as far as the episode goes and has been stored.
        gamma: discount of each.
        alpha: how far errors decide what is drawn; 0 draws uniformly.
        beta: how far weights make up for it; 1 does so in full. May be set at any time.
        epsilon: what is added to every error, so that a transition without one is drawn again, too.

    Raises:
        ValueError: observations are of a Dict.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "auto",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        handle_timeout_termination: bool = True,
        *,
        n_steps: int = 1,
        gamma: float = 0.99,
        alpha: float = 0.6,
        beta: float = 0.4,
        epsilon: float = 1e-6,
    ) -> None:
        if isinstance(observation_space, spaces.Dict):
            raise ValueError(
                f"prioritized replay takes no Dict of observations, but they are {observation_space}; leave it out"
            )
        super().__init__(
            buffer_size, observation_space, action_space, device, n_envs, optimize_memory_usage,
            handle_timeout_termination,
        )  # fmt: skip
        self.n_steps, self.gamma = n_steps, gamma
        self.alpha, self.beta, self.epsilon = alpha, beta, epsilon
        self.highest_priority = 1.0
        self.td_priorities = SumTree((self.buffer_size, n_envs))

    def add(self, *args: Any, **kwargs: Any) -> None:
        row = self.pos
        super().add(*args, **kwargs)
        games = np.arange(self.n_envs)
        self.td_priorities[row * self.n_envs + games] = self.highest_priority
        if self.optimize_memory_usage and self.full:  # the next row's observation has been written over, by this next
            self.td_priorities[self.pos * self.n_envs + games] = 0.0

    def reset(self) -> None:
        super().reset()
        self.highest_priority = 1.0
        self.td_priorities.numbers[...] = 0
        self.td_priorities.sum_up()

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> PrioritizedSamples:  # type: ignore[override]
        """Transitions drawn by their priorities; SB3's own fields are as in any sample."""
        strata = (np.arange(batch_size) + np.random.random_sample(batch_size)) / batch_size
        indices = self.td_priorities.draw(strata)
        priorities = self.td_priorities[indices]
        weights = (priorities.min() / priorities) ** self.beta
        drawn = self._get_samples(indices // self.n_envs, env, indices % self.n_envs)._asdict()
        return PrioritizedSamples(**drawn, weights=self.to_torch(weights.astype(np.float32)[:, None]), indices=indices)

    def sample_uniformly(self, batch_size: int, env: VecNormalize | None = None) -> ReplayBufferSamples:
        """Transitions that all have one probability: what SB3's own buffers give."""
        return super().sample(batch_size, env)

    def update_priorities(self, indices: np.ndarray, td_errors: np.ndarray) -> None:
        """Take over the errors that transitions have now; where one is given several times, the last one counts.

        Args:
            indices: of `PrioritizedSamples`.
            td_errors: of these, of any sign.
        """
        # A network that has diverged gives no numbers; sums of such would never be numbers again.
        errors = np.abs(np.nan_to_num(td_errors.astype(np.float32)), dtype=np.float64)
        priorities = (errors + self.epsilon) ** self.alpha
        self.highest_priority = max(self.highest_priority, float(priorities.max()))
        self.td_priorities[indices] = priorities

    def _get_samples(
        self, batch_inds: np.ndarray, env: VecNormalize | None = None, games: np.ndarray | None = None
    ) -> ReplayBufferSamples:
        """The transitions of these rows.

        Args:
            batch_inds: of rows.
            env: whose statistics normalise them.
            games: of each row; None draws them uniformly, as SB3 does.
        """
        if games is None:
            games = np.random.randint(0, self.n_envs, size=len(batch_inds))
        steps = np.arange(self.n_steps)
        rows = (batch_inds[:, None] + steps) % self.buffer_size
        at = rows, games[:, None]
        # The newest row is the last one whose next observation is known; behind it lies the oldest.
        ends = np.logical_or(self.dones[at], self.timeouts[at]) | (rows == (self.pos - 1) % self.buffer_size)
        lengths = np.where(ends.any(axis=1), ends.argmax(axis=1) + 1, self.n_steps)
        discounts = self.gamma ** steps.astype(np.float32) * (steps < lengths[:, None])
        rewards = self._normalize_reward(self.rewards[at], env) * discounts
        last = (batch_inds + lengths - 1) % self.buffer_size
        following = (
            self.observations[(last + 1) % self.buffer_size, games]
            if self.optimize_memory_usage
            else self.next_observations[last, games]
        )
        data = (
            self._normalize_obs(self.observations[batch_inds, games], env),
            self.actions[batch_inds, games],
            self._normalize_obs(following, env),
            (self.dones[last, games] * (1 - self.timeouts[last, games]))[:, None],
            rewards.sum(axis=1, keepdims=True),
            self.gamma ** lengths[:, None].astype(np.float32),
        )
        return ReplayBufferSamples(*map(self.to_torch, data))
