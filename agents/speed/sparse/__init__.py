"""First layers on boards of zeros and ones, by the cells that are set."""

from agents.speed.sparse.convolutions import convolution, rectified
from agents.speed.sparse.first_layers import LANES, are_last, are_numbers, is_plain, places_of, sides
from agents.speed.sparse.half_precision import features, half_features
from agents.speed.sparse.linear_layers import WHOLE, Stretches, linear, linear_gradients

__all__ = [
    "LANES",
    "WHOLE",
    "Stretches",
    "are_last",
    "are_numbers",
    "convolution",
    "features",
    "half_features",
    "is_plain",
    "linear",
    "linear_gradients",
    "places_of",
    "rectified",
    "sides",
]
