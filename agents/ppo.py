"""Proximal policy optimisation (Schulman et al., arXiv 1707.06347) on Stable-Baselines3, with hook points."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO as StockPPO
from stable_baselines3.common.buffers import DictRolloutBuffer, RolloutBuffer
from stable_baselines3.common.type_aliases import DictRolloutBufferSamples, RolloutBufferSamples
from stable_baselines3.common.utils import explained_variance
from torch import Tensor
from torch.nn import functional as F

from agents.learner import LearnerMixin
from agents.plasticity.protocols import Update
from agents.plasticity.units import Network
from agents.sb3_units import policy_networks

Batch = RolloutBufferSamples | DictRolloutBufferSamples
LOGGED = {  # term of `PPO.losses` -> SB3's tag for its mean over all minibatches
    "entropy_loss": "train/entropy_loss",
    "policy_loss": "train/policy_gradient_loss",
    "value_loss": "train/value_loss",
    "clip_fraction": "train/clip_fraction",
}


class PPO(LearnerMixin, StockPPO):
    """Stable-Baselines3's PPO whose actor, critic and shared features take interventions.

    Without interventions it is SB3's PPO bit for bit. It takes Gymnasium's vector environments as they are, and on
    boards too small for SB3's NatureCNN ``"CnnPolicy"`` builds `agents.networks.MinAtarCNN` with heads of 64 units.

    Args:
        policy: as in SB3.
        env: as in SB3, or a Gymnasium `VectorEnv` with same-step resets.
        args: as in SB3.
        interventions: what keeps the networks plastic, called in this order.
        kwargs: as in SB3.

    Example::

        from agents import PPO
        from agents.plasticity import GXD
        import envs

        model = PPO("CnnPolicy", envs.make("minatar3", n_envs=64), interventions=[GXD(rate=1e-4)])
        model.learn(1_500_000)
    """

    @property
    def optimizers(self) -> tuple[torch.optim.Optimizer]:
        """PPO has one optimizer over all parameters."""
        return (self.policy.optimizer,)

    def _build_networks(self) -> dict[str, Network]:
        return policy_networks(self.policy)

    def train(self) -> None:
        """Update the policy from the rollout: SB3's loop, with the interventions called around every step."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        log: list[Tensor] = []  # read once at the end: on a GPU every look at a value waits for the device
        keep_training = True
        for epoch in range(self.n_epochs):
            approx_kls: list[Tensor] = []
            for batch in self.rollout_buffer.get(self.batch_size):
                self.gradient_steps += 1
                with self._open_taps() as taps:
                    losses = self.losses(batch)
                log.append(torch.stack([losses[name].detach() for name in LOGGED]))
                approx_kls.append(losses["approx_kl"])
                if self.target_kl is not None and approx_kls[-1].item() > 1.5 * self.target_kl:
                    self.gradient_steps -= 1
                    keep_training = False
                    if self.verbose >= 1:
                        print(f"Early stopping at step {epoch} due to reaching max kl: {approx_kls[-1].item():.2f}")
                    break
                self._step(Update(
                    networks=tuple(self.networks) if self.interventions else (),
                    batch=batch, losses=losses, optimizer=self.policy.optimizer, step=self.gradient_steps,
                    learning_rate=self.policy.optimizer.param_groups[0]["lr"],
                ), taps)  # fmt: skip
            self._n_updates += 1
            if not keep_training:
                break
        self._log_update(log, approx_kls, losses["loss"])
        self._after_update()

    def _step(self, update: Update, taps: Any) -> None:
        """One backward, clip and optimizer step."""
        update.optimizer.zero_grad()
        update = self._backward(update, taps)
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        update.optimizer.step()
        self._after_step(update)

    def losses(self, batch: Batch) -> Mapping[str, Tensor]:
        """PPO's loss on a minibatch and its terms, and two measures of the step's size.

        Returns:
            ``loss`` = ``policy_loss`` + ent_coef * ``entropy_loss`` + vf_coef * ``value_loss``; detached ``approx_kl``
            (the estimator of http://joschu.net/blog/kl-approx.html) and ``clip_fraction``.
        """
        clip_range = self._now(self.clip_range)
        discrete = isinstance(self.action_space, spaces.Discrete)
        actions = batch.actions.long().flatten() if discrete else batch.actions
        values, log_prob, entropy = self.policy.evaluate_actions(batch.observations, actions)
        values = values.flatten()

        advantages = batch.advantages
        if self.normalize_advantage and len(advantages) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        ratio = torch.exp(log_prob - batch.old_log_prob)
        unclipped = advantages * ratio
        clipped = advantages * torch.clamp(ratio, 1 - clip_range, 1 + clip_range)
        policy_loss = -torch.min(unclipped, clipped).mean()

        if self.clip_range_vf is not None:
            clip_range_vf = self._now(self.clip_range_vf)
            values = batch.old_values + torch.clamp(values - batch.old_values, -clip_range_vf, clip_range_vf)
        value_loss = F.mse_loss(batch.returns, values)
        # A distribution without a closed form of its entropy: estimate it by the sampled actions.
        entropy_loss = -torch.mean(-log_prob) if entropy is None else -torch.mean(entropy)

        with torch.no_grad():
            log_ratio = log_prob - batch.old_log_prob
            approx_kl = torch.mean((torch.exp(log_ratio) - 1) - log_ratio)
            clip_fraction = torch.mean((torch.abs(ratio - 1) > clip_range).float())
        return {
            "loss": policy_loss + self.ent_coef * entropy_loss + self.vf_coef * value_loss,
            "policy_loss": policy_loss,
            "value_loss": value_loss,
            "entropy_loss": entropy_loss,
            "approx_kl": approx_kl,
            "clip_fraction": clip_fraction,
        }

    def _now(self, schedule: Any) -> float:
        """What a schedule gives at this point of training."""
        return float(schedule(self._current_progress_remaining))

    def _log_update(self, log: list[Tensor], approx_kls: list[Tensor], loss: Tensor) -> None:
        """SB3's ``train/*`` tags; `log` holds a row of `LOGGED` for every minibatch, `approx_kls` the last epoch's."""
        buffer = self.rollout_buffer
        columns = zip(*torch.stack(log).tolist(), strict=True)
        for tag, column in zip(LOGGED.values(), columns, strict=True):
            self.logger.record(tag, np.mean(column))
        self.logger.record("train/approx_kl", np.mean(torch.stack(approx_kls).cpu().numpy()))
        self.logger.record("train/loss", loss.item())
        self.logger.record(
            "train/explained_variance", explained_variance(buffer.values.flatten(), buffer.returns.flatten())
        )
        if hasattr(self.policy, "log_std"):
            self.logger.record("train/std", torch.exp(self.policy.log_std).mean().item())
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/clip_range", self._now(self.clip_range))
        if self.clip_range_vf is not None:
            self.logger.record("train/clip_range_vf", self._now(self.clip_range_vf))

    def outputs(self, batch: Batch) -> Mapping[str, Tensor]:
        """``actor``: action logits or means, (batch, actions); ``critic``: values, (batch, 1). In evaluation mode."""
        training = self.policy.training
        self.policy.set_training_mode(False)
        features = self.policy.extract_features(batch.observations)
        pi, vf = features if isinstance(features, tuple) else (features, features)
        outputs = {
            "actor": self.policy.action_net(self.policy.mlp_extractor.forward_actor(pi)),
            "critic": self.policy.value_net(self.policy.mlp_extractor.forward_critic(vf)),
        }
        self.policy.set_training_mode(training)
        return outputs

    def sample(self, n: int, generator: torch.Generator) -> Batch:
        """At most `n` transitions of the last rollout, without replacement."""
        buffer = self.rollout_buffer
        total = buffer.buffer_size * buffer.n_envs
        rows = torch.randperm(total, generator=generator)[:n].numpy()

        def take(array: np.ndarray) -> Tensor:
            # SB3 flattens a rollout to (env, step) order when it is first read; before that it is (step, env).
            flat = buffer.generator_ready
            picked = array[rows] if flat else array[rows % buffer.buffer_size, rows // buffer.buffer_size]
            return torch.as_tensor(picked, device=self.device)

        actions = take(buffer.actions).float()
        names = ("values", "log_probs", "advantages", "returns")
        scalars = [take(getattr(buffer, name)).flatten() for name in names]
        if isinstance(buffer, DictRolloutBuffer):
            observations = {key: take(array) for key, array in buffer.observations.items()}
            return DictRolloutBufferSamples(observations, actions, *scalars)
        assert isinstance(buffer, RolloutBuffer)
        return RolloutBufferSamples(take(buffer.observations), actions, *scalars)
