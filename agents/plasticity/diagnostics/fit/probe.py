"""The fit probe: how well a learner's networks can still be trained, measured by training copies of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from agents.plasticity.diagnostics.fit.objectives import PAID, columns, fit_error, regret, unseen
from agents.plasticity.diagnostics.fit.steps import error_removed, twins
from agents.plasticity.fresh import fresh_parameters
from agents.plasticity.network_intervention import trained_parameters
from agents.plasticity.prefix import Prefix, modules_of
from agents.plasticity.protocols import Learner
from agents.plasticity.seeds import derive_seed
from agents.plasticity.validation import check

STEPS = 100
OBSERVATIONS = 256
SPARSE = 16
OUTPUTS, POLICY = "trainability", "policy_trainability"


def trainability(
    learner: Learner,
    *,
    batch: Any = None,
    seed: int = 0,
    steps: int = STEPS,
    observations: int = OBSERVATIONS,
) -> dict[str, float]:
    """How well each network can be trained, relative to a freshly initialised one: 1 is as well, 0 not at all.

    A direct measure of plasticity (target-fitting capacity, arXiv 2204.09560, and arXiv 2303.01486): on a copy, each
    network alone, the others as they are, makes `steps` steps of its own optimizer, begun anew, with its settings and
    learning rate at hand, towards something that it has not seen. The score is the share of the error that these remove
    over the share that they remove of a network that has just been drawn, for the same task on the same observations.

    - ``<network>/trainability``: its outputs are to change as another fresh network's outputs tell, each column of
      which has mean 0 and variance 1 on the batch. Targets are the outputs at the beginning plus these, so that the
      error is 1 at first whatever the network puts out, and nothing is to be gained by a shift of all outputs. Of a
      critic this is what another reward asks for. A network without outputs of its own (shared features) is trained
      through all that read it, as they are.
    - ``<network>/policy_trainability``, of policies that choose or that a tanh bounds: each action is paid what
      another fresh network puts out, as by another task on the same boards, and the policy follows its exact gradient;
      the error is the regret. A saturated policy hardly learns by it although its outputs could be fitted.

    Both may be above 1, for what was learnt may help; what puts out no finite numbers has 0. Networks run in evaluation
    mode, without dropout. Nothing of the learner is touched, and no generator draws but one of this function's own.

    Args:
        learner: with data to `sample`, unless a batch is given.
        batch: observations to train on; None for `observations` of the data at hand.
        seed: of all that is drawn.
        steps: gradient steps.
        observations: how many are drawn at most.

    Returns:
        By network and measure. What is not defined is left out: a network of which nothing is trained, or whose fresh
        one cannot be trained either, as where it puts out the same for all observations.

    Raises:
        NoDataError: the learner has no data.
        ValueError: `steps` or `observations` is not at least 1.
    """
    check_sizes(steps, observations)
    if batch is None:
        batch = learner.sample(observations, torch.Generator().manual_seed(derive_seed(seed, "observations")))
    fresh = errors_removed(learner, batch, fresh_parameters(learner, seed, "fresh"), seed=seed, steps=steps)
    own = errors_removed(learner, batch, learner.snapshot(), seed=seed, steps=steps)
    return finite({key: value / fresh[key] for key, value in own.items()})


def check_sizes(steps: object, observations: object) -> None:
    """Refuse what is no number of gradient steps, or of observations, of at least 1.

    Raises:
        ValueError: it is none.
    """
    check("steps", steps, isinstance(steps, int) and steps >= 1, "a number of gradient steps of at least 1")
    check("observations", observations, isinstance(observations, int) and observations >= 1, "a number of at least 1")


class FitProbe:
    """`trainability` of a learner, again and again through its training, at a bounded cost.

    The fresh network's share is taken once, and again where a learning rate has become another one or modules were
    replaced. All probes have the same targets, which training never sees, and observations of their own.

    Args:
        learner: that is trained.
        seed: of all that is drawn.
        steps: gradient steps of each probe.
        observations: how many it draws at most.
    """

    def __init__(self, learner: Learner, seed: int, *, steps: int = STEPS, observations: int = OBSERVATIONS) -> None:
        self._learner, self._seed = learner, seed
        self._size, self._observations = steps, observations
        self._probes = 0
        self._steps = 0  # of the learner, at the last one
        self._fresh: dict[str, Tensor] = {}
        self._rates: list[float] = []

    def is_due(self) -> bool:
        """Whether training has learnt from so much since the last probe that another one costs little beside it.

        That is `due_after`, and twice as much where the fresh network's share must be taken again, too.
        """
        learner = self._learner
        if learner.batch_size is None:
            return True
        learnt = (learner.optimizer_steps - self._steps) * learner.batch_size
        again = bool(self._rates) and self._rates != rates(self._learner)
        return learnt >= self.due_after * (1 + again)

    @property
    def due_after(self) -> int:
        """Transitions of minibatches that training learns from before the first probe: `SPARSE` times a probe's."""
        return SPARSE * len(measures(self._learner)) * self._size * self._observations

    def measure(self, draw: Callable[[int, torch.Generator], Any]) -> dict[str, Tensor]:
        """As `trainability`, on observations that `draw` gives; nan where it is not defined. Waits for no GPU."""
        learner, seed, steps = self._learner, self._seed, self._size
        generator = torch.Generator().manual_seed(derive_seed(seed, "observations", self._probes))
        batch = draw(self._observations, generator)
        now = rates(learner)
        own = errors_removed(learner, batch, learner.snapshot(), seed=seed, steps=steps)
        if self._fresh.keys() != own.keys() or self._rates != now:
            fresh = fresh_parameters(learner, seed, "fresh")
            self._fresh = errors_removed(learner, batch, fresh, seed=seed, steps=steps)
        self._probes, self._steps, self._rates = self._probes + 1, learner.optimizer_steps, now
        return {key: value / self._fresh[key] for key, value in own.items()}

    def forget(self) -> None:
        """Take the fresh network's share anew: modules were replaced."""
        self._fresh = {}

    def state(self) -> dict[str, Any]:
        """What decides what the next probes give."""
        return {"probes": self._probes, "steps": self._steps, "rates": list(self._rates), "fresh": dict(self._fresh)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._probes, self._steps, self._rates = state["probes"], state["steps"], list(state["rates"])
        self._fresh = {key: value.to(self._learner.device) for key, value in state["fresh"].items()}


def measures(learner: Learner) -> list[str]:
    """All that `trainability` may give of a learner, by network and measure."""
    forms, trained = learner.output_forms, trained_parameters(learner)
    found = []
    for name, network in learner.networks.items():
        if not trained.isdisjoint(network.parameters):
            found.append(f"{name}/{OUTPUTS}")
            found += [f"{name}/{POLICY}"] if name in forms and forms[name].kind in PAID else []
    return found


def rates(learner: Learner) -> list[float]:
    """Learning rates at hand, of all groups of the optimizers."""
    groups = [group for optimizer in learner.optimizers for group in optimizer.param_groups]
    return [group["lr"] for group in groups if isinstance(group["lr"], float)]  # a tensor is not looked at


def errors_removed(
    learner: Learner, batch: Any, parameters: Mapping[str, Tensor], *, seed: int, steps: int | Mapping[str, int]
) -> dict[str, Tensor]:
    """The share of the error that training removes with these parameters, by network and measure, see `trainability`.

    Args:
        learner: whose networks they are.
        batch: observations to train on.
        parameters: of its `snapshot`, which stay as they are.
        seed: of the network whose outputs are the targets.
        steps: gradient steps; or of each measure, and those that it does not name are left out.
    """
    forms = learner.output_forms
    with torch.no_grad():
        begun = {name: columns(forms[name], found) for name, found in learner.outputs(batch, parameters).items()}
        other = learner.outputs(batch, fresh_parameters(learner, seed, "targets"))
        new = {name: unseen(columns(forms[name], found)) for name, found in other.items()}

    def to_fit(name: str, found: Tensor) -> Tensor:
        return fit_error(columns(forms[name], found), begun[name], new[name])

    def to_earn(name: str, found: Tensor) -> Tensor:
        return regret(forms[name], columns(forms[name], found), new[name])

    errors = {OUTPUTS: to_fit, POLICY: to_earn}
    sizes = steps if isinstance(steps, Mapping) else dict.fromkeys(measures(learner), steps)
    shares = {}
    for measure, size in sizes.items():
        name, kind = measure.rsplit("/", 1)
        reached = (name,) if name in forms else tuple(forms)
        shares[measure] = _removed_by(learner, batch, parameters, name, reached, errors[kind], steps=size)
    return shares


def _removed_by(
    learner: Learner,
    batch: Any,
    parameters: Mapping[str, Tensor],
    network: str,
    reached: tuple[str, ...],
    error: Callable[[str, Tensor], Tensor],
    *,
    steps: int,
) -> Tensor:
    """The share of an error, of output networks that one network reaches, that training that one removes."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in learner.root.named_parameters()}
    trained = trained_parameters(learner).intersection(learner.networks[network].parameters)
    own = [parameter for parameter in learner.networks[network].parameters if parameter in trained]
    leaves: dict[Tensor, Tensor] = {
        parameter: parameters[names[parameter]].detach().clone().requires_grad_() for parameter in own
    }
    held = {**parameters, **{names[parameter]: leaf for parameter, leaf in leaves.items()}}

    with torch.no_grad():
        modules = {part.module for part in learner.networks[network].parts}
        outputs = Prefix(partial(learner.outputs, batch, held, reached), modules_of(learner), modules)

    def mean_error() -> Tensor:
        found = outputs()
        return torch.stack([error(name, found[name]) for name in reached]).mean()

    return error_removed(mean_error, list(leaves.values()), twins(learner.optimizers, leaves), steps)


def finite(values: Mapping[str, Tensor]) -> dict[str, float]:
    """Numbers that are finite, in one transfer."""
    numbers = torch.stack(list(values.values())).tolist() if values else []
    return {key: number for key, number in zip(values, numbers, strict=True) if math.isfinite(number)}
