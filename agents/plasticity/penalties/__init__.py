"""Terms of the loss, and what is done beside it, that hold outputs or weights."""

from agents.plasticity.penalties.c_chain import CChain
from agents.plasticity.penalties.l2_init import L2Init
from agents.plasticity.penalties.normalize_and_project import NormalizeAndProject
from agents.plasticity.penalties.parseval import Parseval
from agents.plasticity.penalties.sigreg import SIGReg
from agents.plasticity.penalties.spectral import Spectral
from agents.plasticity.penalties.weight_clipping import WeightClipping
from agents.plasticity.penalties.weight_decay import WeightDecay

__all__ = [
    "CChain",
    "L2Init",
    "NormalizeAndProject",
    "Parseval",
    "SIGReg",
    "Spectral",
    "WeightClipping",
    "WeightDecay",
]
