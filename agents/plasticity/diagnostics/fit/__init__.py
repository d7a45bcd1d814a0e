"""The fit probe: whether networks can still be trained, by training copies of them."""

from agents.plasticity.diagnostics.fit.probe import FitProbe, trainability

__all__ = ["FitProbe", "trainability"]
