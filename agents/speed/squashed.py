"""Actions that are tanh of normal draws, and their log-probabilities: SB3's `SquashedDiagGaussianDistribution`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN
from torch import Tensor
from torch.autograd.function import once_differentiable

from agents.networks.distributions import HALF_LOG_2PI
from agents.speed.boards import kernels


class Squashed(NamedTuple):
    """Some, and what their gradient needs.

    Attributes:
        actions: (batch, actions).
        log_prob: (batch,).
        outputs: of the actor: means and logarithms of standard deviations, (batch, 2 x actions).
        moved: by how far draws lie from the means, (batch, actions).
        room: 1 - actions^2.
        epsilon: that SB3 adds to that.
    """

    actions: Tensor
    log_prob: Tensor
    outputs: Tensor
    moved: Tensor
    room: Tensor
    epsilon: float

    @classmethod
    def of(cls, outputs: Tensor, noise: Tensor, epsilon: float) -> Squashed:
        """Those of an actor.

        Args:
            outputs: see above.
            noise: standard normal draws, (batch, actions).
            epsilon: of the distribution.
        """
        if _loops_know(outputs):
            actions, moved, room = (torch.empty_like(noise) for _ in range(3))
            log_prob = noise.new_empty(len(noise))
            written = _numbers(actions, log_prob, moved, room)
            kernels().squash(*_numbers(outputs, noise), LOG_STD_MIN, LOG_STD_MAX, epsilon, *written)
            return cls(actions, log_prob, outputs, moved, room, epsilon)
        mean, raw = outputs.chunk(2, dim=1)
        log_std = raw.clamp(LOG_STD_MIN, LOG_STD_MAX)
        moved = log_std.exp().mul_(noise)
        actions = torch.tanh(mean + moved)
        room = actions.square().neg_().add_(1.0)
        density = noise.square().mul_(-0.5).sub_(log_std).sub_(HALF_LOG_2PI)
        log_prob = density.sub_((room + epsilon).log_()).sum(1)
        return cls(actions, log_prob, outputs, moved, room, epsilon)

    def split(self, rows: int) -> tuple[Squashed, Squashed]:
        """The first ones, and the others."""
        parts = slice(rows), slice(rows, None)
        first, others = (Squashed._make([*(tensor[part] for tensor in self[:-1]), self.epsilon]) for part in parts)
        return first, others

    def gradient(self, at_actions: Tensor, at_log_prob: Tensor) -> Tensor:
        """At the outputs, (batch, 2 x actions).

        Args:
            at_actions: (batch, actions).
            at_log_prob: (batch,).
        """
        if _loops_know(self.outputs):
            found = torch.empty_like(self.outputs)
            held = _numbers(self.actions, self.moved, self.room, at_actions, at_log_prob, found)
            outputs, bounds = _numbers(self.outputs), (LOG_STD_MIN, LOG_STD_MAX)
            kernels().squash_gradient(*outputs, *bounds, self.epsilon, *held)
            return found
        raw, weights = self.outputs.chunk(2, dim=1)[1], at_log_prob.unsqueeze(1)
        through = torch.addcdiv(at_actions, weights * self.actions, self.room + self.epsilon, value=2.0)
        at_mean = self.room * through
        at_raw = torch.addcmul(-weights, at_mean, self.moved)
        at_raw.mul_((raw >= LOG_STD_MIN) & (raw <= LOG_STD_MAX))
        return torch.cat([at_mean, at_raw], dim=1)


def _loops_know(outputs: Tensor) -> bool:
    return outputs.is_cpu and outputs.dtype is torch.float32 and kernels() is not None


def _numbers(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.contiguous().numpy() for tensor in tensors]


class SquashedPair(torch.autograd.Function):
    """Actions and their log-probabilities with a graph, and those for others without one."""

    @staticmethod
    def forward(ctx: Any, now: Tensor, later: Tensor, noise: Tensor, epsilon: float) -> Any:
        found, others = Squashed.of(torch.cat([now, later]), noise, epsilon).split(len(now))
        ctx.save_for_backward(*found[:-1])
        ctx.epsilon = epsilon
        given = found.actions, found.log_prob, others.actions, others.log_prob
        ctx.mark_non_differentiable(*given[2:])
        return given

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, at_actions: Tensor, at_log_prob: Tensor, *_: Tensor) -> Any:
        found = Squashed._make([*ctx.saved_tensors, ctx.epsilon])
        return found.gradient(at_actions, at_log_prob), None, None, None
