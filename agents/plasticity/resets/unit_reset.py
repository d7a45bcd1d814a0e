"""Resets of hidden units: a criterion gives utilities, a selection picks units, surgery makes them new."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from agents.plasticity import registry
from agents.plasticity.criteria import Criterion, normalized
from agents.plasticity.moments import refuse_unknown_moments
from agents.plasticity.network_intervention import NetworkIntervention, Networks, check_steps, trained_parameters
from agents.plasticity.probing import Probed
from agents.plasticity.protocols import WARNINGS, Edit, Learner, NoDataError, Update
from agents.plasticity.resets.cost import PROBE, CostMeter
from agents.plasticity.resets.scorer import Scorer
from agents.plasticity.resets.waiting import Waiting
from agents.plasticity.schedule import is_scored
from agents.plasticity.selections import LayerUtilities, Selection, has_signal
from agents.plasticity.surgery import Surgery, may_branch, reset_units
from agents.plasticity.units import Network, UnitLayer
from agents.plasticity.validation import check

FORGOTTEN = 1e-6  # weight in a running mean below which a score is not taken
COST_EVERY = 1000  # gradient steps between measurements of what resets cost, where they act more often


class UnitReset(NetworkIntervention):
    """Any criterion, selection and surgery put together; `GXD`, `ReDo`, `ReGraMa`, `CBP` and `CPR` are such.

    Utilities are taken on training minibatches and averaged over time, or on a fresh sample when units are selected.
    New units are protected until they are `maturity` gradient steps old: without outgoing weights they earn neither
    gradient nor contribution at first.

    Args:
        criterion: its name, or a mapping of its name and options, such as ``{"name": "gxd", "reduction": "mean_abs"}``.
        selection: its name, or a mapping of its name and arguments, such as ``{"name": "rate", "rate": 1e-4}``.
        surgery: arguments of `agents.plasticity.surgery.Surgery`; None for its defaults.
        networks: names of the networks to keep plastic, or ``paper``; None for all that the policy has.
        period: gradient steps between selections.
        maturity: gradient steps for which a new unit is left alone.
        score_every: one minibatch in so many is scored, all places of an iteration alike often
            (`agents.plasticity.schedule`); the running mean keeps its time constant. Less costs more.
        decay: of the running mean, per gradient step.
        score_on: ``minibatch``, or ``sample``: a fresh sample of the data at hand, once per period.
        samples: transitions of that sample, fewer where the data has fewer.
        signal: what gradients are taken of: the ``loss``, or the network's ``outputs``. The utility is then the mean
            over a network's outputs of the criterion with that output in the loss's place (summed over the networks
            that the layer feeds), always on a sample. It ranks units even where the loss sends no gradient, as to a
            policy whose entropy has fallen to zero.
    """

    name = "reset"
    of_units = True
    period: int

    def __init__(
        self,
        *,
        criterion: str | Mapping[str, Any],
        selection: str | Mapping[str, Any],
        surgery: Mapping[str, Any] | None = None,
        networks: Networks = None,
        period: int = 1000,
        maturity: int = 1000,
        score_every: int = 16,
        decay: float = 0.99,
        score_on: Literal["minibatch", "sample"] = "minibatch",
        samples: int = 256,
        signal: Literal["loss", "outputs"] = "loss",
    ) -> None:
        super().__init__(networks)
        for key, steps, least in (("period", period, 1), ("maturity", maturity, 0), ("score_every", score_every, 1)):
            check_steps(key, steps, least)
        check("decay", decay, 0 <= decay < 1, "a number of at least 0 and below 1")
        check("score_on", score_on, score_on in ("minibatch", "sample"), "minibatch or sample")
        right = isinstance(samples, int) and samples >= 1
        check("samples", samples, right, "a whole number of transitions of at least 1")
        check("signal", signal, signal in ("loss", "outputs"), "loss or outputs")
        self._criterion: Criterion = registry.build("criterion", criterion)
        self._selection: Selection = registry.build("selection", selection)
        self._surgery = Surgery.of(surgery)
        self.period, self.maturity, self.score_every, self.decay = period, maturity, score_every, decay
        self.score_on, self.samples, self.signal = score_on, samples, signal
        self.criterion: Any = {"name": self._criterion.name, **self._criterion.options}
        self.selection: Any = {"name": selection} if isinstance(selection, str) else dict(selection)
        if is_dataclass(self._selection) and not isinstance(self._selection, type):  # a user's need not be one
            self.selection.update(asdict(self._selection))
        self.surgery: Any = self._surgery.arguments()
        self._check_combination()
        self._sampled = score_on == "sample" or signal == "outputs"
        self._averages = bool(self._criterion.inputs & {"mean"}) or self._surgery.compensate
        self.needs = self._taps_needed()
        self.memory = _memory(self.decay, self.score_every)
        """Gradient steps before a selection whose minibatches are scored: older ones would be forgotten."""

    def _check_combination(self) -> None:
        criterion, signal = self._criterion, self.signal
        if signal == "outputs" and not criterion.needs_gradients:
            raise ValueError(
                f"signal is 'outputs', but the criterion {criterion.name!r} takes no gradients; leave signal out"
            )
        if criterion.is_cost and self._surgery.outgoing == "keep":
            raise ValueError(
                f"surgery.outgoing is 'keep', but the criterion {criterion.name!r} is the cost of putting a known "
                "value in a unit's place; give outgoing 'zero' or 'small_random'"
            )
        if self._selection.needs_loss and not (criterion.is_cost and signal == "loss"):
            raise ValueError(
                f"selection.name is {self.selection['name']!r}, which needs utilities in units of loss; give the "
                "criterion 'gxd' and signal 'loss', or another selection"
            )

    def _taps_needed(self) -> frozenset[str]:
        if self._sampled and not self._averages:
            return frozenset()
        seen = {"a": "activations", "g": "activation_grads", "preactivation_grad": "preactivation_grads"}
        inputs = self._criterion.inputs | ({"a"} if self._averages else set())
        return frozenset(need for key, need in seen.items() if key in inputs)

    def hindrance(self, steps: int) -> str | None:
        young = self._learner.optimizer_steps + steps - self._begun < self.maturity
        return super().hindrance(steps) or (f"maturity {self.maturity:,}" if young else None)

    def idle(self) -> str | None:
        made = self._learner.optimizer_steps - self._begun
        if (reason := super().idle()) is not None:
            return reason
        if made < self.maturity:
            return f"no unit reached the maturity of {self.maturity:,} gradient steps ({made:,} were made)"
        trained = trained_parameters(self._learner)
        obstacles = [self._obstacle(layer, trained) for layer in self._layers]
        if all(obstacles):
            return f"all of its layers are left as they are, because {obstacles[0]}"
        lowest = min(float(lowest) for lowest in self._lowest.values())
        if math.isfinite(lowest) or self._waiting.waits:
            missed = getattr(self._selection, "missed", None)  # a user's own need not have it
            return None if missed is None else missed(lowest)
        if any(self._no_signal.values()):
            return (
                f"all utilities that the criterion {self._criterion.name!r} gave were zero, so that it ranked nothing"
            )
        return "no unit had both a utility and the age to be selected when a period ended"

    # ------------------------------------------------------------------ state

    def attach(self, learner: Learner) -> None:
        super().attach(learner)
        self._layers = tuple(layer for name in self._names for layer in learner.networks[name].layers)
        for layer in self._layers:
            if not layer.fixed:
                self._criterion.refuse_unknown(layer)
        start = self._begun
        self._steps = dict.fromkeys(self._names, start)  # gradient steps of each network's optimizer
        self._selected = dict.fromkeys(self._names, start)  # the step of the last selection
        self._waiting = Waiting(self._layers, self._selection, self.maturity)
        self._shown: set[str] = set()  # networks that a scored minibatch has trained
        self._measured: int | None = None  # the step of the last measurement of costs
        self._told = False
        self._moments_known = False
        device = learner.device
        self._scorer = Scorer(
            self._criterion,
            learner,
            self._layers,
            keep=self.decay**self.score_every,
            averages=self._averages,
            compensates=self._surgery.compensate,
            samples=self.samples if self._sampled else None,
            of_outputs=self.signal == "outputs",
            generator=self._generator,
        )
        self._born = {layer.name: torch.full((layer.units,), start, device=device) for layer in self._layers}
        # Fractions of a unit that selections have left over.
        self._left = {layer.name: torch.zeros((), device=device) for layer in self._layers}
        self._no_signal = {name: torch.zeros((), dtype=torch.int64, device=device) for name in self._names}
        self._not_finite = {name: torch.zeros((), dtype=torch.int64, device=device) for name in self._names}
        # Of all utilities that there was to select from, over their layer's mean.
        self._lowest = {name: torch.full((), torch.inf, device=device) for name in self._names}
        self._costs = CostMeter(learner, self._names)

    def _obstacles(self, network: Network, trained: set[Tensor]) -> list[str]:
        return [self._obstacle(layer, trained) for layer in network.layers]

    def _obstacle(self, layer: UnitLayer, trained: set[Tensor]) -> str:
        """Why a layer's units must stay as they are: a surgery would write to what is not trained."""
        return layer.fixed or self._untrained(self._surgery.writes(layer), trained)

    def _resettable(self, layers: Sequence[UnitLayer]) -> list[UnitLayer]:
        """Those of the layers that may be changed now; of the others it warns once."""
        trained = trained_parameters(self._learner) if layers else set()
        why = {layer.name: self._obstacle(layer, trained) for layer in layers}
        for layer in layers:
            if why[layer.name] and not layer.fixed:  # what can never be reset is told when the graph is made
                self._tell_left_alone(layer.name, why[layer.name])
        return [layer for layer in layers if not why[layer.name]]

    def state_dict(self) -> dict[str, Tensor]:
        state = {key: tensor.clone() for key, tensor in self._tensors().items()}
        state["seed"] = torch.tensor(self._seed)
        state["begun"] = torch.tensor(self._begun)
        state["measured"] = torch.tensor(-1 if self._measured is None else self._measured)
        for layer in self._layers:
            state[f"unscored/{layer.name}"] = torch.tensor(layer.name in self._scorer.unscored)
        for name in self._steps:
            state[f"steps/{name}"] = torch.tensor([self._steps[name], self._selected[name]])
            state[f"shown/{name}"] = torch.tensor(name in self._shown)
        return state | self._waiting.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if other := self.state_dict().keys() ^ state.keys():
            raise ValueError(
                f"{self.name}: the saved state is of other networks, or of another version of crl: "
                f"{', '.join(sorted(other))}"
            )
        for key, tensor in self._tensors().items():
            tensor.copy_(state[key])
        self._seed = int(state["seed"])
        self._measured = None if int(state["measured"]) < 0 else int(state["measured"])
        for name in self._steps:
            self._steps[name], self._selected[name] = (int(number) for number in state[f"steps/{name}"])
        self._shown = {name for name in self._names if state[f"shown/{name}"]}
        self._begun = int(state["begun"])
        self._waiting.load_state_dict(state)
        self._scorer.unscored = {layer.name for layer in self._layers if state[f"unscored/{layer.name}"]}

    def _tensors(self) -> dict[str, Tensor]:
        kinds: dict[str, Mapping[str, Tensor]] = {
            "born": self._born,
            "left": self._left,
            "no_signal": self._no_signal,
            "not_finite": self._not_finite,
            "lowest": self._lowest,
            "cost": self._costs.tensors(),
        }
        counts = {f"{kind}/{name}": tensor for kind, found in kinds.items() for name, tensor in found.items()}
        return self._scorer.tensors() | counts

    # ------------------------------------------------------------------ hooks

    def taps_at(self, step: int) -> bool:
        return bool(self.needs) and self._looks_at(step)

    def _looks_at(self, step: int) -> bool:
        """Whether the minibatch of this step is scored: not where it will be forgotten before the next selection."""
        if not is_scored(step, self.score_every):
            return False
        due = min(step // self.period - selected // self.period for selected in self._selected.values()) > 0
        return due or self.period - step % self.period <= self.memory

    def after_backward(self, update: Update) -> None:
        for name in update.networks:
            if name in self._steps:
                self._steps[name] = update.step
        if not self._looks_at(update.step):
            return
        self._shown.update(update.networks)
        for layer in self._layers:
            if layer.network in update.networks:
                finite = self._scorer.watch(layer, update)
                if finite is not None:
                    self._not_finite[layer.network] += (~finite).any()

    def after_step(self, update: Update) -> None:
        if not self._moments_known and self._surgery.moments == "renew":
            refuse_unknown_moments(self._learner.optimizers)
            # Optimizers remember nothing till they step, and a GradScaler may leave the first steps out.
            self._moments_known = all(optimizer.state for optimizer in self._learner.optimizers)
        if self.period == 1:
            self._reset_due()

    def after_update(self) -> None:
        self._reset_due()

    def _reset_due(self) -> None:
        due = {}
        for name, step in self._steps.items():
            periods = step // self.period - self._selected[name] // self.period
            if periods:
                due[name] = periods * self.period
                self._selected[name] = step
        layers = self._resettable([layer for layer in self._layers if layer.network in due])
        if layers:
            self._reset(layers, {layer.network: due[layer.network] for layer in layers})

    def _reset(self, layers: Sequence[UnitLayer], steps: Mapping[str, int]) -> None:
        self._refuse_unreached(layers)
        ages = {name: self._steps[name] - self._begun for name in steps}
        waited = {
            layer.name: self._waiting.fall_due(layer, steps[layer.network], ages[layer.network]) for layer in layers
        }
        passed = {name: since for name, since in waited.items() if since is not None}
        layers = [layer for layer in layers if layer.name in passed]
        if not layers:
            return
        amounts = self._select(layers, self._utilities(layers), passed)
        if may_branch(self._learner.device) and not any((amount > 0).any() for amount in amounts.values()):
            return
        batch, before = self._look_before() if self._cost_is_due() else (None, None)
        references = self._scorer.references(layers)  # once, for replicas reduce them together
        reset_units(
            layers,
            amounts,
            self._learner.optimizers,
            lambda layer: self._generator(layer.name, self._steps[layer.network]),
            self._surgery,
            references if self._surgery.compensate else None,
            self._learner.targets,
        )
        if before is not None:
            known = None if self._surgery.outgoing == "keep" else references
            self._costs.after(batch, before, layers, amounts, known)
        edit = Edit(amounts)
        self.on_surgery(edit)
        self._learner.announce(edit, self)

    def _utilities(self, layers: Sequence[UnitLayer]) -> dict[str, Tensor]:
        try:
            return self._scorer.utilities(layers, self._steps)
        except NoDataError as error:
            raise self._no_data(error) from error

    def _no_data(self, error: NoDataError) -> ValueError:
        return ValueError(f"{self.name}: it looks at a sample of the data at hand, but {error}")

    def _refuse_unreached(self, layers: Sequence[UnitLayer]) -> None:
        """A layer that no scoring has reached although there were some is not trained as the criterion asks."""
        if self._sampled:
            return
        for layer in layers:
            if layer.name in self._scorer.unscored and layer.network in self._shown:
                steps = self._steps[layer.network] - self._begun
                raise ValueError(
                    f"{self.name}: no gradient has reached {layer.name} in {steps} gradient steps, so "
                    f"that {self._criterion.name!r} ranks nothing there; make {layer.network} part of the loss, leave "
                    "it out of networks, or give a criterion without gradients such as 'redo' on a sample"
                )

    @torch.no_grad()
    def _select(
        self, layers: Sequence[UnitLayer], utilities: Mapping[str, Tensor], steps: Mapping[str, int]
    ) -> dict[str, Tensor]:
        amounts = {}
        together: dict[tuple[str, int], list[UnitLayer]] = {}
        for layer in layers:
            together.setdefault((layer.network, steps[layer.name]), []).append(layer)
        for (network, passed), members in together.items():
            candidates = [self._utilities_of(layer, utilities[layer.name]) for layer in members]
            loss = self._loss_size(network) if self._selection.needs_loss else None
            chosen = self._selection.select(candidates, passed, loss)
            for layer, (amount, left) in zip(members, chosen, strict=True):
                amounts[layer.name] = amount
                self._left[layer.name].copy_(left)
        return amounts

    def _utilities_of(self, layer: UnitLayer, utility: Tensor) -> LayerUtilities:
        scored = utility.isfinite()
        if self._sampled:
            self._not_finite[layer.network] += ~scored.all()
        # A unit without a score counts as an average one: it is not eligible, and must not move the layer's mean.
        average = torch.where(scored, utility, 0).sum() / scored.sum().clamp(min=1)
        utility = torch.where(scored, utility, average)
        self._no_signal[layer.network] += ~has_signal(utility) & scored.any()
        eligible = scored & (self._steps[layer.network] - self._born[layer.name] >= self.maturity)
        lowest = torch.where(eligible & has_signal(utility), normalized(utility), torch.inf).min()
        self._lowest[layer.network].clamp_(max=lowest)
        return LayerUtilities(utility, eligible, self._left[layer.name])

    def _loss_size(self, network: str) -> Tensor:
        """Mean absolute loss of a sample, over all replicas."""
        try:
            batch = self._learner.sample(PROBE, self._generator("probe", *self._steps.values()))
        except NoDataError as error:
            raise self._no_data(error) from error
        loss = self._learner.sample_losses(batch)[network].abs().mean()
        return self._learner.replicas.mean({network: loss})[network]

    def _cost_is_due(self) -> bool:
        """At every reset, but of those that are less than 1,000 gradient steps apart only at one in each thousand.

        Where the host must not wait for the device, a selection counts in which a unit may have fallen due.
        """
        step = max(self._steps.values())
        due = self._measured is None or step // COST_EVERY > self._measured // COST_EVERY
        self._measured = step if due else self._measured
        return due

    def _look_before(self) -> tuple[Any, Probed | None]:
        """The probe batch and what it shows; None where the learner has no data."""
        try:
            batch = self._learner.sample(PROBE, self._generator("probe", *self._steps.values()))
        except NoDataError:
            return None, None
        return batch, self._costs.before(batch)

    def on_surgery(self, edit: Edit) -> None:
        masks = edit.masks
        self._scorer.clear(masks)
        for layer in self._layers:
            if layer.name in masks:
                self._born[layer.name].masked_fill_(masks[layer.name], self._steps[layer.network])

    # ------------------------------------------------------------------ log

    def metrics(self) -> dict[str, float]:
        """Of the resets since the last call what they were predicted to cost and did cost (see `CostMeter`), and
        since the start, ``warnings/<name>/<network>/no_signal``: how many times a layer's utilities were all zero and
        ranked nothing, and ``not_finite``: how many scorings had a nan or infinite utility and were passed over."""
        values = {f"{self.name}/{key}": value for key, value in self._costs.read().items()}
        for name in self._names:
            silent = float(self._no_signal[name])
            values[f"{WARNINGS}{self.name}/{name}/no_signal"] = silent
            values[f"{WARNINGS}{self.name}/{name}/not_finite"] = float(self._not_finite[name])
            if silent and self._criterion.needs_gradients and self.signal == "loss" and not self._told:
                self._told = True
                warnings.warn(
                    f"{self.name}: the loss sends no gradient to a layer of {name}, so that nothing can be ranked and "
                    "nothing is reset there; signal 'outputs' ranks by the change of the network's outputs instead",
                    stacklevel=2,
                )
        return values


def _memory(decay: float, score_every: int) -> float:
    """Gradient steps after which what was seen weighs less than a millionth in the running mean."""
    least = 2 * score_every  # there is a scored step among so many
    return max(least, math.log(FORGOTTEN) / math.log(decay)) if decay > 0 else least
