"""Which weights enter and leave each hidden unit, and how the layers were drawn.

`sequential` finds them in a tree of `nn.Sequential`, `traced` in any other module; what neither understands is declared
with `UnitLayer`, `Consumer` and `Network`.
"""

from agents.plasticity.units.builders import chain, sequential
from agents.plasticity.units.graph import Consumer, Network, Part, Producer, UnitLayer
from agents.plasticity.units.inits import Affine, HeNormal, Init, Orthogonal, TorchDefault
from agents.plasticity.units.live import LiveNetworks
from agents.plasticity.units.places import Place
from agents.plasticity.units.tracing import Traced, network_of, traced

__all__ = [
    "Affine",
    "Consumer",
    "HeNormal",
    "Init",
    "LiveNetworks",
    "Network",
    "Orthogonal",
    "Part",
    "Place",
    "Producer",
    "TorchDefault",
    "Traced",
    "UnitLayer",
    "chain",
    "network_of",
    "sequential",
    "traced",
]
