"""Compiled loops, which `agents.speed.boards.kernels` gives where numba can be imported."""

from agents.speed.kernels.first_layers import (
    convolution,
    convolution_gradient,
    find,
    linear,
    linear_gradient,
    rectified,
    rectified_gradient,
    take,
)
from agents.speed.kernels.losses import TERMS, proximal

__all__ = [
    "TERMS",
    "convolution",
    "convolution_gradient",
    "find",
    "linear",
    "linear_gradient",
    "proximal",
    "rectified",
    "rectified_gradient",
    "take",
]
