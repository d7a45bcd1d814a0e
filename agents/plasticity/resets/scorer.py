"""Utilities of units over time: a criterion on training minibatches, or on a fresh sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from agents.plasticity.criteria import Criterion, CriterionInputs
from agents.plasticity.probing import output_gradients, probed
from agents.plasticity.protocols import Learner, Update
from agents.plasticity.resets.running import RunningMean
from agents.plasticity.resets.silence import Silence
from agents.plasticity.taps import Taps
from agents.plasticity.units import UnitLayer


class Scorer:
    """Utilities of the units of some layers.

    Args:
        criterion: gives the utilities.
        learner: whose units they are.
        layers: the units' layers.
        keep: decay of the running means from one scored minibatch to the next.
        averages: running means of the activations are kept.
        compensates: they are what the surgery puts in a unit's place.
        samples: transitions of the fresh sample that utilities are taken on; None: they are taken on minibatches.
        of_outputs: gradients are those of the outputs in place of the loss.
        generator: ``(*parts) -> generator`` for what is drawn.
    """

    def __init__(
        self,
        criterion: Criterion,
        learner: Learner,
        layers: Sequence[UnitLayer],
        *,
        keep: float,
        averages: bool,
        compensates: bool,
        samples: int | None,
        of_outputs: bool,
        generator: Callable[..., torch.Generator],
    ) -> None:
        self._criterion, self._learner, self._keep = criterion, learner, keep
        self._compensates, self._samples, self._of_outputs = compensates, samples, of_outputs
        self._generator = generator
        device = learner.device
        self._zero = torch.zeros((), device=device)
        self._utility = {layer.name: RunningMean((layer.units,), device) for layer in layers}
        self._mean = {layer.name: RunningMean(_mean_shape(layer), device) for layer in layers if averages}
        self._silence = {layer.name: Silence(layer.units, device) for layer in layers if criterion.listens}
        self.unscored = {layer.name for layer in layers}
        """Layers of which no minibatch has shown what the criterion looks at."""

    @torch.no_grad()
    def watch(self, layer: UnitLayer, update: Update) -> Tensor | None:
        """Take in what a training minibatch shows of a layer.

        Returns:
            which of its utilities were finite, (units,); None where the minibatch shows none.
        """
        a, g = update.taps.get(layer.name, (None, None))
        if a is not None and self._mean:
            self._mean[layer.name].take_in(layer.mean(a), self._keep)
        if a is not None and self._silence:
            self._silence[layer.name].take_in(a)
        if self._samples is not None:
            return None
        inner = update.preactivation_grads.get(layer.name)
        inputs = self._inputs_of(layer, update.step, a, g, inner, layer.producer.weight.grad)
        if any(getattr(inputs, key) is None for key in self._criterion.inputs):
            return None
        self.unscored.discard(layer.name)
        return self._utility[layer.name].take_in(self._criterion.score(inputs), self._keep)

    def means(self) -> dict[str, Tensor]:
        """Layer's name -> running mean activations; 0 where nothing was seen of a unit. Empty unless they are kept.

        Replicas share their mean: what it is put into must stay the same in all of them.
        """
        means = self._learner.replicas.mean({name: mean.value() for name, mean in self._mean.items()})
        return {name: mean.nan_to_num() for name, mean in means.items()}

    def references(self, layers: Sequence[UnitLayer]) -> dict[str, Tensor]:
        """Layer's name -> what a surgery that loses the outgoing weights puts in a unit's place."""
        return self.means() if self._compensates else {layer.name: self._zero for layer in layers}

    def utilities(self, layers: Sequence[UnitLayer], steps: Mapping[str, int]) -> dict[str, Tensor]:
        """Layer's name -> utilities now, (units,); nan where a unit has no score since it was new.

        Replicas, which score their own data, share their mean: of absolute values of single examples (GXD's
        ``abs_mean``) that is what one process would see on all of the data.

        Args:
            layers: those that are asked for.
            steps: network's name -> gradient steps of its optimizer.

        Raises:
            NoDataError: a sample is asked for and the learner has no data.
        """
        return self._learner.replicas.mean(self._own_utilities(layers, steps))

    def _own_utilities(self, layers: Sequence[UnitLayer], steps: Mapping[str, int]) -> dict[str, Tensor]:
        if self._samples is None:
            return {layer.name: self._utility[layer.name].value() for layer in layers}
        batch = self._learner.sample(self._samples, self._generator("sample", *steps.values()))
        if self._of_outputs:
            return self._sensitivities(layers, steps, batch)
        if self._criterion.needs_gradients:
            seen = probed(self._learner, batch, outputs=False, preactivations=self._criterion.looks_inside)
            inputs = [
                self._inputs_of(layer, steps[layer.network], seen.activations[layer.name], *seen.slopes(layer))
                for layer in layers
            ]
        else:
            with torch.no_grad(), Taps(layers) as taps:
                self._learner.outputs(batch)
            inputs = [self._inputs_of(layer, steps[layer.network], taps.activations[layer.name]) for layer in layers]
        return {each.layer.name: self._criterion.score(each) for each in inputs}

    def _sensitivities(self, layers: Sequence[UnitLayer], steps: Mapping[str, int], batch: Any) -> dict[str, Tensor]:
        inside = self._criterion.looks_inside
        activations, networks = output_gradients(self._learner, batch, layers, preactivations=inside)
        found = {}
        for layer in layers:
            utility = torch.zeros(layer.units, device=self._learner.device)
            for outputs in networks:
                for slopes in outputs:
                    a = activations[layer.name]
                    inputs = self._inputs_of(layer, steps[layer.network], a, *slopes[layer.name])
                    utility += self._criterion.score(inputs) / len(outputs)
            found[layer.name] = utility
        return found

    def _inputs_of(
        self,
        layer: UnitLayer,
        step: int,
        a: Tensor | None,
        g: Tensor | None = None,
        inner: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> CriterionInputs:
        mean = self._mean[layer.name].value().nan_to_num() if self._mean else None
        heard = self._silence[layer.name].tensors() if self._silence and a is not None else {}
        draws = "generator" in self._criterion.inputs
        return CriterionInputs(
            layer,
            a=a,
            g=g,
            preactivation_grad=inner,
            weight_in_grad=weights,
            mean=mean,
            reference=mean if self._compensates else self._zero,
            generator=self._generator("score", layer.name, step) if draws else None,
            **heard,
        )

    def clear(self, masks: Mapping[str, Tensor]) -> None:
        """Forget the masked units."""
        for name, mask in masks.items():
            for held in (self._utility, self._mean, self._silence):
                if name in held:
                    held[name].clear(mask)

    def tensors(self) -> dict[str, Tensor]:
        """All that must be saved, to be restored in place."""
        kinds = {"utility": self._utility, "mean": self._mean}
        tensors = {f"{key}/{name}": t for name, heard in self._silence.items() for key, t in heard.tensors().items()}
        for kind, means in kinds.items():
            for name, mean in means.items():
                tensors[f"{kind}/{name}"], tensors[f"{kind}_weight/{name}"] = mean.total, mean.weight
        return tensors


def _mean_shape(layer: UnitLayer) -> tuple[int, ...]:
    return (layer.units,) if layer.positions == 1 else (layer.units, layer.positions)
