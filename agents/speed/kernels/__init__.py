"""Compiled loops, which `agents.speed.boards.kernels` gives where numba can be imported."""

from agents.speed.kernels.categorical import TERMS, draw, proximal
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
from agents.speed.kernels.relu_layers import (
    enter,
    enter_gradient,
    leave,
    leave_gradient,
    rectify,
    rectify_gradient,
)

__all__ = [
    "ACTIVATIONS",
    "TERMS",
    "convolution",
    "convolution_gradient",
    "draw",
    "enter",
    "enter_gradient",
    "find",
    "follow",
    "hyperbolic_tangent",
    "leave",
    "leave_gradient",
    "linear",
    "linear_gradient",
    "proximal",
    "rectified",
    "rectified_gradient",
    "rectify",
    "rectify_gradient",
    "swap_axes",
    "take",
]
