"""Terms of the loss, and pulls beside it, that hold outputs or weights."""

from agents.plasticity.penalties.c_chain import CChain
from agents.plasticity.penalties.l2_init import L2Init
from agents.plasticity.penalties.spectral import Spectral

__all__ = ["CChain", "L2Init", "Spectral"]
