"""Names of interventions, criteria and selections, and where their code is. Importing this loads no torch.

A user adds one with the decorators `intervention` and `criterion`, or with an entry point of the group ``crl.plugins``
whose name is ``criteria.NAME``, ``selections.NAME`` or ``interventions.NAME`` and whose value is ``module:attribute``.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, MutableMapping
from importlib.metadata import entry_points
from typing import Any, NamedTuple, TypeVar

GROUP = "crl.plugins"
Code = TypeVar("Code", bound=Callable[..., Any])


class Entry(NamedTuple):
    """A name's code, or where it is ("module:attribute"), and what it does in one line.

    Attributes:
        of_units: of an intervention: it is known to act on hidden units alone, so that a network without them can be
            refused before the class is imported.
        group: of an intervention: a key of `GROUPS`.
        paper: where it was published.
        cost: what it adds to the time of gradient steps of PPO, and of DQN at batches of 32 (`benchmarks/README.md`).
    """

    target: str | Callable[..., Any]
    summary: str
    of_units: bool = False
    group: str = "others"
    paper: str = ""
    cost: str = ""

    def resolve(self) -> Any:
        """Import the module, where need be, and return the attribute."""
        return resolve(self.target)


def interventions_by_group() -> dict[str, str]:
    """What a list of interventions shows: each group's name, and the names in it, indented -> what they are."""
    lines: dict[str, str] = {}
    for group, text in GROUPS.items():
        members = {name: entry for name, entry in INTERVENTIONS.items() if entry.group == group}
        if not members:
            continue
        lines[group] = text
        for name, entry in members.items():
            cost = f"costs {entry.cost}" if entry.cost else ""
            lines[f"  {name}"] = "; ".join(filter(None, [entry.summary, entry.paper, cost]))
    return {**lines, "networks": "as they are built, settings of every agent", **NETWORKS}


def resolve(target: str | Callable[..., Any]) -> Any:
    """What "module:attribute" names, imported; what is no text is there already."""
    if not isinstance(target, str):
        return target
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


GROUPS: dict[str, str] = {
    "resets": "draw single hidden units, or weights, anew",
    "whole networks": "draw, shrink or turn all weights",
    "regularisers": "hold weights or outputs, by a term of the loss or beside it",
    "replay": "decide which data is learnt from, and how often",
    "closed loop": "measure, and choose from all others",
    "others": "registered from outside",
}
"""Groups of interventions, and what those in one do."""

NETWORKS: Mapping[str, str] = {
    "  agent.norm: layer": "layer normalisation; arXiv 1607.06450",
    "  agent.norm: rms": "normalisation by the root mean square; arXiv 1910.07467",
    "  agent.dropout: 0.1": "training drops a share of hidden values; arXiv 1207.0580",
    "  agent.activation: crelu": "concatenated ReLU; arXiv 2303.07507",
    "  agent.activation: fourier": "deep Fourier features; arXiv 2410.20634",
    "  agent.activation: leaky_relu": "leaky ReLU with a slope of 0.1; arXiv 2506.00592",
    "  agent.activation: smooth_leaky": "leaky ReLU without a kink; arXiv 2509.22562",
    "  agent.activation: aid": "activation by interval-wise dropout; arXiv 2502.01342",
    "  agent.network: simba": "SimBa's residual blocks behind normalised observations; arXiv 2410.09754",
    "  agent.injectable: true": "heads that plasticity_injection can act on; arXiv 2305.15555",
}
"""What keeps networks plastic by what they are made of."""

