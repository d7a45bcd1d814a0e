"""How much a unit matters: pure functions from what was seen of a layer to one utility per unit; low is worthless.

The names of a criterion's parameters say what it looks at; what stands behind ``*`` are its options:

======================  ===============================================================================================
``a``                   activations, (batch, units), or (batch, channels, height, width) where a unit is a channel; a
                        unit's values, where its activation function folds, stand in axis 2, before its positions
``g``                   gradient of the loss, which is a mean over the batch, with respect to ``a``; same shape
``preactivation_grad``  its gradient with respect to what goes into the activation function, (batch, units, ...)
``weight_in``           incoming weights, (units, inputs) or (units, inputs, height, width)
``weight_in_grad``      their gradient
``weight_out``          outgoing weights, (units, weights, positions); positions is 1, or a unit's values times the
                        positions of a flattened map
``mean``                running mean of ``a``, (units,), or (units, positions) where these are several
``reference``           what the surgery puts in a unit's place: 0, or ``mean`` where the consumers' biases absorb it
``silent``              examples since a unit last put out something else than 0, or was new, (units,)
``firings``             how many times it did that lately, (units,)
``between``             examples from each of these times back to the one before it, in all, (units,)
``generator``           a CPU generator of this layer's and step's own
======================  ===============================================================================================

Every criterion returns a tensor of shape (units,), of any dtype. Selections that compare a utility with its layer's
mean leave a layer alone whose mean is not above 0.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch
from torch import Tensor, nn

from agents.plasticity.units import UnitLayer
from agents.plasticity.units.builders import ACTIVATIONS, NORMS

NO_SIGNAL = 1e-12  # a layer whose mean absolute utility is not above this ranks nothing


def gxd(a: Tensor, g: Tensor, reference: Tensor, *, reduction: Literal["abs_mean", "mean_abs"] = "abs_mean") -> Tensor:
    """First-order cost of replacing a unit: u_i = E_b | sum_positions g_bi (a_bi - r_i) |, g per sample.

    Gradient times difference from reference (arXiv 2605.06834). The paper's body was not available to us: this is our
    reading of its abstract. The sum over positions, and over the values of a unit whose activation function folds,
    stands inside the absolute value, because a unit is replaced everywhere at once.

    Args:
        a: activations.
        g: gradients.
        reference: what the surgery substitutes.
        reduction: ``abs_mean`` as above; ``mean_abs`` takes the absolute value after the mean over samples,
            | E_b ... |: the change of the mean loss, in which samples cancel.
    """
    cost = replacement_cost(a, g, reference)
    return cost.abs().sum(0) if reduction == "abs_mean" else cost.sum(0).abs()


def taylor(a: Tensor, g: Tensor) -> Tensor:
    """Mean absolute gradient times activation: the criterion of Taylor pruning (arXiv 1611.06440).

    It is `gxd` with zero for a reference, whatever the surgery puts in a unit's place: where that is the mean, the
    wrong one. The paper takes a channel's mean over positions, which differs from their sum by a factor of the layer.
    """
    return gxd(a, g, a.new_zeros(()))


def replacement_cost(a: Tensor, g: Tensor, reference: Tensor) -> Tensor:
    """First-order change of the loss, sample by sample, when a unit is held at the reference: (batch, units).

    The sum over the batch is the change of the mean loss: ``g`` already holds 1/batch.
    """
    cost = g * (spread(reference, a) - a)
    return cost.flatten(2).sum(-1) if cost.dim() > 2 else cost


def spread(reference: Tensor, a: Tensor) -> Tensor:
    """A value per unit, (units,), or per unit and position, (units, positions), broadcastable to activations.

    A value of each activation's own, of ``a``'s shape, stays as it is.
    """
    if reference.dim() == 0 or reference.shape == a.shape:
        return reference
    if a.dim() == 2:
        return reference if reference.dim() < 2 else reference.squeeze(-1)
    if reference.numel() == a[0].numel():
        return reference.view(a.shape[1:])
    return reference.view(*reference.shape, *[1] * (a.dim() - 1 - reference.dim()))


def redo(a: Tensor) -> Tensor:
    """Mean absolute activation over batch and positions: ReDo's score (arXiv 2302.12902) before normalisation."""
    return a.abs().mean([0, *range(2, a.dim())])


