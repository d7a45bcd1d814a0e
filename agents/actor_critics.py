"""What SAC and TD3 share: an actor of continuous actions, critics of them, and the loss that trains each."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.utils import polyak_update
from torch import Tensor, nn
from torch.nn import functional as F

from agents import noise
from agents.buffers.sampling import ReplayBatch as Batch
from agents.off_policy import OffPolicyMixin
from agents.plasticity.outputs import Form, Kind
from agents.plasticity.protocols import Update
from agents.plasticity.seeds import derive_seed
from agents.plasticity.taps import Taps, untapped
from agents.speed.actor_critics import q_values
from agents.speed.live import AtOnce


class ActorCriticsMixin(OffPolicyMixin):
    """An `OffPolicyMixin` whose actor is trained through its critics; mixed into SAC or TD3, in front of it.

    A features extractor that actor and critics share is trained by the actor's loss alone.
    """

    actor: Any
    critic: ContinuousCritic
    critic_target: ContinuousCritic
    _critic_coef: ClassVar[float]
    """What the critics' squared errors are multiplied by in their loss."""
    _actor_form: ClassVar[Kind]
    """What the actor's outputs are."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._at_once: AtOnce | None = None  # where speed is fast
        super().__init__(*args, **kwargs)

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_at_once"]

    def _take_speed(self) -> None:
        super()._take_speed()
        self._at_once = None if self._quick is None else AtOnce(self._quick)

    def _setup_model(self) -> None:
        self.action_noise = noise.built(self.action_noise, self.action_space)
        super()._setup_model()

    @property
    def optimizers(self) -> tuple[torch.optim.Optimizer, ...]:
        """The actor's, with a shared features extractor's parameters, and the critics'."""
        return (self.actor.optimizer, self.critic.optimizer)

    def _step(self, name: str, loss: Tensor, optimizer: torch.optim.Optimizer, batch: Batch, taps: Taps) -> Update:
        """One backward and optimizer step of the actor, with the features that it shares, or of the critics."""
        trains = ("actor", "features") if name == "actor" else (name,)
        return self._optimize(name, batch, {"loss": loss}, optimizer, taps, trains=trains)

    def _step_critic(self, batch: Batch, targets: Tensor) -> Update:
        """One backward and optimizer step of the critics towards targets."""
        with self.hooks.taps(self.optimizer_steps, ("critic",)) as taps:
            values = self._ask("critic", batch.observations, batch.actions)
        loss = self._critic_coef * self._td_loss(F.mse_loss, values, targets, batch)
        return self._step("critic", loss, self.critic.optimizer, batch, taps)

    @torch.no_grad()
    def _follow(self, online: nn.Module, target: nn.Module) -> None:
        """Move a target network towards the one that it follows."""
        if self._at_once is None:
            polyak_update(online.parameters(), target.parameters(), self.tau)
        else:
            torch._foreach_lerp_(self._at_once.parameters(target), self._at_once.parameters(online), self.tau)

    def _quickly(self, *, frozen: bool = False) -> AbstractContextManager[Any]:
        """As of every learner, in updates: targets are also asked for to be measured."""
        return super()._quickly(frozen=frozen) if self.policy.training else nullcontext()

    def _learns_at_once(self) -> AtOnce | None:
        """How networks are computed at once, in an update alone: what is measured is computed exactly."""
        return self._at_once if self.policy.training else None

    def _ask(self, name: str, observations: Any, actions: Tensor, *, frozen: bool = False) -> Sequence[Tensor]:
        """What each Q-function of ``critic`` or ``critic_target`` says of actions, (batch, 1) each.

        Args:
            name: of these.
            observations: as they take them.
            actions: (batch, actions).
            frozen: nobody uses the gradients of their parameters.
        """
        critic: ContinuousCritic = getattr(self, name)
        if (at_once := self._learns_at_once()) is not None:
            found = q_values(at_once, name, critic, observations, actions, frozen=frozen)
            if found is not None:
                return found.unbind()
        with self._quickly(frozen=frozen):
            values: Sequence[Tensor] = critic(observations, actions)
        return values

    @torch.no_grad()
    def _lowest(self, observations: Any, actions: Tensor) -> Tensor:
        """The lowest of the target critics' values, (batch, 1)."""
        return lowest(self._ask("critic_target", observations, actions))

    # ------------------------------------------------------------------ what a batch shows

    @property
    def output_forms(self) -> Mapping[str, Form]:
        """``actor``: what it gives before it is squashed; ``critic``: a value of each Q-function."""
        actions = math.prod(self.action_space.shape or ())
        values = (1,) * len(self.critic.q_networks)
        return {"actor": Form(self._actor_form, (actions,)), "critic": Form("values", values, self._critic_coef)}

    def _outputs(self, batch: Batch, names: Collection[str]) -> Mapping[str, Tensor]:
        """The networks' outputs on the batch.

        Returns:
            ``actor``: what it gives before it is squashed, see `_before_squashing`; ``critic``: Q-values of the actions
            taken, (batch, critics).
        """
        actor, critic = self.actor, self.critic
        found: dict[str, Tensor] = {}
        shared = critic.share_features_extractor
        if "actor" in names or shared:
            features = actor.extract_features(batch.observations, actor.features_extractor)
        if "actor" in names:
            found["actor"] = self._before_squashing(features)
        if "critic" in names:
            if not shared:
                features = critic.extract_features(batch.observations, critic.features_extractor)
            inputs = torch.cat([features, batch.actions], dim=1)
            found["critic"] = torch.cat([q_net(inputs) for q_net in critic.q_networks], dim=1)
        return found

    @abstractmethod
    def td_targets(self, batch: Batch) -> Tensor: ...

    @abstractmethod
    def _before_squashing(self, features: Tensor) -> Tensor: ...

    def sample_losses(self, batch: Batch, td_targets: Tensor | None = None) -> dict[str, Tensor]:
        """Network's name -> the loss that trains it, of each transition, (batch,). In evaluation mode.

        ``critic``: the squared temporal-difference errors, summed over the Q-functions, as they are weighed in
        training. ``actor``, and ``features`` where they are shared: see `_actor_losses`. What is drawn is decided by
        the learner's seed and the batch's size alone.
        """
        targets = self.td_targets(batch) if td_targets is None else td_targets
        with self._evaluation():
            errors = [(value - targets).square() for value in self._values(batch)]
            of_actor = dict.fromkeys(("actor", "features"), self._actor_losses(batch.observations))
        losses = {"critic": self._critic_coef * torch.cat(errors, dim=1).sum(1), **of_actor}
        return {name: loss for name, loss in losses.items() if name in self.networks}

    @abstractmethod
    def _actor_losses(self, observations: Any) -> Tensor: ...

    def _values(self, batch: Batch) -> Sequence[Tensor]:
        """Q-values of the actions taken, (batch, 1) of each Q-function; taps see the critics alone."""
        critic = self.critic
        if not critic.share_features_extractor:
            values: Sequence[Tensor] = critic(batch.observations, batch.actions)
            return values
        with untapped(), torch.no_grad():  # the critics' loss does not train what they share
            features = critic.extract_features(batch.observations, critic.features_extractor)
        inputs = torch.cat([features, batch.actions], dim=1)
        return [q_net(inputs) for q_net in critic.q_networks]

    def _noise_like(self, actions: Tensor, purpose: str) -> Tensor:
        """Standard normal noise that stays the same for each purpose."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed or 0, "noise", purpose))
        return self._upload(torch.randn(actions.shape, generator=generator))


def lowest(values: Sequence[Tensor]) -> Tensor:
    """The lowest of Q-functions' values of each transition, (batch, 1)."""
    return torch.cat([*values], dim=1).min(dim=1, keepdim=True).values
