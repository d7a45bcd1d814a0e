"""Schedules, ages and seeds of unit resets, whatever the criterion, selection and surgery."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from percentages import percentage
from small_loop import Regression
from torch import nn

from agents.plasticity import CBP, GXD, Edit, PlasticOptimizer, ReDo, ReGraMa, UnitReset
from agents.plasticity.units import sequential


def test_a_rate_replaces_what_it_promises() -> None:
    """rate 0.002 of 2 x 20 units in each of 90 steps at which all are mature: 7.2 units, 3.6 in each layer."""
    learner = Regression([GXD(rate=0.002, period=10, maturity=0, score_every=1)])
    learner.train(90)
    assert learner.count() == 6  # 3 of each layer, the rest is left over
    left = {key: tensor for key, tensor in learner.interventions[0].state_dict().items() if key.startswith("left/")}
    assert list(left) == ["left/net.0", "left/net.1"]
    for tensor in left.values():
        torch.testing.assert_close(tensor, torch.tensor(0.6))


def test_resets_wait_for_the_end_of_the_update_and_for_their_period() -> None:
    learner = Regression([GXD(rate=0.01, period=10, maturity=0, score_every=1)])
    for steps in (4, 5, 4, 30):
        learner.train(steps)
    # 9 steps are no period; at 13 one period is over, at 43 three more
    assert [step for step, _ in learner.edits] == [13, 43]
    assert [sum(int(m.sum()) for m in edit.masks.values()) for _, edit in learner.edits] == [2 * 2, 2 * 6]


def test_period_one_acts_at_every_step() -> None:
    learner = Regression([GXD(rate=0.05, period=1, maturity=0, score_every=1)])
    learner.train(5)
    assert learner.resets_at() == [1, 2, 3, 4, 5]


def test_no_unit_is_reset_before_it_is_mature() -> None:
    learner = Regression([GXD(rate=0.05, period=1, maturity=7, score_every=1)])
    learner.train(60)
    last: dict[tuple[str, int], int] = {}
    assert learner.resets_at()[0] == 7
    for step, edit in learner.edits:
        for name, mask in edit.masks.items():
            for unit in mask.nonzero().flatten().tolist():
                assert step - last.get((name, unit), 0) >= 7
                last[name, unit] = step
    assert len(last) < learner.count()  # some were reset twice, so that the claim was tried


@pytest.mark.parametrize(
    "reset",
    [
        lambda maturity: GXD(rate=0.02, period=5, maturity=maturity, score_every=1),
        lambda maturity: ReGraMa(tau=0.3, period=5, maturity=maturity, score_every=1, cap=0.2),
    ],
)
def test_maturity_breaks_the_loop_of_flagging_fresh_units(reset: Callable[[int], UnitReset]) -> None:
    """METHODS 15.8: a unit without outgoing weights earns no gradient at first; unprotected, it is flagged again."""

    def again(maturity: int) -> int:
        learner = Regression([reset(maturity)])
        for _ in range(20):
            learner.train(5)
        return sum(
            int((first.masks[name] & second.masks[name]).sum())
            for early, first in learner.edits
            for late, second in learner.edits
            for name in first.masks
            if early < late < early + 30
        )

    assert again(maturity=0) > 0
    assert again(maturity=30) == 0


def test_a_reset_that_joins_a_trained_learner_waits_for_its_period_and_for_maturity() -> None:
    learner = Regression()
    learner.train(25)
    reset = GXD(rate=0.01, period=10, maturity=12, score_every=1)
    learner.interventions.append(reset)
    reset.attach(learner)
    for _ in range(30):
        learner.train(1)
    # Periods end at 30, 40 and 50; units are 12 steps old from 37 on.
    assert learner.resets_at() == [40, 50]


def test_another_interventions_surgery_makes_units_young() -> None:
    reset = GXD(rate=0.5, period=1, maturity=5, score_every=1)
    learner = Regression([reset])
    learner.train(4)
    new = (torch.arange(20) < 15).float()
    reset.on_surgery(Edit({"net.0": new, "net.1": 0.99 * new, "other.0": new}))
    learner.train(1)
    assert not set(learner.units("net.0")) & set(range(15))
    assert len(learner.units("net.0")) == 2  # half of the five that were left
    assert len(learner.units("net.1")) == 10  # those were changed in part, and are as old as before


def test_what_is_known_of_a_new_unit_is_forgotten() -> None:
    reset = CBP(rate=0.05, form="centred", period=4, maturity=0, score_every=1)
    learner = Regression([reset]).train(4)
    state = reset.state_dict()
    units = learner.units("net.0")
    assert len(units) == 4
    others = [unit for unit in range(20) if unit not in units]
    for key in ("utility_weight/net.0", "mean_weight/net.0", "utility/net.0", "mean/net.0"):
        assert not state[key][units].any()
        assert state[key][others].any()
    assert state["born/net.0"].tolist() == [4 if unit in units else 0 for unit in range(20)]
    reset.on_surgery(Edit({"net.0": torch.ones(20)}))  # somebody else's
    assert not reset.state_dict()["utility_weight/net.0"].any()


def test_two_resets_tell_each_other() -> None:
    first = UnitReset(criterion="random", selection=percentage(0.5), period=5, maturity=0, score_every=1)
    second = ReDo(tau=100.0, period=4, maturity=3)
    learner = Regression([first, second]).train(5)
    assert [step for step, _ in learner.edits] == [5, 5]
    one, other = (edit.masks for _, edit in learner.edits)
    for name in one:
        assert torch.equal(other[name], ~one[name])  # what the first has made new is too young for the second


def test_only_the_named_networks_are_reset() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5))
    head = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2))
    networks = {"body": sequential(body, "body"), "head": sequential(head, "head")}
    reset = GXD(networks=["head"], rate=0.5, period=1, maturity=0, score_every=1)
    optimizer = PlasticOptimizer(torch.optim.Adam([*body.parameters(), *head.parameters()]), networks, [reset])
    with optimizer.forward():
        loss = head(body(torch.randn(8, 4))).square().mean()
    optimizer.step(loss)
    assert optimizer.units_reset() == {"body": 0, "head": 3}


def test_what_is_drawn_depends_on_the_runs_seed_alone() -> None:
    drawn = []
    for seed in (1, 1, 2):
        learner = Regression()  # the same weights and data for all
        reset = GXD(rate=1.0, period=1, maturity=0, score_every=1)
        learner.seed = seed
        learner.interventions.append(reset)
        reset.attach(learner)
        torch.manual_seed(seed + 17)
        torch.rand(seed)
        learner.train(1)
        drawn.append(learner.module[0].weight.detach().clone())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_learner_without_a_seed_is_seeded_as_torch_is() -> None:
    drawn = []
    for seed in (1, 1, 2):
        learner = Regression()
        learner.seed = None
        torch.manual_seed(seed)
        reset = GXD(rate=1.0, period=1, maturity=0, score_every=1)
        learner.interventions.append(reset)
        reset.attach(learner)
        learner.train(1)
        drawn.append(learner.module[0].weight.detach().clone())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_a_units_new_weights_differ_from_time_to_time() -> None:
    every = {"name": "rate", "rate": 1.0, "cap": 1.0}
    reset = UnitReset(criterion="random", selection=every, period=1, maturity=0, score_every=1)
    learner = Regression([reset], rate=0.0).train(1)
    first = learner.parameters()
    learner.train(1)
    assert learner.resets_at() == [1, 2]
    assert learner.units("net.0") == list(range(20))
    assert not (first["0.weight"] == learner.module[0].weight).any()


def test_a_namesake_for_other_networks_draws_something_else() -> None:
    seeds = []
    for names in (["net"], None, ["net"]):
        reset = GXD(networks=names)
        Regression([reset])
        seeds.append(int(reset.state_dict()["seed"]))
    assert seeds[0] == seeds[1] == seeds[2]
    learner = Regression()
    learner.pose({**learner.networks, "other": sequential(learner.module, "other")})
    for names in (["net"], ["other"], None):
        reset = GXD(networks=names)
        reset.attach(learner)
        seeds.append(int(reset.state_dict()["seed"]))
    assert len(set(seeds)) == 3
