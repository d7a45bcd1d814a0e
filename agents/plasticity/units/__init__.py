"""Which weights enter and leave each hidden unit, and how the layers were drawn.

For a tree of `nn.Sequential` there is `sequential`; anything else is declared with `UnitLayer`, `Consumer` and
`Network`.
"""

from agents.plasticity.units.builders import ACTIVATIONS, chain, sequential
from agents.plasticity.units.graph import Consumer, Network, Part, Producer, UnitLayer
from agents.plasticity.units.inits import Affine, Init, Orthogonal, Statistics, TorchDefault
from agents.plasticity.units.live import LiveNetworks

__all__ = [
    "ACTIVATIONS",
    "Affine",
    "Consumer",
    "Init",
    "LiveNetworks",
    "Network",
    "Orthogonal",
    "Part",
    "Producer",
    "Statistics",
    "TorchDefault",
    "UnitLayer",
    "chain",
    "sequential",
]
