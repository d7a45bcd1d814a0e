"""Optimizers that keep networks plastic, and Muon with what it leaves to AdamW: torch alone, for any training loop."""

from agents.plasticity.optimizers.adamo import AdamO
from agents.plasticity.optimizers.hidden import HiddenWeights
from agents.plasticity.optimizers.muon import Muon
from agents.plasticity.optimizers.trac import TRAC
from agents.plasticity.optimizers.upgd import UPGD

__all__ = ["TRAC", "UPGD", "AdamO", "HiddenWeights", "Muon"]
