"""Actions that are tanh of normal draws, and gradients, in one pass: see `agents.speed.squashed`."""

from __future__ import annotations

import math

import numpy as np

from agents.speed.kernels.compiling import compiled


@compiled
def squash(
    outputs: np.ndarray, noise: np.ndarray, least: float, most: float, epsilon: float, actions: np.ndarray,
    log_prob: np.ndarray, moved: np.ndarray, room: np.ndarray,
) -> None:  # fmt: skip
    """Actions, and what their gradient needs.

    Args:
        outputs: means and logarithms of standard deviations, (batch, 2 x actions).
        noise: standard normal draws, (batch, actions).
        least: what the logarithms are clipped to.
        most: likewise.
        epsilon: that is added to 1 - actions^2.
        actions: (batch, actions), where they are written.
        log_prob: (batch,), where the logarithms of their probabilities are.
        moved: (batch, actions), where is how far the draws lie from the means.
        room: (batch, actions), where 1 - actions^2 is.
    """
    count = noise.shape[1]
    half = np.float32(0.5 * math.log(2 * math.pi))
    for row in range(len(outputs)):
        density = np.float32(0.0)
        for place in range(count):
            log_std = outputs[row, count + place]
            log_std = np.float32(least) if log_std < least else np.float32(most) if log_std > most else log_std
            drawn = noise[row, place]
            moved[row, place] = math.exp(log_std) * drawn
            action = math.tanh(outputs[row, place] + moved[row, place])
            actions[row, place] = action
            room[row, place] = np.float32(1.0) - action * action
            density += np.float32(-0.5) * drawn * drawn - log_std - half
            density -= math.log(room[row, place] + np.float32(epsilon))
        log_prob[row] = density


@compiled
def squash_gradient(
    outputs: np.ndarray, least: float, most: float, epsilon: float, actions: np.ndarray, moved: np.ndarray,
    room: np.ndarray, at_actions: np.ndarray, at_log_prob: np.ndarray, found: np.ndarray,
) -> None:  # fmt: skip
    """That at the outputs.

    Args:
        outputs: as of `squash`.
        least: likewise.
        most: likewise.
        epsilon: likewise.
        actions: that it has written.
        moved: likewise.
        room: likewise.
        at_actions: the gradient there.
        at_log_prob: and there.
        found: (batch, 2 x actions), where it is written.
    """
    count = actions.shape[1]
    for row in range(len(outputs)):
        weight = at_log_prob[row]
        for place in range(count):
            room_here, log_std = room[row, place], outputs[row, count + place]
            squashing = weight * actions[row, place] / (room_here + np.float32(epsilon))
            at_mean = room_here * (at_actions[row, place] + np.float32(2.0) * squashing)
            found[row, place] = at_mean
            is_free = log_std >= least and log_std <= most
            found[row, count + place] = at_mean * moved[row, place] - weight if is_free else np.float32(0.0)
