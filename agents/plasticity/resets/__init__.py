"""Resets of units, of weights and of whole layers. Periods and ages are gradient steps of the network's optimizer."""

from agents.plasticity.resets.fire import FIRE
from agents.plasticity.resets.injection import PlasticityInjection
from agents.plasticity.resets.published import CBP, CPR, GXD, ReDo, ReGraMa
from agents.plasticity.resets.selective import SWR
from agents.plasticity.resets.self_normalized import SNR
from agents.plasticity.resets.shrinking import ShrinkAndPerturb
from agents.plasticity.resets.unit_reset import UnitReset
from agents.plasticity.resets.whole import FullReset, HeadReset, Oracle

__all__ = [
    "CBP",
    "CPR",
    "FIRE",
    "GXD",
    "SNR",
    "SWR",
    "FullReset",
    "HeadReset",
    "Oracle",
    "PlasticityInjection",
    "ReDo",
    "ReGraMa",
    "ShrinkAndPerturb",
    "UnitReset",
]
