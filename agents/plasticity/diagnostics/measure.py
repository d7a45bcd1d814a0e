"""Every measure of a learner at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from agents.plasticity.diagnostics import activations as units
from agents.plasticity.diagnostics import churn, norms, policy, ranks
from agents.plasticity.diagnostics.fit import FitProbe
from agents.plasticity.diagnostics.fit.probe import finite, measures
from agents.plasticity.diagnostics.ntk import is_understood, tangent_kernels
from agents.plasticity.probing import layers_of, probed
from agents.plasticity.protocols import Learner
from agents.plasticity.taps import Taps
from agents.plasticity.units import Network, UnitLayer

PROBE = 512
FEW = 128  # observations for what costs a pass of its own
SAMPLE = 512
SLOW_EVERY = 10
THRESHOLDS = {"dormant_ratio_0": 0.0, "dormant_ratio": units.DORMANT, "dormant_ratio_0.1": 0.1}
POLICY = "actor"
PARAMETERS = {"Categorical": ("logits",), "Bernoulli": ("logits",), "Normal": ("loc", "scale")}
"""Kind of distribution that policies are made of -> its parameters."""

Values = dict[str, Tensor | None]


@dataclass
class _Probe:
    """Observations that stay the same, and what the learner said to them at the last measure."""

    batch: Any
    few: Any
    outputs: Mapping[str, Tensor] | None = None
    policy: Sequence[Distribution] | None = None


class Diagnostics:
    """Takes every measure of every network, as ``plasticity/<network>/<measure>``.

    - On a fixed probe of 512 observations, or twice the width of the widest last hidden layer if that is more (fewer
      where the data at hand has fewer; ranks are then bounded by their number): ``dormant_ratio_0``,
      ``dormant_ratio`` (threshold 0.025), ``dormant_ratio_0.1``, ``fau``, ``saturated_fraction`` (networks of tanh,
      sigmoid or softsign alone); ``srank``, ``effective_rank``, ``stable_rank`` and ``dominant_share`` of the last
      hidden layer (the mean over several: twin critics, dict observations); ``value_churn`` (squared) and
      ``value_churn_abs`` of networks whose outputs are values.
    - On 128 other observations, as fixed: ``entropy``, ``saturation`` (discrete actions) and ``policy_churn`` of the
      policy; ``ntk_rank``, the `ranks.srank` of the kernel's eigenvalues.
    - On a fresh sample of 512 transitions: ``grama_ratio``, ``signal`` and ``grad_norm``.
    - Of the parameters: ``weight_norm`` and ``update_norm``.

    Churn and ``update_norm`` compare with the last call, and are left out where there is none: churn at the first call
    on a probe, ``update_norm`` at the first of all. So is what is not finite or not defined for a network. The policy
    is the output network named ``actor``, or the first one where none is; its outputs are no values. Where the learner
    has no distributions and no ``actor``, the policy is greedy on the values, and ``policy_churn`` is the share of
    states whose greedy action changed.

    With a fit probe the first call on a probe also gives ``trainability`` and ``policy_trainability`` (see
    `fit.trainability`), where that is due.

    The kernel and the gradients cost more than all the rest: they are taken at every `slow_every`-th call, the first
    one on a probe among them, and repeated in between.

    Measuring changes nothing, neither parameters nor their ``.grad``, and random numbers come from `generator` alone.
    The results reach the host in one transfer.

    Args:
        learner: with networks, and data to `sample`.
        generator: draws the probe and the samples.
        draw: ``(n, generator) -> batch``, at most `n` transitions for the probe; None for `Learner.sample`. A learner
            that replays what it has seen gives it the newest, which are of the task at hand.
        slow_every: calls for which the measures of the kernel and the gradients stand. More makes measuring cheaper.
        fit: of the same learner; None for none.

    Raises:
        ValueError: `slow_every` is not at least 1.
    """

    def __init__(
        self,
        learner: Learner,
        generator: torch.Generator,
        *,
        draw: Callable[[int, torch.Generator], Any] | None = None,
        slow_every: int = SLOW_EVERY,
        fit: FitProbe | None = None,
    ) -> None:
        if slow_every < 1:
            raise ValueError(f"slow_every is {slow_every}; give a number of calls of at least 1")
        self._learner = learner
        self._generator = generator
        self._draw = learner.sample if draw is None else draw
        self._slow_every = slow_every
        self._fit = fit
        self._calls = 0  # on this probe
        self._probe: _Probe | None = None
        self._slow: Values = {}
        self._weights: dict[str, Tensor] = {}
        self._networks: dict[str, Network] | None = None  # that the last measure was of
        self.tags: tuple[str, ...] = ()
        """All that `measure` gives, also what is not there at its first call; known after that."""

    def renew_probe(self) -> None:
        """Have the next `measure` draw a new probe from the data at hand then; churn starts anew."""
        self._probe = None
        self._calls = 0

    def measure(self) -> dict[str, float]:
        """The measures, by tag.

        Raises:
            NoDataError: the learner has no data to draw from.
        """
        networks = dict(self._learner.networks)
        if self._networks not in (None, networks):  # modules were replaced: there is nothing to compare with
            self.renew_probe()
            self._weights.clear()
            if self._fit is not None:
                self._fit.forget()
        self._networks = networks
        probe = self._probe = self._drawn() if self._probe is None else self._probe
        if self._calls % self._slow_every == 0:
            self._slow = self._of_kernel(probe) | self._of_gradients()
        values = self._of_probe(probe) | self._slow | self._of_weights() | self._of_fit()
        self._calls += 1
        self.tags = tuple(f"plasticity/{name}" for name in values)
        there = {tag: value for tag, value in zip(self.tags, values.values(), strict=True) if value is not None}
        return finite(there)

    def state(self) -> dict[str, Any]:
        """All that decides what the next calls give: numbers, tensors, the learner's batches, and dicts of these."""
        probe = self._probe
        return {
            "generator": self._generator.get_state(),
            "calls": self._calls,
            "tags": list(self.tags),
            "slow": dict(self._slow),
            "weights": dict(self._weights),
            **({} if self._fit is None else {"fit": self._fit.state()}),
            "probe": None if probe is None else {
                "batch": probe.batch,
                "few": probe.few,
                "outputs": None if probe.outputs is None else dict(probe.outputs),
                "policy": None if probe.policy is None else [_parameters(part) for part in probe.policy],
            },
        }  # fmt: skip

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._generator.set_state(state["generator"])
        self._calls, self.tags = state["calls"], tuple(state["tags"])
        device = self._learner.device
        self._slow = {key: None if value is None else value.to(device) for key, value in state["slow"].items()}
        self._weights = {name: weights.to(device) for name, weights in state["weights"].items()}
        if self._fit is not None and "fit" in state:
            self._fit.restore(state["fit"])
        self._probe = None
        if (saved := state["probe"]) is not None:
            outputs, policy = saved["outputs"], saved["policy"]
            self._probe = _Probe(
                batch=saved["batch"],
                few=saved["few"],
                outputs=None if outputs is None else {name: output.to(device) for name, output in outputs.items()},
                policy=None if policy is None else [_distribution(part, device) for part in policy],
            )

    def _drawn(self) -> _Probe:
        widths = [
            layer.units * layer.fold for network in self._learner.networks.values() for layer in last_layers(network)
        ]
        size = max([PROBE, *(2 * width for width in widths)])
        return _Probe(batch=self._draw(size, self._generator), few=self._draw(FEW, self._generator))

    @torch.no_grad()
    def _of_probe(self, probe: _Probe) -> Values:
        """What one hooked forward shows."""
        with Taps(layers_of(self._learner)) as taps:
            outputs = {name: output.clone() for name, output in self._learner.outputs(probe.batch).items()}
        values: Values = {}
        for name, network in with_units(self._learner).items():
            seen = [taps.activations[layer.name] for layer in network.layers]
            values |= {f"{name}/{key}": units.dormant_ratio(seen, tau) for key, tau in THRESHOLDS.items()}
            values[f"{name}/fau"] = units.fau(seen)
            if (lows := _lower_bounds(network)) is not None:
                values[f"{name}/saturated_fraction"] = units.saturated_fraction(seen, lows)
            spectra = [ranks.singular_values(taps.activations[layer.name]) for layer in last_layers(network)]
            for rank in (ranks.srank, ranks.effective_rank, ranks.stable_rank, ranks.dominant_share):
                values[f"{name}/{rank.__name__}"] = torch.stack([rank(sigma) for sigma in spectra]).mean()
        return values | self._of_outputs(probe, outputs)

    def _of_outputs(self, probe: _Probe, outputs: Mapping[str, Tensor]) -> Values:
        """The policy's own measures, and churn since the last call."""
        # A copy, for a distribution may hold a parameter as it is.
        new_policy = copy.deepcopy(list(self._learner.distributions(probe.few)))
        old, probe.outputs = probe.outputs, outputs
        old_policy, probe.policy = probe.policy, new_policy
        values: Values = {}
        actor = POLICY if POLICY in outputs else next(iter(outputs)) if new_policy else None
        if new_policy:
            values[f"{actor}/entropy"] = _defined(policy.entropy, new_policy)
            if policy.is_discrete(new_policy):
                values[f"{actor}/saturation"] = policy.saturation(new_policy)
            values[f"{actor}/policy_churn"] = _defined(churn.policy_change, old_policy, new_policy)
        for name, new in outputs.items():
            if name != actor:
                before = None if old is None else old[name]
                values[f"{name}/value_churn"] = _defined(churn.squared_change, before, new)
                values[f"{name}/value_churn_abs"] = _defined(churn.absolute_change, before, new)
                if actor is None and new.shape[1] > 1:
                    values[f"{name}/policy_churn"] = _defined(churn.greedy_change, before, new)
        return values

    def _of_kernel(self, probe: _Probe) -> Values:
        known = {
            name: network
            for name, network in self._learner.networks.items()
            if all(is_understood(part.module) for part in network.parts)
        }
        kernels = tangent_kernels(known, lambda: self._learner.outputs(probe.few)) if known else {}
        return {f"{name}/ntk_rank": ranks.srank(ranks.eigenvalues(kernel)) for name, kernel in kernels.items()}

    def _of_gradients(self) -> Values:
        seen = probed(self._learner, self._learner.sample(SAMPLE, self._generator), outputs=False)
        values: Values = {}
        for name in seen.losses:
            network = self._learner.networks[name]
            if network.layers:
                gradients = [seen.weight_gradient(layer) for layer in network.layers]
                values[f"{name}/grama_ratio"] = units.grama_ratio(gradients)
                values[f"{name}/signal"] = norms.signal([seen.gradients[layer.name] for layer in last_layers(network)])
            values[f"{name}/grad_norm"] = norms.norm(seen.parameter_gradients[p] for p in network.parameters)
        return values

    def _of_weights(self) -> Values:
        values: Values = {}
        for name, network in self._learner.networks.items():
            weights = norms.flat(network.parameters)
            values[f"{name}/weight_norm"] = norms.weight_norm([weights])
            old = self._weights.get(name)
            values[f"{name}/update_norm"] = None if old is None else norms.norm([weights - old])
            self._weights[name] = weights
        return values

    def _of_fit(self) -> Values:
        if self._fit is None:
            return {}
        due = self._calls == 0 and self._fit.is_due()
        return dict.fromkeys(measures(self._learner)) | (self._fit.measure(self._draw) if due else {})


