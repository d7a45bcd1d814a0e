"""Soft actor-critic (Haarnoja et al., arXiv 1812.05905) on Stable-Baselines3, with hook points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from stable_baselines3 import SAC as StockSAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import polyak_update
from stable_baselines3.common.vec_env import VecEnv
from stable_baselines3.sac.policies import SACPolicy
from torch import Tensor
from torch.distributions import Distribution

from agents.actor_critics import ActorCriticsMixin, lowest
from agents.at_switch import AtSwitch
from agents.buffers.sampling import ReplayBatch as Batch
from agents.noise import Noise, remembers
from agents.optimizers import with_optimizer
from agents.plasticity.optimizers import stepping
from agents.plasticity.protocols import Intervention, Update
from agents.plasticity.taps import untapped
from agents.sde import noise_log_std
from agents.spaces import check_played
from agents.specs import agent_spec
from agents.speed import fuse
from agents.speed.actor_critics import drawn_actions
from agents.speed.soft import SoftStep, actions_now, plays_plainly
from agents.vec_env import Games


class _Step(NamedTuple):
    """What a gradient step has made."""

    critic: Update
    actor: Update
    ent_coef: Tensor  # with which it was made
    learned: Mapping[str, Tensor]  # what is logged of learning that


class SAC(ActorCriticsMixin, StockSAC):
    """Stable-Baselines3's SAC whose actor, critics and shared features take interventions.

    Without interventions it is SB3's SAC bit for bit. It takes Gymnasium's vector environments as they are, and on
    boards too small for SB3's NatureCNN ``"CnnPolicy"`` builds `agents.networks.MinAtarCNN` with heads of 64 units. It
    writes at most one row of logs for each step of a batch of games.

    Interventions see the critics' loss right after the critics' backward pass, and the actor's after the actor's:
    that one also fills the critics' gradients, which nobody uses. A features extractor that actor and critics share is
    trained by the actor's loss alone.

    Args:
        policy: as in SB3, or with layer normalisation as for `PPO`.
        env: as in SB3, or a Gymnasium `VectorEnv` with same-step resets.
        action_noise: as in SB3, or by name or as a number, see `agents.noise.Noise`.
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

        from agents import SAC
        from agents.plasticity import ReGraMa
        import envs

        model = SAC("MlpPolicy", envs.make("pendulum5"), interventions=[ReGraMa(networks=["critic"])])
        model.learn(100_000)
    """

    spec = agent_spec("sac")
    _critic_coef = 0.5
    _actor_form = "gaussian"

    def __init__(
        self,
        policy: str | type[SACPolicy],
        env: Games,
        learning_rate: float | Schedule = 3e-4,
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
        ent_coef: str | float = "auto",
        target_update_interval: int = 1,
        target_entropy: str | float = "auto",
        use_sde: bool = False,
        sde_sample_freq: int = -1,
        use_sde_at_warmup: bool = False,
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
            ent_coef, target_update_interval, target_entropy, use_sde, sde_sample_freq, use_sde_at_warmup,
            stats_window_size, tensorboard_log, policy_kwargs, verbose, seed, device, _init_setup_model,
            interventions=interventions, at_switch=at_switch, random_shift=random_shift, replay=replay,
            speed=speed,
        )  # fmt: skip

    def _take_speed(self) -> None:
        super()._take_speed()
        if self.ent_coef_optimizer is not None:
            fuse([self.ent_coef_optimizer], fused=self._quick is not None)

    def _update(self, gradient_steps: int, batch_size: int) -> None:
        """Update actor and critics from replay: SB3's loop, with the interventions called around every step."""
        self.policy.set_training_mode(True)
        temperature = [] if self.ent_coef_optimizer is None else [self.ent_coef_optimizer]
        self._update_learning_rate([*self.optimizers, *temperature])
        log = []
        for gradient_step, batch in enumerate(self._minibatches(batch_size, gradient_steps)):
            log.append(self._gradient_step(batch))
            if gradient_step % self.target_update_interval == 0:
                self._follow(self.critic, self.critic_target)
                polyak_update(self.batch_norm_stats, self.batch_norm_stats_target, 1.0)
        self._n_updates += gradient_steps
        self._log_update(log)

    def _gradient_step(self, batch: Batch) -> dict[str, Tensor]:
        """A step on a minibatch, whose graphs end here; what is logged of it, detached."""
        if self.use_sde:
            self.actor.reset_noise()  # log_std may have changed since the last gradient step
        self.optimizer_steps += 1
        networks = self._soft_step(batch)
        step = self._step_with_graphs(batch) if networks is None else self._step_at_once(batch, networks)
        # Not before both have stepped: what a reset changes must not lie in the graph of the actor's loss.
        self.hooks.after_step(step.critic)
        self.hooks.after_step(step.actor)
        losses = {"actor_loss": step.actor.losses["loss"], "critic_loss": step.critic.losses["loss"]}
        return {"ent_coef": step.ent_coef.reshape(()), **losses, **step.learned}

    def _step_with_graphs(self, batch: Batch) -> _Step:
        with self.hooks.taps(self.optimizer_steps, ("actor", "features")) as taps:
            actions, log_prob, following = self._draw(batch)
        log_prob = log_prob.reshape(-1, 1)
        ent_coef, learned = self._learnt_entropy_coefficient(log_prob)
        with torch.no_grad():
            if following is None:
                with self._quickly():
                    following = self.actor.action_log_prob(batch.next_observations)
            next_actions, next_log_prob = following
            targets = self._bootstrapped(batch, next_actions, next_log_prob, ent_coef)
        critic_update = self._step_critic(batch, targets)

        # A fresh forward through the critics that have just been updated; their taps are closed.
        values = self._ask("critic", batch.observations, actions, frozen=True)
        actor_loss = (ent_coef * log_prob - lowest(values)).mean()
        actor_update = self._step("actor", actor_loss, self.actor.optimizer, batch, taps)
        return _Step(critic_update, actor_update, ent_coef, learned)

    def _soft_step(self, batch: Batch) -> SoftStep | None:
        """The networks as they are computed without graphs; None where they cannot be, or a graph is needed."""
        at_once = self._learns_at_once()
        if at_once is None or self.hooks.needs_graph(self.optimizer_steps):
            return None
        return SoftStep.of(at_once, self.actor, self.critic, self.critic_target, batch)

    def _step_at_once(self, batch: Batch, networks: SoftStep) -> _Step:
        """What `_step_with_graphs` does, within rounding."""
        ent_coef, learned = self._learnt_entropy_coefficient(networks.now.log_prob)
        next_values = networks.next_values - ent_coef * networks.ahead.log_prob.unsqueeze(1)
        targets = self._returns(batch, next_values)
        critic_loss, at_values = self._squared_td_loss(networks.values, targets, batch, self._critic_coef)
        gradients = networks.critic_gradients(at_values)
        critic_update = self._optimize_by("critic", batch, {"loss": critic_loss}, self.critic.optimizer, gradients)
        actor_loss, gradients = networks.actor_loss(ent_coef)
        trains = ("actor", "features")
        actor_update = self._optimize_by(
            "actor", batch, {"loss": actor_loss}, self.actor.optimizer, gradients, trains=trains
        )
        return _Step(critic_update, actor_update, ent_coef, learned)

    def _draw(self, batch: Batch) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
        """Actions for a batch's observations, and their log-probabilities; those for the next ones, if known already.

        The actor steps after both have been asked for, so that they may be computed at once.
        """
        if (at_once := self._learns_at_once()) is not None:
            found = drawn_actions(at_once, self.actor, batch.observations, batch.next_observations)
            if found is not None:
                return found[0], found[1], found[2:]
        with self._quickly():
            actions, log_prob = self.actor.action_log_prob(batch.observations)
        return actions, log_prob, None

    def _entropy_coefficient(self) -> Tensor:
        """The entropy coefficient alpha, learned or fixed; detached."""
        log_ent_coef: Tensor | None = self.log_ent_coef
        return self.ent_coef_tensor if log_ent_coef is None else torch.exp(log_ent_coef.detach())

    def _learnt_entropy_coefficient(self, log_prob: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The entropy coefficient, which is learnt from these log-probabilities after that; what is logged of it."""
        ent_coef = self._entropy_coefficient()
        if self.ent_coef_optimizer is None:
            return ent_coef, {}
        return ent_coef, {"ent_coef_loss": self._update_entropy_coefficient(log_prob)}

    def _update_entropy_coefficient(self, log_prob: Tensor) -> Tensor:
        """One optimizer step on log alpha; the loss, detached."""
        assert self.log_ent_coef is not None
        assert self.ent_coef_optimizer is not None
        assert isinstance(self.target_entropy, float)
        above = (log_prob + self.target_entropy).detach()
        if self._quick is None:
            loss = -(self.log_ent_coef * above).mean()
            stepping.drop_gradients(self.ent_coef_optimizer)
            loss.backward()
        else:
            self.log_ent_coef.grad = -above.mean().reshape_as(self.log_ent_coef)
            loss = (self.log_ent_coef * self.log_ent_coef.grad).mean()
        stepping.step(self.ent_coef_optimizer)
        return loss.detach()

    def _bootstrapped(self, batch: Batch, next_actions: Tensor, next_log_prob: Tensor, ent_coef: Tensor) -> Tensor:
        """What the Q-values are drawn to, (batch, 1)."""
        next_values = self._lowest(batch.next_observations, next_actions) - ent_coef * next_log_prob.reshape(-1, 1)
        return self._returns(batch, next_values)

    # ------------------------------------------------------------------ exploration

    def _sample_action(
        self, learning_starts: int, action_noise: ActionNoise | None = None, n_envs: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """SB3's; the actor, where it is a plain network and `speed` is fast, is asked without its modules."""
        is_random = self.num_timesteps < max(learning_starts, self._random_until)
        drawn = None if is_random else self._drawn_at_once()
        if drawn is None:
            return super()._sample_action(learning_starts, action_noise, n_envs)
        scaled = drawn if action_noise is None else np.clip(drawn + action_noise(), -1, 1)
        actions = self.policy.unscale_action(scaled)
        check_played(actions)
        return actions, scaled

    def _drawn_at_once(self) -> np.ndarray | None:
        """Squashed actions for what is observed now, (games, actions); None where the policy must be asked."""
        if self._at_once is None or not plays_plainly(self.policy) or type(self).predict is not SAC.predict:
            return None
        assert self._last_obs is not None
        observations, _ = self.policy.obs_to_tensor(self._last_obs)
        found = actions_now(self._at_once, self.actor, observations)
        return None if found is None else found.numpy().reshape(-1, *(self.action_space.shape or ()))

    # ------------------------------------------------------------------ what a batch shows

    def _before_squashing(self, features: Tensor) -> Tensor:
        """Means and log standard deviations (before clipping; of gSDE's noise), (batch, 2 x actions)."""
        actor = self.actor
        latent = actor.latent_pi(features)
        log_std: Any = actor.log_std  # a layer, with gSDE a parameter
        log_std = noise_log_std(actor.action_dist, latent, log_std) if actor.use_sde else log_std(latent)
        return torch.cat([actor.mu(latent), log_std], dim=1)

    def distributions(self, batch: Batch) -> tuple[Distribution, ...]:
        """The policy before squashing on the batch's observations: one Normal, (batch, actions). In evaluation mode."""
        with self._evaluation():
            return (self._normal(batch.observations),)

    def _normal(self, observations: Any) -> Distribution:
        mean, log_std, more = self.actor.get_action_dist_params(observations)
        found: Distribution = self.actor.action_dist.proba_distribution(mean, log_std, **more).distribution
        return found

    def td_targets(self, batch: Batch) -> Tensor:
        """What all Q-functions' values of the actions taken are drawn to, (batch, 1). In evaluation mode."""
        with self._evaluation(), untapped(), torch.no_grad():
            actions, log_prob = self._act(batch.next_observations, "next")
            return self._bootstrapped(batch, actions, log_prob, self._entropy_coefficient())

    def _actor_losses(self, observations: Any) -> Tensor:
        """Alpha log pi(a|s) - min Q(s, a)."""
        actions, log_prob = self._act(observations, "now")
        with untapped():
            lowest = torch.cat(self.critic(observations, actions), dim=1).min(dim=1).values
        return self._entropy_coefficient() * log_prob - lowest

    def _act(self, observations: Any, purpose: str) -> tuple[Tensor, Tensor]:
        """Squashed actions, (batch, actions), and their log-probabilities, (batch,), for noise that stays the same."""
        normal = self._normal(observations)
        noise = self._noise_like(normal.mean, purpose)
        actions = torch.tanh(normal.mean + normal.stddev * noise)
        # Written out, because torch's own looks at the values that it is given.
        density = -0.5 * noise.square() - torch.log(normal.stddev) - 0.5 * math.log(2 * math.pi)
        squashing = torch.log(1 - actions.square() + self.actor.action_dist.epsilon)
        return actions, (density - squashing).sum(1)

    # ------------------------------------------------------------------ task switches

    def _check_env(self, env: VecEnv | None) -> None:
        super()._check_env(env)
        learned = isinstance(self.ent_coef, str)
        restarts = env is not None and self.forgets.exploration == "restart"
        if restarts and not learned and not remembers(self.action_noise):
            raise ValueError(
                f"at_switch.exploration is 'restart', but ent_coef is fixed at {self.ent_coef} and no action noise has "
                "a memory; give ent_coef 'auto' or leave it out"
            )

    def _forget(self, what: AtSwitch) -> None:
        super()._forget(what)
        if what.optimizer == "reset" and self.ent_coef_optimizer is not None:
            self.ent_coef_optimizer.state.clear()

    def _restart_exploration(self) -> None:
        super()._restart_exploration()
        if self.log_ent_coef is not None:
            _, _, initial = str(self.ent_coef).partition("_")  # "auto" or "auto_0.1"
            begin = torch.log(torch.ones(1, device=self.device) * float(initial or 1.0))  # SB3's expression, to the bit
            self.log_ent_coef.data.copy_(begin)
