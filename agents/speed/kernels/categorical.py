"""Discrete actions: how they are drawn, and PPO's loss on them, with its gradients, in one pass over a minibatch.

The loss is that of `agents.ppo.PPO.losses`; `tests/agents/speed/test_proximal.py` holds it, and its gradients, to that.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from agents.speed.kernels.compiling import compiled

TERMS = ("loss", "actor_loss", "policy_loss", "value_loss", "entropy_loss", "approx_kl", "clip_fraction")
"""What `proximal` writes, in this order."""


@compiled
def scale_of(advantages: np.ndarray) -> tuple[float, float]:
    """Of at least two: their mean, and what differences from it are divided by."""
    mean = 0.0
    for advantage in advantages:
        mean += advantage
    mean /= len(advantages)
    squares = 0.0
    for advantage in advantages:
        squares += (advantage - mean) ** 2
    return mean, math.sqrt(squares / (len(advantages) - 1)) + 1e-8


@compiled
def _distribution(
    logits: np.ndarray, row: int, log_probabilities: np.ndarray, probabilities: np.ndarray
) -> tuple[Any, Any]:
    """Write the logarithms of a row's probabilities and these; their scale, and the entropy."""
    highest = logits[row].max()
    total = np.float32(0.0)
    for action in range(len(probabilities)):
        probabilities[action] = math.exp(logits[row, action] - highest)
        total += probabilities[action]
    scale, entropy = highest + math.log(total), np.float32(0.0)
    for action in range(len(probabilities)):
        log_probabilities[action] = logits[row, action] - scale
        probabilities[action] /= total
        if probabilities[action] > 0:  # one of 0 adds nothing, also where its logarithm is infinite
            entropy -= probabilities[action] * log_probabilities[action]
    return scale, entropy


@compiled
def draw(logits: np.ndarray, noise: np.ndarray, actions: np.ndarray, log_prob: np.ndarray) -> bool:
    """Draw an action of each row, as `torch.multinomial` does of probabilities.

    Args:
        logits: (batch, actions), of any scale.
        noise: (batch, actions), drawn from the exponential distribution; it may be 0 where that is rounded to float32.
        actions: (batch,), where they are written.
        log_prob: (batch,), where the logarithms of their probabilities are written.

    Returns:
        whether the logits are numbers; if not, nothing is right.
    """
    size, choices = logits.shape
    log_probabilities, probabilities = np.empty(choices, np.float32), np.empty(choices, np.float32)
    scales = 0.0
    for row in range(size):
        scale, _ = _distribution(logits, row, log_probabilities, probabilities)
        scales += scale
        drawn = 0
        for action in range(1, choices):
            if probabilities[action] / noise[row, action] > probabilities[drawn] / noise[row, drawn]:
                drawn = action
        actions[row], log_prob[row] = drawn, log_probabilities[drawn]
    return math.isfinite(scales)


@compiled
def _clipped(ratio: float, advantage: float, clip_range: float) -> tuple[float, float]:
    """The clipped objective of a transition, and its derivative by the ratio's logarithm."""
    unclipped = advantage * ratio
    clipped = advantage * min(max(ratio, 1 - clip_range), 1 + clip_range)
    # Where the clipped one is the smaller one it is constant; what is no number stays so.
    return (clipped, 0.0) if clipped < unclipped else (unclipped, unclipped)


@compiled
def _held(value: float, old_value: float, clip_range: float) -> tuple[float, bool]:
    """A value as near to the old one as it may be, and whether it has been moved there."""
    held, is_held = value, False
    if clip_range < math.inf:
        moved = value - old_value
        is_held = abs(moved) > clip_range
        held = old_value + (math.copysign(clip_range, moved) if is_held else moved)
    return held, is_held


@compiled
def proximal(
    logits: np.ndarray, actions: np.ndarray, old_log_prob: np.ndarray, advantages: np.ndarray, values: np.ndarray,
    old_values: np.ndarray, returns: np.ndarray, size: int, mean: float, deviation: float, clip_range: float,
    clip_range_vf: float, ent_coef: float, vf_coef: float, at_policy: np.ndarray, at_entropy: np.ndarray,
    at_values: np.ndarray, terms: np.ndarray,
) -> bool:  # fmt: skip
    """What (rows,) transitions add to the terms of the loss on a minibatch, and their gradients.

    Args:
        logits: (batch, actions), of any scale.
        actions: that were taken, whole numbers.
        old_log_prob: of these in the rollout.
        advantages: of them.
        values: that the critic gives now.
        old_values: that it gave in the rollout.
        returns: of the rollout.
        size: transitions of the minibatch.
        mean: of its advantages, see `scale_of`; 0 where they are not normalised.
        deviation: likewise; 1 where they are not.
        clip_range: of the ratio.
        clip_range_vf: of the values; infinite where they are not clipped.
        ent_coef: of the entropy's term.
        vf_coef: of the values' term.
        at_policy: (rows, actions), where the gradient at the logits of the policy's term is written.
        at_entropy: that of the entropy's.
        at_values: that of the values' term at `values`.
        terms: where `TERMS` are written.

    Returns:
        whether the logits are numbers, and the actions some of them: if not, nothing else is right.
    """
    rows, choices = logits.shape
    log_probabilities, probabilities = np.empty(choices, np.float32), np.empty(choices, np.float32)
    scales = policy = value = entropies = divergence = 0.0
    clipped_ones = 0
    for row in range(rows):
        scale, entropy = _distribution(logits, row, log_probabilities, probabilities)
        scales += scale
        entropies += entropy
        taken = int(actions[row])
        if not 0 <= taken < choices:
            return False
        log_ratio = log_probabilities[taken] - old_log_prob[row]
        ratio = math.exp(log_ratio)
        divergence += (ratio - 1) - log_ratio
        clipped_ones += abs(ratio - 1) > clip_range
        advantage = (advantages[row] - mean) / deviation
        surrogate, slope = _clipped(ratio, advantage, clip_range)
        policy -= surrogate
        through = slope / size
        for action in range(choices):
            probability = probabilities[action]
            at_policy[row, action] = through * probability
            at_entropy[row, action] = 0.0
            if probability > 0:
                at_entropy[row, action] = probability * (log_probabilities[action] + entropy) / size
        at_policy[row, taken] -= through
        held, is_held = _held(values[row], old_values[row], clip_range_vf)
        error = held - returns[row]
        value += error * error
        at_values[row] = 0.0 if is_held else 2 * error / size
    policy_loss, value_loss, entropy_loss = policy / size, value / size, -entropies / size
    actor_loss = policy_loss + ent_coef * entropy_loss
    terms[:5] = actor_loss + vf_coef * value_loss, actor_loss, policy_loss, value_loss, entropy_loss
    terms[5:] = divergence / size, clipped_ones / size
    return math.isfinite(scales)
