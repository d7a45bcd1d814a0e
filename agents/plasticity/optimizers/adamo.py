"""AdamO: hidden layers are drawn to isometries beside Adam."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor

from agents.plasticity.isometry import gap, slope
from agents.plasticity.optimizers.adam import AdamBased, Group
from agents.plasticity.optimizers.hidden import HiddenWeights
from agents.plasticity.validation import check


class AdamO(AdamBased, HiddenWeights):
    """Adam, and beside it a step that draws hidden layers to isometries (arXiv 2606.09762).

    W <- W - lr * coefficient * (gradient of |W^T W - scale I|^2, Frobenius), of W W^T where that is smaller; Adam's
    moments see the gradient of the loss alone, as with AdamW's weight decay. Convolutions are taken as matrices of
    (channels, all else). Output layers, biases and normalisations are left to Adam, as in the authors' code for
    language models (Arosseau/nanochat-isometry), from which the coefficient is, too: the paper's own for reinforcement
    learning could not be read. A singular value near 1 comes nearer by a share of 8 * lr * coefficient in a step, so
    that short runs need more than 1e-3 to show anything. Agents tell which layers are hidden; in a loop of one's own
    all tensors of two dimensions or more count as their weights until `choose` says otherwise.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: decay rates of Adam's two moments.
        eps: added to the root of the second moments.
        coefficient: strength; 0 for Adam, to the bit.
        scale: square that the singular values are drawn to, published as 1; 2 is that of orthogonal layers of PPO as
            SB3 draws them, and keeps the size of signals through ReLUs.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        coefficient: float = 1e-3,
        scale: float = 1.0,
    ) -> None:
        check("coefficient", coefficient, coefficient >= 0, "a number of at least 0")
        check("scale", scale, scale > 0, "a number above 0")
        super().__init__(params, lr, betas, eps, coefficient=coefficient, scale=scale)

    def _advance(self, trained: Sequence[tuple[Group, list[Tensor]]]) -> None:
        for group, parameters in trained:
            rate, hidden = group["lr"] * group["coefficient"], {group["params"][i] for i in group["hidden"]}
            for parameter in parameters if rate else ():
                if parameter in hidden:
                    weight = parameter.flatten(1)
                    parameter.sub_(slope(gap(weight, group["scale"]), weight).view_as(parameter), alpha=4 * rate)
            self._adam(group, parameters, parameters, group["lr"])
