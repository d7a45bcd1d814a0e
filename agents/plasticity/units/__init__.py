"""Which weights enter and leave each hidden unit, and how the layers were drawn.

For a tree of `nn.Sequential` there is `sequential`; anything else is declared with `UnitLayer`, `Consumer` and
`Network`.
"""

from agents.plasticity.units.builders import ACTIVATIONS, chain, sequential
from agents.plasticity.units.graph import Consumer, Network, Part, Producer, UnitLayer
from agents.plasticity.units.inits import Affine, Init, Orthogonal, TorchDefault
from agents.plasticity.units.places import Place

__all__ = [
    "ACTIVATIONS",
    "Affine",
    "Consumer",
    "Init",
    "Network",
    "Orthogonal",
    "Part",
    "Place",
    "Producer",
    "TorchDefault",
    "UnitLayer",
    "chain",
    "sequential",
]
