"""Adam's arithmetic, for the optimizers that are made of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from agents.plasticity.optimizers.stepping import divisors
from agents.plasticity.validation import check

Group = dict[str, Any]


class AdamBased(torch.optim.Optimizer, ABC):
    """Base of optimizers that make their steps of Adam's (arXiv 1412.6980).

    Counts of steps are numbers of Python's and all else stays on the device, so that a step waits for no GPU.
    Parameters without a gradient are passed over.

    Args:
        params: parameters or groups of them.
        lr: learning rate.
        betas: decay rates of Adam's two moments.
        eps: added to the root of the second moments.
        defaults: settings of the optimizer's own.

    Raises:
        ValueError: a setting is impossible.
    """

    def __init__(
        self, params: Iterable[Any], lr: float, betas: tuple[float, float], eps: float, **defaults: Any
    ) -> None:
        check("lr", lr, lr >= 0, "a number of at least 0")
        check("betas", betas, all(0 <= beta < 1 for beta in betas), "two decay rates of at least 0 and below 1")
        check("eps", eps, eps >= 0, "a number of at least 0")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, **defaults})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step; what the closure returns, if one is given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        trained = [(group, [p for p in group["params"] if p.grad is not None]) for group in self.param_groups]
        trained = [(group, parameters) for group, parameters in trained if parameters]
        for parameter in (parameter for _, parameters in trained for parameter in parameters):
            if not self.state[parameter]:
                self.state[parameter].update(self._beginning(parameter))
        if trained:
            self._advance(trained)
        return loss

    @abstractmethod
    def _advance(self, trained: Sequence[tuple[Group, list[Tensor]]]) -> None:
        """Move the parameters, given by their groups, that have gradients; there are some."""

    def _beginning(self, parameter: Tensor) -> dict[str, Any]:
        """What is remembered of a parameter before its first step."""
        return {"step": 0, "exp_avg": torch.zeros_like(parameter), "exp_avg_sq": torch.zeros_like(parameter)}

    def _adam(self, group: Group, parameters: list[Tensor], moved: list[Tensor], rate: float) -> None:
        """Adam's step on the gradients of `parameters`, by which `moved` go in their place."""
        states = [self.state[parameter] for parameter in parameters]
        gradients = gradients_of(parameters)
        first, second = [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]
        for state in states:
            state["step"] += 1
        beta1, beta2 = group["betas"]
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)
        below = divisors(second, [(1 - beta2 ** state["step"]) ** 0.5 for state in states], group["eps"])
        torch._foreach_addcdiv_(moved, first, below, [-rate / (1 - beta1 ** state["step"]) for state in states])


def gradients_of(parameters: Iterable[Tensor]) -> list[Tensor]:
    """The gradients of parameters that have some."""
    return [parameter.grad for parameter in parameters if parameter.grad is not None]
