"""What agents do in their rollouts, from one forward of the networks of all: each draws its actions by itself."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from agents.acting import Actor
from agents.batched.bank import Bank, Networks
from agents.batched.layers import outputs
from agents.batched.shapes import LOGITS, Shapes, features_of
from agents.networks.distributions import HALF_LOG_2PI
from agents.plasticity.composition import Composition

if TYPE_CHECKING:
    from agents.ppo import PPO


class Acted(NamedTuple):
    """What an agent does in a step.

    Attributes:
        actions: indices (batch,), or numbers (batch, actions).
        values: (batch, 1).
        log_probs: of the actions, (batch,).
    """

    actions: Tensor
    values: Tensor
    log_probs: Tensor


def noise(shapes: Shapes, batch: int) -> Tensor:
    """What decides actions, (batch, actions), drawn as torch's own distributions draw it by the global generator."""
    found = torch.empty(batch, shapes.actor[-1].outputs, dtype=shapes.dtype)
    return found.exponential_() if shapes.head == LOGITS else found.normal_()


@torch.no_grad()
def acted(networks: Networks, head: str, features: Tensor, noise: Tensor) -> list[Acted | None]:
    """What each of several agents does; None of one whose actor puts out what are no numbers.

    Args:
        networks: of all agents.
        head: what their actors put out, see `Shapes`.
        features: what the networks see, (agents, batch, inputs).
        noise: of each, (agents, batch, actions).
    """
    given, values = outputs(networks.actor, features), outputs(networks.critic, features)
    if head == LOGITS:
        logits = torch.log_softmax(given, -1)
        chosen = torch.argmax(torch.exp(logits) / noise, -1, keepdim=True)  # as torch.multinomial draws one of them
        actions, log_probs = chosen.squeeze(-1), logits.gather(-1, chosen).squeeze(-1)
    else:
        assert networks.log_std is not None
        log_std = networks.log_std.unsqueeze(1)
        actions = torch.addcmul(given, noise, torch.exp(log_std))
        log_probs = -(noise.square() / 2 + (log_std + HALF_LOG_2PI)).sum(-1)
    sums = given.sum((1, 2)).tolist()
    found = zip(actions.unbind(), values.unbind(), log_probs.unbind(), strict=True)
    return [Acted(*each) if math.isfinite(total) else None for each, total in zip(found, sums, strict=True)]


class Place:
    """Where the networks of an agent lie, as long as its modules stay what they are.

    Args:
        bank: in which they do.
        row: which of the bank's agents it is.
        policy: with its modules.
    """

    def __init__(self, bank: Bank, row: int, policy: nn.Module) -> None:
        self.bank, self.row = bank, row
        self._inputs = bank.shapes.actor[0].inputs
        self._modules = Composition(
            held
            for each in policy.modules()
            for held in (each._modules, each._parameters, each._forward_hooks, each._forward_pre_hooks)
        )

    def takes(self, features: Tensor) -> bool:
        """Whether what lies there would still be applied to these."""
        fits = features.dim() == 2 and features.shape[1] == self._inputs
        return fits and self._modules.holds() and self.bank.is_settled(self.row)


class Look(NamedTuple):
    """An agent in its rollout asks what to do.

    Attributes:
        place: where its networks lie.
        features: what they see, (batch, inputs).
        noise: that decides its actions, see `noise`.
    """

    place: Place
    features: Tensor
    noise: Tensor


class Member(Actor):
    """An agent that acts as one of several; by its own policy where that cannot be.

    Args:
        agent: whose rollout it is.
        place: where its networks lie.
        ask: waits for the others, and gives what to do; None where the agent's own policy has to say it.
    """

    def __init__(self, agent: PPO, place: Place, ask: Callable[[Look], Acted | None]) -> None:
        super().__init__(agent)
        self._place, self._ask = place, ask

    def act(self, observations: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `Actor.act`."""
        place, features = self._place, features_of(self.agent, observations)
        if not place.takes(features):
            return super().act(observations)
        found = self._ask(Look(place, features, noise(place.bank.shapes, len(features))))
        if found is None:
            return super().act(observations)
        return found._replace(actions=found.actions.reshape(-1, *self.agent.action_space.shape))
