"""Muon for the weights of hidden layers, and AdamW for all else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Any, Literal

import torch
from torch import Tensor

from agents.plasticity.optimizers.hidden import HiddenWeights

OF_MUON = ("lr", "weight_decay", "momentum", "nesterov", "adjust_lr_fn")
OF_ADAMW = ("lr", "weight_decay", "betas", "eps")


class Muon(HiddenWeights):
    """torch's Muon for the weights of hidden linear layers, and torch's AdamW for all else (arXiv 2502.16982).

    Muon makes each step of such a weight nearly orthogonal, by Newton-Schulz iterations on its momentum. Output layers,
    biases and normalisations go to AdamW, as its authors have it, and so do convolutions, which torch's Muon does not
    take. Both have one learning rate and one weight decay: by default a step of Muon is scaled to the size of one of
    AdamW's (``match_rms_adamw``, the paper's), which torch does not do by itself. Agents tell which layers are hidden;
    in a loop of one's own all matrices count as such until `choose` says otherwise.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: decay rates of AdamW's two moments.
        eps: added to the root of AdamW's second moments.
        weight_decay: draws weights to zero, of both.
        momentum: decay rate of Muon's momentum.
        nesterov: Muon's momentum looks a step ahead.
        adjust_lr_fn: how steps of Muon are scaled by the weight's shape: ``match_rms_adamw`` or ``original``.

    Raises:
        ValueError: this version of torch has no Muon, or a setting is impossible.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        *,
        nesterov: bool = True,
        adjust_lr_fn: Literal["match_rms_adamw", "original"] = "match_rms_adamw",
    ) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise ValueError(
                f"the optimizer muon is torch.optim.Muon, which torch has since 2.9, and this is {torch.__version__}; "
                "update torch or give another optimizer"
            )
        own = {"weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov, "adjust_lr_fn": adjust_lr_fn}
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, **own})

    def fits(self, parameter: Tensor) -> bool:
        return parameter.dim() == 2

    def _choose(self, group: dict[str, Any], weights: AbstractSet[Tensor]) -> None:
        super()._choose(group, weights)
        self._share()

    def __setstate__(self, state: dict[str, Any]) -> None:
        """As torch does it, also where a state dict is loaded: groups and state are new objects then."""
        super().__setstate__(state)
        self._share()

    def _share(self) -> None:
        """Give each group's parameters to an optimizer of torch's, which keeps their state here."""
        self._parts: list[tuple[dict[str, Any], tuple[str, ...], torch.optim.Optimizer]] = []
        for group in self.param_groups:
            hidden = [group["params"][i] for i in group["hidden"]]
            others = [p for i, p in enumerate(group["params"]) if i not in group["hidden"]]
            for kind, keys, parameters in (
                (torch.optim.Muon, OF_MUON, hidden), (torch.optim.AdamW, OF_ADAMW, others),
            ):  # fmt: skip
                if parameters:
                    part: torch.optim.Optimizer = kind(parameters, **{key: group[key] for key in keys})
                    part.state = self.state
                    self._parts.append((group, keys, part))

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; what the closure returns, if one is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group, keys, part in self._parts:
            part.param_groups[0].update({key: group[key] for key in keys})
            part.step()
        return loss
