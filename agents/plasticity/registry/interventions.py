"""The interventions by name, with what each does, its paper and its cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agents.plasticity.registry.entries import Code, Entry, registering

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
        "agents.plasticity.auto:Auto", "watch plasticity, try remedies on copies, apply one where it is lost",
        group="closed loop", cost="3 to 4%",
    ),
}  # fmt: skip


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
