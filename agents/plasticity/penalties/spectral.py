"""Spectral regularisation: the largest singular value of every layer is held."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from agents.plasticity.network_intervention import NetworkIntervention, Networks, check_steps
from agents.plasticity.penalties.known import with_gradients
from agents.plasticity.protocols import Edit, Learner, Update
from agents.plasticity.schedule import is_scored
from agents.plasticity.units import Network
from agents.plasticity.units.builders import NORMS
from agents.plasticity.validation import check

ITERATIONS = 100  # of the power method, where nothing is known of a matrix yet
TINY = 1e-12


class Matrix(NamedTuple):
    """What is held of a weight.

    Attributes:
        vector: (outputs,), its first left singular vector as it is known.
        target: (), what its largest singular value is drawn to.
    """

    vector: Tensor
    target: Tensor


class Term(NamedTuple):
    """A part of the sum over layers.

    Attributes:
        value: ().
        tensors: that it depends on.
        gradients: factor on the value -> gradients that reach the tensors.
    """

    value: Tensor
    tensors: list[Tensor]
    gradients: Callable[[Tensor], list[Tensor]]


class Spectral(NetworkIntervention):
    """Spectral regularisation: hold the largest singular value of every layer (arXiv 2406.06811).

    The loss is L + `coefficient` * sum over layers of (sigma_1(W)^k - t^k)^2 + |b|^2k, with k = 2. Published is t = 1;
    ours is the value that each layer began with, because Stable-Baselines3 begins hidden layers of PPO at 1.4 and the
    action head at 0.01. Kernels of convolutions are matrices of (outputs, inputs * positions). A normalisation's weight
    is drawn to 1 and its bias to 0 as biases are. sigma_1 is found by the power method, one iteration each time, from
    the vector of the last one; layers of one shape are taken together. Published is a term at every gradient step; ours
    is at one step in `every`, with `every` times the coefficient. The paper's text was not available to us: the formula
    is as others tell it, the default coefficient a guess within their range (1e-4 to 1e-2).

    Args:
        networks: names of the networks whose layers are held, or ``paper``; None for all that the policy has.
        coefficient: strength; 0 costs nothing. More holds layers nearer to their targets.
        power: k.
        every: gradient steps, of which one has the term; None for 4, or the published 1 with `paper`. Less is dearer.
        output_layers: hold output layers, too.
        paper: targets of 1, and a term at every step.
    """

    name = "spectral"
    of_loss = False

    def __init__(
        self,
        *,
        networks: Networks = None,
        coefficient: float = 1e-4,
        power: int = 2,
        every: int | None = None,
        output_layers: bool = True,
        paper: bool = False,
    ) -> None:
        super().__init__(networks)
        check("coefficient", coefficient, coefficient >= 0, "a number of at least 0")
        check("power", power, isinstance(power, int) and power >= 1, "a whole number of at least 1")
        if every is not None:
            check_steps("every", every, 1)
        self.coefficient, self.power, self.output_layers, self.paper = coefficient, power, output_layers, paper
        self.every = (1 if paper else 4) if every is None else every

    def attach(self, learner: Learner) -> None:
        super().attach(learner)
        self._networks = [learner.networks[name] for name in self._names]
        self._matrices: dict[str, dict[Tensor, Matrix]] = {}  # by network
        self._vectors: dict[str, dict[Tensor, float]] = {}  # by network: what is drawn -> to which value
        for network in self._networks:
            self._matrices[network.name], self._vectors[network.name] = {}, {}
            for number, (weight, drawn_to) in enumerate(self._held(network)):
                if weight.dim() < 2:
                    self._vectors[network.name][weight] = drawn_to
                    continue
                start = torch.randn(len(weight), generator=self._generator("start", network.name, number))
                matrix = Matrix(start.to(weight), torch.ones((), device=weight.device))
                self._matrices[network.name][weight] = matrix
                self._begin(weight, matrix)

    def _held(self, network: Network) -> Iterable[tuple[Tensor, float]]:
        """Its parameters that are held, each with the value that it is drawn to if it is no matrix."""
        for part in network.parts:
            if part.height or self.output_layers:
                ones = part.module.weight if isinstance(part.module, NORMS) else None
                for parameter in part.module.parameters(recurse=False):
                    yield parameter, float(parameter is ones)

    @torch.no_grad()
    def _begin(self, weight: Tensor, matrix: Matrix) -> None:
        """The power method on a matrix that is new, and its target."""
        flat, vector = weight.flatten(1), matrix.vector
        for _ in range(ITERATIONS):
            vector.copy_(_unit(flat @ _unit(flat.T @ vector, 0), 0))
        if not self.paper:
            matrix.target.copy_((flat.T @ vector).norm())

    def claims(self) -> dict[str, list[str]]:
        return {"regularise the singular values of {}": self._names}

    # ------------------------------------------------------------------ hooks

    @torch.no_grad()
    def penalty(self, update: Update) -> Tensor | None:
        if not self.coefficient or not is_scored(update.step, self.every):
            return None
        matrices = self._trained_now(update, self._matrices)
        vectors = self._trained_now(update, self._vectors)
        terms = [self._of_matrices(matrices)] if matrices else []
        terms += [self._of_vectors(vectors)] if vectors else []
        if not terms:
            return None
        strength = self.every * self.coefficient
        total = strength * torch.stack([term.value for term in terms]).sum()
        tensors = [tensor for term in terms for tensor in term.tensors]

        def gradients(reached: Tensor) -> list[Tensor]:
            return [gradient for term in terms for gradient in term.gradients(strength * reached)]

        with torch.enable_grad():
            return with_gradients(total, tensors, gradients)

    def _of_matrices(self, held: Mapping[Tensor, Matrix]) -> Term:
        """The term of matrices, whose vectors move on."""
        groups = _by_shape(held)
        known = [matrix for group in groups for matrix in group.values()]
        pairs, sigmas = [], []
        for group in groups:
            flat = _stacked([weight.flatten(1) for weight in group])
            right = _unit(_stacked([matrix.vector for matrix in group.values()]).unsqueeze(1) @ flat, 2)
            image = flat @ right.mT
            sigma = image.norm(dim=1, keepdim=True)
            left = image / sigma.clamp_min(TINY)
            torch._foreach_copy_([matrix.vector for matrix in group.values()], list(left.squeeze(2)))
            pairs.append((left, right))
            sigmas.append(sigma.flatten())
        sigma = torch.cat([found.float() for found in sigmas])
        k = self.power
        gap = sigma**k - torch.stack([matrix.target for matrix in known]) ** k

        def gradients(reached: Tensor) -> list[Tensor]:
            slopes = (2 * k * reached * gap * sigma ** (k - 1)).split([len(group) for group in groups])
            found = []
            for slope, (left, right), group in zip(slopes, pairs, groups, strict=True):
                outer = (left * slope.to(left.dtype).view(-1, 1, 1)) @ right
                found += [gradient.view_as(weight) for gradient, weight in zip(outer, group, strict=True)]
            return found

        return Term(gap.square().sum(), [weight for group in groups for weight in group], gradients)

    def _of_vectors(self, held: Mapping[Tensor, float]) -> Term:
        """The term of biases and normalisations."""
        apart = torch._foreach_sub(list(held), list(held.values()))
        norms = torch.stack([norm.float() for norm in torch._foreach_norm(apart)])
        k = self.power

        def gradients(reached: Tensor) -> list[Tensor]:
            slopes = reached * 2 * k * norms ** (2 * k - 2)
            return [piece * slope.to(piece.dtype) for piece, slope in zip(apart, slopes, strict=True)]

        return Term((norms ** (2 * k)).sum(), list(held), gradients)

    def on_surgery(self, edit: Edit) -> None:
        """What was drawn as a whole has the target of what it is now."""
        drawn = set(edit.tensors)
        for held in self._matrices.values():
            for weight, matrix in held.items():
                if weight in drawn:
                    self._begin(weight, matrix)

    # ------------------------------------------------------------------ state and log

    def _tensors(self) -> dict[str, Tensor]:
        return {
            f"{kind}/{name}/{number}": tensor
            for name, held in self._matrices.items()
            for number, matrix in enumerate(held.values())
            for kind, tensor in matrix._asdict().items()
        }

    def state_dict(self) -> dict[str, Tensor]:
        return {key: tensor.clone() for key, tensor in self._tensors().items()}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._refuse_other_networks(state)
        for key, tensor in self._tensors().items():
            tensor.copy_(state[key])

    @torch.no_grad()
    def metrics(self) -> dict[str, float]:
        """``<network>/largest_sigma``: the largest singular value of any of its layers."""
        found = {}
        for name, held in self._matrices.items():
            if self.coefficient and held:
                sigmas = [(weight.flatten(1).T @ matrix.vector).norm() for weight, matrix in held.items()]
                found[f"{name}/largest_sigma"] = float(torch.stack(sigmas).max())
        return found


def _stacked(tensors: Sequence[Tensor]) -> Tensor:
    """As torch.stack, but one alone is not copied."""
    return torch.stack(list(tensors)) if len(tensors) > 1 else tensors[0].unsqueeze(0)


def _unit(vectors: Tensor, dim: int) -> Tensor:
    found: Tensor = vectors / vectors.norm(dim=dim, keepdim=True).clamp_min(TINY)
    return found


def _by_shape(matrices: Mapping[Tensor, Matrix]) -> list[dict[Tensor, Matrix]]:
    """The matrices of each shape and kind of number."""
    found: dict[object, dict[Tensor, Matrix]] = {}
    for weight, matrix in matrices.items():
        key = len(weight), weight.numel(), weight.dtype, weight.device
        found.setdefault(key, {})[weight] = matrix
    return list(found.values())
