"""One agent's way through PPO's update, in which it asks for the steps that others can make with it."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from gymnasium import spaces
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from torch import Tensor

from agents.batched.objective import Minibatch
from agents.batched.shapes import features_of
from agents.plasticity.penalties.pull import Pull
from agents.plasticity.protocols import Intervention
from agents.plasticity.taps import Seen

if TYPE_CHECKING:
    from agents.ppo import PPO

NOTHING_SEEN = Seen({}, {})


class Ask(NamedTuple):
    """What an agent asks for: minibatches in turn, for the terms of their losses, (minibatches,) each by name.

    Attributes:
        data: transitions in the order in which it learns from them, with a row of their own each.
        start: the first of them that is to be learnt from.
        minibatches: how many.
        size: transitions in each of these.
        steps: make the optimizer's steps, too; else leave the gradients of the one minibatch in ``grad``.
    """

    data: Minibatch
    start: int
    minibatches: int
    size: int
    steps: bool


class Step(NamedTuple):
    """Make the optimizer's step with what lies in ``grad``."""


Course = Generator[Ask | Step, Any, None]
Terms = Mapping[str, Tensor]


def course(agent: PPO) -> Course:
    """The whole update of an agent, but for its end: it draws the same minibatches and logs the same."""
    from agents.ppo import LOGGED

    agent.policy.set_training_mode(True)
    agent._update_learning_rate(agent.policy.optimizer)
    log: list[Tensor] = []
    buffer = agent.rollout_buffer
    for _ in range(int(agent.replay_ratio)):
        approx_kls: list[Tensor] = []
        (epoch,) = buffer.get(buffer.buffer_size * buffer.n_envs)
        data = _data(agent, epoch)
        start, end = 0, len(epoch.advantages)
        while start < end:
            size = min(agent.batch_size, end - start)
            count, terms = yield from _steps(agent, epoch, data, start, size, (end - start) // size)
            log += torch.stack([terms[name] for name in LOGGED], 1).unbind()
            approx_kls += terms["approx_kl"].unbind()
            start += count * size
        agent._n_updates += 1
    agent._log_update(log, approx_kls, terms["loss"][-1])


def _steps(
    agent: PPO, epoch: RolloutBufferSamples, data: Minibatch, start: int, size: int, left: int
) -> Generator[Ask | Step, Any, tuple[int, Terms]]:
    """At most `left` steps on minibatches of `size`: how many were made, and the terms of their losses."""
    if not agent.interventions:
        agent.optimizer_steps += left
        return left, (yield Ask(data, start, left, size, steps=True))
    batch = RolloutBufferSamples(*(field[start : start + size] for field in epoch))
    step = agent.optimizer_steps + 1
    if any(_looks_into(each, step) for each in agent.interventions):
        losses, _ = agent._gradient_step(batch)
        return 1, {name: loss.detach().reshape(1) for name, loss in losses.items()}
    agent.optimizer_steps = step
    terms: Terms = yield Ask(data, start, 1, size, steps=False)
    losses = {name: values[0] for name, values in terms.items()}
    update = agent.hooks.after_own_backward(
        agent._update_of("policy", batch, losses, agent.policy.optimizer), NOTHING_SEEN
    )
    yield Step()
    agent.hooks.after_step(update)
    return 1, terms


def _looks_into(intervention: Intervention, step: int) -> bool:
    """Whether it needs the graph of this step's loss, of which there is none where steps are made together."""
    if intervention.taps_at(step):
        return True
    if isinstance(intervention, Pull) and intervention.decoupled:
        return False
    return type(intervention).penalty is not Intervention.penalty


def _data(agent: PPO, epoch: RolloutBufferSamples) -> Minibatch:
    """A whole rollout, (transitions, ...) each, as the networks see it."""
    features = features_of(agent, epoch.observations)
    discrete = isinstance(agent.action_space, spaces.Discrete)
    actions = epoch.actions.long().reshape(-1, 1) if discrete else epoch.actions
    return Minibatch(features, actions, epoch.old_values, epoch.old_log_prob, epoch.advantages, epoch.returns)