def regrama(weight_in_grad: Tensor, *, normalize: bool = False) -> Tensor:
    """Mean absolute gradient of a unit's incoming weights: the form of GraMa's released code (arXiv 2505.24061).

    Args:
        weight_in_grad: gradient of the incoming weights.
        normalize: divide by the layer's mean, as calibrated partial resets do before they average over time.
    """
    score = weight_in_grad.abs().flatten(1).mean(1)
    return normalized(score) if normalize else score


def regrama_preactivation(preactivation_grad: Tensor) -> Tensor:
    """Mean absolute gradient of what goes into a unit's activation function: GraMa's definition in the paper.

    E_x |dL/dh_i|, L per sample (arXiv 2505.24061). The paper calls h_i the activation and states that dormant ReLU
    units have no gradient, which holds at the function's input alone; the mean over a channel's positions is our
    reading.
    """
    return _mean_absolute(preactivation_grad)


def regrama_activation(g: Tensor) -> Tensor:
    """Mean absolute gradient of what a unit puts out, where a dead ReLU unit has one like any other: not GraMa's."""
    return _mean_absolute(g)


def _mean_absolute(gradient: Tensor) -> Tensor:
    """Over samples and positions."""
    # The gradient of the mean loss holds 1/batch: the mean over samples is a plain sum.
    return gradient.abs().sum(0) if gradient.dim() == 2 else gradient.abs().flatten(2).mean(-1).sum(0)


def contribution(
    a: Tensor,
    weight_in: Tensor,
    weight_out: Tensor,
    mean: Tensor,
    *,
    form: Literal["plain", "centred", "adaptable"] = "plain",
) -> Tensor:
    """Mean absolute activation times mean absolute outgoing weight: continual backprop (Nature 632:768, 2024).

    Where a unit feeds several columns, the product is taken at each of them before the mean.

    Args:
        a: activations.
        weight_in: incoming weights.
        weight_out: outgoing weights.
        mean: running mean of the activations.
        form: ``centred`` takes |a - mean| in place of |a|; ``adaptable`` divides that by the mean absolute incoming
            weight, so that units which learn fast are kept (arXiv 2108.06325).
    """
    activation = (a if form == "plain" else a - spread(mean, a)).abs().mean(0)
    outgoing = weight_out.abs().mean(1)
    activation = activation.reshape(*outgoing.shape, -1).mean(2)
    utility = (activation * outgoing).mean(1)
    return utility / weight_in.abs().flatten(1).mean(1) if form == "adaptable" else utility


def magnitude(weight_in: Tensor, weight_out: Tensor) -> Tensor:
    """Mean absolute incoming times mean absolute outgoing weight."""
    return weight_in.abs().flatten(1).mean(1) * weight_out.abs().flatten(1).mean(1)


def random(weight_in: Tensor, generator: torch.Generator) -> Tensor:
    """Uniform in (0, 1): the baseline that any criterion should beat."""
    return (1 - torch.rand(len(weight_in), generator=generator)).to(weight_in.device, non_blocking=True)


def silence(silent: Tensor, firings: Tensor, between: Tensor, *, longest: int = 20_000) -> Tensor:
    """Probability that a unit is silent for as long as it is now, by what it is used to: self-normalized resets.

    A unit that fires independently from minibatch to minibatch is silent for s examples with probability exp(-s / m), m
    being its mean time between firings, as the authors' code for transformers has it (arXiv 2410.20098). With n firings
    that lie S examples apart in all, m is known as far as these tell, which makes it (S / (S + s))^n: the same for many
    firings, and 1 for a unit that has never fired.

    Args:
        silent: the unit's silence.
        firings: its firings.
        between: the times from one to the next.
        longest: examples from which on the probability is 0. Published is 20,000, to which thresholds are cut.
    """
    known = torch.where(firings > 0, (between / (between + silent)) ** firings, 1.0)
    return torch.where(silent < longest, known, 0.0)


def normalized(utility: Tensor) -> Tensor:
    """Utility over the layer's mean, so that the mean is 1 (and the sum the number of units).

    The released codes add 1e-9 to the mean, under which a layer of tiny gradients would be low as a whole.
    """
    return utility / utility.mean().clamp(min=NO_SIGNAL)