INTERVENTIONS: dict[str, Entry] = {
    "gxd": Entry(
        "agents.plasticity.resets:GXD", "reset the units that are cheapest to replace, at a steady rate",
        of_units=True, group="resets", paper="arXiv 2605.06834", cost="0.4%, DQN 1.1%",
    ),
    "redo": Entry(
        "agents.plasticity.resets:ReDo", "reset units whose activation is low in their layer",
        of_units=True, group="resets", paper="arXiv 2302.12902", cost="0.2%, DQN 1.3%",
    ),
    "regrama": Entry(
        "agents.plasticity.resets:ReGraMa", "reset units whose weight gradient is low in their layer",
        of_units=True, group="resets", paper="arXiv 2505.24061", cost="0.3%, DQN 1.3%",
    ),
    "cbp": Entry(
        "agents.plasticity.resets:CBP", "continual backprop: reset the units that contribute least",
        of_units=True, group="resets", paper="Nature 632:768", cost="1.2%, DQN 2.0%",
    ),
    "cpr": Entry(
        "agents.plasticity.resets:CPR", "calibrated partial resets: mix units with fresh ones",
        of_units=True, group="resets", paper="arXiv 2607.24996", cost="0.2%, DQN 1.4%",
    ),
    "snr": Entry(
        "agents.plasticity.resets:SNR", "self-normalized resets: reset units that are silent for unusually long",
        of_units=True, group="resets", paper="arXiv 2410.20098",
    ),
    "reset": Entry(
        "agents.plasticity.resets:UnitReset", "any criterion, selection and surgery put together",
        of_units=True, group="resets", cost="as much as the method that it stands for",
    ),
    "swr": Entry(
        "agents.plasticity.resets:SWR", "draw the least useful weights anew, one by one",
        group="resets", paper="arXiv 2508.00212", cost="about 2%, DQN 7%",
    ),
    "full_reset": Entry(
        "agents.plasticity.resets:FullReset", "draw whole networks anew, with optimizers and targets",
        group="whole networks", paper="arXiv 2205.07802", cost="nothing between resets",
    ),
    "oracle": Entry(
        "agents.plasticity.resets:Oracle", "a fresh agent for every visit of a task",
        group="whole networks", paper="arXiv 2506.00592", cost="nothing between switches",
    ),
    "head_reset": Entry(
        "agents.plasticity.resets:HeadReset", "draw the last layers anew",
        group="whole networks", paper="arXiv 2205.07802", cost="nothing between resets",
    ),
    "shrink_and_perturb": Entry(
        "agents.plasticity.resets:ShrinkAndPerturb", "shrink all weights and add fresh ones, or pull them to the start",
        group="whole networks", paper="arXiv 1910.08475", cost="nothing between periods",
    ),
    "fire": Entry(
        "agents.plasticity.resets:FIRE", "make all weights isometric, as near to what they are as that can be",
        group="whole networks", paper="arXiv 2602.08040", cost="nothing between acts",
    ),
    "plasticity_injection": Entry(
        "agents.plasticity.resets:PlasticityInjection", "freeze heads and learn on with new ones, outputs as they were",
        group="whole networks", paper="arXiv 2305.15555", cost="two forward passes of the heads, once it is done",
    ),
    "c_chain": Entry(
        "agents.plasticity.penalties:CChain", "penalise churn: what a step did to the outputs on other data",
        group="regularisers", paper="arXiv 2506.00592", cost="about 28%, DQN 58%",
    ),
    "l2_init": Entry(
        "agents.plasticity.penalties:L2Init", "draw weights back to where they began",
        group="regularisers", paper="arXiv 2308.11958", cost="about 3%, DQN 7%",
    ),
    "spectral": Entry(
        "agents.plasticity.penalties:Spectral", "hold the largest singular value of every layer",
        group="regularisers", paper="arXiv 2406.06811", cost="about 2%, DQN 7%",
    ),
    "parseval": Entry(
        "agents.plasticity.penalties:Parseval", "hold the rows of hidden layers orthogonal, and their length",
        group="regularisers", paper="arXiv 2412.07224", cost="about 6%, DQN 5%",
    ),
    "weight_decay": Entry(
        "agents.plasticity.penalties:WeightDecay", "draw weights to zero",
        group="regularisers", paper="arXiv 1711.05101", cost="about 3%, DQN 4%",
    ),
    "weight_clipping": Entry(
        "agents.plasticity.penalties:WeightClipping", "hold weights within the range that they are drawn from",
        group="regularisers", paper="arXiv 2407.01704", cost="about 4%, DQN 3%",
    ),
    "normalize_and_project": Entry(
        "agents.plasticity.penalties:NormalizeAndProject", "hold the norms of weights in front of normalisations",
        group="regularisers", paper="arXiv 2407.01800", cost="nothing, DQN about 9%",
    ),
    "sigreg": Entry(
        "agents.plasticity.penalties:SIGReg", "hold representations near an isotropic Gaussian",
        of_units=True, group="regularisers", paper="arXiv 2602.19373", cost="about 3%, DQN 8%",
    ),
    "sample_weight_decay": Entry(
        "agents.plasticity.sample_weight_decay:SampleWeightDecay",
        "draw replayed transitions the less often, the older they are",
        group="replay", paper="arXiv 2604.01913", cost="DQN about 4%",
    ),
    "adaptive_replay_ratio": Entry(
        "agents.plasticity.replay_ratio:AdaptiveReplayRatio",
        "learn from data more often once the critic is plastic again (of PPO's epochs: experimental)",
        of_units=True, group="replay", paper="arXiv 2310.07418", cost="the gradient steps that it adds",
    ),
    "auto": Entry(
        "agents.plasticity.auto:Auto", "watch trainability, try remedies on copies, apply one where it is lost",
        group="closed loop", cost="about 2%, where networks are ill 3%, DQN 4%",
    ),
}  # fmt: skip

