"""What is known of the networks of a policy while their unit graphs are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor, nn

from agents.plasticity.units import Network, Part, Producer, UnitLayer

Heads = Sequence[tuple[Producer, int]]
Constants = tuple[tuple[Tensor, float], ...]

NOISE = "gSDE's exploration noise grows with its units' activations, which no weight that a reset could zero carries"


@dataclass
class Graph:
    """What is known of a network so far: hidden layers, modules with parameters, what cannot be reset and why, and
    parameters outside of modules that start from one value."""

    layers: list[UnitLayer] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    fixed: dict[str, str] = field(default_factory=dict)
    constants: list[tuple[Tensor, float]] = field(default_factory=list)

    def network(self, name: str, constants: Constants = ()) -> Network:
        """The finished network."""
        return Network(name, tuple(self.layers), tuple(self.parts), (*self.constants, *constants), self.fixed)

    def fix_readers_of_noise(self, output: nn.Linear) -> None:
        """Leave the layers alone whose units gSDE's noise reads: those that the actor's output layer reads."""
        self.layers = [
            replace(layer, fixed=NOISE) if any(c.weight is output.weight for c in layer.consumers) else layer
            for layer in self.layers
        ]
