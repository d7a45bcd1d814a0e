"""Networks of SB3's policies: one record of what they are made of, and what is built from it, imported on first use."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from agents.networks.spec import NetworkSpec

if TYPE_CHECKING:
    from agents.networks.extractors import ImpalaCNN, MinAtarCNN

__all__ = ["ImpalaCNN", "MinAtarCNN", "NetworkSpec"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("agents.networks.extractors"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
