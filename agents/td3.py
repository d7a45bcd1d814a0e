"""Twin delayed deep deterministic policy gradient (Fujimoto et al., arXiv 1802.09477), with hook points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from stable_baselines3 import TD3 as StockTD3
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import polyak_update
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.td3.policies import Actor, TD3Policy
from torch import Tensor

from agents.actor_critics import ActorCriticsMixin
from agents.buffers.sampling import ReplayBatch as Batch
from agents.noise import Noise, remembers
from agents.optimizers import with_optimizer
from agents.plasticity.protocols import Intervention
from agents.plasticity.taps import untapped
from agents.specs import agent_spec
from agents.speed.actor_critics import actions_of, q_values
from agents.vec_env import Games


class TD3(ActorCriticsMixin, StockTD3):
    """Stable-Baselines3's TD3 whose actor, critics and shared features take interventions.

    Without interventions it is SB3's TD3 bit for bit. It takes Gymnasium's vector environments as they are, and on
    boards too small for SB3's NatureCNN ``"CnnPolicy"`` builds `agents.networks.MinAtarCNN` with heads of 64 units. It
    writes at most one row of logs for each step of a batch of games.

    Interventions see the critics' loss at every gradient step, and the actor's at every `policy_delay`-th, right after
    it is differentiated: that backward pass also fills the critics' gradients, which nobody uses. Periods count all
    gradient steps, for the actor too; of the steps that are scored, the actor shows those that train it.

    Args:
        policy: as in SB3, or with layer normalisation as for `PPO`.
        env: as in SB3, or a Gymnasium `VectorEnv` with same-step resets.
        action_noise: as in SB3, or by name or as a number, see `agents.noise.Noise`. The policy is deterministic:
            without noise nothing explores but the first, random steps.
        interventions: what keeps the networks plastic, called in this order.
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

        from agents import TD3
        from agents.plasticity import ReDo
        import envs

        model = TD3("MlpPolicy", envs.make("pendulum5"), action_noise=0.1, interventions=[ReDo(networks=["critic"])])
        model.learn(100_000)
    """

    spec = agent_spec("td3")
    actor: Actor
    _critic_coef = 1.0
    _actor_form = "actions"

    def __init__(
        self,
        policy: str | type[TD3Policy],
        env: Games,
        learning_rate: float | Schedule = 1e-3,
        buffer_size: int = 1_000_000,
        learning_starts: int = 100,
        batch_size: int = 256,
        tau: float = 0.005,
        gamma: float = 0.99,
        train_freq: int | tuple[int, str] = 1,
        gradient_steps: int = 1,
        action_noise: Noise = None,
        replay_buffer_class: type[ReplayBuffer] | None = None,
        replay_buffer_kwargs: dict[str, Any] | None = None,
        optimize_memory_usage: bool = False,
        n_steps: int = 1,
        policy_delay: int = 2,
        target_policy_noise: float = 0.2,
        target_noise_clip: float = 0.5,
        stats_window_size: int = 100,
        tensorboard_log: str | None = None,
        policy_kwargs: dict[str, Any] | None = None,
        verbose: int = 0,
        seed: int | None = None,
        device: torch.device | str = "auto",
        _init_setup_model: bool = True,
        *,
        interventions: Sequence[Intervention] = (),
        at_switch: Mapping[str, Any] | None = None,
        optimizer: str | Mapping[str, Any] | None = None,
        random_shift: int = 0,
        replay: str | Mapping[str, Any] = "uniform",
        speed: str = "exact",
    ) -> None:
        policy_kwargs = with_optimizer(policy_kwargs, optimizer, self.spec)
        super().__init__(
            policy, env, learning_rate, buffer_size, learning_starts, batch_size, tau, gamma, train_freq,
            gradient_steps, action_noise, replay_buffer_class, replay_buffer_kwargs, optimize_memory_usage, n_steps,
            policy_delay, target_policy_noise, target_noise_clip, stats_window_size, tensorboard_log, policy_kwargs,
            verbose, seed, device, _init_setup_model,
            interventions=interventions, at_switch=at_switch, random_shift=random_shift, replay=replay,
            speed=speed,
        )  # fmt: skip

    def _update(self, gradient_steps: int, batch_size: int) -> None:
        """Update critics and actor from replay: SB3's loop, with the interventions called around every step."""
        self.policy.set_training_mode(True)
        self._update_learning_rate([*self.optimizers])
        log = []
        for batch in self._minibatches(batch_size, gradient_steps):
            self._n_updates += 1
            delayed = self._n_updates % self.policy_delay == 0
            log.append(self._gradient_step(batch, actor=delayed))
            if delayed:
                self._move_targets()
        self._log_update(log)

    def _gradient_step(self, batch: Batch, *, actor: bool) -> dict[str, Tensor]:
        """A step of the critics and perhaps of the actor on a minibatch, whose graphs end here; losses, detached."""
        self.optimizer_steps += 1
        noise = torch.empty_like(batch.actions).normal_(0, self.target_policy_noise)
        targets = self._bootstrapped(batch, noise)
        updates = [self._step_critic(batch, targets)]
        if actor:
            with self.hooks.taps(self.optimizer_steps, ("actor", "features")) as taps:
                actions = self._actions("actor", batch.observations)
            # A fresh forward through the critic that has just been updated; its taps are closed.
            loss = -self._first_value(batch.observations, actions).mean()
            updates.append(self._step("actor", loss, self.actor.optimizer, batch, taps))
        # Not before both have stepped: what a reset changes must not lie in the graph of the actor's loss.
        for update in updates:
            self.hooks.after_step(update)
        return {f"{update.network}_loss": update.losses["loss"] for update in reversed(updates)}

    def _move_targets(self) -> None:
        for online, target in ((self.critic, self.critic_target), (self.actor, self.actor_target)):
            self._follow(online, target)
        polyak_update(self.critic_batch_norm_stats, self.critic_batch_norm_stats_target, 1.0)
        polyak_update(self.actor_batch_norm_stats, self.actor_batch_norm_stats_target, 1.0)

    @torch.no_grad()
    def _bootstrapped(self, batch: Batch, noise: Tensor) -> Tensor:
        """What the Q-values are drawn to, (batch, 1), for this noise on the target's actions."""
        noise = noise.clamp(-self.target_noise_clip, self.target_noise_clip)
        next_actions = (self._actions("actor_target", batch.next_observations) + noise).clamp(-1, 1)
        return self._returns(batch, self._lowest(batch.next_observations, next_actions))

    def _actions(self, name: str, observations: Any) -> Tensor:
        """What ``actor`` or ``actor_target`` does, (batch, actions)."""
        actor: Actor = getattr(self, name)
        if (at_once := self._learns_at_once()) is not None:
            found = actions_of(at_once, name, actor, observations)
            if found is not None:
                return found
        with self._quickly():
            actions: Tensor = actor(observations)
        return actions

    def _first_value(self, observations: Any, actions: Tensor) -> Tensor:
        """What the first Q-function says of actions, (batch, 1); nobody uses the gradients of its parameters."""
        if (at_once := self._learns_at_once()) is not None:
            found = q_values(at_once, "first", self.critic, observations, actions, count=1, frozen=True)
            if found is not None:
                return found[0]
        with self._quickly(frozen=True):
            return self.critic.q1_forward(observations, actions)

    def _check_env(self, env: VecEnv | None) -> None:
        super()._check_env(env)
        if env is not None and self.forgets.exploration == "restart" and not remembers(self.action_noise):
            raise ValueError(
                "at_switch.exploration is 'restart', but no action noise has a memory; give action_noise "
                "{'name': 'ornstein_uhlenbeck', 'sigma': 0.1} or leave it out"
            )

    # ------------------------------------------------------------------ what a batch shows

    def _before_squashing(self, features: Tensor) -> Tensor:
        """The actions before the last tanh, (batch, actions)."""
        found: Tensor = self.actor.mu[:-1](features)
        return found

    def distributions(self, batch: Batch) -> tuple[()]:
        """None: the policy is deterministic."""
        return ()

    def td_targets(self, batch: Batch) -> Tensor:
        """What all Q-functions' values of the actions taken are drawn to, (batch, 1). In evaluation mode."""
        with self._evaluation(), untapped():
            return self._bootstrapped(batch, self.target_policy_noise * self._noise_like(batch.actions, "next"))

    def _actor_losses(self, observations: Any) -> Tensor:
        """- Q(s, pi(s)), of the first Q-function."""
        actions = self.actor(observations)
        with untapped():
            return -self.critic.q1_forward(observations, actions)[:, 0]
