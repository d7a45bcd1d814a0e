"""Lists of interventions that contradict themselves are refused where an agent is built; all others are taken."""

from __future__ import annotations

import re

import pytest
from small_loop import Regression
from small_worlds import build

from agents.plasticity import (
    CBP,
    GXD,
    CChain,
    FullReset,
    HeadReset,
    Intervention,
    L2Init,
    Oracle,
    ReDo,
    ShrinkAndPerturb,
    Spectral,
)
from agents.plasticity.compatibility import MisfitError

SAME = "; leave one of them out, or give it other networks or another period"
CONTRADICTORY: dict[str, list[Intervention]] = {
    "gxd and redo both reset actor.0 every 1,000 gradient steps": [GXD(networks=["actor"]), L2Init(), ReDo()],
    "gxd and gxd both reset critic.0 every 500 gradient steps": [
        GXD(networks=["critic"], period=500, rate=1e-3),
        GXD(networks=["critic"], period=500),
    ],
    "oracle and full_reset both reset actor.0 at every task switch": [Oracle(), FullReset()],
    "full_reset and head_reset both reset the output layers of critic every 100 gradient steps": [
        FullReset(period=100),
        HeadReset(networks=["critic"], period=100),
    ],
    "head_reset and cbp both reset actor.0 every 7 gradient steps": [HeadReset(layers=2, period=7), CBP(period=7)],
    "c_chain and c_chain both penalise the churn of actor": [CChain(), CChain(networks=["critic", "actor"])],
    "l2_init and l2_init both draw the weights of critic to where they began": [
        L2Init(networks=["critic"]),
        L2Init(decoupled=False),
    ],
    "l2_init and shrink_and_perturb both draw the weights of actor to where they began": [
        L2Init(),
        ShrinkAndPerturb(mode="to_init"),
    ],
    "spectral and spectral both regularise the singular values of actor": [Spectral(), Spectral(paper=True)],
}


@pytest.fixture(autouse=True)
def revealed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switches are not looked for here."""
    monkeypatch.setattr("agents.switching._reveals", lambda env: True)


@pytest.mark.parametrize("reason", CONTRADICTORY)
def test_two_that_do_the_same_to_the_same_are_refused(reason: str) -> None:
    found = CONTRADICTORY[reason]
    with pytest.raises(MisfitError, match=f"^{re.escape(reason + SAME)}$") as refused:
        build("ppo", found)
    assert refused.value.number == len(found) - 1
    assert all(intervention.owner is None for intervention in found)


TAKEN: list[list[Intervention]] = [
    [GXD(networks=["actor"]), GXD(networks=["critic"], rate=1e-3)],
    [GXD(), ReDo(period=1500), CChain(), L2Init(), Spectral(), ShrinkAndPerturb(), HeadReset(period=1000)],
    [Spectral(), L2Init(), CChain(), GXD()],
    [FullReset(period=200_000), GXD(period=1000), Oracle()],
    [CChain(networks=["actor"]), CChain(networks=["critic"])],
]


@pytest.mark.parametrize("number", range(len(TAKEN)))
def test_all_others_are_taken_in_any_order(number: int) -> None:
    assert build("ppo", TAKEN[number]).interventions == TAKEN[number]


class Claiming(Intervention):
    """Claims a thing under a name of its own."""

    def __init__(self, name: str, thing: str) -> None:
        self.name, self.thing = name, thing

    def claims(self) -> dict[str, list[str]]:
        return {"set {}": [self.thing]}


def test_what_counts_is_what_they_say_and_not_their_names() -> None:
    Regression([Claiming("one", "the sails"), Claiming("one", "the course")])
    with pytest.raises(MisfitError, match="one and other both set the sails; leave one of them out"):
        Regression([Claiming("one", "the sails"), Claiming("other", "the sails")])
