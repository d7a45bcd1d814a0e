"""Resets of hidden units: a criterion gives utilities, a selection picks units, surgery makes them new.

All periods and ages are gradient steps of the optimizer that trains the network. Output layers are never reset.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from agents.plasticity import criteria
from agents.plasticity.protocols import Edit, Intervention, Learner, Update
from agents.plasticity.selections import has_signal, select_below, select_lowest_rate
from agents.plasticity.surgery import reset_units
from agents.plasticity.taps import Taps
from agents.plasticity.units import UnitLayer


def derive_seed(*parts: object) -> int:
    """A seed of 63 bits that depends on all parts, the same in every process."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 1


class UnitReset(Intervention, ABC):
    """What all resets share: networks, ages, running utilities, the schedule and the surgery.

    Utilities are running means with a bias correction for each unit's own age. New units are protected until they
    are `maturity` gradient steps old: without outgoing weights they earn neither gradient nor contribution at first.
    """

    decay: float = 0.0
    """Of the running utility, per gradient step."""

    def __init__(self, *, networks: Sequence[str] | None, period: int, maturity: int, score_every: int) -> None:
        for key, steps, least in (("period", period, 1), ("maturity", maturity, 0), ("score_every", score_every, 1)):
            whole = isinstance(steps, int) and steps >= least
            _check(key, steps, whole, f"a whole number of gradient steps of at least {least}")
        listed = networks is None or (not isinstance(networks, str) and 0 < len(networks) == len(set(networks)))
        _check("networks", networks, listed, "a list of different networks, such as ['actor', 'critic']")
        self.networks = None if networks is None else list(networks)
        self.period = period
        self.maturity = maturity
        self.score_every = score_every

    @abstractmethod
    def select(self, layer: UnitLayer, utility: Tensor, eligible: Tensor, steps: int) -> Tensor:
        """The units to replace, bool (units,); `steps` gradient steps have passed since the last selection."""

    def score(self, layer: UnitLayer, update: Update) -> Tensor | None:
        """The layer's utilities as this update shows them, (units,), or None where it shows nothing."""
        return None

    def attach(self, learner: Learner) -> None:
        known = learner.networks
        names = list(known) if self.networks is None else self.networks
        for name in names:
            if name not in known or not known[name].layers:
                raise ValueError(
                    f"{self.name}: networks names {name!r}, which has no hidden units in this policy "
                    f"(with hidden units: {', '.join(known) or 'none'}); give it a hidden layer with net_arch "
                    f"or leave it out of networks"
                )
        if not names:
            raise ValueError(
                f"{self.name}: the policy has no hidden units to reset; give it hidden layers with net_arch"
            )
        self._learner = learner
        self._seed = derive_seed(torch.initial_seed() if learner.seed is None else learner.seed, self.name)
        self._layers = tuple(layer for name in names for layer in known[name].layers)
        start = learner.gradient_steps  # of a learner that has trained before: nothing is due and no unit is old
        self._steps = dict.fromkeys(names, start)  # gradient steps of each network's optimizer
        self._selected = dict.fromkeys(names, start)  # the step of the last selection
        self._silent = {name: torch.zeros((), dtype=torch.int64, device=learner.device) for name in names}
        self._utility: dict[str, Tensor] = {}  # running sums, and below the weight that they have gathered
        self._weight: dict[str, Tensor] = {}
        self._born: dict[str, Tensor] = {}
        self._left: dict[str, Tensor] = {}  # fractions of a unit that selections have left over
        for layer in self._layers:
            device = layer.producer.weight.device
            self._utility[layer.name] = torch.zeros(layer.units, device=device)
            self._weight[layer.name] = torch.zeros(layer.units, device=device)
            self._born[layer.name] = torch.full((layer.units,), start, device=device)
            self._left[layer.name] = torch.zeros((), device=device)

    def after_backward(self, update: Update) -> None:
        for name in update.networks:
            if name in self._steps:
                self._steps[name] = update.step
        if update.step % self.score_every:
            return
        keep = self.decay**self.score_every
        for layer in self._layers:
            if layer.network in update.networks:
                score = self.score(layer, update)
                if score is not None:
                    self._take_in(score, self._utility[layer.name], self._weight[layer.name], keep)

    @staticmethod
    def _take_in(score: Tensor, utility: Tensor, weight: Tensor, keep: float) -> None:
        """One more term of the running sums; what is not finite is passed over, for it would stay for ever."""
        finite = score.isfinite()
        utility.copy_(torch.where(finite, utility.mul(keep).add(score, alpha=1 - keep), utility))
        weight.copy_(torch.where(finite, weight.mul(keep).add(1 - keep), weight))

    def after_step(self, update: Update) -> None:
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
        if due:
            self._reset([layer for layer in self._layers if layer.network in due], due)

    def utilities(self, layers: Sequence[UnitLayer]) -> dict[str, Tensor]:
        """Each layer's running utilities, bias-corrected; nan where a unit has no score since it was new."""
        return {layer.name: self._utility[layer.name] / self._weight[layer.name] for layer in layers}

    @torch.no_grad()
    def _reset(self, layers: Sequence[UnitLayer], steps: Mapping[str, int]) -> None:
        masks, utilities = {}, self.utilities(layers)
        for layer in layers:
            utility = utilities[layer.name]
            scored = utility.isfinite()
            # A unit without a score counts as an average one: it is not eligible, and must not move the layer's mean.
            average = torch.where(scored, utility, 0).sum() / scored.sum().clamp(min=1)
            utility = torch.where(scored, utility, average)
            eligible = scored & (self._steps[layer.network] - self._born[layer.name] >= self.maturity)
            masks[layer.name] = self.select(layer, utility, eligible, steps[layer.network])
            self._silent[layer.network] += ~has_signal(utility)
        reset_units(layers, masks, self._learner.optimizers, self._generator)
        edit = Edit(masks)
        self.on_surgery(edit)
        self._learner.announce(edit, self)

    def on_surgery(self, edit: Edit) -> None:
        for layer in self._layers:
            if layer.name in edit.masks:
                mask = edit.masks[layer.name]
                self._utility[layer.name].masked_fill_(mask, 0)
                self._weight[layer.name].masked_fill_(mask, 0)
                self._born[layer.name].masked_fill_(mask, self._steps[layer.network])

    def metrics(self) -> dict[str, float]:
        """``<name>/<network>/no_signal``: how many times a layer's utilities were all zero and ranked nothing."""
        return {f"{self.name}/{name}/no_signal": float(count) for name, count in self._silent.items()}

    def _generator(self, layer: UnitLayer) -> torch.Generator:
        """A generator of this layer's and this step's own: what one layer draws does not depend on the others."""
        return torch.Generator().manual_seed(derive_seed(self._seed, layer.name, self._steps[layer.network]))

    def _tensors(self) -> dict[str, Tensor]:
        kinds = {"utility": self._utility, "weight": self._weight, "born": self._born, "left": self._left}
        kinds["silent"] = self._silent
        return {f"{kind}/{name}": tensor for kind, found in kinds.items() for name, tensor in found.items()}

    def state_dict(self) -> dict[str, Tensor]:
        state = {key: tensor.clone() for key, tensor in self._tensors().items()}
        state["seed"] = torch.tensor(self._seed)
        for name in self._steps:
            state[f"steps/{name}"] = torch.tensor([self._steps[name], self._selected[name]])
        return state

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        if other := self.state_dict().keys() ^ state.keys():
            raise ValueError(f"{self.name}: the saved state is of other networks: {', '.join(sorted(other))}")
        for key, tensor in self._tensors().items():
            tensor.copy_(state[key])
        self._seed = int(state["seed"])
        for name in self._steps:
            self._steps[name], self._selected[name] = (int(number) for number in state[f"steps/{name}"])


