"""Proximal policy optimisation (Schulman et al., arXiv 1707.06347) on Stable-Baselines3, with hook points."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO as StockPPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.common.utils import explained_variance
from torch import Tensor

from agents import clipped_objective as objective
from agents.buffers import sampling
from agents.buffers.rollout import RolloutBufferByGame
from agents.buffers.sampling import RolloutBatch as Batch
from agents.networks.distributions import unchecked
from agents.on_policy import OnPolicyMixin
from agents.optimizers import with_optimizer
from agents.plasticity.protocols import Intervention, Update
from agents.plasticity.validation import check
from agents.specs import agent_spec
from agents.speed import proximal
from agents.speed.live import AtOnce
from agents.vec_env import Games

LOGGED = {  # term of `PPO.losses` -> SB3's tag for its mean over all minibatches
    "entropy_loss": "train/entropy_loss",
    "policy_loss": "train/policy_gradient_loss",
    "value_loss": "train/value_loss",
    "clip_fraction": "train/clip_fraction",
}

LOSSES = ("losses", "_evaluate")
"""What of `PPO` is computed otherwise with ``speed="fast"``."""
Losses: TypeAlias = Mapping[str, Tensor]
Step: TypeAlias = Callable[[], Update]


class PPO(OnPolicyMixin, StockPPO):
    """Stable-Baselines3's PPO whose actor, critic and shared features take interventions.

    Without interventions it is SB3's PPO bit for bit. It takes Gymnasium's vector environments as they are, and on
    boards too small for SB3's NatureCNN ``"CnnPolicy"`` builds `agents.networks.MinAtarCNN` with heads of 64 units.

    Args:
        policy: as in SB3, or with layer normalisation ``"LayerNormMlpPolicy"``, ``"LayerNormCnnPolicy"`` or
            ``"LayerNormMultiInputPolicy"``. Of `policy_kwargs` it also takes ``norm``, ``dropout`` and ``network``, see
            `agents.networks.policies.PlasticPolicy`.
        env: as in SB3, or a Gymnasium `VectorEnv` with same-step resets.
        interventions: what keeps the networks plastic, called in this order.
        at_switch: what is forgotten at revealed task switches, the arguments of `agents.at_switch.AtSwitch`.
        optimizer: of the networks, a name of `agents.optimizers`, or a mapping of it and its settings; None for Adam,
            or what `policy_kwargs` give.
        random_shift: pixels by which the images of a minibatch are moved at random at most, see
            `agents.augmentation.RandomShift`; the ratio is then taken to the policy on the image as it was played.
        speed: ``fast`` for other rounding where that takes less time, see `agents.speed`.

    All other arguments are as in SB3.

    Example::

        from agents import PPO
        from agents.plasticity import GXD
        import envs

        model = PPO("CnnPolicy", envs.make("minatar3", n_envs=64), interventions=[GXD(rate=1e-4)])
        model.learn(1_500_000)
    """

    COUNTERS: ClassVar[tuple[str, ...]] = ("n_epochs", "_replay_ratio")
    spec = agent_spec("ppo")

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: Games,
        learning_rate: float | Schedule = 3e-4,
        n_steps: int = 2048,
        batch_size: int = 64,
        n_epochs: int = 10,
        gamma: float = 0.99,
        gae_lambda: float = 0.95,
        clip_range: float | Schedule = 0.2,
        clip_range_vf: float | Schedule | None = None,
        normalize_advantage: bool = True,
        ent_coef: float = 0.0,
        vf_coef: float = 0.5,
        max_grad_norm: float = 0.5,
        use_sde: bool = False,
        sde_sample_freq: int = -1,
        rollout_buffer_class: type[RolloutBuffer] | None = None,
        rollout_buffer_kwargs: dict[str, Any] | None = None,
        target_kl: float | None = None,
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
        speed: str = "exact",
    ) -> None:
        self._replay_ratio: float | None = None  # that was set; otherwise `n_epochs` decides
        policy_kwargs = with_optimizer(policy_kwargs, optimizer, self.spec)
        super().__init__(
            policy, env, learning_rate, n_steps, batch_size, n_epochs, gamma, gae_lambda, clip_range, clip_range_vf,
            normalize_advantage, ent_coef, vf_coef, max_grad_norm, use_sde, sde_sample_freq, rollout_buffer_class,
            rollout_buffer_kwargs, target_kl, stats_window_size, tensorboard_log, policy_kwargs, verbose, seed,
            device, _init_setup_model,
            interventions=interventions, at_switch=at_switch, random_shift=random_shift, speed=speed,
        )  # fmt: skip

    @property
    def optimizers(self) -> tuple[torch.optim.Optimizer]:
        """PPO has one optimizer over all parameters."""
        return (self.policy.optimizer,)

    @property
    def replay_ratio(self) -> float:
        """How often each transition is learnt from: epochs over each rollout, `n_epochs` until others are set.

        A whole number of at least 1 may be; an update that is going on makes the epochs that it began with.

        Raises:
            ValueError: it is set to another one.
        """
        return self.given_replay_ratio if self._replay_ratio is None else self._replay_ratio

    @replay_ratio.setter
    def replay_ratio(self, ratio: float) -> None:
        check("replay_ratio", ratio, ratio >= 1 and float(ratio).is_integer(), "a whole number of epochs of at least 1")
        self._replay_ratio = float(ratio)

    @property
    def given_replay_ratio(self) -> float:
        """The replay ratio of `n_epochs`."""
        return float(self.n_epochs)

    def _most_gradient_steps(self, timesteps: int) -> int:
        rollout = self.n_steps * self.n_envs
        return math.ceil(timesteps / rollout) * int(self.replay_ratio) * math.ceil(rollout / self.batch_size)

    def train(self) -> None:
        """Update the policy from the rollout: SB3's loop, with the interventions called around every step."""
        with self.parameter_lock.writing():
            if self.team is None:
                buffer = self.rollout_buffer
                listing = buffer.listing_boards if isinstance(buffer, RolloutBufferByGame) else nullcontext
                with self._few_threads(self.batch_size), unchecked(self.device), listing():
                    self._update()
            else:
                self.team.update(self)
        self._end_update()

    def _update(self) -> None:
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        log: list[Tensor] = []  # read once at the end: on a GPU every look at a value waits for the device
        keep_training = True
        for epoch in range(int(self.replay_ratio)):
            approx_kls: list[Tensor] = []
            for batch in self.rollout_buffer.get(self.batch_size):
                losses, keep_training = self._gradient_step(self._augmented(batch))
                log.append(torch.stack([losses[name] for name in LOGGED]))
                approx_kls.append(losses["approx_kl"])
                if not keep_training:
                    if self.verbose >= 1:
                        print(f"Early stopping at step {epoch} due to reaching max kl: {approx_kls[-1].item():.2f}")
                    break
            self._n_updates += 1
            if not keep_training:
                break
        self._log_update(log, approx_kls, losses["loss"])

    def _gradient_step(self, batch: Batch) -> tuple[Losses, bool]:
        """A step on a minibatch, whose graph ends here; its losses, detached, and whether it was made."""
        self.optimizer_steps += 1
        losses, step = self._without_graph(batch) or self._with_graph(batch)
        if self.target_kl is not None and losses["approx_kl"].item() > 1.5 * self.target_kl:
            self.optimizer_steps -= 1
            return {name: loss.detach() for name, loss in losses.items()}, False
        update = step()
        self.hooks.after_step(update)
        return update.losses, True

    def _with_graph(self, batch: Batch) -> tuple[Losses, Step]:
        """`losses`, with ``speed="fast"`` with other rounding, and what makes the step."""
        with self.hooks.taps(self.optimizer_steps) as taps:
            losses = self._losses_quickly(batch)
        given = "policy", batch, losses, self.policy.optimizer
        return losses, partial(self._optimize, *given, taps, max_grad_norm=self.max_grad_norm)

    def _without_graph(self, batch: Batch) -> tuple[Losses, Step] | None:
        """`losses`, and what makes the step, where no graph has to be made for that."""
        if self._at_once is None or (layers := self.hooks.looked_at(self.optimizer_steps)) is None:
            return None
        if (learnt := self._learnt_without_graph(batch, [layer.producer.weight for layer in layers])) is None:
            return None
        losses, gradients, units = learnt
        given = "policy", batch, losses, self.policy.optimizer
        seen = {layer.name: units[layer.producer.weight] for layer in layers}
        return losses, partial(self._optimize_by, *given, gradients, max_grad_norm=self.max_grad_norm, taps=seen)

    def _losses_quickly(self, batch: Batch) -> Losses:
        if (at_once := self._computes_losses()) is not None:
            found = proximal.losses(at_once, self.policy, batch, self._loss_settings())
            if found is not None:
                return found
        with self._quickly():
            return self.losses(batch)

    def _learnt_without_graph(
        self, batch: Batch, looks: Sequence[Tensor] = ()
    ) -> tuple[Losses, proximal.Gradients, proximal.Units] | None:
        """`losses`, their gradients and what is seen of the layers with these weights, where they need no graph."""
        at_once = self._computes_losses()
        if at_once is None:
            return None
        settings = self._loss_settings()
        return proximal.gradients(at_once, self.policy, batch, settings, rows=self.batch_size, looks=looks)

    def _computes_losses(self) -> AtOnce | None:
        """What computes losses in place of `losses`; None where that has to say them."""
        own = any(name in vars(self) or getattr(type(self), name) is not getattr(PPO, name) for name in LOSSES)
        return None if own else self._at_once

    def losses(self, batch: Batch) -> Losses:
        """PPO's loss on a minibatch and its terms, and two measures of the step's size.

        Returns:
            ``loss`` = ``actor_loss`` + vf_coef * ``value_loss``, ``actor_loss`` = ``policy_loss`` + ent_coef *
            ``entropy_loss``; detached ``approx_kl`` (the estimator of http://joschu.net/blog/kl-approx.html) and
            ``clip_fraction``.
        """
        return objective.losses(self._evaluate(batch), batch, self._loss_settings())

    def sample_losses(self, batch: Batch, td_targets: None = None) -> dict[str, Tensor]:
        """Network's name -> PPO's loss of each transition, (batch,): one tensor for all, its mean is the loss.

        In evaluation mode; advantages are normalised over the batch, as in training.
        """
        with self._evaluation():
            samples = self._evaluate(batch)
        return dict.fromkeys(self.networks, objective.sample_losses(samples, batch, self._loss_settings()))

    def _evaluate(self, batch: Batch) -> objective.Samples:
        """What the terms of the loss are means of."""
        discrete = isinstance(self.action_space, spaces.Discrete)
        actions = batch.actions.long().flatten() if discrete else batch.actions
        observations = self._read(batch.observations, self.policy)
        values, log_prob, entropy = self.policy.evaluate_actions(observations, actions)
        return objective.evaluated(values.flatten(), log_prob, entropy, batch, self._loss_settings())

    def _loss_settings(self) -> objective.Settings:
        """Of the loss, at this point of training."""
        clip_range_vf = None if self.clip_range_vf is None else self._now(self.clip_range_vf)
        return objective.Settings(
            self.normalize_advantage, self._now(self.clip_range), clip_range_vf, self.ent_coef, self.vf_coef
        )

    def _now(self, schedule: Any) -> float:
        """What a schedule gives at this point of training."""
        return float(schedule(self._current_progress_remaining))

    def _log_update(self, log: list[Tensor], approx_kls: list[Tensor], loss: Tensor) -> None:
        """SB3's ``train/*`` tags; `log` holds a row of `LOGGED` for every minibatch, `approx_kls` the last epoch's."""
        columns = zip(*torch.stack(log).tolist(), strict=True)
        for tag, column in zip(LOGGED.values(), columns, strict=True):
            self.logger.record(tag, np.mean(column))
        self.logger.record("train/approx_kl", np.mean(torch.stack(approx_kls).cpu().numpy()))
        self.logger.record("train/loss", loss.item())
        self.logger.record(
            "train/explained_variance", explained_variance(*sampling.values_and_returns(self.rollout_buffer))
        )
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/std", torch.exp(self.policy.log_std).mean().item())
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/clip_range", self._now(self.clip_range))
        if self.clip_range_vf is not None:
            self.logger.record("train/clip_range_vf", self._now(self.clip_range_vf))
