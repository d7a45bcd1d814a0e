"""Keeps networks plastic in any training loop: torch alone, no Stable-Baselines3, no Gymnasium.

Names are imported on first use, so that looking one up in the registry loads no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agents.plasticity.protocols import Edit, Intervention, Learner, Switch, Update
    from agents.plasticity.resets import GXD, ReDo, ReGraMa

__all__ = ["GXD", "Edit", "Intervention", "Learner", "ReDo", "ReGraMa", "Switch", "Update"]

_RESETS = ("GXD", "ReDo", "ReGraMa")


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = "agents.plasticity.resets" if name in _RESETS else "agents.plasticity.protocols"
    return getattr(importlib.import_module(module), name)
