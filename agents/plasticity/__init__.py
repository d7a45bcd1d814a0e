"""Keeps networks plastic in any training loop: torch alone, no Stable-Baselines3, no Gymnasium.

Names are imported on first use, so that looking one up in the registry loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from agents.plasticity.registry import criterion, intervention

if TYPE_CHECKING:
    from agents.plasticity.auto import Auto
    from agents.plasticity.diagnosis import diagnose, match
    from agents.plasticity.diagnostics import trainability
    from agents.plasticity.injectable import Injectable
    from agents.plasticity.loop import PlasticOptimizer
    from agents.plasticity.network_intervention import NetworkIntervention
    from agents.plasticity.optimizers import TRAC, UPGD, AdamO, Muon
    from agents.plasticity.penalties import (
        CChain,
        L2Init,
        NormalizeAndProject,
        Parseval,
        SIGReg,
        Spectral,
        WeightClipping,
        WeightDecay,
    )
    from agents.plasticity.protocols import Edit, Intervention, Learner, Switch, Update
    from agents.plasticity.replay_ratio import AdaptiveReplayRatio
    from agents.plasticity.resets import (
        CBP,
        CPR,
        FIRE,
        GXD,
        SNR,
        SWR,
        FullReset,
        HeadReset,
        Oracle,
        PlasticityInjection,
        ReDo,
        ReGraMa,
        ShrinkAndPerturb,
        UnitReset,
    )
    from agents.plasticity.sample_weight_decay import SampleWeightDecay

_MODULES = dict.fromkeys(("Edit", "Intervention", "Learner", "Switch", "Update"), "protocols") | {
    "AdamO": "optimizers",
    "AdaptiveReplayRatio": "replay_ratio",
    "Auto": "auto",
    "CChain": "penalties",
    "L2Init": "penalties",
    "Muon": "optimizers",
    "NetworkIntervention": "network_intervention",
    "NormalizeAndProject": "penalties",
    "Parseval": "penalties",
    "Injectable": "injectable",
    "PlasticOptimizer": "loop",
    "SIGReg": "penalties",
    "SampleWeightDecay": "sample_weight_decay",
    "Spectral": "penalties",
    "TRAC": "optimizers",
    "UPGD": "optimizers",
    "WeightClipping": "penalties",
    "WeightDecay": "penalties",
    "diagnose": "diagnosis",
    "match": "diagnosis",
    "trainability": "diagnostics",
}
"""Name -> where it is; all others are in ``resets``."""

__all__ = [
    "CBP",
    "CPR",
    "FIRE",
    "GXD",
    "SNR",
    "SWR",
    "TRAC",
    "UPGD",
    "AdamO",
    "AdaptiveReplayRatio",
    "Auto",
    "CChain",
    "Edit",
    "FullReset",
    "HeadReset",
    "Injectable",
    "Intervention",
    "L2Init",
    "Learner",
    "Muon",
    "NetworkIntervention",
    "NormalizeAndProject",
    "Oracle",
    "Parseval",
    "PlasticOptimizer",
    "PlasticityInjection",
    "ReDo",
    "ReGraMa",
    "SIGReg",
    "SampleWeightDecay",
    "ShrinkAndPerturb",
    "Spectral",
    "Switch",
    "UnitReset",
    "Update",
    "WeightClipping",
    "WeightDecay",
    "criterion",
    "diagnose",
    "intervention",
    "match",
    "trainability",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"agents.plasticity.{_MODULES.get(name, 'resets')}"), name)
