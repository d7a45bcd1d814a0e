"""Resets of hidden units: a criterion gives utilities, a selection picks units, surgery makes them new."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from agents.plasticity.moments import refuse_unknown_moments
from agents.plasticity.network_intervention import NetworkIntervention, Networks, check_steps, trained_parameters
from agents.plasticity.probing import Probed, layers_of
from agents.plasticity.protocols import WARNINGS, Edit, Learner, NoDataError, Update
from agents.plasticity.resets.choice import Choice
from agents.plasticity.resets.cost import PROBE, CostMeter
from agents.plasticity.resets.idling import why_none_was_picked
from agents.plasticity.resets.periods import Periods
from agents.plasticity.resets.recipe import Recipe
from agents.plasticity.resets.scorer import Scorer
from agents.plasticity.resets.waiting import Waiting
from agents.plasticity.schedule import is_scored
from agents.plasticity.surgery import may_branch, reset_units
from agents.plasticity.units import Network, UnitLayer
from agents.plasticity.validation import check

FORGOTTEN = 1e-6  # weight in a running mean below which a score is not taken


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
    redraws_readers = False
    """Whether hidden layers that read a layer of which all units are replaced are drawn anew, too: `reset_units`."""
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
        self._recipe = Recipe.of(
            criterion, selection, surgery, of_outputs=signal == "outputs", on_sample=score_on == "sample"
        )
        self.period, self.maturity, self.score_every, self.decay = period, maturity, score_every, decay
        self.score_on, self.samples, self.signal = score_on, samples, signal
        self.criterion: Any = self._recipe.arguments["criterion"]
        self.selection: Any = self._recipe.arguments["selection"]
        self.surgery: Any = self._recipe.arguments["surgery"]
        self.needs = self._recipe.needs
        self.memory = math.inf if self._recipe.criterion.listens else _memory(self.decay, self.score_every)
        """Gradient steps before a selection whose minibatches are scored: older ones would be forgotten."""

    def hindrance(self, steps: int) -> str | None:
        young = self._learner.optimizer_steps + steps - self._periods.begun < self.maturity
        return super().hindrance(steps) or (f"maturity {self.maturity:,}" if young else None)

    def claims(self) -> dict[str, list[str]]:
        return {f"reset {{}} every {self.period:,} gradient steps": [layer.name for layer in self._layers]}

    def idle(self) -> str | None:
        made = self._learner.optimizer_steps - self._periods.begun
        if (reason := super().idle()) is not None:
            return reason
        if made < self.maturity:
            return f"no unit reached the maturity of {self.maturity:,} gradient steps ({made:,} were made)"
        trained = trained_parameters(self._learner)
        obstacles = [self._obstacle(layer, trained) for layer in self._layers]
        if all(obstacles):
            return f"all of its layers are left as they are, because {obstacles[0]}"
        lowest = min(float(lowest) for lowest in self._choice.lowest.values())
        ranked = math.isfinite(lowest) or self._waiting.waits
        missed = getattr(self._recipe.selection, "missed", None)  # a user's own need not have it
        return why_none_was_picked(
            missed(lowest) if ranked and missed is not None else None,
            ranked=ranked,
            criterion=self._recipe.criterion.name,
            of_loss=self._recipe.criterion.needs_gradients and not self._recipe.of_outputs,
            silent=[name for name, times in self._choice.no_signal.items() if times],
            broken=[name for name, times in self._not_finite.items() if times],
        )

    # ------------------------------------------------------------------ state

    def attach(self, learner: Learner) -> None:
        super().attach(learner)
        self._layers = tuple(layer for name in self._names for layer in learner.networks[name].layers)
        for layer in self._layers:
            if not layer.fixed:
                self._recipe.criterion.refuse_unknown(layer)
        start = learner.optimizer_steps  # of a learner that has trained before: nothing is due and no unit is old
        self._periods = Periods(self._names, self.period, start)
        self._waiting = Waiting(self._layers, self._recipe.selection, self.maturity)
        self._choice = Choice(self._recipe.selection, self._layers, self.maturity, start, learner.device)
        self._shown: set[str] = set()  # networks that a scored minibatch has trained
        self._told = False
        self._moments_known = False
        self._scorer = Scorer(
            self._recipe.criterion,
            learner,
            self._layers,
            keep=self.decay**self.score_every,
            averages=self._recipe.averages,
            compensates=self._recipe.surgery.compensate,
            samples=self.samples if self._recipe.sampled else None,
            of_outputs=self._recipe.of_outputs,
            generator=self._generator,
        )
        nothing = torch.zeros((), dtype=torch.int64, device=learner.device)
        self._not_finite = {name: nothing.clone() for name in self._names}
        self._costs = CostMeter(learner, self._names)

    def _obstacles(self, network: Network, trained: set[Tensor]) -> list[str]:
        return [self._obstacle(layer, trained) for layer in network.layers]

    def _obstacle(self, layer: UnitLayer, trained: set[Tensor]) -> str:
        """Why a layer's units must stay as they are: a surgery would write to what is not trained."""
        return layer.fixed or self._untrained(self._recipe.surgery.writes(layer), trained)

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
        state["measured"] = torch.tensor(-1 if self._costs.measured is None else self._costs.measured)
        for layer in self._layers:
            state[f"unscored/{layer.name}"] = torch.tensor(layer.name in self._scorer.unscored)
        for name in self._names:
            state[f"shown/{name}"] = torch.tensor(name in self._shown)
        return state | self._periods.state_dict() | self._waiting.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if other := self.state_dict().keys() ^ state.keys():
            raise ValueError(
                f"{self.name}: the saved state is of other networks, or of another version of crl: "
                f"{', '.join(sorted(other))}"
            )
        for key, tensor in self._tensors().items():
            if (shape := state[key].shape) != tensor.shape:
                raise ValueError(
                    f"{self.name}: the saved state is of other networks: {key} has the shape {tuple(shape)} in place "
                    f"of {tuple(tensor.shape)}"
                )
        for key, tensor in self._tensors().items():
            tensor.copy_(state[key])
        self._seed = int(state["seed"])
        self._costs.measured = None if int(state["measured"]) < 0 else int(state["measured"])
        self._shown = {name for name in self._names if state[f"shown/{name}"]}
        self._periods.load_state_dict(state)
        self._waiting.load_state_dict(state)
        self._scorer.unscored = {layer.name for layer in self._layers if state[f"unscored/{layer.name}"]}

    def _tensors(self) -> dict[str, Tensor]:
        counts = {f"not_finite/{name}": count for name, count in self._not_finite.items()}
        costs = {f"cost/{name}": total for name, total in self._costs.tensors().items()}
        return self._scorer.tensors() | self._choice.tensors() | counts | costs

    # ------------------------------------------------------------------ hooks

    def taps_at(self, step: int) -> bool:
        return bool(self.needs) and self._looks_at(step)

    def _looks_at(self, step: int) -> bool:
        """Whether the minibatch of this step is scored: not where it will be forgotten before the next selection."""
        return is_scored(step, self.score_every) and self._periods.end_within(step, self.memory)

    def after_backward(self, update: Update) -> None:
        self._periods.note(update)
        if not self._looks_at(update.step):
            return
        self._shown.update(update.networks)
        for layer in self._layers:
            if layer.network in update.networks:
                finite = self._scorer.watch(layer, update)
                if finite is not None:
                    self._not_finite[layer.network] += (~finite).any()

    def after_step(self, update: Update) -> None:
        if not self._moments_known and self._recipe.surgery.moments == "renew":
            refuse_unknown_moments(self._learner.optimizers)
            # Optimizers remember nothing till they step, and a GradScaler may leave the first steps out.
            self._moments_known = all(optimizer.state for optimizer in self._learner.optimizers)
        if self.period == 1:
            self._reset_due()

    def after_update(self) -> None:
        self._reset_due()

    def _reset_due(self) -> None:
        due = self._periods.take()
        layers = self._resettable([layer for layer in self._layers if layer.network in due])
        if layers:
            self._reset(layers, {layer.network: due[layer.network] for layer in layers})

    def _reset(self, layers: Sequence[UnitLayer], steps: Mapping[str, int]) -> None:
        self._refuse_unreached(layers)
        waited = {
            layer.name: self._waiting.fall_due(layer, steps[layer.network], self._periods.age(layer.network))
            for layer in layers
        }
        passed = {name: since for name, since in waited.items() if since is not None}
        layers = [layer for layer in layers if layer.name in passed]
        if not layers:
            return
        counted = self._periods.steps
        amounts = self._choice.select(layers, self._utilities(layers), passed, counted, self._loss_size)
        if may_branch(self._learner.device) and not any((amount > 0).any() for amount in amounts.values()):
            return
        batch, before = self._look_before() if self._costs.is_due(max(counted.values())) else (None, None)
        references = self._scorer.references(layers)  # once, for replicas reduce them together
        reset_units(
            layers,
            amounts,
            self._learner.optimizers,
            lambda layer: self._generator(layer.name, counted[layer.network]),
            self._recipe.surgery,
            references if self._recipe.surgery.compensate else None,
            self._learner.targets,
            layers_of(self._learner) if self.redraws_readers else (),
        )
        if before is not None:
            known = None if self._recipe.surgery.outgoing == "keep" else references
            self._costs.after(batch, before, layers, amounts, known)
        edit = Edit(amounts)
        self.on_surgery(edit)
        self._learner.announce(edit, self)

    def _utilities(self, layers: Sequence[UnitLayer]) -> dict[str, Tensor]:
        try:
            found = self._scorer.utilities(layers, self._periods.steps)
        except NoDataError as error:
            raise self._no_data(error) from error
        for layer in layers if self._recipe.sampled else ():
            self._not_finite[layer.network] += ~found[layer.name].isfinite().all()
        return found

    def _no_data(self, error: NoDataError) -> ValueError:
        return ValueError(f"{self.name}: it looks at a sample of the data at hand, but {error}")

    def _refuse_unreached(self, layers: Sequence[UnitLayer]) -> None:
        """A layer that no scoring has reached although there were some is not trained as the criterion asks."""
        if self._recipe.sampled:
            return
        for layer in layers:
            if layer.name in self._scorer.unscored and layer.network in self._shown:
                steps = self._periods.age(layer.network)
                raise ValueError(
                    f"{self.name}: no gradient has reached {layer.name} in {steps} gradient steps, so that "
                    f"{self._recipe.criterion.name!r} ranks nothing there; make {layer.network} part of the loss, "
                    "leave it out of networks, or give a criterion without gradients such as 'redo' on a sample"
                )

    def _loss_size(self, network: str) -> Tensor:
        """Mean absolute loss of a sample, over all replicas."""
        try:
            batch = self._probe_batch()
        except NoDataError as error:
            raise self._no_data(error) from error
        loss = self._learner.sample_losses(batch)[network].abs().mean()
        return self._learner.replicas.mean({network: loss})[network]

    def _look_before(self) -> tuple[Any, Probed | None]:
        """The probe batch and what it shows; None where the learner has no data."""
        try:
            batch = self._probe_batch()
        except NoDataError:
            return None, None
        return batch, self._costs.before(batch)

    def _probe_batch(self) -> Any:
        return self._learner.sample(PROBE, self._generator("probe", *self._periods.steps.values()))

    def on_surgery(self, edit: Edit) -> None:
        masks = edit.masks
        self._scorer.clear(masks)
        self._choice.renew(masks, {layer.name: self._periods.steps[layer.network] for layer in self._layers})

    # ------------------------------------------------------------------ log

    def metrics(self) -> dict[str, float]:
        """Of the resets since the last call what they were predicted to cost and did cost (see `CostMeter`), and
        since the start, ``warnings/<name>/<network>/no_signal``: how many times a layer's utilities were all zero and
        ranked nothing, and ``not_finite``: how many scorings had a nan or infinite utility and were passed over."""
        values = {f"{self.name}/{key}": value for key, value in self._costs.read().items()}
        for name in self._names:
            silent = float(self._choice.no_signal[name])
            values[f"{WARNINGS}{self.name}/{name}/no_signal"] = silent
            values[f"{WARNINGS}{self.name}/{name}/not_finite"] = float(self._not_finite[name])
            if silent and self._recipe.criterion.needs_gradients and not self._recipe.of_outputs and not self._told:
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
