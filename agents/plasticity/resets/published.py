"""Published methods: named combinations of criterion, selection and surgery.

Where a method takes ``paper``, true restores the published `period` and `score_every`; all other defaults are the
published ones anyway.
"""

from __future__ import annotations

from typing import Literal

from agents.plasticity.network_intervention import Networks
from agents.plasticity.resets.unit_reset import UnitReset
from agents.plasticity.selections import Calibrated
from agents.plasticity.validation import check

GRADIENTS = {"weights": "regrama", "preactivations": "regrama_preactivation", "activations": "regrama_activation"}
"""What `ReGraMa` takes the gradient of -> its criterion."""


class GXD(UnitReset):
    """Reset the units that are cheapest to replace (gradient times difference from reference, arXiv 2605.06834).

    The paper's body was not available to us: this is our reading of its abstract. A unit's utility is the first-order
    cost, in units of loss, of putting the reference in its place (`criteria.gxd`), which is what the surgery does. The
    running mean has a decay of 0.99 per gradient step. One selection replaces at most half a layer.

    Args:
        networks: names of the networks to keep plastic, or ``paper``; None for all that the policy has.
        rate: share of the mature units that is replaced per gradient step. More means more new units and more
            forgetting.
        budget: in place of `rate`: at every period the cheapest units are replaced while what each would cost alone
            sums to at most this share of the mean absolute loss of a sample.
        reference: ``zero``; or ``mean``, where the consumers' biases absorb a unit's running mean activation, so that
            only its variation counts and is lost.
        reduction: ``abs_mean`` over samples; or ``mean_abs``, in which samples of opposite sign cancel.
        signal: gradients of the ``loss``; or of the ``outputs``, which rank units even where the loss sends nothing
            (see `UnitReset`).
        period: gradient steps between selections; what `rate` has accumulated is replaced then.
        maturity: gradient steps for which a new unit is left alone.
        score_every: one minibatch in so many is scored; the running mean keeps its time constant. Less costs more.
    """

    name = "gxd"

    def __init__(
        self,
        *,
        networks: Networks = None,
        rate: float = 1e-4,
        budget: float | None = None,
        reference: Literal["zero", "mean"] = "zero",
        reduction: Literal["abs_mean", "mean_abs"] = "abs_mean",
        signal: Literal["loss", "outputs"] = "loss",
        period: int = 1000,
        maturity: int = 1000,
        score_every: int = 16,
    ) -> None:
        check("rate", rate, 0 <= rate <= 1, "a share of units per gradient step between 0 and 1")
        check("reference", reference, reference in ("zero", "mean"), "zero or mean")
        check("reduction", reduction, reduction in ("abs_mean", "mean_abs"), "abs_mean or mean_abs")
        check("budget", budget, budget is None or budget > 0, "a share of the loss above 0, or leave it out")
        if budget is not None and signal == "outputs":
            raise ValueError("budget is a share of the loss; leave it out with signal 'outputs'")
        super().__init__(
            criterion={"name": "gxd", "reduction": reduction},
            selection={"name": "rate", "rate": rate} if budget is None else {"name": "budget", "share": budget},
            surgery={"compensate": reference == "mean"},
            networks=networks,
            period=period,
            maturity=maturity,
            score_every=score_every,
            decay=0.99,
            signal=signal,
        )
        self.rate, self.budget, self.reference, self.reduction = rate, budget, reference, reduction


class ReDo(UnitReset):
    """Reset dormant units: mean absolute activation at most tau times the layer's mean (arXiv 2302.12902).

    Activations are those of a fresh sample of the data at hand, once per period.

    Args:
        networks: names of the networks to keep plastic, or ``paper``; None for all that the policy has.
        tau: threshold on the layer-normalised score, whose mean is 1. More resets more units.
        period: gradient steps between checks; the published 1,000 is the default.
        maturity: gradient steps for which a new unit is left alone.
        samples: transitions of the sample, fewer where the data has fewer (published: 64 to 256).
        allow_full: also redraw a layer in which no unit is active at all, and the weights by which hidden layers read
            it: left with zeros, as other units leave them, they might never learn.
    """

    name = "redo"

    def __init__(
        self,
        *,
        networks: Networks = None,
        tau: float = 0.025,
        period: int = 1000,
        maturity: int = 0,
        samples: int = 1024,
        allow_full: bool = False,
    ) -> None:
        check("tau", tau, tau >= 0, "a threshold of at least 0 on scores whose mean is 1")
        super().__init__(
            criterion="redo",
            selection={"name": "threshold", "tau": tau, "allow_full": allow_full},
            networks=networks,
            period=period,
            maturity=maturity,
            score_every=1,
            decay=0.0,
            score_on="sample",
            samples=samples,
        )
        self.tau, self.allow_full = tau, allow_full
        self.redraws_readers = allow_full