@dataclass(frozen=True)
class CriterionInputs:
    """What a criterion may look at of one layer; see the module's table. None: it was not recorded."""

    layer: UnitLayer
    a: Tensor | None = None
    g: Tensor | None = None
    preactivation_grad: Tensor | None = None
    weight_in_grad: Tensor | None = None
    mean: Tensor | None = None
    reference: Tensor | None = None
    silent: Tensor | None = None
    firings: Tensor | None = None
    between: Tensor | None = None
    generator: torch.Generator | None = None

    @property
    def weight_in(self) -> Tensor:
        """Incoming weights."""
        return self.layer.producer.weight.detach()

    @property
    def weight_out(self) -> Tensor:
        """Outgoing weights, (units, weights, positions)."""
        return self.layer.outgoing().detach()


CAN_BE_SILENT = (nn.ReLU, nn.ReLU6, nn.Hardshrink, nn.Hardsigmoid, nn.Hardswish, nn.Softshrink)
"""Activation functions that put out exactly 0 for more than single numbers."""

GRADIENTS = frozenset({"g", "preactivation_grad", "weight_in_grad"})
SILENCE = frozenset({"silent", "firings", "between"})
INPUTS = frozenset({field.name for field in fields(CriterionInputs)} - {"layer"} | {"weight_in", "weight_out"})


class Criterion:
    """A criterion with its options.

    Attributes:
        name: registry name.
        options: plain data.
        inputs: what it looks at, of `INPUTS`.

    Raises:
        ValueError: an option is not known or not possible, or a parameter names nothing that can be looked at.
    """

    def __init__(self, name: str, function: Callable[..., Tensor], options: Mapping[str, Any]) -> None:
        parameters = inspect.signature(function, eval_str=False).parameters
        known = {key: p for key, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
        self.name = name
        self.inputs = frozenset(parameters) - frozenset(known)
        if strange := self.inputs - INPUTS:
            raise ValueError(
                f"name is {name!r}, whose parameter {min(strange)!r} is nothing that can be looked at; "
                f"choose from {', '.join(sorted(INPUTS))}, and give options behind *"
            )
        for key in options:
            if key not in known:
                raise ValueError(f"{key} is no option of {name!r}; choose from {', '.join(known) or 'none'}")
        for key, parameter in known.items():
            if key not in options and parameter.default is parameter.empty:
                raise ValueError(f"{key} is missing, which {name!r} needs; give it")
        self.options = {key: options.get(key, parameter.default) for key, parameter in known.items()}
        self._function = function

    @property
    def is_cost(self) -> bool:
        """Whether its utilities predict a change of the loss: it knows what is put in a unit's place."""
        return "reference" in self.inputs

    @property
    def needs_gradients(self) -> bool:
        """Whether it ranks nothing without a loss."""
        return bool(self.inputs & GRADIENTS)

    @property
    def looks_inside(self) -> bool:
        """Whether it looks at what goes into activation functions."""
        return "preactivation_grad" in self.inputs

    @property
    def listens(self) -> bool:
        """Whether it looks at how long units have been silent, which all minibatches tell together."""
        return bool(self.inputs & SILENCE)

    def refuse_unknown(self, layer: UnitLayer) -> None:
        """Refuse a layer that cannot show what the criterion looks at.

        Raises:
            ValueError: it is one.
        """
        if self.looks_inside and layer.preactivation is None:
            raise ValueError(
                f"{layer.name}: the criterion {self.name!r} looks at what goes into the activation function, but no "
                "module is known that puts it out; give its UnitLayer a preactivation, or choose 'regrama' (of weights)"
            )
        if self.listens and isinstance(layer.tap, (*ACTIVATIONS, *NORMS)) and not isinstance(layer.tap, CAN_BE_SILENT):
            raise ValueError(
                f"{layer.name}: the criterion {self.name!r} looks at how long units put out 0, which they never do "
                f"behind {type(layer.tap).__name__}; build {layer.network} with ReLU, or leave it out of networks"
            )

    @torch.no_grad()
    def score(self, inputs: CriterionInputs) -> Tensor:
        """One utility per unit, (units,), in single precision or better.

        Raises:
            ValueError: the function gives something else.
        """
        utility = self._function(**{key: getattr(inputs, key) for key in self.inputs}, **self.options)
        if not isinstance(utility, Tensor):
            raise ValueError(
                f"the criterion {self.name!r} gives {utility!r} for {inputs.layer.units} units of {inputs.layer.name}; "
                "return a tensor of one utility per unit"
            )
        if utility.shape != (inputs.layer.units,):
            raise ValueError(
                f"the criterion {self.name!r} gives shape {tuple(utility.shape)} for {inputs.layer.units} units of "
                f"{inputs.layer.name}; return one utility per unit"
            )
        return utility.to(torch.promote_types(utility.dtype, torch.float32))
