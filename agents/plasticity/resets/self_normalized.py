"""Self-normalized resets: a unit is reset once it has been silent for longer than it ever is."""

from __future__ import annotations

from agents.plasticity.network_intervention import Networks
from agents.plasticity.resets.unit_reset import UnitReset
from agents.plasticity.validation import check


class SNR(UnitReset):
    """Reset units that have been silent for too long by what they are used to (arXiv 2410.20098).

    A unit is reset when a silence as long as its present one has a probability of at most eta, by its own distribution
    of examples from one firing to the next. It fires in a minibatch if it puts out something else than 0 for one of the
    examples: units behind activation functions that are never 0 (tanh, SiLU, GELU, CReLU, Fourier) always do, and
    networks that have such are refused, where the module that the next layer reads is one of them.

    The paper takes the (1 - eta) quantile of a histogram of these times as a threshold, renews thresholds every so many
    tasks, and doubles one that resets themselves have cut the histogram at. Ours is the tail of the distribution of a
    unit that fires independently from minibatch to minibatch (`criteria.silence`), of which two numbers tell all, as
    the authors' code for transformers has it. Both agree where firings are independent and silences last for several
    minibatches; a unit that fires in bursts is reset earlier by ours. A new unit has no distribution till it has fired,
    so that no threshold need be doubled, and till then is reset after `longest` alone. Of its firings the last hundred
    or so count, which is ours, too.

    Args:
        networks: names of the networks to keep plastic, or ``paper``; None for all that the policy has.
        eta: probability at which a silence is too long. Published are 0.08 to 0.00125. More resets more units.
        longest: examples after which a unit is reset whatever it is used to.
        period: gradient steps between checks; None for 1,000, or the published 1 with ``paper``.
        score_every: one minibatch in so many is looked at, and the examples of others are not counted; None for 16, or
            the published 1 with ``paper``.
        paper: the published period and score_every.
    """

    name = "snr"

    def __init__(
        self,
        *,
        networks: Networks = None,
        eta: float = 0.08,
        longest: int = 20_000,
        period: int | None = None,
        score_every: int | None = None,
        paper: bool = False,
    ) -> None:
        check("eta", eta, 0 <= eta <= 1, "a probability between 0 and 1")
        right = isinstance(longest, int) and longest >= 1
        check("longest", longest, right, "a whole number of examples of at least 1")
        super().__init__(
            criterion={"name": "silence", "longest": longest},
            selection={"name": "absolute", "tau": eta, "allow_full": True},
            networks=networks,
            period=(1 if paper else 1000) if period is None else period,
            maturity=0,
            score_every=(1 if paper else 16) if score_every is None else score_every,
            decay=0.0,
        )
        self.eta, self.longest, self.paper = eta, longest, paper