class ReGraMa(UnitReset):
    """Reset units that learn little: gradient at most tau times the layer's mean (arXiv 2505.24061).

    Paper and released code disagree. The code scores the mean absolute gradient of a unit's incoming weights (of
    penalties too), at no extra cost, and keeps its outgoing weights (``gradient="weights", outgoing="keep"``); the
    paper scores the gradient at the input of its activation function, which is zero for a dormant ReLU unit, and
    zeroes them (``gradient="preactivations", outgoing="zero"``). The default scores as the code and zeroes as the
    paper. The running mean has a decay of 0.9 per gradient step.

    Args:
        networks: names of the networks to keep plastic, or ``paper``; None for all that the policy has.
        tau: threshold on the layer-normalised score, whose mean is 1. More resets more units.
        gradient: whose gradient is scored: the incoming ``weights``; the ``preactivations``, what goes into the
            activation function; or the ``activations``, what comes out of it, where a dormant unit is not told from
            others.
        outgoing: what becomes of outgoing weights: ``zero``, ``keep``, or ``small_random``.
        period: gradient steps between checks; the published 1,000 is the default.
        maturity: gradient steps for which a new unit is left alone.
        score_every: one minibatch in so many is scored; the running mean keeps its time constant.
        cap: largest share of a layer that one check may reset, rounded up to whole units.
    """

    name = "regrama"

    def __init__(
        self,
        *,
        networks: Networks = None,
        tau: float = 0.01,
        gradient: Literal["weights", "preactivations", "activations"] = "weights",
        outgoing: Literal["zero", "keep", "small_random"] = "zero",
        period: int = 1000,
        maturity: int = 1000,
        score_every: int = 1,
        cap: float = 0.05,
    ) -> None:
        check("tau", tau, tau >= 0, "a threshold of at least 0 on scores whose mean is 1")
        check("cap", cap, 0 < cap <= 1, "a share of a layer above 0 and at most 1")
        check("gradient", gradient, gradient in GRADIENTS, f"one of {', '.join(GRADIENTS)}")
        known = ("zero", "keep", "small_random")
        check("outgoing", outgoing, outgoing in known, f"one of {', '.join(known)}")
        super().__init__(
            criterion=GRADIENTS[gradient],
            selection={"name": "threshold", "tau": tau, "cap": cap},
            surgery={"outgoing": outgoing},
            networks=networks,
            period=period,
            maturity=maturity,
            score_every=score_every,
            decay=0.9,
        )
        self.tau, self.cap, self.gradient, self.outgoing = tau, cap, gradient, outgoing


class CBP(UnitReset):
    """Continual backprop: reset the units that contribute least, at a steady rate (Nature 632:768, 2024).

    A unit's utility is its mean absolute activation times its mean absolute outgoing weight; the running mean has a
    decay of 0.99 per gradient step. Published is a selection at every gradient step, on every minibatch (``paper``),
    which costs a large share of training; by default what the rate has accumulated is replaced every 1,000 steps, at
    most half a layer.

    Args:
        networks: names of the networks to keep plastic, or ``paper``; None for all that the policy has.
        rate: share of the mature units that is replaced per gradient step.
        form: ``plain`` as published in Nature; ``centred`` measures the distance of activations from their running
            mean; ``adaptable`` also divides by the incoming weights (arXiv 2108.06325).
        compensate: the consumers' biases absorb a unit's running mean activation (the older paper's text).
        period: gradient steps between selections; None for 1,000, or the published 1 with ``paper``.
        maturity: gradient steps for which a new unit is left alone.
        score_every: one minibatch in so many is scored; None for 16, or the published 1 with ``paper``.
        paper: the published period and score_every.
    """

    name = "cbp"

    def __init__(
        self,
        *,
        networks: Networks = None,
        rate: float = 1e-4,
        form: Literal["plain", "centred", "adaptable"] = "plain",
        compensate: bool = False,
        period: int | None = None,
        maturity: int = 10_000,
        score_every: int | None = None,
        paper: bool = False,
    ) -> None:
        check("rate", rate, 0 <= rate <= 1, "a share of units per gradient step between 0 and 1")
        check("form", form, form in ("plain", "centred", "adaptable"), "plain, centred or adaptable")
        super().__init__(
            criterion={"name": "contribution", "form": form},
            selection={"name": "rate", "rate": rate},
            surgery={"compensate": compensate},
            networks=networks,
            period=(1 if paper else 1000) if period is None else period,
            maturity=maturity,
            score_every=(1 if paper else 16) if score_every is None else score_every,
            decay=0.99,
        )
        self.rate, self.form, self.compensate, self.paper = rate, form, compensate, paper


class CPR(UnitReset):
    """Calibrated partial resets: mix every unit with a fresh one, the more the less it learns (arXiv 2607.24996).

    A unit's score is GraMa's weight gradient over its layer's mean, averaged with a decay of 0.99 per gradient step.
    Its incoming weights become (1-p) of themselves and p of fresh ones, its outgoing weights (1-p), with
    p = rate * min(2 sigmoid(-sharpness (score - threshold)), 1). Biases and optimizer moments stay. The published code
    begins the average anew after each reset; ours goes on, which matters only at periods of a few hundred steps.

    Args:
        networks: names of the networks to keep plastic, or ``paper``; None for all that the policy has.
        rate: the largest part of a unit that is replaced.
        sharpness: how steeply the part falls around the threshold.
        threshold: on the layer-normalised score, whose mean is 1.
        period: gradient steps between resets; the published 1,000 is the default.
        score_every: one minibatch in so many is scored, the running mean keeps its time constant; None for 16, or
            the published 1 with ``paper``.
        paper: the published period and score_every.
    """

    name = "cpr"

    def __init__(
        self,
        *,
        networks: Networks = None,
        rate: float = 0.015,
        sharpness: float = 16.0,
        threshold: float = 1.0,
        period: int = 1000,
        score_every: int | None = None,
        paper: bool = False,
    ) -> None:
        Calibrated(rate, sharpness, threshold)  # refuses impossible ones under their own names
        super().__init__(
            criterion={"name": "regrama", "normalize": True},
            selection={"name": "calibrated", "rate": rate, "sharpness": sharpness, "threshold": threshold},
            surgery={"biases": "keep", "moments": "keep"},
            networks=networks,
            period=period,
            maturity=0,
            score_every=(1 if paper else 16) if score_every is None else score_every,
            decay=0.99,
        )
        self.rate, self.sharpness, self.threshold, self.paper = rate, sharpness, threshold, paper