def _parameters(distribution: Distribution) -> dict[str, Any]:
    """What tells a distribution of a policy from others of its kind."""
    name = type(distribution).__name__
    return {"kind": name, **{key: getattr(distribution, key) for key in PARAMETERS[name]}}


def _distribution(saved: Mapping[str, Any], device: torch.device) -> Distribution:
    """The distribution whose `_parameters` these are."""
    values = {key: saved[key].to(device) for key in PARAMETERS[saved["kind"]]}
    found: Distribution = getattr(torch.distributions, saved["kind"])(**values)
    # Not as the constructor computes them again: normalising logits twice rounds twice.
    vars(found).update(values)
    return found


def with_units(learner: Learner) -> dict[str, Network]:
    """The networks that have hidden units."""
    return {name: network for name, network in learner.networks.items() if network.layers}


def last_layers(network: Network) -> list[UnitLayer]:
    """The hidden layers that output layers alone read, or else those nearest to one: in twin critics several."""
    heights = {id(part.module.weight): part.height for part in network.parts}
    reached = [max(heights.get(id(reader.weight), 0) for reader in layer.consumers) for layer in network.layers]
    return [layer for layer, height in zip(network.layers, reached, strict=True) if height == min(reached)]


def _defined(measure: Callable[..., Tensor], *arguments: Any) -> Tensor | None:
    """The measure, or None where what it compares with is not there yet or torch knows no closed form."""
    if any(argument is None for argument in arguments):
        return None
    try:
        return measure(*arguments)
    except NotImplementedError:
        return None


def _lower_bounds(network: Network) -> list[float] | None:
    """Each layer's lowest possible activation, where all are bounded."""
    found = [units.LOWEST.get(type(layer.tap)) for layer in network.layers]
    bounds = [low for low in found if low is not None]
    return bounds if len(bounds) == len(found) else None