def _check(key: str, value: object, right: bool, wanted: str) -> None:
    if isinstance(value, bool) or not right:
        raise ValueError(f"{key} is {value!r}; give {wanted}")


class GXD(UnitReset):
    """Reset the units that are cheapest to replace, at a steady rate (arXiv 2605.06834).

    The paper's body was not available to us: this is our reading of its abstract. A unit's utility is the first-order
    cost, in units of loss, of putting the reference in its place (`criteria.gxd`); the reference is zero because the
    surgery zeroes outgoing weights. The running mean has a decay of 0.99 per gradient step.

    Args:
        networks: names of the networks to keep plastic; None for all that the policy has.
        rate: share of the mature units that is replaced per gradient step. More means more new units and more
            forgetting.
        period: gradient steps between selections; what `rate` has accumulated is replaced then.
        maturity: gradient steps for which a new unit is left alone.
        score_every: minibatches between scorings; the running mean keeps its time constant. Less costs more.
    """

    name = "gxd"
    needs = frozenset({"activations", "activation_grads"})
    decay = 0.99

    def __init__(
        self,
        *,
        networks: Sequence[str] | None = None,
        rate: float = 1e-4,
        period: int = 1000,
        maturity: int = 1000,
        score_every: int = 16,
    ) -> None:
        super().__init__(networks=networks, period=period, maturity=maturity, score_every=score_every)
        _check("rate", rate, 0 <= rate <= 1, "a share of units per gradient step between 0 and 1")
        self.rate = rate

    def score(self, layer: UnitLayer, update: Update) -> Tensor | None:
        tap = update.taps.get(layer.name)
        return None if tap is None else criteria.gxd(*tap)

    def select(self, layer: UnitLayer, utility: Tensor, eligible: Tensor, steps: int) -> Tensor:
        left = self._left[layer.name]
        mask, rest = select_lowest_rate(utility, eligible, left, self.rate * steps)
        left.copy_(rest)
        return mask


