"""Compiled loops, which `agents.speed.boards.kernels` gives where numba can be imported."""

from agents.speed.kernels import actor_critics, relu_networks
from agents.speed.kernels.axes import swap_axes
from agents.speed.kernels.categorical import TERMS, draw, proximal, scale_of
from agents.speed.kernels.cells import find, take
from agents.speed.kernels.convolutions import convolution, convolution_gradient, rectified, rectified_gradient
from agents.speed.kernels.linear_layers import linear, linear_gradient
from agents.speed.kernels.perceptrons import ACTIVATIONS, follow, hyperbolic_tangent
from agents.speed.kernels.squashed import squash, squash_gradient
from agents.speed.pairs import has_pairs, has_registers

__all__ = [
    "ACTIVATIONS",
    "TERMS",
    "actor_critics",
    "convolution",
    "convolution_gradient",
    "draw",
    "find",
    "follow",
    "has_pairs",
    "has_registers",
    "hyperbolic_tangent",
    "linear",
    "linear_gradient",
    "proximal",
    "rectified",
    "rectified_gradient",
    "relu_networks",
    "scale_of",
    "squash",
    "squash_gradient",
    "swap_axes",
    "take",
]
