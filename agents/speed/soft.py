"""A gradient step of SAC on networks that are `ReluNetwork`s: without a graph, or a gradient that nobody reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.sac.policies import Actor
from torch import Tensor

from agents.speed.actor_critics import is_asked, is_other
from agents.speed.live import AtOnce
from agents.speed.relu_networks import ReluNetwork
from agents.speed.squashed import Squashed

Gradients = list[tuple[Tensor, Tensor]]
"""Parameters, each with what its ``.grad`` shall be."""


class SoftStep:
    """The networks of a gradient step, asked about its minibatch.

    Args:
        actor: whose outputs are means, and logarithms of standard deviations.
        critics: Q-functions of what is observed, followed by actions.
        targets: that follow these.
        observed: the observations, (batch, inputs).
        following: the next ones.
        epsilon: of the distribution.

    Attributes:
        now: the actor's actions for the observations.
        ahead: those for the next ones.
    """

    def __init__(
        self, actor: ReluNetwork, critics: Sequence[ReluNetwork], targets: Sequence[ReluNetwork], observed: Tensor,
        following: Tensor, epsilon: float,
    ) -> None:  # fmt: skip
        self._actor, self._critics, self._targets = actor, critics, targets
        self._observed, self._following = observed, following
        outputs, self._trace = actor.forward(torch.cat([observed, following]))
        actions = outputs.shape[1] // 2
        noise = torch.cat([torch.randn(len(each), actions, device="cpu") for each in (observed, following)])
        self.now, self.ahead = Squashed.of(outputs, noise, epsilon).split(len(observed))

    @classmethod
    def of(
        cls, at_once: AtOnce, actor: Actor, critic: ContinuousCritic, target: ContinuousCritic, batch: Any
    ) -> SoftStep | None:
        """None where one of the networks has to be asked itself.

        Args:
            at_once: of the learner.
            actor: likewise.
            critic: likewise.
            target: likewise.
            batch: of its replay buffer.
        """
        modules = actor, critic, target
        if actor.use_sde or is_other(actor) or not (is_asked(critic) and is_asked(target)):
            return None
        if any(type(each.features_extractor) is not FlattenExtractor for each in modules):
            return None
        rows = len(batch.actions)
        heads: list[Any] = [actor.mu, actor.log_std]  # a parameter with gSDE alone
        of_actor = at_once.relu_networks("actor", [actor.latent_pi], heads, rows=rows)
        critics = at_once.relu_networks("critic", critic.q_networks, rows=rows)
        targets = at_once.relu_networks("critic_target", target.q_networks, rows=rows)
        if of_actor is None or critics is None or targets is None:
            return None
        observed, following = (
            actor.extract_features(each, actor.features_extractor)
            for each in (batch.observations, batch.next_observations)
        )
        if not all(each.dtype is torch.float32 for each in (observed, following, batch.actions)):
            return None
        return cls(of_actor[0], critics, targets, observed, following, actor.action_dist.epsilon)

    def lowest_ahead(self) -> Tensor:
        """The lowest of the targets' values of the actions ahead, (batch, 1)."""
        x = torch.cat([self._following, self.ahead.actions], dim=1)
        values = torch.stack([target.forward(x)[0] for target in self._targets])
        return values.amin(0)

    def values(self, actions: Tensor) -> Tensor:
        """The critics' values of actions that were taken, (critics, batch, 1)."""
        x = torch.cat([self._observed, actions], dim=1)
        found, self._traces = zip(*(critic.forward(x) for critic in self._critics), strict=True)
        return torch.stack(found)

    def critic_gradients(self, gradient: Tensor) -> Gradients:
        """Those of the critics' parameters, of that at the `values`."""
        found: Gradients = []
        for critic, trace, at_values in zip(self._critics, self._traces, gradient, strict=True):
            found += zip(critic.parameters, critic.backward(trace, at_values)[0], strict=True)
        return found

    def actor_loss(self, ent_coef: Tensor) -> tuple[Tensor, Gradients]:
        """The actor's loss through the critics as they are now, and its gradients."""
        rows, wanted = self.now.actions.shape
        x = torch.cat([self._observed, self.now.actions], dim=1)
        found, traces = zip(*(critic.forward(x) for critic in self._critics), strict=True)
        lowest, which = torch.stack(found).min(0, keepdim=True)
        loss = (ent_coef * self.now.log_prob - lowest.flatten()).mean()
        gradient = lowest.new_zeros(len(found), rows, 1).scatter_(0, which, -1 / rows)
        at_actions = self.now.actions.new_zeros(rows, wanted)
        for critic, trace, at_values in zip(self._critics, traces, gradient, strict=True):
            _, at_x = critic.backward(trace, at_values, learns=False, wanted=wanted)
            assert at_x is not None
            at_actions += at_x
        at_outputs = self.now.gradient(at_actions, (ent_coef / rows).reshape(1, 1))
        gradients, _ = self._actor.backward(self._trace, at_outputs)
        return loss, [*zip(self._actor.parameters, gradients, strict=True)]