class ReDo(UnitReset):
    """Reset dormant units: mean absolute activation at most tau times the layer's mean (arXiv 2302.12902).

    Activations are those of a fresh sample of the data at hand, at most 4,096 observations, once per period.

    Args:
        networks: names of the networks to keep plastic; None for all that the policy has.
        tau: threshold on the layer-normalised score, whose mean is 1. More resets more units.
        period: gradient steps between checks.
        maturity: gradient steps for which a new unit is left alone.
        allow_full: also redraw a layer in which no unit is active at all.
    """

    name = "redo"
    SAMPLES = 4096

    def __init__(
        self,
        *,
        networks: Sequence[str] | None = None,
        tau: float = 0.025,
        period: int = 1000,
        maturity: int = 0,
        allow_full: bool = False,
    ) -> None:
        super().__init__(networks=networks, period=period, maturity=maturity, score_every=1)
        _check("tau", tau, tau >= 0, "a threshold of at least 0 on scores whose mean is 1")
        self.tau = tau
        self.allow_full = allow_full

    def utilities(self, layers: Sequence[UnitLayer]) -> dict[str, Tensor]:
        """Scores of a fresh sample: nothing runs between selections."""
        generator = torch.Generator().manual_seed(derive_seed(self._seed, "sample", *self._steps.values()))
        batch = self._learner.sample(self.SAMPLES, generator)
        with Taps(layers) as taps:
            self._learner.outputs(batch)
        return {name: criteria.redo(a) for name, a in taps.activations.items()}

    def select(self, layer: UnitLayer, utility: Tensor, eligible: Tensor, steps: int) -> Tensor:
        return select_below(utility, eligible, self.tau, allow_full=self.allow_full)


class ReGraMa(UnitReset):
    """Reset units that learn little: weight gradient at most tau times the layer's mean (arXiv 2505.24061).

    The score is that of the released code, the mean absolute gradient of a unit's incoming weights (of penalties too),
    which costs no extra pass; its running mean has a decay of 0.9. The surgery is the paper's: outgoing weights become
    zero.

    Args:
        networks: names of the networks to keep plastic; None for all that the policy has.
        tau: threshold on the layer-normalised score, whose mean is 1. More resets more units.
        period: gradient steps between checks.
        maturity: gradient steps for which a new unit is left alone.
        score_every: minibatches between scorings; the running mean keeps its time constant.
        cap: largest share of a layer that one check may reset, rounded up to whole units.
    """

    name = "regrama"
    decay = 0.9

    def __init__(
        self,
        *,
        networks: Sequence[str] | None = None,
        tau: float = 0.01,
        period: int = 1000,
        maturity: int = 1000,
        score_every: int = 1,
        cap: float = 0.05,
    ) -> None:
        super().__init__(networks=networks, period=period, maturity=maturity, score_every=score_every)
        _check("tau", tau, tau >= 0, "a threshold of at least 0 on scores whose mean is 1")
        _check("cap", cap, 0 < cap <= 1, "a share of a layer above 0 and at most 1")
        self.tau = tau
        self.cap = cap

    def score(self, layer: UnitLayer, update: Update) -> Tensor | None:
        gradient = layer.producer.weight.grad
        return None if gradient is None else criteria.regrama(gradient)

    def select(self, layer: UnitLayer, utility: Tensor, eligible: Tensor, steps: int) -> Tensor:
        return select_below(utility, eligible, self.tau, self.cap)
