"""From signs to what ails a network: each mechanism with how strong it is and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from agents.plasticity.diagnosis.signs import SIGNS
from agents.plasticity.diagnostics.fit.probe import OUTPUTS, POLICY
from agents.plasticity.findings import (
    BOUND,
    BROKEN,
    DEAD,
    DIVERGING,
    KERNEL,
    MECHANISMS,
    NEGLIGIBLE,
    NORMS,
    RANK,
    SATURATED,
    STALE,
    Comparison,
    Finding,
)

HALF = 0.5
LEAST = 0.9
ROUNDED = 1e-5
"""Share by which rates of growth may differ that are the same: sizes are known in single precision."""
FEWEST_SIZES = 5
"""Of which a growth of values can be told from one that ends."""
DEAD_SIGNS = ("dormant_units", "unmoved_units")
WAYS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (BROKEN, ("not_finite",), OUTPUTS),
    (DEAD, DEAD_SIGNS, OUTPUTS),
    (SATURATED, ("certainty",), POLICY),
    (BOUND, ("saturated_units",), OUTPUTS),
    (NORMS, ("weight_size",), OUTPUTS),
    (RANK, ("feature_rank",), OUTPUTS),
    (KERNEL, ("kernel_rank",), OUTPUTS),
)
"""Mechanism, the signs that must all show it, and the measure of trainability that it must have harmed."""
FOLLOWS: Mapping[str, tuple[str, ...]] = {RANK: (DEAD, BOUND), KERNEL: (DEAD, BOUND, RANK)}
"""Mechanism -> those that bring it about, beside which it is none of its own."""


def strength_of(sign: str, found: Comparison) -> float:
    """The share that is gone of what fresh networks have; 0 where nothing is."""
    usual = SIGNS[sign].left(found.middle)
    left = SIGNS[sign].left(found.value)
    return max(0.0, 1 - left / usual) if usual > 0 else 0.0


def confidence_of(lefts: Sequence[float], left: float) -> float:
    """The share of fresh networks of which more is left, of one more than there are."""
    return sum(other > left for other in lefts) / (len(lefts) + 1)


def findings(
    read: Mapping[str, Comparison],
    scores: Mapping[str, Comparison],
    networks: Mapping[str, Sequence[str]],
    outputs: Collection[str],
) -> list[Finding]:
    """The mechanisms that signs show and that the fit probe feels, the strongest first.

    A mechanism is named where more than half is gone of what the median fresh network has, by all of its signs; where
    nine tenths of the fresh networks at least have more, so that chance is not at work; and where the fit probe feels
    it (`harmed`): units that are dead but not missed are no illness. What follows from another finding of the same
    network, or from one in a network whose outputs it reads, is left out (`FOLLOWS`).

    Args:
        read: ``<place>/<sign>`` -> comparison.
        scores: ``<network>/<measure>`` -> shares of the error that training removes.
        networks: name -> its layers' names.
        outputs: names of those that have outputs of their own; all others are read by these.
    """
    found: list[Finding] = []
    for mechanism, signs, measure in WAYS:
        for network, layers in networks.items():
            score = scores.get(f"{network}/{measure}")
            if score is None or (sure := harmed(score)) is None:
                continue
            if (seen := _seen(mechanism, network, layers, read, signs, score)) is not None:
                found.append(replace(seen, confidence=min(seen.confidence, sure)))
    return ordered([each for each in found if not _follows(each, found, outputs)])


def unmissed(
    read: Mapping[str, Comparison],
    scores: Mapping[str, Comparison],
    networks: Mapping[str, Sequence[str]],
    outputs: Collection[str],
) -> list[Finding]:
    """Dead units that signs show and the fit probe does not feel, the strongest first.

    They are no illness: the network is trained as well as fresh ones. But reviving them often costs next to nothing,
    and where ever more units die returns may fall all the same (benchmarks/README.md, permuted Breakout).

    Args:
        read: as for `findings`, and so are the others.
    """
    found = []
    for network, layers in networks.items():
        score = scores.get(f"{network}/{OUTPUTS}")
        if score is None or score.middle <= NEGLIGIBLE:
            continue
        concerned = [network] if network in outputs else [network, *outputs]  # all outputs read what has none
        keys = [f"{name}/{kind}" for name in concerned for kind in (OUTPUTS, POLICY)]
        if any(scores[key].middle - scores[key].value > NEGLIGIBLE for key in keys if key in scores):
            continue
        if (seen := _seen(DEAD, network, layers, read, DEAD_SIGNS, score)) is not None:
            found.append(seen)
    return ordered(found)


def ordered(found: Sequence[Finding]) -> list[Finding]:
    """The strongest first."""
    return sorted(found, key=lambda each: (-each.strength, MECHANISMS.index(each.mechanism), each.network))


def harmed(score: Comparison) -> float | None:
    """How sure it is that training removes less of the error than of a fresh network; None where it is not less.

    Less by a tenth of the whole error at least: where it removes next to nothing of fresh networks either, in so few
    steps of such a size, nothing can be told.
    """
    if score.middle - score.value <= NEGLIGIBLE:
        return None
    confidence = confidence_of(score.fresh, score.value)
    return confidence if confidence >= LEAST else None


def _seen(
    mechanism: str,
    network: str,
    layers: Sequence[str],
    read: Mapping[str, Comparison],
    signs: Sequence[str],
    score: Comparison,
) -> Finding | None:
    """The mechanism where its signs show it most, as sure as they are; None where they show none."""
    best = max(_shown(read, signs, (network, *layers)), default=None)
    if best is None or best[0] <= HALF or best[1] < LEAST:
        return None
    strength, confidence, place = best
    numbers = {sign: read[f"{place}/{sign}"].value for sign in signs}
    return Finding(mechanism, network, place, strength, confidence, numbers, score.value / score.middle)


def _shown(
    read: Mapping[str, Comparison], signs: Sequence[str], places: Sequence[str]
) -> Iterator[tuple[float, float, str]]:
    """Strength and confidence at each place that has all the signs: the least of each."""
    for place in places:
        known = [(sign, read[f"{place}/{sign}"]) for sign in signs if f"{place}/{sign}" in read]
        if len(known) == len(signs):
            lefts = [(SIGNS[s], each) for s, each in known]
            sure = min(confidence_of([s.left(x) for x in each.fresh], s.left(each.value)) for s, each in lefts)
            yield min(strength_of(sign, each) for sign, each in known), sure, place


def _follows(one: Finding, found: Sequence[Finding], outputs: Collection[str]) -> bool:
    causes = FOLLOWS.get(one.mechanism, ())
    for other in found:
        upstream = other.network not in outputs and one.network in outputs
        if other is not one and (
            (other.network == one.network and other.mechanism in causes)
            or (upstream and one.mechanism in (RANK, KERNEL) and other.mechanism in (*FOLLOWS[KERNEL], KERNEL))
        ):
            return True
    return False


# ------------------------------------------------------------------ beside the fit probe


def stale(network: str, shares: Sequence[float]) -> Finding | None:
    """A stale optimizer: what it remembers is more than twice as large as every gradient of now.

    Args:
        network: whose optimizer it is.
        shares: the gradient norms of some minibatches over that which is remembered. That the next one is larger than
            the largest of n has a chance of 1 / (n + 1), which is taken off the confidence.
    """
    largest = max(shares)
    if not 0 < largest < HALF:  # where there is no gradient at all, nothing of it is divided
        return None
    return Finding(STALE, network, network, 1 - largest, len(shares) / (len(shares) + 1), {"gradient_share": largest})


def diverging(network: str, sizes: Mapping[int, float]) -> Finding | None:
    """Value divergence: values that grow by a factor, on and on.

    Of what learns, values grow fast at first and then ever less. Divergence is a growth of their logarithm in every
    interval of the second half of what is known, together by a factor of more than two, and at no lower rate than in
    the first half. The strength is the share of the size that has come in the second half.

    Args:
        network: of values.
        sizes: step -> root mean square of its values on one and the same batch.
    """
    known = {step: size for step, size in sorted(sizes.items()) if size > 0}
    if len(known) < FEWEST_SIZES:
        return None
    steps, logs = list(known), [math.log(size) for size in known.values()]
    middle = len(steps) // 2
    rises = [later - earlier for earlier, later in zip(logs[middle:], logs[middle + 1 :], strict=False)]
    growth = logs[-1] - logs[middle]
    rate, before = growth / (steps[-1] - steps[middle]), (logs[middle] - logs[0]) / (steps[middle] - steps[0])
    strength = 1 - math.exp(-max(growth, 0.0))
    slows = rate < before and not math.isclose(rate, before, rel_tol=ROUNDED)
    if min(rises) <= 0 or slows or strength <= HALF:
        return None
    confidence = 1 - HALF ** len(rises)  # that they all rise by chance
    return Finding(DIVERGING, network, network, strength, confidence, {"growth": math.exp(growth)})
