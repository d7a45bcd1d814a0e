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

LARGEST = float(np.finfo(np.float32).max)


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
        weights = ((priorities.min() / priorities) ** self.beta).astype(np.float32)
        drawn = self._transitions(indices, env)
        return PrioritizedSamples(**drawn._asdict(), weights=self._fresh_to_torch(weights[:, None]), indices=indices)

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
        errors = np.fmin(np.abs(td_errors, dtype=np.float64), LARGEST)
        priorities = (errors + self.epsilon) ** self.alpha
        self.highest_priority = max(self.highest_priority, float(priorities.max()))
        self.td_priorities[indices] = priorities

    def _get_samples(self, batch_inds: np.ndarray, env: VecNormalize | None = None) -> ReplayBufferSamples:
        games = np.random.randint(0, self.n_envs, size=len(batch_inds))  # as SB3 draws them
        return self._transitions(batch_inds * self.n_envs + games, env)

    def _transitions(self, indices: np.ndarray, env: VecNormalize | None) -> ReplayBufferSamples:
        """The transitions of these indices, of all rows' games one after the other."""
        steps = np.arange(self.n_steps)
        at = (indices[:, None] + self.n_envs * steps) % (self.buffer_size * self.n_envs)
        dones, timeouts = self.dones.take(at), self.timeouts.take(at)
        # The newest row is the last one whose next observation is known; behind it lies the oldest.
        ends = (dones + timeouts > 0) | (at // self.n_envs == (self.pos - 1) % self.buffer_size)
        ends[:, -1] = True
        last = ends.argmax(axis=1)[:, None]
        discounts = self.gamma ** steps.astype(np.float32) * (steps <= last)
        rewards = self._normalize_reward(self.rewards.take(at), env) * discounts
        ending = np.take_along_axis(at, last, axis=1)
        (rows, games), end_rows = np.divmod(indices, self.n_envs), ending[:, 0] // self.n_envs
        if self.optimize_memory_usage:
            following = self.observations[(end_rows + 1) % self.buffer_size, games]
        else:
            following = self.next_observations[end_rows, games]
        data = (
            self._normalize_obs(self.observations[rows, games], env),
            self.actions[rows, games],
            self._normalize_obs(following, env),
            self.dones.take(ending) * (1 - self.timeouts.take(ending)),
            rewards.sum(axis=1, keepdims=True),
            self.gamma ** (last + 1).astype(np.float32),
        )
        return ReplayBufferSamples(*map(self._fresh_to_torch, data))

    def _fresh_to_torch(self, array: np.ndarray) -> Tensor:
        """An array that nobody else has; on the CPU it is not copied."""
        return self.to_torch(array, copy=False)
