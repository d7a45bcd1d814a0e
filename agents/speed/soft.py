"""A gradient step of SAC on networks that are `ReluNetwork`s: without a graph, or a gradient that nobody reads."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial, reduce
from typing import Any

import torch
from stable_baselines3.common.policies import BasePolicy, ContinuousCritic
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.sac.policies import Actor, SACPolicy
from torch import Tensor

from agents.speed.actor_critics import is_asked, is_other
from agents.speed.live import AtOnce
from agents.speed.perceptrons import is_hooked
from agents.speed.relu_networks import ReluNetwork, Trace
from agents.speed.sharing import at_once
from agents.speed.squashed import Squashed
from agents.speed.threads import threads

Gradients = list[tuple[Tensor, Tensor]]
"""Parameters, each with what its ``.grad`` shall be."""
SHARED = 2**23
"""Multiplications of a network's forward from which a second thread pays for being woken."""


class SoftStep:
    """The networks of a gradient step, asked about its minibatch.

    Where that pays what does not depend on each other is computed by two threads.

    Args:
        actor: whose outputs are means, and logarithms of standard deviations.
        critics: Q-functions of what is observed, followed by actions.
        targets: that follow these.
        observed: the observations, (batch, inputs).
        following: the next ones.
        taken: the actions that were taken, (batch, actions).
        epsilon: of the distribution.

    Attributes:
        now: the actor's actions for the observations.
        ahead: those for the next ones.
        values: the critics' values of the actions that were taken, (critics, batch, 1).
        next_values: the lowest of the targets' values of the actions ahead, (batch, 1).
    """

    def __init__(
        self, actor: ReluNetwork, critics: Sequence[ReluNetwork], targets: Sequence[ReluNetwork], observed: Tensor,
        following: Tensor, taken: Tensor, epsilon: float,
    ) -> None:  # fmt: skip
        self._actor, self._critics, self._observed = actor, critics, observed
        self._shared = threads() > 1 and len(observed) * sum(map(Tensor.numel, actor.parameters)) >= SHARED
        noises = [torch.randn(taken.shape, device="cpu") for _ in range(2)]  # drawn before threads may change places

        def look_ahead() -> None:
            self.ahead, _ = _drawn(actor, following, noises[1], epsilon)
            self.next_values = _values(targets, following, self.ahead.actions)[0].amin(0)

        def look() -> None:
            self.values, self._traces = _values(critics, observed, taken)
            self.now, self._trace = _drawn(actor, observed, noises[0], epsilon)

        at_once([look_ahead, look], pays=self._shared)

    @classmethod
    def of(
        cls, learner: AtOnce, actor: Actor, critic: ContinuousCritic, target: ContinuousCritic, batch: Any
    ) -> SoftStep | None:
        """None where one of the networks has to be asked itself.

        Args:
            learner: how its networks are computed.
            actor: of it.
            critic: likewise.
            target: likewise.
            batch: of its replay buffer.
        """
        if not (is_asked(critic) and is_asked(target)):
            return None
        if any(type(each.features_extractor) is not FlattenExtractor for each in (critic, target)):
            return None
        rows = len(batch.actions)
        of_actor = _read(learner, "actor", actor, rows)
        critics = learner.relu_networks("critic", critic.q_networks, rows=rows)
        targets = learner.relu_networks("critic_target", target.q_networks, rows=rows)
        if of_actor is None or critics is None or targets is None:
            return None
        observed, following = (
            actor.extract_features(each, actor.features_extractor)
            for each in (batch.observations, batch.next_observations)
        )
        if not all(each.dtype is torch.float32 for each in (observed, following, batch.actions)):
            return None
        return cls(of_actor, critics, targets, observed, following, batch.actions, actor.action_dist.epsilon)

    def critic_gradients(self, gradient: Tensor) -> Gradients:
        """Those of the critics' parameters, of that at the `values`."""
        asked = [*zip(self._critics, self._traces, gradient, strict=True)]
        found = at_once([partial(critic.gradients, *given) for critic, *given in asked], pays=self._shared)
        return [pair for (critic, *_), each in zip(asked, found, strict=True) for pair in _paired(critic, each)]

    def actor_loss(self, ent_coef: Tensor) -> tuple[Tensor, Gradients]:
        """The actor's loss through the critics as they are now, and its gradients."""
        rows, wanted = self.now.actions.shape
        values, traces = _values(self._critics, self._observed, self.now.actions)
        lowest, which = values.min(0, keepdim=True)
        loss = (ent_coef * self.now.log_prob - lowest.flatten()).mean()
        gradient = values.new_zeros(values.shape).scatter_(0, which, -1 / rows)
        asked = zip(self._critics, traces, gradient, strict=True)
        parts = [critic.input_gradient(trace, at_values, wanted) for critic, trace, at_values in asked]
        at_actions = reduce(torch.add, parts)
        at_outputs = self.now.gradient(at_actions, (ent_coef / rows).expand(rows))
        return loss, _paired(self._actor, self._actor.gradients(self._trace, at_outputs))


def plays_plainly(policy: SACPolicy) -> bool:
    """Whether what a policy plays is what SB3's draws of its actor."""
    return (
        type(policy).predict is BasePolicy.predict
        and type(policy)._predict is SACPolicy._predict
        and type(policy.actor).forward is Actor.forward
        and not is_hooked(policy.actor)
        and not {"predict", "_predict"} & vars(policy).keys()
    )


def actions_now(learner: AtOnce, actor: Actor, observations: Any) -> Tensor | None:
    """Actions drawn for observations, (batch, actions), as the actor's forward draws them; None where it must be asked.

    Args:
        learner: how its networks are computed.
        actor: of it.
        observations: as it takes them.
    """
    if not isinstance(observations, Tensor):
        return None
    network = _read(learner, "exploration", actor, len(observations))
    if network is None:
        return None
    observed = actor.extract_features(observations, actor.features_extractor)
    if observed.dtype is not torch.float32:
        return None
    outputs, _ = network.forward(observed)
    noise = torch.randn(len(outputs), outputs.shape[1] // 2, device="cpu")
    return Squashed.of(outputs, noise, actor.action_dist.epsilon).actions


def _read(learner: AtOnce, purpose: str, actor: Actor, rows: int) -> ReluNetwork | None:
    """The actor, which is asked about so many rows; None where it is none."""
    if actor.use_sde or is_other(actor) or type(actor.features_extractor) is not FlattenExtractor:
        return None
    heads: list[Any] = [actor.mu, actor.log_std]  # a parameter with gSDE alone
    found = learner.relu_networks(purpose, [actor.latent_pi], heads, rows=rows)
    return None if found is None else found[0]


def _drawn(actor: ReluNetwork, observed: Tensor, noise: Tensor, epsilon: float) -> tuple[Squashed, Trace]:
    outputs, trace = actor.forward(observed)
    return Squashed.of(outputs, noise, epsilon), trace


def _values(critics: Sequence[ReluNetwork], observed: Tensor, actions: Tensor) -> tuple[Tensor, list[Trace]]:
    """Values of actions, (critics, batch, 1), and what their backwards need."""
    x = torch.cat([observed, actions], dim=1)
    found = [critic.forward(x) for critic in critics]
    return torch.stack([values for values, _ in found]), [trace for _, trace in found]


def _paired(network: ReluNetwork, gradients: list[Tensor]) -> Gradients:
    return [*zip(network.parameters, gradients, strict=True)]
