"""UPGD: weights that are useful move less, all others are perturbed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from agents.plasticity.optimizers.adam import AdamBased, Group, gradients_of
from agents.plasticity.seeds import derive_seed
from agents.plasticity.validation import check


class UPGD(AdamBased):
    """Utility-based perturbed gradient descent, with Adam as its authors train PPO (arXiv 2302.03281).

    The utility of a weight w is the mean of -gradient * w over the last steps (decay `beta_utility`, its beginning
    corrected), s = sigmoid(utility / largest utility), and

        w <- (1 - lr * weight_decay) w - lr_factor * lr * (1 - s) * (Adam's direction + noise).

    The largest utility is that of all tensors, as published: PPO has one optimizer of actor and critic. With `local` it
    is each tensor's own, which is ours. Ours is also that it is corrected as the utilities are (the authors' code
    leaves that out, so that all useful weights stand still at first), that it is never below 0, which would turn the
    order around, and that the noise has a generator of its own.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: decay rates of Adam's two moments.
        eps: added to the root of the second moments.
        weight_decay: draws weights to zero, as in AdamW.
        beta_utility: decay rate of the utilities.
        sigma: standard deviation of the noise, in steps of Adam's; 0 for none.
        lr_factor: factor on the learning rate, published as 2 because 1 - s is about 1/2.
        local: utilities are compared with the largest of their own tensor.
        seed: of the noise, beside the parameters' shapes; None for torch's.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-5,
        weight_decay: float = 1e-3,
        beta_utility: float = 0.999,
        sigma: float = 1e-3,
        lr_factor: float = 2.0,
        *,
        local: bool = False,
        seed: int | None = None,
    ) -> None:
        check("weight_decay", weight_decay, weight_decay >= 0, "a number of at least 0")
        check("beta_utility", beta_utility, 0 <= beta_utility < 1, "a decay rate of at least 0 and below 1")
        check("sigma", sigma, sigma >= 0, "a number of at least 0")
        check("lr_factor", lr_factor, lr_factor > 0, "a number above 0")
        own = {"weight_decay": weight_decay, "beta_utility": beta_utility, "sigma": sigma, "lr_factor": lr_factor}
        super().__init__(params, lr, betas, eps, **own, local=local, seed=seed, draws=0)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """torch's own; each group has noise of its own."""
        super().add_param_group(param_group)
        number, group = len(self.param_groups) - 1, self.param_groups[-1]
        shapes = [tuple(parameter.shape) for parameter in group["params"]]
        seed = torch.initial_seed() if group["seed"] is None else group["seed"]
        group["seed"] = derive_seed(seed, "upgd", number, shapes)

    def _beginning(self, parameter: Tensor) -> dict[str, Any]:
        return {**super()._beginning(parameter), "utility": torch.zeros_like(parameter)}

    def _advance(self, trained: Sequence[tuple[Group, list[Tensor]]]) -> None:
        moves = []
        for group, parameters in trained:
            moves.append([torch.zeros_like(parameter) for parameter in parameters])
            self._adam(group, parameters, moves[-1], 1.0)
        utilities = [self._utilities(group, parameters) for group, parameters in trained]
        maxima = [[utility.max() for utility in each] for each in utilities]
        largest = torch.stack([one for each in maxima for one in each]).max()
        for (group, parameters), move, each, own in zip(trained, moves, utilities, maxima, strict=True):
            if group["sigma"]:
                torch._foreach_add_(move, self._noise(group, parameters), alpha=-group["sigma"])
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            bounds = own if group["local"] else [largest] * len(each)
            gates = [_gate(utility, bound) for utility, bound in zip(each, bounds, strict=True)]
            torch._foreach_addcmul_(parameters, move, gates, value=group["lr_factor"] * group["lr"])

    def _utilities(self, group: Group, parameters: list[Tensor]) -> list[Tensor]:
        """The mean of -gradient * weight over the last steps, and over this one, of each parameter."""
        states = [self.state[parameter] for parameter in parameters]
        held, beta = [state["utility"] for state in states], group["beta_utility"]
        torch._foreach_mul_(held, beta)
        torch._foreach_addcmul_(held, gradients_of(parameters), parameters, value=beta - 1)
        found: list[Tensor] = list(torch._foreach_div(held, [1 - beta ** state["step"] for state in states]))
        return found

    def _noise(self, group: Group, parameters: list[Tensor]) -> list[Tensor]:
        """Standard normal numbers for each parameter."""
        device = parameters[0].device
        generator = torch.Generator(device).manual_seed(derive_seed(group["seed"], group["draws"]))
        group["draws"] += 1
        return [torch.randn(p.shape, generator=generator, dtype=p.dtype, device=device) for p in parameters]


def _gate(utility: Tensor, largest: Tensor) -> Tensor:
    """How much of its step each weight makes; without a useful one, those of no utility half, and all others all."""
    return torch.sigmoid(-utility / largest.clamp(min=torch.finfo(utility.dtype).tiny))
