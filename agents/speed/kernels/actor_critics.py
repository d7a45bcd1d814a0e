"""Actors and critics on boards of zeros and ones: what they give, and PPO's loss with all of its gradients in one call.

A call is given a share of a minibatch and holds no interpreter lock, so that several threads learn from one minibatch:
what they give is to be added up. There are networks `of_maps`, whose actor and critic read the features that a
convolution and a linear layer make of boards, and networks `of_boards`, whose actor and critic read these themselves.

Args that all have, arrays of parameters and of gradients as of `agents.speed.kernels.dense_layers`:
    boards: set cells and starts, of `cells.find`; and of each cell of a board row, column and channel.
    trunk: weight and bias of the convolution, and of the linear layer behind its maps.
    actor: weights and biases of its layers, and where what is behind each hidden one is written: of networks `of_maps`
        there the features come first.
    critic: likewise.
    activation: behind all hidden layers but the convolution, which has a ReLU.
    at_trunk, at_actor, at_critic: where gradients of parameters are written; and of hidden units, (rows, units), where
        somebody looks at these, else empty.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from agents.speed.floats import add, load, store
from agents.speed.kernels.axes import swap_axes
from agents.speed.kernels.categorical import proximal
from agents.speed.kernels.compiling import compiled
from agents.speed.kernels.dense_layers import (
    activated,
    leave,
    leave_gradient,
    pass_gradient,
    pass_on,
    weight_gradient,
)
from agents.speed.kernels.linear_layers import linear, linear_gradient
from agents.speed.kernels.maps import convolution, convolution_gradient, filters_first, filters_last
from agents.speed.kernels.perceptrons import RELU
from agents.speed.vectors import LANES

Arrays = tuple[np.ndarray, ...]
Layers = tuple[Arrays, Arrays, Arrays]
Settings = tuple[int, float, float, float, float, float, float]
WHOLE = 2**31


@compiled
def outputs_of_maps(
    boards: Arrays, trunk: Arrays, actor: Layers, critic: Layers, activation: int, maps: np.ndarray,
    logits: np.ndarray, values: np.ndarray,
) -> None:  # fmt: skip
    """Write the convolution's maps, (boards, rows, columns, filters), logits (boards, actions), values (boards, 1)."""
    weight, bias, linear_weight, linear_bias = trunk
    cells, starts, places = boards
    convolution(cells, starts, places, weight, bias, maps)
    features = actor[2][0]
    pass_on(maps.reshape((len(maps), -1)), filters_last(linear_weight, len(bias)), linear_bias, activation, features)
    _follow(actor[2], actor[0], actor[1], activation, logits)
    _follow(critic[2], critic[0], critic[1], activation, values)


@compiled
def learn_of_maps(
    boards: Arrays, trunk: Arrays, actor: Layers, critic: Layers, activation: int, maps: np.ndarray, batch: Arrays,
    settings: Settings, at_trunk: Arrays, at_actor: Layers, at_critic: Layers,
    terms: np.ndarray,
) -> bool:  # fmt: skip
    """Write a share of the loss's terms and of its gradients, see `_judge`; what it returns."""
    _, bias, linear_weight, linear_bias = trunk
    logits, values = _room(boards, actor, critic)
    outputs_of_maps(boards, trunk, actor, critic, activation, maps, logits, values)
    at_logits, at_values = np.empty_like(logits), np.empty_like(values)
    are_numbers = _judge(logits, values, batch, settings, at_logits, at_values, terms)
    at_bias = np.empty_like(linear_bias)
    of_actor, of_critic = (at_trunk[3], *at_actor[1]), (at_bias, *at_critic[1])
    at = _follow_gradient(actor[2], actor[0], activation, at_logits, at_actor[0], of_actor, at_actor[2])
    by_critic = _follow_gradient(critic[2], critic[0], activation, at_values, at_critic[0], of_critic, at_critic[2])
    _add(at.reshape(-1), by_critic.reshape(-1))
    _add(at_trunk[3], at_bias)
    _add(at_actor[2][0].reshape(-1), at_critic[2][0].reshape(-1))
    flat, every = maps.reshape((len(maps), -1)), np.arange(len(maps))
    at_linear = np.empty_like(linear_weight)
    weight_gradient(at, flat, at_linear)
    filters_first(at_linear, len(bias), at_trunk[2])
    turned = filters_last(linear_weight, len(bias))
    at_maps = pass_gradient(at, turned, flat, every, RELU, np.empty(0, np.float32), at_trunk[4])
    cells, starts, places = boards
    convolution_gradient(cells, starts, places, at_maps.reshape(maps.shape), at_trunk[0], at_trunk[1])
    return are_numbers


@compiled
def outputs_of_boards(
    boards: Arrays, actor: Layers, critic: Layers, activation: int, logits: np.ndarray, values: np.ndarray
) -> None:
    """Write logits (boards, actions), and values (boards, 1)."""
    _pass_boards(boards, actor, activation, logits)
    _pass_boards(boards, critic, activation, values)


@compiled
def learn_of_boards(
    boards: Arrays, actor: Layers, critic: Layers, activation: int, batch: Arrays, settings: Settings,
    at_actor: Layers, at_critic: Layers, terms: np.ndarray,
) -> bool:  # fmt: skip
    """Write a share of the loss's terms and of its gradients, see `_judge`; what it returns."""
    logits, values = _room(boards, actor, critic)
    outputs_of_boards(boards, actor, critic, activation, logits, values)
    at_logits, at_values = np.empty_like(logits), np.empty_like(values)
    are_numbers = _judge(logits, values, batch, settings, at_logits, at_values, terms)
    _pass_boards_gradient(boards, actor, activation, at_logits, at_actor)
    _pass_boards_gradient(boards, critic, activation, at_values, at_critic)
    return are_numbers


