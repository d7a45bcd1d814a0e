"""Deep Q-network (Mnih et al., Nature 518:529, 2015) on Stable-Baselines3, with hook points, Double DQN too."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import DQN as StockDQN
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import ConstantSchedule
from stable_baselines3.dqn.policies import DQNPolicy
from torch import Tensor
from torch.distributions import Distribution
from torch.nn import functional as F

from agents.buffers import ahead, sampling
from agents.buffers.sampling import ReplayBatch as Batch
from agents.off_policy import OffPolicyMixin
from agents.optimizers import with_optimizer
from agents.plasticity.outputs import Form
from agents.plasticity.protocols import Intervention
from agents.plasticity.taps import untapped
from agents.specs import agent_spec
from agents.target_values import Together
from agents.vec_env import Games

AHEAD = 1_024
"""Transitions, at most, whose targets are computed at once."""


class DQN(OffPolicyMixin, StockDQN):
    """Stable-Baselines3's DQN whose Q-network, as network ``critic``, takes interventions.

    Without interventions and options it is SB3's DQN bit for bit. It takes Gymnasium's vector environments as they are,
    and on boards too small for SB3's NatureCNN ``"CnnPolicy"`` builds `agents.networks.MinAtarCNN` with the output
    layer directly behind it, MinAtar's published network (arXiv 1903.03176). It writes at most one row of logs for
    each step of a batch of games.

    Args:
        policy: as in SB3, or with layer normalisation as for `PPO`.
        env: as in SB3, or a Gymnasium `VectorEnv` with same-step resets.
        double_q: the online network chooses the action whose target value is bootstrapped from (Double DQN, van Hasselt
            et al., arXiv 1509.06461); overestimates less.
        epsilon_per_env: every game explores by a coin of its own. SB3 throws one for all: then the whole batch acts at
            random, or none of it.
        interventions: what keeps the network plastic, called in this order.
        at_switch: what is forgotten at revealed task switches, the arguments of `agents.at_switch.AtSwitch`.
        optimizer: of the networks, a name of `agents.optimizers`, or a mapping of it and its settings; None for Adam,
            or what `policy_kwargs` give.
        random_shift: pixels by which the images of a minibatch are moved at random at most; 0 for none, see
            `agents.augmentation.RandomShift`.
        replay: how transitions are drawn: ``uniform``, as in SB3; or ``prioritized``, or ``{"name": "prioritized",
            "alpha": 0.6, "beta": {"linear": [0.4, 1.0]}, "epsilon": 1e-6}``, see
            `agents.buffers.prioritized.PrioritizedReplayBuffer`; there `beta` goes with the progress of the run.
        speed: as for `PPO`.

    All other arguments are as in SB3.

    Example::

        from agents import DQN
        from agents.plasticity import ReDo
        import envs

        model = DQN("CnnPolicy", envs.make("breakout", n_envs=8), epsilon_per_env=True, interventions=[ReDo()])
        model.learn(200_000)
    """

    COUNTERS: ClassVar[tuple[str, ...]] = ("_n_calls", "exploration_rate")
    spec = agent_spec("dqn")

    def __init__(
        self,
        policy: str | type[DQNPolicy],
        env: Games,
        learning_rate: float | Schedule = 1e-4,
        buffer_size: int = 1_000_000,
        learning_starts: int = 100,
        batch_size: int = 32,
        tau: float = 1.0,
        gamma: float = 0.99,
        train_freq: int | tuple[int, str] = 4,
        gradient_steps: int = 1,
        replay_buffer_class: type[ReplayBuffer] | None = None,
        replay_buffer_kwargs: dict[str, Any] | None = None,
        optimize_memory_usage: bool = False,
        n_steps: int = 1,
        target_update_interval: int = 10_000,
        exploration_fraction: float = 0.1,
        exploration_initial_eps: float = 1.0,
        exploration_final_eps: float = 0.05,
        max_grad_norm: float = 10.0,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
        *,
        double_q: bool = False,
        epsilon_per_env: bool = False,
        interventions: Sequence[Intervention] = (),
        at_switch: Mapping[str, Any] | None = None,
        optimizer: str | Mapping[str, Any] | None = None,
        random_shift: int = 0,
        replay: str | Mapping[str, Any] = "uniform",
        speed: str = "exact",
    ) -> None:
        self.double_q = double_q
        self.epsilon_per_env = epsilon_per_env
        self._together = Together()
        policy_kwargs = with_optimizer(policy_kwargs, optimizer, self.spec)
        super().__init__(
            policy, env, learning_rate, buffer_size, learning_starts, batch_size, tau, gamma, train_freq,
            gradient_steps, replay_buffer_class, replay_buffer_kwargs, optimize_memory_usage, n_steps,
            target_update_interval, exploration_fraction, exploration_initial_eps, exploration_final_eps,
            max_grad_norm, stats_window_size, tensorboard_log, policy_kwargs, verbose, seed, device,
            _init_setup_model,
            interventions=interventions, at_switch=at_switch, random_shift=random_shift, replay=replay,
            speed=speed,
        )  # fmt: skip

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_together"]

    @property
    def optimizers(self) -> tuple[torch.optim.Optimizer]:
        """DQN has one optimizer, over the Q-network's parameters."""
        return (self.policy.optimizer,)

    def _update(self, gradient_steps: int, batch_size: int) -> None:
        """Update the Q-network from replay: SB3's loop, with the interventions called around every step."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        log = [self._gradient_step(batch, targets) for batch, targets in self._drawn(gradient_steps, batch_size)]
        self._n_updates += gradient_steps
        self._log_update(log)

    def _drawn(self, gradient_steps: int, batch_size: int) -> Iterator[tuple[Batch, Tensor]]:
        """The minibatches of an update, with what their Q-values are drawn to."""
        batches = self._minibatches(batch_size, gradient_steps)
        while some := list(islice(batches, self._ahead(batch_size) if gradient_steps > 1 else 1)):
            if self._quick is not None:
                with self._quickly():
                    targets = self._bootstrapped(some[0] if len(some) == 1 else sampling.joined(some)).split(batch_size)
                yield from zip(some, targets, strict=True)
                continue
            following = [self._read(batch.next_observations, self.q_net_target) for batch in some]
            for batch, values in zip(some, self._together.ask(self.q_net_target, following), strict=True):
                yield batch, self._bootstrapped(batch, values)

    def _ahead(self, batch_size: int) -> int:
        """Of how many minibatches the target network is asked at once.

        It stays as it is while an update goes on, unless an intervention changes it. Fast, all that Double DQN's online
        network chooses is asked with it.
        """
        if self.interventions or batch_size < 1:
            return 1
        if self._quick is not None:
            return 1 if self.double_q else max(1, AHEAD // batch_size)
        draws = any(module.training for module in self.q_net_target.modules())  # or looks at its batch as a whole
        if draws or self.device.type != "cpu" or not self._draws_ahead:
            return 1
        assert self.replay_buffer is not None
        return ahead.at_once(self.replay_buffer, batch_size)

    def _gradient_step(self, batch: Batch, targets: Tensor) -> Mapping[str, Tensor]:
        """A step on a minibatch, whose graph ends here; its loss, detached."""
        self.optimizer_steps += 1
        with self._quickly(), self.hooks.taps(self.optimizer_steps) as taps:
            values = self._values(batch)
        losses = {"loss": self._td_loss(F.smooth_l1_loss, [values], targets, batch)}
        update = self._optimize("critic", batch, losses, self.policy.optimizer, taps, max_grad_norm=self.max_grad_norm)
        self.hooks.after_step(update)
        return update.losses

    def _values(self, batch: Batch) -> Tensor:
        """Q-values of the actions taken, (batch, 1)."""
        values: Tensor = self.q_net(self._read(batch.observations, self.q_net)).gather(1, batch.actions.long())
        return values

    @torch.no_grad()
    def _bootstrapped(self, batch: Batch, values: Tensor | None = None) -> Tensor:
        """What the Q-values are drawn to, (batch, 1); `values` are the target network's, where they are known."""
        following = self._read(batch.next_observations, self.q_net)
        values = self.q_net_target(following) if values is None else values
        if self.double_q:
            next_values = values.gather(1, self.q_net(following).argmax(dim=1, keepdim=True))
        else:
            next_values = values.amax(dim=1, keepdim=True)
        return self._returns(batch, next_values)

    @property
    def output_forms(self) -> Mapping[str, Form]:
        """``critic``: Q-values; Huber's loss is half a square where errors are small."""
        assert isinstance(self.action_space, spaces.Discrete)
        return {"critic": Form("values", (int(self.action_space.n),), 0.5)}

    def _outputs(self, batch: Batch, names: Collection[str]) -> Mapping[str, Tensor]:
        """``critic``: Q-values, (batch, actions)."""
        return {"critic": self.q_net(batch.observations)}

    def distributions(self, batch: Batch) -> tuple[Distribution, ...]:
        """None: the policy is greedy on the Q-values."""
        return ()

    def td_targets(self, batch: Batch) -> Tensor:
        """What the Q-values of the actions taken are drawn to, (batch, 1). In evaluation mode."""
        with self._evaluation(), untapped():
            return self._bootstrapped(batch)

    def sample_losses(self, batch: Batch, td_targets: Tensor | None = None) -> dict[str, Tensor]:
        """``critic``: the Huber loss of each transition's temporal-difference error, (batch,). In evaluation mode."""
        targets = self.td_targets(batch) if td_targets is None else td_targets
        with self._evaluation():
            losses = F.smooth_l1_loss(self._values(batch), targets, reduction="none")
        return {"critic": losses.flatten()}

    # ------------------------------------------------------------------ exploration

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...] | None]:
        """SB3's, epsilon-greedy unless `deterministic`; with `epsilon_per_env` for each observation of a batch."""
        if deterministic or not self.epsilon_per_env or not self.policy.is_vectorized_observation(observation):
            return super().predict(observation, state, episode_start, deterministic)
        first = next(iter(observation.values())) if isinstance(observation, dict) else observation
        explores = np.random.rand(len(first)) < self.exploration_rate
        actions = np.zeros(len(first), dtype=np.int64)
        if not explores.all():
            actions, state = self._in_this_thread().policy.predict(observation, state, episode_start, deterministic)
        for game in np.flatnonzero(explores):
            actions[game] = self.action_space.sample()
        return actions, state

    def fill_buffer(self) -> None:
        before = self.exploration_schedule, self.target_update_interval
        self.exploration_rate = self.exploration_final_eps
        self.exploration_schedule = ConstantSchedule(self.exploration_final_eps)
        self.target_update_interval = sys.maxsize
        super().fill_buffer()
        self.exploration_schedule, self.target_update_interval = before

    def _restart_exploration(self) -> None:
        super()._restart_exploration()
        self.exploration_rate = self.exploration_initial_eps  # `_on_step` is a step of the games away

    def _forget_everything(self) -> None:
        super()._forget_everything()
        self._n_calls = 0  # a fresh agent's first copy to the target network is a whole interval away

    def _target_interval(self) -> int:
        """Steps of the games between copies of the target network: `target_update_interval`, of a replay ratio that
        was set as many as make the same number of gradient steps, as nearly as steps of all games at once allow.
        """
        given = self.given_replay_ratio
        if not given or not self._replay_ratio:
            return self.target_update_interval
        calls = max(self.target_update_interval // self.n_envs, 1)  # SB3 counts these
        return max(round(calls * given / self._replay_ratio), 1) * self.n_envs

    def _on_step(self) -> None:
        given, self.target_update_interval = self.target_update_interval, self._target_interval()
        with self.parameter_lock.writing():  # of the target network, every so often
            super()._on_step()
        self.target_update_interval = given
        if self.exploration_began:
            since = (self.num_timesteps - self.exploration_began) / self._total_timesteps
            self.exploration_rate = self.exploration_schedule(1 - since)
            self.logger.record("rollout/exploration_rate", self.exploration_rate)
