"""What optimizers remember, held against the gradients of now."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from agents.plasticity.probing import probed
from agents.plasticity.protocols import Learner
from agents.plasticity.seeds import derive_seed

MINIBATCHES = 19
MINIBATCH = 64  # transitions, where a learner does not tell


def gradient_shares(learner: Learner, seed: int) -> dict[str, Tensor]:
    """Network's name -> the gradient norm of each of some minibatches over that which its optimizer remembers.

    What it remembers is the root of its second moments' sum, which is the root mean square of gradient norms in the
    last 1 / (1 - beta2) steps; 1 is a gradient as large as these. Steps are divided by it, so that far below 1 they
    stay small until it is forgotten. Gradients are not clipped here, which makes them larger. Networks of which no
    second moments are remembered (Adam's and those of its kind, RMSprop's) are left out. nan or inf where all are 0.

    Args:
        learner: with data to `sample`.
        seed: of the draws.
    """
    sizes = {name: size for name in learner.networks if (size := _remembered(learner, name)) is not None}
    if not sizes:
        return {}
    n = learner.batch_size or MINIBATCH
    norms: dict[str, list[Tensor]] = {name: [] for name in sizes}
    for number in range(MINIBATCHES):
        batch = learner.sample(n, torch.Generator().manual_seed(derive_seed(seed, "minibatch", number)))
        gradients = probed(learner, batch, outputs=False).parameter_gradients
        for name in sizes:
            own = [gradients[p] for p in learner.networks[name].parameters if p in gradients]
            norms[name].append(torch.stack([gradient.square().sum() for gradient in own]).sum().sqrt())
    return {name: torch.stack(norms[name]) / size for name, size in sizes.items()}


def _remembered(learner: Learner, network: str) -> Tensor | None:
    """The root of the summed second moments of a network's parameters; None where those of one are not known."""
    sums = []
    held = {p: (o.state.get(p, {}), g) for o in learner.optimizers for g in o.param_groups for p in g["params"]}
    for parameter in learner.networks[network].parameters:
        if not parameter.requires_grad:
            continue
        state, group = held.get(parameter, ({}, {}))
        if (moment := _second_moment(state, group)) is None:
            return None
        sums.append(moment.sum())
    return torch.stack(sums).sum().sqrt() if sums else None


def _second_moment(state: Any, group: Any) -> Tensor | None:
    if "square_avg" in state:
        found: Tensor = state["square_avg"]
        return found
    if "exp_avg_sq" in state and "betas" in group:
        corrected: Tensor = state["exp_avg_sq"] / (1 - group["betas"][1] ** state["step"])
        return corrected
    return None
