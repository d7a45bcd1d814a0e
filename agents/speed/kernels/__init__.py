"""Compiled loops, which `agents.speed.boards.kernels` gives where numba can be imported."""

from agents.speed.kernels import actor_critics, relu_networks
from agents.speed.kernels.categorical import TERMS, draw, proximal, scale_of
from agents.speed.kernels.first_layers import (
    convolution,
    convolution_gradient,
    find,
    linear,
    linear_gradient,
    rectified,
    rectified_gradient,
    swap_axes,
    take,
)
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
