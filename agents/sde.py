"""Exploration noise that depends on the state (gSDE, arXiv 2005.05719), as Stable-Baselines3 has it."""

from __future__ import annotations

import torch
from stable_baselines3.common.distributions import Distribution, StateDependentNoiseDistribution
from torch import Tensor


def noise_log_std(distribution: Distribution, latent: Tensor, log_std: Tensor) -> Tensor:
    """Log standard deviations of the actions under gSDE (arXiv 2005.05719, equation 4), (batch, actions).

    SB3's expression; gradients reach `latent` whether or not SB3 lets training use them (`learn_features`).

    Args:
        distribution: SB3's `StateDependentNoiseDistribution`.
        latent: the activations that the noise is a function of, (batch, units).
        log_std: SB3's parameter, (units, actions) or (units, 1).
    """
    assert isinstance(distribution, StateDependentNoiseDistribution)
    variance = latent.square() @ distribution.get_std(log_std).square()
    return 0.5 * torch.log(variance + distribution.epsilon)