@compiled
def _room(boards: Arrays, actor: Layers, critic: Layers) -> Any:
    """Where outputs are written."""
    rows = len(boards[1]) - 1
    last = len(actor[1]) - 1, len(critic[1]) - 1
    return np.empty((rows, len(actor[1][last[0]])), np.float32), np.empty((rows, len(critic[1][last[1]])), np.float32)


@compiled
def _judge(
    logits: np.ndarray, values: np.ndarray, batch: Arrays, settings: Settings, at_logits: np.ndarray,
    at_values: np.ndarray, terms: np.ndarray,
) -> bool:  # fmt: skip
    """The loss's terms, and its gradients at outputs.

    Args:
        logits: (rows, actions).
        values: (rows, 1).
        batch: actions, their old log-probabilities, advantages, old values, and returns, of the rows.
        settings: of `proximal`, in its order.
        at_logits: where the gradient there is written.
        at_values: likewise.
        terms: see `proximal`, whose answer is returned.
    """
    actions, old_log_prob, advantages, old_values, returns = batch
    size, mean, deviation, clip_range, clip_range_vf, ent_coef, vf_coef = settings
    at_entropy, at_flat = np.empty_like(logits), at_values.reshape(-1)
    are_numbers = proximal(
        logits, actions, old_log_prob, advantages, values.reshape(-1), old_values, returns, size, mean, deviation,
        clip_range, clip_range_vf, ent_coef, vf_coef, at_logits, at_entropy, at_flat, terms,
    )  # fmt: skip
    for row in range(len(logits)):
        at_flat[row] *= vf_coef
        for action in range(logits.shape[1]):
            at_logits[row, action] += ent_coef * at_entropy[row, action]
    return are_numbers


# ------------------------------------------------------------------ layers


@compiled
def _pass_boards(boards: Arrays, layers: Layers, activation: int, out: np.ndarray) -> None:
    """All layers of a network that reads boards."""
    weights, biases, hidden = layers
    _enter(boards, weights[0], biases[0], activation, hidden[0])
    _follow(hidden, weights[1:], biases[1:], activation, out)


@compiled
def _pass_boards_gradient(boards: Arrays, layers: Layers, activation: int, at_out: np.ndarray, written: Layers) -> None:
    """Write the gradients of its weights and biases."""
    weights, _, hidden = layers
    at = _follow_gradient(hidden, weights[1:], activation, at_out, written[0][1:], written[1], written[2])
    _enter_gradient(boards, at, written[0][0])


@compiled
def _enter(boards: Arrays, weight: np.ndarray, bias: np.ndarray, activation: int, out: np.ndarray) -> None:
    """A first layer."""
    cells, starts, _ = boards
    units, size = weight.shape
    turned, sums = np.empty(size * units, np.float32), np.empty(out.size, np.float32)
    swap_axes(turned, 0, weight.reshape(-1), 0, units, size)
    linear(cells, starts, turned, bias, WHOLE, sums)
    into = out.reshape(-1)
    for place in range(0, len(sums), LANES):
        store(into, place, activated(activation, load(sums, place)))


@compiled
def _enter_gradient(boards: Arrays, gradient: np.ndarray, at_weight: np.ndarray) -> None:
    """Of its weights, from that before its activation function."""
    cells, starts, _ = boards
    units, size = at_weight.shape
    given, widened = gradient.reshape(-1), np.empty(gradient.size, np.float32)
    turned = np.zeros(size * units, np.float32)
    for place in range(0, len(widened), LANES):
        store(widened, place, load(given, place))
    linear_gradient(cells, starts, widened, WHOLE, turned, units, 0, units)
    swap_axes(at_weight.reshape(-1), 0, turned, 0, size, units)


@compiled
def _follow(hidden: Arrays, weights: Arrays, biases: Arrays, activation: int, out: np.ndarray) -> None:
    """The layers behind what `hidden` begins with."""
    last = len(weights) - 1
    for layer in range(last):
        pass_on(hidden[layer], weights[layer], biases[layer], activation, hidden[layer + 1])
    leave(hidden[last], weights[last], biases[last], out)


@compiled
def _follow_gradient(
    hidden: Arrays, weights: Arrays, activation: int, at_out: np.ndarray, at_weights: Arrays, at_biases: Arrays,
    at_units: Arrays,
) -> np.ndarray:  # fmt: skip
    """The gradient before what `_follow` begins with, (rows, units); those of biases before that come first."""
    last, every = len(weights) - 1, np.arange(len(at_out))
    at_weights[last][:], at_biases[last + 1][:] = 0, 0
    for row in range(len(at_out)):
        for place in range(at_out.shape[1]):
            at_biases[last + 1][place] += at_out[row, place]
    at = leave_gradient(
        hidden[last], weights[last], at_out, every, activation, at_weights[last], at_biases[last], at_units[last]
    )
    for layer in range(last - 1, -1, -1):
        weight_gradient(at, hidden[layer], at_weights[layer])
        at = pass_gradient(at, weights[layer], hidden[layer], every, activation, at_biases[layer], at_units[layer])
    return at


@compiled
def _add(sums: np.ndarray, others: np.ndarray) -> None:
    """Flat arrays, multiples of `LANES`."""
    for place in range(0, len(sums), LANES):
        store(sums, place, add(load(sums, place), load(others, place)))