CRITERIA: dict[str, Entry] = {
    "gxd": Entry("agents.plasticity.criteria:gxd", "first-order cost of replacing a unit: gradient times difference"),
    "taylor": Entry("agents.plasticity.criteria:taylor", "gradient times activation: gxd with a reference of zero"),
    "redo": Entry("agents.plasticity.criteria:redo", "mean absolute activation"),
    "regrama": Entry("agents.plasticity.criteria:regrama", "mean absolute gradient of the incoming weights"),
    "regrama_preactivation": Entry(
        "agents.plasticity.criteria:regrama_preactivation", "mean absolute gradient at the activation function's input"
    ),
    "regrama_activation": Entry(
        "agents.plasticity.criteria:regrama_activation", "mean absolute gradient at the activation function's output"
    ),
    "contribution": Entry(
        "agents.plasticity.criteria:contribution", "activation times outgoing weights (plain, centred or adaptable)"
    ),
    "magnitude": Entry("agents.plasticity.criteria:magnitude", "incoming times outgoing weights"),
    "silence": Entry(
        "agents.plasticity.criteria:silence", "probability of so long a silence, by what the unit is used to"
    ),
    "random": Entry("agents.plasticity.criteria:random", "chance, as a baseline"),
}

SELECTIONS: dict[str, Entry] = {
    "rate": Entry("agents.plasticity.selections:Rate", "a share of the mature units per gradient step, lowest first"),
    "threshold": Entry("agents.plasticity.selections:Threshold", "units below a share of their layer's mean utility"),
    "absolute": Entry("agents.plasticity.selections:Absolute", "units whose utility is below a number"),
    "percentage": Entry("agents.plasticity.selections:Percentage", "the lowest share of each layer"),
    "budget": Entry("agents.plasticity.selections:Budget", "the cheapest units, up to a share of the loss in all"),
    "calibrated": Entry("agents.plasticity.selections:Calibrated", "a part of every unit, more of the lower ones"),
}

COMPONENTS: dict[str, dict[str, Entry]] = {"criterion": CRITERIA, "selection": SELECTIONS}
"""Argument of `agents.plasticity.resets.UnitReset` -> the names that it takes."""

_KINDS: dict[str, dict[str, Entry]] = {"criteria": CRITERIA, "selections": SELECTIONS, "interventions": INTERVENTIONS}


def criterion(name: str, *, summary: str = "a user's criterion") -> Callable[[Code], Code]:
    """Decorator that registers a function as a criterion (see `agents.plasticity.criteria`).

    Example::

        @criterion("peak", summary="largest activation in the batch")
        def peak(a):
            return a.flatten(2).amax((0, 2)) if a.dim() > 2 else a.amax(0)

    Raises:
        ValueError: another function has this name.
    """
    return registering("criterion", CRITERIA, name, lambda function: Entry(function, summary))


