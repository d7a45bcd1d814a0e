"""Ranks of a feature matrix, from its singular values sigma_1 >= sigma_2 >= ...

All are 0 where every singular value is 0, and nan where one is not finite. The names are those of the literature;
"stable rank" is often written for `srank`, which is another quantity.
"""

from __future__ import annotations

import torch
from torch import Tensor

DELTA = 0.01


def singular_values(features: Tensor) -> Tensor:
    """The singular values of a feature matrix in float64, in falling order, (min(samples, features),).

    Args:
        features: (samples, units), not centred; further axes are flattened. The ranks of fewer samples than twice the
            features are bounded by the samples rather than by the network.
    """
    matrix = features.flatten(1).double()
    # The eigenvalues of the smaller Gram matrix are the squared singular values. Its rounding errors are of the order
    # of the largest square times 1e-16, which float64 keeps far below anything that a rank counts.
    return eigenvalues(matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix).sqrt()


def eigenvalues(gram: Tensor) -> Tensor:
    """The eigenvalues of a positive semidefinite matrix, (n, n) -> (n,), in float64 and in falling order."""
    gram = gram.double()
    # eigvalsh always converges, but it refuses what is not finite.
    found = torch.linalg.eigvalsh(gram.nan_to_num(0, 0, 0)).flip(0).clamp(min=0)
    return torch.where(gram.isfinite().all(), found, torch.nan)


def srank(sigma: Tensor, delta: float = DELTA) -> Tensor:
    """The smallest k for which sigma_1 + ... + sigma_k is at least 1 - delta of the sum (arXiv 2010.14498).

    Args:
        sigma: singular values in falling order, (n,).
        delta: share of the sum that may be left out.
    """
    total = sigma.sum()
    # The epsilon is for spectra that reach the share exactly: their sums round to either side of it.
    reached = sigma.cumsum(0) >= (1 - delta - 1e-12) * total
    return torch.where(total > 0, (~reached).sum() + 1, total)


def effective_rank(sigma: Tensor) -> Tensor:
    """exp of the entropy of sigma over its sum (Roy & Vetterli, 2007).

    Args:
        sigma: singular values, (n,).
    """
    total = sigma.sum()
    return torch.where(total > 0, torch.special.entr(_over(sigma, total)).sum().exp(), total)


def stable_rank(sigma: Tensor) -> Tensor:
    """Squared Frobenius norm over the squared largest singular value: sum sigma^2 / sigma_1^2 (Rudelson & Vershynin).

    Args:
        sigma: singular values, (n,).
    """
    largest = sigma.max()
    return torch.where(largest > 0, _over(sigma, largest).square().sum(), largest)


def dominant_share(sigma: Tensor) -> Tensor:
    """The largest singular value's share of the sum: 1 where all features say the same.

    Args:
        sigma: singular values, (n,).
    """
    total = sigma.sum()
    return torch.where(total > 0, _over(sigma.max(), total), total)


def _over(values: Tensor, total: Tensor) -> Tensor:
    return values / total.clamp(min=torch.finfo(total.dtype).tiny)
