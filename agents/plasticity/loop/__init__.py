"""Interventions in a training loop of one's own: torch alone, no Stable-Baselines3."""

from agents.plasticity.loop.optimizer import PlasticOptimizer

__all__ = ["PlasticOptimizer"]