def intervention(name: str, *, summary: str = "a user's intervention") -> Callable[[Code], Code]:
    """Decorator that registers a subclass of `agents.plasticity.Intervention` and gives it the name.

    Configs and saved agents know it by that. `agents.plasticity.NetworkIntervention` is the base of those that act on
    some of the networks.

    Example::

        @intervention("decay", summary="pull all weights towards zero")
        class Decay(Intervention):
            def __init__(self, *, strength: float = 1e-4) -> None:
                self.strength = strength

            def penalty(self, update):
                weights = [p for group in update.optimizer.param_groups for p in group["params"]]
                return self.strength * sum(weight.square().sum() for weight in weights)

    Raises:
        ValueError: another class has this name.
    """

    def entry(found: Any) -> Entry:
        return Entry(found, summary, getattr(found, "of_units", False))

    return registering("intervention", INTERVENTIONS, name, entry)


def registering(
    decorator: str, registry: MutableMapping[str, Entry], name: str, entry: Callable[[Any], Entry]
) -> Callable[[Code], Code]:
    """A decorator that registers what it stands before, and gives a class the name.

    Args:
        decorator: what it is called.
        registry: name -> entry.
        name: that is registered.
        entry: of what it stands before.

    Raises:
        ValueError: the name is no text, or something else has it.
    """
    if not isinstance(name, str):
        raise ValueError(f"{decorator} needs a name; write @{decorator}('mine')")

    def register(code: Code) -> Code:
        add(registry, name, entry(code))
        if isinstance(code, type):
            code.name = name  # type: ignore[attr-defined]  # the base class needs torch, which is not imported here
        return code

    return register


def add(registry: MutableMapping[str, Any], name: str, entry: Any) -> None:
    """Register a name.

    Args:
        registry: name -> entry, of this module or of the same kind: whose `target` is its code, or where that is.
        name: to be given in configs.
        entry: what it stands for.

    Raises:
        ValueError: something else has this name.
    """
    known = registry.get(name)
    if known is not None and _code(known) is not _code(entry) and place(known.target) != place(entry.target):
        raise ValueError(f"the name {name!r} is taken by {place(known.target)}; give {place(entry.target)} another one")
    registry[name] = entry


def _code(entry: Any) -> Any:
    """What stands where an entry says, if its module has been imported; else the entry."""
    if not isinstance(entry, Entry) or not isinstance(entry.target, str):
        return entry
    module, _, attribute = entry.target.partition(":")
    return getattr(sys.modules.get(module), attribute, entry)


def place(target: str | Callable[..., Any]) -> str:
    """Where code is: ``module:attribute``."""
    return target if isinstance(target, str) else f"{target.__module__}:{target.__qualname__}"


def plugins(others: Mapping[str, MutableMapping[str, Any]] | None = None) -> None:
    """Register what installed distributions bring, without importing it.

    Args:
        others: kinds of things that can be added beside those of this module -> their registries.

    Raises:
        ValueError: a name is taken, or does not begin with a kind of thing that can be added.
    """
    kinds = {**_KINDS, **(others or {})}
    for point in entry_points(group=GROUP):
        kind, _, name = point.name.partition(".")
        origin = point.dist.name if point.dist is not None else point.value
        if kind not in kinds or not name:
            raise ValueError(
                f"the entry point {point.name!r} of {origin} is not understood; its name must begin with one of "
                f"{', '.join(f'{known}.' for known in kinds)}"
            )
        add(kinds[kind], name, Entry(point.value, f"from {origin}"))


def build(part: str, spec: str | Mapping[str, Any]) -> Any:
    """What a name, or a mapping with a name and its arguments, stands for.

    Args:
        part: a key of `COMPONENTS`.
        spec: such as ``"gxd"`` or ``{"name": "rate", "rate": 1e-4}``.

    Raises:
        ValueError: the name or an argument is not known, or an argument is impossible; the message begins with the key.
    """
    arguments = {"name": spec} if isinstance(spec, str) else dict(spec)
    name = arguments.pop("name", None)
    known = COMPONENTS[part]
    if name not in known:
        raise ValueError(f"{part}.name is {name!r}; choose from {', '.join(known)}")
    target = known[name].resolve()
    try:
        if part == "criterion":
            from agents.plasticity.criteria import Criterion

            return Criterion(name, target, arguments)
        return target(**arguments)
    except TypeError as error:
        raise ValueError(f"{part} {name!r} does not take these arguments: {error}") from error
    except ValueError as error:
        raise ValueError(f"{part}.{error}") from error
