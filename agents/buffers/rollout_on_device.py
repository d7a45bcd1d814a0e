"""A rollout buffer on the learner's device: what is written there once is read there, and only there."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from torch import Tensor

from agents.buffers.on_device import DTYPES, bytes_of, has_room, sent, takes

SCALARS = ("rewards", "episode_starts", "values", "log_probs", "advantages", "returns")


class RolloutBufferOnDevice(RolloutBuffer):
    """SB3's `RolloutBuffer` with tensors on a device in place of arrays, which it gives the same minibatches of.

    The observations of a step are sent once, with `observe`, before the policy is asked of them. Values,
    log-probabilities and actions come from the device and stay there. Rewards and starts of episodes are known on the
    host alone, and nobody needs them before the rollout ends: then they are sent, all at once. Advantages are computed
    by the float32 operations of SB3's in their order, and minibatches gathered by SB3's own permutation, so that on the
    CPU everything is the same bit for bit.

    Args are SB3's; observations and actions are of spaces that `agents.buffers.on_device.takes`.

    Attributes:
        observations: (steps, games, ...), of the observations' own type; not flattened for minibatches, as SB3's are.
        actions: (steps, games, numbers of an action).
        rewards: float32 (steps, games), as all that follow; from the end of the rollout on.
        episode_starts: 1 where an episode's first action was taken; from the end of the rollout on.
        values, log_probs, advantages, returns: as in SB3.
    """

    observations: Any
    actions: Any
    rewards: Any
    episode_starts: Any
    values: Any
    log_probs: Any
    advantages: Any
    returns: Any

    def reset(self) -> None:
        """Begin a rollout, in the memory of the last one."""
        if not hasattr(self, "values"):
            self._allocate()
        self._observed = False
        self._cut: list[int] = []  # indices into flattened rewards
        self._cut_values: list[Tensor] = []
        self.pos, self.full = 0, False

    def _allocate(self) -> None:
        batch, device = (self.buffer_size, self.n_envs), self.device
        seen, acted = DTYPES[self.observation_space.dtype], DTYPES[self.action_space.dtype]  # type: ignore[index]
        self.observations = torch.zeros((*batch, *self.obs_shape), dtype=seen, device=device)
        self.actions = torch.zeros((*batch, self.action_dim), dtype=acted, device=device)
        for name in SCALARS:
            setattr(self, name, torch.zeros(batch, device=device))
        self._on_host = np.zeros((2, *batch), np.float32)  # rewards and starts of episodes

    def observe(self, observations: Any) -> Tensor:
        """Send the observations that the next actions are for.

        Args:
            observations: an array (games, ...).

        Returns:
            them, on the device, as SB3 would give them to the policy.
        """
        seen = sent(observations, self.device)
        self.observations[self.pos] = seen
        self._observed = True
        return seen

    def bootstrap(self, games: Sequence[int], values: Sequence[Tensor]) -> None:
        """Add the discounted values of where games were cut off to the rewards that `add` is given next.

        Args:
            games: their indices, each once.
            values: theirs, in this order, in tensors of any number of them on the device.
        """
        self._cut += [self.pos * self.n_envs + game for game in games]
        self._cut_values += values

    def add(
        self,
        obs: np.ndarray,
        action: np.ndarray | Tensor,
        reward: np.ndarray,
        episode_start: np.ndarray,
        value: Tensor,
        log_prob: Tensor,
    ) -> None:
        """As SB3's; observations that `observe` was given are not sent again, and actions may be on the device."""
        if not self._observed:
            self.observe(obs)
        self._observed = False
        acted = action if isinstance(action, Tensor) else sent(action, self.device)
        self.actions[self.pos] = acted.reshape(self.n_envs, self.action_dim)
        self.values[self.pos] = value.flatten()
        self.log_probs[self.pos] = log_prob.flatten()
        self._on_host[:, self.pos] = reward, episode_start
        self.pos += 1
        self.full = self.pos == self.buffer_size

    @torch.no_grad()
    def compute_returns_and_advantage(self, last_values: Tensor, dones: np.ndarray) -> None:
        """As SB3's, without a wait for the device."""
        given = sent(self._on_host, self.device)
        self.rewards.copy_(given[0])
        self.episode_starts.copy_(given[1])
        if self._cut:
            at = sent(np.array(self._cut), self.device)
            self.rewards.view(-1).index_add_(0, at, self.gamma * torch.cat(self._cut_values))
        ended = sent(np.asarray(dones, np.float32), self.device)
        going_on = 1.0 - torch.cat([self.episode_starts[1:], ended[None]])
        next_values = torch.cat([self.values[1:], last_values.reshape(1, -1).float()])
        deltas = self.rewards + self.gamma * next_values * going_on - self.values
        decays = self.gamma * self.gae_lambda * going_on
        advantage = torch.zeros_like(deltas[0])
        for step in reversed(range(self.buffer_size)):
            advantage = deltas[step] + decays[step] * advantage
            self.advantages[step] = advantage
        torch.add(self.advantages, self.values, out=self.returns)

    def get(self, batch_size: int | None = None) -> Generator[RolloutBufferSamples, None, None]:
        """As SB3's; of its permutation of the rollout one copy is sent."""
        assert self.full, "the rollout is not complete"
        total = self.buffer_size * self.n_envs
        rows = self._rows(np.random.permutation(total))
        for start in range(0, total, batch_size or total):
            yield self._of(rows[start : start + (batch_size or total)])

    def taken(self, indices: np.ndarray) -> RolloutBufferSamples:
        """The transitions of these indices, which count game after game, each with all of its steps."""
        return self._of(self._rows(indices))

    def _rows(self, indices: np.ndarray) -> Tensor:
        """Indices into the tensors, where step follows on step, of those that count game after game, as SB3's do."""
        at = sent(indices, self.device)
        return at % self.buffer_size * self.n_envs + at.div(self.buffer_size, rounding_mode="floor")

    def _of(self, rows: Tensor) -> RolloutBufferSamples:
        names = ("observations", "actions", "values", "log_probs", "advantages", "returns")
        observations, actions, *scalars = (getattr(self, name).flatten(0, 1).index_select(0, rows) for name in names)
        return RolloutBufferSamples(observations, actions.float(), *scalars)

    def values_and_returns(self) -> tuple[np.ndarray, np.ndarray]:
        """Both on the host, (steps x games,) each, game after game; waits for the device once."""
        values, returns = torch.stack([self.values, self.returns]).transpose(1, 2).flatten(1).cpu().numpy()
        return values, returns

    def state(self) -> dict[str, Any]:
        """Nothing: the rollout is used up where a state is taken."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` gave, or what SB3's own buffer would have given.

        Raises:
            ValueError: it is of another buffer.
        """
        if state:
            raise ValueError(f"the saved buffer is of another kind: {', '.join(sorted(state))}")


def on_device(buffer: RolloutBuffer) -> RolloutBuffer:
    """An empty buffer like one of SB3's, on its device; that one, where it is another class, or there is no room.

    Another class may do more.
    """
    seen = buffer.observation_space
    if type(buffer) is not RolloutBuffer or not (takes(seen) and takes(buffer.action_space)):
        return buffer
    if not isinstance(seen, spaces.Box):  # others reach the policy in another shape than they are kept in
        return buffer
    needed = bytes_of((buffer.buffer_size, buffer.n_envs, *buffer.obs_shape), seen.dtype)
    if not has_room(buffer.device, needed, "the rollout buffer"):
        return buffer
    return RolloutBufferOnDevice(
        buffer.buffer_size, seen, buffer.action_space, buffer.device, buffer.gae_lambda, buffer.gamma, buffer.n_envs
    )
