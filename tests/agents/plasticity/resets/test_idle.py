"""Why an intervention has reset nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from small_loop import Regression

from agents.plasticity import CPR, GXD, FullReset, Intervention, ReDo, ShrinkAndPerturb, UnitReset
from agents.plasticity.resets.idling import why_none_was_picked
from agents.plasticity.selections import Budget


def reasons(*interventions: Intervention, steps: int = 6, silent: bool = False) -> dict[str, str]:
    """What a small learner says after some updates of a gradient step each."""
    learner = Regression(interventions)
    if silent:
        learner.y = learner.module(learner.x).detach()
    for _ in range(steps):
        learner.train(1)
    return learner._hooks.idle()


@pytest.mark.parametrize(
    ("intervention", "reason"),
    [
        (GXD(period=1000), "no period of 1,000 gradient steps ended (6 were made)"),
        (FullReset(period=7), "no period of 7 gradient steps ended (6 were made)"),
        (ShrinkAndPerturb(period=7), "no period of 7 gradient steps ended (6 were made)"),
        (FullReset(), "no task switch was revealed"),
        (GXD(rate=1, period=2, maturity=10_000), "no unit reached the maturity of 10,000 gradient steps (6 were made)"),
        (
            GXD(rate=1, period=4, maturity=5),
            "no unit had both a utility and the age to be selected when a period ended",
        ),
        (GXD(rate=1e-6, period=2, maturity=0), "no whole unit has fallen due at a rate of 1e-06"),
    ],
    ids=lambda each: type(each).__name__ if isinstance(each, Intervention) else "",
)
def test_reasons(intervention: Intervention, reason: str) -> None:
    assert reasons(intervention) == {intervention.name: reason}


def test_the_lowest_utility_of_all_selections_is_told() -> None:
    redo = ReDo(tau=0.0, period=2, samples=64)
    learner = Regression([redo])
    with torch.no_grad():
        learner.module[0].bias.fill_(10.0)  # all units are active
        learner.module[2].weight.copy_(learner.module[2].weight.abs())
    lowest = []
    for _ in range(3):
        learner.train(2)
        hidden = learner.module[1](learner.module[0](learner.x))
        scores = [a.detach().abs().mean(0) for a in (hidden, learner.module[3](learner.module[2](hidden)))]
        lowest.append(min(float((score / score.mean()).min()) for score in scores))
    assert min(lowest) > 0
    text = f"no unit was at or below tau=0; the lowest stood at {min(lowest):.2g} of its layer's mean"
    assert learner._hooks.idle() == {"redo": text}
    other = ReDo(tau=0.0, period=2, samples=64)
    resumed = Regression([other])
    resumed._hooks.load_state_dict(learner._hooks.state_dict())
    assert other.state_dict()["lowest/net"] == redo.state_dict()["lowest/net"]


def test_a_budget_that_no_unit_fits_in() -> None:
    text = "the cheapest unit would have cost more than the budget of 0.001 of the loss"
    assert Budget(0.001).missed(0.5) == text


def test_without_a_signal_nothing_is_ranked() -> None:
    gxd = GXD(rate=0.5, period=2, maturity=0, score_every=1)
    text = "all utilities that the criterion 'gxd' gave were zero, so that it ranked nothing"
    assert reasons(gxd, silent=True) == {"gxd": text}


def made(redo: ReDo, layers: list[int], value: float) -> str:
    """What ReDo says of a network in which the biases of some layers have that value."""
    learner = Regression([redo])
    with torch.no_grad():
        learner.module[0].weight.abs_().mul_(1e-3)
        learner.module[0].bias.fill_(10.0)  # all units are active, and alike
        for number in layers:
            learner.module[number].bias.fill_(value)
    (reason,) = learner.train(1)._hooks.idle().values()
    return reason


def test_layers_that_were_silent_and_what_was_no_number_are_told() -> None:
    remedy = "redo with allow_full redraws layers that put out nothing"
    one = made(ReDo(period=1), [2], -100.0)
    assert one.startswith("no unit was at or below tau=0.025; the lowest stood at ")
    assert one.endswith(f"; all utilities of a layer of net were zero, so that it was left; {remedy}")
    both = f"all utilities that the criterion 'redo' gave were zero, so that it ranked nothing; {remedy}"
    assert made(ReDo(period=1), [0, 2], -100.0) == both
    assert made(ReDo(period=1), [0], math.nan) == "the utilities that the criterion 'redo' gave were no finite numbers"
    broken = ["actor", "critic"]
    found = why_none_was_picked("none fits", ranked=True, criterion="gxd", of_loss=True, silent=[], broken=broken)
    assert found == "none fits; utilities of actor and critic were no finite numbers"


def test_layers_that_were_frozen_on_the_way() -> None:
    gxd = GXD(rate=0.5, period=5, maturity=0, score_every=1)
    learner = Regression([gxd]).train(4)
    learner.module.requires_grad_(False)
    learner.optimizer_steps += 1
    (reason,) = learner._hooks.idle().values()
    assert reason.startswith("all of its layers are left as they are, because its ")
    assert reason.endswith("is frozen (requires_grad is False)")


def test_two_of_a_name_are_told_apart_and_what_has_reset_units_says_nothing() -> None:
    period = "no period of {} gradient steps ended (6 were made)"
    expected = {"gxd": period.format("1,000"), "gxd_2": period.format("1,500")}
    assert reasons(GXD(), GXD(period=1500)) == expected
    assert reasons(GXD(), GXD(rate=0.5, period=2, maturity=0, score_every=1)) == {}
    assert reasons(CPR(rate=0.5, period=2, score_every=1)) == {}
    assert reasons(Intervention()) == {}


def test_a_selection_of_a_users_own_need_not_say_why() -> None:
    class Never:
        needs_loss = False

        def select(self, layers, steps, loss):  # type: ignore[no-untyped-def]
            return [(torch.zeros_like(layer.utility), layer.left) for layer in layers]

    reset = UnitReset(criterion="redo", selection={"name": "rate", "rate": 0.5}, period=2, maturity=0, score_every=1)
    reset._recipe = replace(reset._recipe, selection=Never())  # type: ignore[arg-type]
    assert reasons(reset) == {}
