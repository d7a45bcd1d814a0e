"""Signs of what may ail networks, read off a learner on observations that stay the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.plasticity.diagnostics import activations, ranks
from agents.plasticity.diagnostics.fit.objectives import PAID, columns, unseen
from agents.plasticity.diagnostics.measure import FEW, PROBE, last_layers
from agents.plasticity.diagnostics.ntk import is_understood, tangent_kernels
from agents.plasticity.fresh import fresh_parameters
from agents.plasticity.outputs import Form
from agents.plasticity.probing import layers_of
from agents.plasticity.protocols import Learner
from agents.plasticity.seeds import derive_seed
from agents.plasticity.taps import Taps
from agents.plasticity.units import Network


class Sign(NamedTuple):
    """What is read.

    Attributes:
        meaning: in a line.
        left: of its value, how much is left of what a network needs; 0 is nothing.
    """

    meaning: str
    left: Callable[[float], float]


def _itself(value: float) -> float:
    return value


def _rest(share: float) -> float:
    return 1 - share


def _inverse(size: float) -> float:
    return 1 / size if size > 0 else math.inf


def _all_or_nothing(share: float) -> float:
    return float(share == 0)


SIGNS: Mapping[str, Sign] = {
    "not_finite": Sign(
        "share of a network's weights that are no finite numbers, of which one is enough", _all_or_nothing
    ),
    "dormant_units": Sign("share of a layer's units with an activation of at most 0.025 of the layer's mean", _rest),
    "unmoved_units": Sign("share of a layer's units with a weight gradient of at most 0.01 of the layer's mean", _rest),
    "saturated_units": Sign("share of a layer's units that are nearly always at a bound of their activation", _rest),
    "feature_rank": Sign("log effective rank of a last hidden layer, centred, over that of living features", _itself),
    "kernel_rank": Sign("log effective rank of the tangent kernel of 128 observations, over that of all", _itself),
    "certainty": Sign("probability of the policy's most likely action, or size of actions behind a tanh", _rest),
    "weight_size": Sign("root mean square of the weights, to which steps of a given size are small", _inverse),
}
"""Name -> what it is; each is compared with fresh networks'."""
VALUE_SIZE = "value_size"
"""Root mean square of what is put out by a network of values; of no network by itself a sign of anything."""


@dataclass(frozen=True)
class Bench:
    """On what a learner is looked at.

    Attributes:
        batch: observations.
        few: others, for the kernel.
        wanted: output network's name -> changes of its outputs on the batch that nobody has trained it for.
    """

    batch: Any
    few: Any
    wanted: Mapping[str, Tensor]


def bench_of(learner: Learner, seed: int) -> Bench:
    """Observations of the data at hand, at least twice as many as the widest last hidden layer has values.

    Raises:
        NoDataError: there are none.
    """
    networks = learner.networks.values()
    widths = [layer.units * layer.fold for network in networks for layer in last_layers(network)]
    size = max([PROBE, *(2 * width for width in widths)])
    batch, few = (learner.sample(n, torch.Generator().manual_seed(derive_seed(seed, "bench", n))) for n in (size, FEW))
    with torch.no_grad():
        outputs = learner.outputs(batch, fresh_parameters(learner, seed, "bench"))
    forms = learner.output_forms
    return Bench(batch, few, {name: unseen(columns(forms[name], found)) for name, found in outputs.items()})


@torch.no_grad()
def value_sizes(learner: Learner, bench: Bench) -> dict[str, Tensor]:
    """The size of values alone, by ``<network>/value_size``, of networks whose outputs are values."""
    forms = learner.output_forms
    names = [name for name, form in forms.items() if form.kind == "values"]
    outputs = learner.outputs(bench.batch, names=names) if names else {}
    return {f"{name}/{VALUE_SIZE}": out.square().mean().sqrt() for name, out in outputs.items()}


@torch.enable_grad()
def read(learner: Learner, bench: Bench) -> dict[str, Tensor]:
    """All signs of the parameters at hand, by ``<place>/<sign>``: the place is a layer, or a network as a whole."""
    layers, forms = layers_of(learner), learner.output_forms
    with Taps(layers) as taps:
        outputs = learner.outputs(bench.batch)
    change = torch.stack([(columns(forms[n], out) * bench.wanted[n]).mean() for n, out in outputs.items()]).sum()
    weights = {layer.name: layer.producer.weight for layer in layers if layer.producer.weight.requires_grad}
    slopes = torch.autograd.grad(change, list(weights.values()), allow_unused=True) if weights else ()
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, slope in zip(weights, slopes, strict=True):
            known = torch.zeros_like(weights[name]) if slope is None else slope
            found[f"{name}/unmoved_units"] = activations.grama_ratio([known])
        for layer in layers:
            a = taps.activations[layer.name]
            found[f"{layer.name}/dormant_units"] = activations.dormant_ratio([a])
            if (low := activations.LOWEST.get(type(layer.tap))) is not None:
                found[f"{layer.name}/saturated_units"] = activations.saturated_fraction([a], [low])
        for network in learner.networks.values():
            for layer in last_layers(network):
                found[f"{layer.name}/feature_rank"] = feature_rank(taps.activations[layer.name])
            if numbers := [p.flatten() for p in network.parameters]:
                found[f"{network.name}/not_finite"] = (~torch.cat(numbers).isfinite()).double().mean()
            if matrices := [p.flatten() for p in network.parameters if p.dim() > 1]:
                found[f"{network.name}/weight_size"] = torch.cat(matrices).double().square().mean().sqrt()
        for name, out in outputs.items():
            if forms[name].kind in PAID:
                found[f"{name}/certainty"] = certainty(forms[name], out)
    return found | value_sizes(learner, bench) | _kernel_ranks(learner, bench)


def _kernel_ranks(learner: Learner, bench: Bench) -> dict[str, Tensor]:
    known: dict[str, Network] = {
        name: network
        for name, network in learner.networks.items()
        if all(is_understood(part.module) for part in network.parts)
    }
    kernels = tangent_kernels(known, lambda: learner.outputs(bench.few)) if known else {}
    return {
        f"{name}/kernel_rank": ranks.effective_rank(ranks.eigenvalues(kernel)).log() / math.log(len(kernel))
        for name, kernel in kernels.items()
    }


def feature_rank(features: Tensor) -> Tensor:
    """Log of the effective rank of centred features, over the log of how many are not dormant; nan of fewer than two.

    It is the entropy of their singular values, 1 where all directions are alike and 0 where there is one. A common
    offset of all features is left out: what it costs, the tangent kernel shows.

    Args:
        features: (batch, units), or maps, whose entries count one by one.
    """
    flat = features.flatten(1).double()
    sizes = flat.abs().mean(0)
    alive = (sizes > activations.DORMANT * sizes.mean()).sum()
    rank = ranks.effective_rank(ranks.singular_values(flat - flat.mean(0)))
    return torch.where(alive > 1, rank.log() / alive.clamp(max=len(flat)).double().log(), torch.nan)


def certainty(form: Form, outputs: Tensor) -> Tensor:
    """How sure a policy is, the mean over states, from nearly 0 to 1 where its gradient has vanished.

    Of choices and bits the probability of the most likely action; of actions behind a tanh their mean absolute value.

    Args:
        form: of a kind in `PAID`.
        outputs: (batch, columns).
    """
    if form.kind == "logits":
        return torch.stack([part.softmax(1).amax(1) for part in outputs.split(form.sizes, 1)]).prod(0).mean()
    if form.kind == "bits":
        return outputs.abs().sigmoid().prod(1).mean()
    return columns(form, outputs).tanh().abs().mean()
