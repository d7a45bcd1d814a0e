"""How far a weight is from an isometry, and the way there."""

from __future__ import annotations

from torch import Tensor


def gap(weight: Tensor, square: float, *, rows: bool = False) -> Tensor:
    """W W^T - square I, or W^T W - square I where that is smaller and `rows` does not ask for the first."""
    gram = weight @ weight.T if rows or len(weight) <= weight.shape[1] else weight.T @ weight
    gram.diagonal().sub_(square)
    return gram


def slope(found: Tensor, weight: Tensor) -> Tensor:
    """A quarter of the gradient of the squared Frobenius norm of what `gap` found of the weight."""
    return found @ weight if len(found) == len(weight) else weight @ found
