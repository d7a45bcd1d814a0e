"""Schedules, ages, signals and refusals of unit resets, whatever the criterion, selection and surgery."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from small_loop import ACTING, Regression
from small_ppo import build
from torch import Tensor, nn

from agents.plasticity import CBP, CPR, GXD, Edit, PlasticOptimizer, ReDo, ReGraMa, UnitReset, Update
from agents.plasticity.registry import CRITERIA, INTERVENTIONS, SELECTIONS
from agents.plasticity.taps import Taps
from agents.plasticity.units import Network, UnitLayer, sequential


def percentage(share: float = 0.1) -> dict[str, Any]:
    return {"name": "percentage", "share": share}


# ---------------------------------------------------------------------------------------------------- schedule


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
    second = ReDo(tau=100.0, period=5, maturity=3)
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


# ---------------------------------------------------------------------------------------------------- utilities


def test_running_utility_is_a_bias_corrected_mean_of_the_scores() -> None:
    reset = GXD(period=21, score_every=4)
    Regression([reset])
    scores, expected, weight, keep = [], torch.zeros(20), 0.0, 0.99**4
    for step in range(1, 21):
        a, g = torch.randn(8, 20), torch.randn(8, 20)
        taps = {"net.0": (a, g)} if step in (1, 7, 9, 16, 18) else {}
        reset.after_backward(Update(("net",), None, {}, torch.optim.SGD([a]), 0.0, step, taps))
        if taps:
            scores.append((a * g).abs().sum(0))
            expected, weight = keep * expected + (1 - keep) * scores[-1], keep * weight + (1 - keep)
    state = reset.state_dict()
    found = state["utility/net.0"] / state["utility_weight/net.0"]
    torch.testing.assert_close(found, expected / weight)
    torch.testing.assert_close(found, torch.stack(scores).mean(0), rtol=0.2, atol=0.2)
    assert len(scores) == 5
    assert not state["utility_weight/net.1"].any()


def test_minibatches_that_would_be_forgotten_are_not_scored() -> None:
    """Far from the next selection no tap is opened, and what is selected then is the same."""
    found = []
    for always in (False, True):
        reset = ReGraMa(tau=1.0, period=300, maturity=0, score_every=3, cap=0.2)
        learner = Regression([reset])
        if always:
            reset.memory = 300.0
        learner.train(1)
        assert reset.state_dict()["utility_weight/net.0"].any() == always
        learner.train(150)
        assert reset.state_dict()["utility_weight/net.0"].any() == always
        learner.train(149)
        found.append(learner)
    one, other = found
    assert one.resets_at() == other.resets_at() == [300]
    for name in ("net.0", "net.1"):
        assert one.units(name) == other.units(name)
        assert len(one.units(name)) == 4
    reset = GXD(period=10_000)
    Regression([reset])
    # 1,374 steps before, a score weighs less than a millionth in a mean with a decay of 0.99
    assert [step for step in range(8_580, 8_670) if reset.taps_at(step)] == [8_626, 8_652, 8_662]
    assert sum(reset.taps_at(step) for step in range(9_889, 10_001)) == 7


def test_the_cheapest_units_are_taken() -> None:
    learner = Regression([GXD(rate=0.1, period=1, maturity=0, score_every=1)])
    layer = learner.networks["net"].layers[0]
    with torch.no_grad():
        layer.consumers[0].weight[:, [3, 8]] *= 1e-6  # hardly heard
    learner.train(1)
    assert learner.units("net.0") == [3, 8]


def test_units_are_ranked_on_a_sample_when_that_is_asked_for() -> None:
    reset = UnitReset(
        criterion="gxd", selection=percentage(), period=3, maturity=0, score_on="sample", samples=40
    )  # fmt: skip
    learner = Regression([reset], rate=0.0)
    assert not any(reset.taps_at(step) for step in range(1, 4))
    with Taps(learner.networks["net"].layers) as taps:
        learner.loss(learner.module(learner.x), learner.y).mean().backward()
    seen = taps.read()
    learner.samples.clear()
    learner._draw = lambda n, generator: learner.samples.append(n) or torch.arange(64)  # all, in their order
    learner._sample = learner._draw
    learner.train(3)
    assert learner.samples[0] == 40
    for name, (a, g) in seen.items():
        assert set(learner.units(name)) == set((a * g).abs().sum(0).argsort()[:2].tolist())


def test_units_without_a_score_do_not_move_the_threshold() -> None:
    """Half a layer is new when the others, all alike, are looked at: none of them is below the mean."""
    reset = UnitReset(
        criterion="regrama", selection={"name": "threshold", "tau": 0.9}, period=4, maturity=0, score_every=1, decay=0.9
    )
    learner = Regression([reset])
    learner.train(3)
    half = (torch.arange(20) < 10).float()
    reset.on_surgery(Edit({"net.0": half, "net.1": half}))
    state = reset.state_dict()
    for name in ("net.0", "net.1"):
        state[f"utility/{name}"] = 5.0 * state[f"utility_weight/{name}"]
    reset.load_state_dict(state)
    reset.after_backward(Update(("net",), None, {}, learner.optimizers[0], 0.0, 4))
    for layer in learner.networks["net"].layers:
        layer.producer.weight.grad = None
    state = reset.state_dict()
    for name in ("net.0", "net.1"):  # nothing has been seen of the new ones since
        state[f"utility/{name}"] = torch.where(half > 0, 0.0, 5.0)
        state[f"utility_weight/{name}"] = torch.where(half > 0, 0.0, 1.0)
    reset.load_state_dict(state)
    reset.after_update()
    assert learner.edits == []
    metrics = reset.metrics()
    assert (metrics["reset/net/no_signal"], metrics["reset/net/not_finite"]) == (0.0, 0.0)


# ---------------------------------------------------------------------------------------------------- no signal


def test_without_a_signal_nothing_is_reset_and_training_goes_on() -> None:
    resets = [GXD(rate=0.5, period=1, maturity=0, score_every=1), ReGraMa(tau=0.5, period=1, maturity=0, score_every=1)]
    learner = Regression(resets)
    learner.y = learner.module(learner.x).detach()  # the loss is zero, and so is every gradient
    learner.train(3)
    assert learner.count() == 0
    with pytest.warns(UserWarning, match="the loss sends no gradient"):
        assert resets[0].metrics()["gxd/net/no_signal"] == 6.0  # two layers, three selections
    learner.y = torch.randn(64, 3)
    learner.train(1)
    assert learner.count() > 0


def test_layers_without_a_signal_are_counted_and_told_once() -> None:
    reset = GXD(rate=0.5, period=2, maturity=0, score_every=1)
    Regression([reset]).train(2)
    assert reset.metrics()["gxd/net/no_signal"] == 0.0
    reset = GXD(rate=0.5, period=2, maturity=0, score_every=1)
    learner = Regression([reset])
    learner.y = learner.module(learner.x).detach()
    for _ in range(3):
        learner.train(2)
    with pytest.warns(UserWarning, match=r"gxd: the loss sends no gradient to a layer of net, .* signal 'outputs' ra"):
        assert reset.metrics()["gxd/net/no_signal"] == 6.0  # two layers, three selections
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner.train(2)
        assert reset.metrics()["gxd/net/no_signal"] == 8.0


def test_units_that_were_not_scored_yet_are_no_missing_signal() -> None:
    learner = Regression().train(1)
    reset = GXD(rate=0.5, period=3, maturity=0, score_every=4)  # of steps 1, 7, 9, ...; at 3 and 6 it knows nothing
    learner.interventions.append(reset)
    reset.attach(learner)
    learner.train(2)
    learner.train(3)
    assert learner.edits == []
    assert reset.metrics()["gxd/net/no_signal"] == 0.0
    learner.train(3)
    assert learner.count() > 0
    assert reset.metrics()["gxd/net/no_signal"] == 0.0


BAD = [torch.nan, torch.inf]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["gxd", "regrama", "cbp", "cpr"])
def test_a_minibatch_whose_utilities_are_not_finite_is_passed_over_and_counted(name: str, bad: float) -> None:
    """The means that it would have poisoned are as if it had never been, and so are the resets that follow."""
    found = []
    for poisoned in (True, False):
        reset = ACTING[name]()
        learner = Regression([reset]).train(3)
        before = reset.state_dict()
        if poisoned:
            layers = learner.networks["net"].layers
            gradients = [layer.producer.weight.grad for layer in layers]
            for layer in layers:
                layer.producer.weight.grad = torch.full_like(layer.producer.weight, bad)
            taps = {layer.name: (torch.full((64, 20), bad), torch.ones(64, 20)) for layer in layers}
            step = reset.score_every * 2
            reset.after_backward(Update(("net",), None, {}, learner.optimizers[0], 0.0, step, taps))
            for layer, gradient in zip(layers, gradients, strict=True):
                layer.producer.weight.grad = gradient
            state = reset.state_dict()
            means = [key for key in state if key.startswith(("utility", "mean"))]
            assert means
            assert all(torch.equal(state[key], before[key]) for key in means)
        for _ in range(3):
            learner.train(1)
        metrics = reset.metrics()
        assert metrics[f"{reset.name}/net/not_finite"] == (2.0 if poisoned else 0.0)  # two layers
        assert metrics[f"{reset.name}/net/no_signal"] == 0.0
        found.append(learner)
    one, other = found
    assert one.edits
    for key, tensor in one.parameters().items():
        assert torch.equal(tensor, other.parameters()[key])


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["redo", "gxd of outputs"])
def test_a_sample_whose_utilities_are_not_finite_resets_nothing_and_is_counted(name: str, bad: float) -> None:
    if name == "redo":
        reset: UnitReset = ReDo(tau=0.9, period=2)
    else:
        reset = GXD(signal="outputs", rate=0.05, period=2, maturity=0)
    learner = Regression([reset], rate=0.0)
    x, learner.x = learner.x, torch.full_like(learner.x, bad)
    before = learner.parameters()
    with torch.no_grad():
        reset.after_backward(Update(("net",), None, {}, learner.optimizers[0], 0.0, 2))
    reset.after_update()
    assert learner.edits == []
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.parameters().items())
    assert reset.metrics()[f"{reset.name}/net/not_finite"] == 2.0
    learner.x = x
    reset.after_backward(Update(("net",), None, {}, learner.optimizers[0], 0.0, 4))
    reset.after_update()
    assert learner.count() > 0
    assert reset.metrics()[f"{reset.name}/net/not_finite"] == 2.0


def test_training_goes_on_when_the_loss_is_not_finite() -> None:
    resets = [make() for name, make in ACTING.items() if name in ("gxd", "regrama", "cbp", "cpr", "redo", "reset")]
    learner = Regression(resets).train(2)
    before = learner.units_reset()["net"]
    learner.y = torch.full_like(learner.y, torch.nan)
    for _ in range(4):  # now every parameter is nan, and so is all that is seen of them
        learner.train(1)
    assert learner.module(learner.x).isnan().all()
    assert learner.units_reset()["net"] >= before
    # PyTorch's ReLU sends a gradient of zero where its input is nan, so that weight gradients are nan or no signal.
    with pytest.warns(UserWarning, match="the loss sends no gradient to a layer of net"):
        metrics = {reset.name: reset.metrics() for reset in resets}
    for name, values in metrics.items():
        skipped = values[f"{name}/net/not_finite"] + values[f"{name}/net/no_signal"]
        assert skipped > 0 or name == "reset", name  # chance ranks always


# ---------------------------------------------------------------------------------------------------- seeds


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


# ---------------------------------------------------------------------------------------------------- the general form


NAMED: dict[str, tuple[Callable[..., UnitReset], dict[str, Any]]] = {
    "gxd": (
        lambda **schedule: GXD(rate=0.02, **schedule),
        {"criterion": "gxd", "selection": {"name": "rate", "rate": 0.02}},
    ),
    "gxd against the mean": (
        lambda **schedule: GXD(rate=0.02, reference="mean", reduction="mean_abs", **schedule),
        {
            "criterion": {"name": "gxd", "reduction": "mean_abs"},
            "selection": {"name": "rate", "rate": 0.02},
            "surgery": {"compensate": True},
        },
    ),
    "gxd of outputs": (
        lambda **schedule: GXD(rate=0.02, signal="outputs", **schedule),
        {"criterion": "gxd", "selection": {"name": "rate", "rate": 0.02}, "signal": "outputs"},
    ),
    "gxd with a budget": (
        lambda **schedule: GXD(budget=0.05, **schedule),
        {"criterion": "gxd", "selection": {"name": "budget", "share": 0.05}},
    ),
    "regrama": (
        lambda **schedule: ReGraMa(tau=0.8, cap=0.2, **schedule),
        {"criterion": "regrama", "selection": {"name": "threshold", "tau": 0.8, "cap": 0.2}, "decay": 0.9},
    ),
    "regrama of the paper": (
        lambda **schedule: ReGraMa(tau=0.8, cap=0.2, gradient="preactivations", outgoing="small_random", **schedule),
        {
            "criterion": "regrama_preactivation",
            "selection": {"name": "threshold", "tau": 0.8, "cap": 0.2},
            "surgery": {"outgoing": "small_random"},
            "decay": 0.9,
        },
    ),
    "cbp": (
        lambda **schedule: CBP(rate=0.02, form="centred", compensate=True, **schedule),
        {
            "criterion": {"name": "contribution", "form": "centred"},
            "selection": {"name": "rate", "rate": 0.02},
            "surgery": {"compensate": True},
        },
    ),
}


def assert_same_choice(named: UnitReset, general: UnitReset) -> None:
    assert named.name != general.name == "reset"
    one, other = (Regression([reset]) for reset in (named, general))
    for learner in (one, other):
        learner._sample = lambda n, generator: torch.arange(64)  # all, whatever the seed
        learner.train(6)
    ((_, left),), ((_, right),) = one.edits, other.edits
    assert left.amounts.keys() == right.amounts.keys()
    for name, amounts in left.amounts.items():
        assert amounts.any()
        assert not (amounts == 1).all()
        assert torch.equal(amounts, right.amounts[name])
    left, right = named.state_dict(), general.state_dict()
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left if key.startswith(("utility", "mean", "born")))
    # Seeds differ by the name, so that what is drawn differs: what is cut off does not.
    cut = one.module[2].weight == 0
    if named.surgery["outgoing"] == "zero" and cut.any():
        assert torch.equal(cut, other.module[2].weight == 0)
    for key in (
        "criterion",
        "selection",
        "surgery",
        "period",
        "maturity",
        "score_every",
        "decay",
        "score_on",
        "signal",
    ):
        assert getattr(named, key) == getattr(general, key), key


@pytest.mark.parametrize("form", NAMED)
def test_the_general_form_equals_the_named_one(form: str) -> None:
    named, general = NAMED[form]
    schedule = {"period": 6, "maturity": 3, "score_every": 2}
    assert_same_choice(named(**schedule), UnitReset(**general, **schedule))


def test_the_general_form_equals_redo() -> None:
    general = UnitReset(
        criterion="redo", selection={"name": "threshold", "tau": 0.8}, period=6, maturity=0, score_every=1, decay=0.0,
        score_on="sample", samples=32,
    )  # fmt: skip
    assert_same_choice(ReDo(tau=0.8, period=6, samples=32), general)


def test_the_general_form_equals_cpr() -> None:
    general = UnitReset(
        criterion={"name": "regrama", "normalize": True},
        selection={"name": "calibrated", "rate": 0.3, "sharpness": 8.0},
        surgery={"biases": "keep", "moments": "keep"},
        period=6,
        maturity=0,
        score_every=2,
    )
    assert_same_choice(CPR(rate=0.3, sharpness=8.0, period=6, score_every=2), general)


COMBINED = [
    (criterion, selection)
    for criterion in CRITERIA
    for selection in SELECTIONS
    if selection != "budget" or criterion == "gxd"
]
SELECTED = {
    "rate": {"rate": 0.05}, "threshold": {"tau": 0.9}, "percentage": {"share": 0.2}, "budget": {"share": 0.2},
    "calibrated": {"rate": 0.5},
}  # fmt: skip


@pytest.mark.parametrize(("criterion", "selection"), COMBINED)
@pytest.mark.parametrize("score_on", ["minibatch", "sample"])
def test_every_criterion_goes_with_every_selection(criterion: str, selection: str, score_on: str) -> None:
    reset = UnitReset(
        criterion=criterion, selection={"name": selection, **SELECTED[selection]}, score_on=score_on, period=2,
        maturity=1, score_every=1,
    )  # fmt: skip
    learner = Regression([reset])
    for _ in range(4):
        learner.train(1)
    assert learner.edits
    assert 0 < sum(float(a.sum()) for a in learner.edits[0][1].amounts.values()) < 40
    assert all(parameter.isfinite().all() for parameter in learner.module.parameters())


# ---------------------------------------------------------------------------------------------------- saturation


def saturated(**arguments: Any) -> Any:
    """PPO whose policy takes the first action with probability 1, exactly."""
    model = build("mlp", policy_kwargs={"net_arch": [8, 6], "activation_fn": nn.ReLU}, **arguments)
    with torch.no_grad():
        model.policy.action_net.bias.copy_(torch.tensor([60.0, -60.0]))
    return model


def test_a_saturated_policy_gives_no_signal_and_is_not_reset_by_the_order_of_the_indices() -> None:
    reset = GXD(networks=["actor"], rate=0.1, period=4, maturity=0, score_every=1)
    model = saturated(interventions=[reset])
    before = {name: p.clone() for name, p in model.policy.named_parameters() if "value" not in name}
    with pytest.warns(UserWarning, match=r"gxd: the loss sends no gradient to a layer of actor.*signal 'outputs'") as w:
        model.learn(192)
    assert len(w) == 1
    assert model.units_reset() == {"actor": 0, "critic": 0}
    assert reset.metrics()["gxd/actor/no_signal"] == 2 * 3  # two layers, an update of 8 steps each time
    assert reset.metrics()["gxd/actor/not_finite"] == 0
    batch = model.sample(64, torch.Generator())
    (policy,) = model.distributions(batch)
    assert (policy.probs[:, 0] == 1).all()
    assert not policy.entropy().any()
    after = dict(model.policy.named_parameters())
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_the_critic_of_a_saturated_policy_is_reset() -> None:
    model = saturated(interventions=[GXD(networks=["critic"], rate=0.1, period=4, maturity=0, score_every=1)])
    model.learn(64)
    assert model.units_reset()["critic"] > 0


def test_outputs_rank_the_units_of_a_saturated_policy() -> None:
    """Of the last hidden layer a unit's sensitivity is what the outputs lose without it, to the first order and all."""
    model = saturated().learn(64)
    layer = model.networks["actor"].layers[1]
    reset = GXD(networks=["actor"], rate=0.34, period=1, maturity=0, score_every=1, signal="outputs")
    reset.attach(model)
    batch = model.sample(64, torch.Generator())

    def outputs(without: int | None = None) -> Tensor:
        def cut(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
            return output * (torch.arange(layer.units) != without)

        handle = layer.tap.register_forward_hook(cut)
        with torch.no_grad():
            found = model.outputs(batch)["actor"]
        handle.remove()
        return found

    bias = model.policy.action_net.bias.detach().clone()
    model.policy.action_net.bias.data.zero_()  # no unit's part is rounded off against it
    ablated = torch.stack([(outputs(unit) - outputs()).abs().mean() for unit in range(layer.units)])
    with torch.no_grad(), Taps([layer]) as taps:
        model.outputs(batch)
    by_hand = taps.activations["actor.1"].abs().mean(0) * model.policy.action_net.weight.abs().mean(0)
    torch.testing.assert_close(ablated, by_hand.detach(), rtol=1e-3, atol=1e-9)
    model.policy.action_net.bias.data.copy_(bias)
    edits: list[Edit] = []
    model.announce = lambda edit, author: edits.append(edit)
    reset.after_backward(Update(("actor",), None, {}, model.policy.optimizer, 0.0, model.optimizer_steps + 1))
    reset.after_update()
    picked = edits[0].masks["actor.1"].nonzero().flatten().tolist()
    assert len(picked) == 2  # a third of six
    assert set(picked) == set(ablated.argsort()[:2].tolist())
    assert int(edits[0].masks["actor.0"].sum()) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reset.metrics()["gxd/actor/no_signal"] == 0


# ---------------------------------------------------------------------------------------------------- arguments


def test_arguments_build_the_same_again() -> None:
    for name, make in ACTING.items():
        one = make()
        other = INTERVENTIONS[name].resolve()(**one.arguments())
        assert type(other) is type(one)
        assert other.arguments() == one.arguments()
        state, again = (vars(reset) for reset in (one, other))
        plain = {key: value for key, value in state.items() if key not in ("_criterion", "_selection")}
        assert plain == {key: value for key, value in again.items() if key in plain}
    assert set(ACTING) == set(INTERVENTIONS) - {"oracle"}


def test_arguments_are_plain_data_with_every_default() -> None:
    reset = UnitReset(
        criterion="gxd", selection={"name": "threshold", "tau": 0.1}, surgery={"outgoing": "small_random"}
    )  # fmt: skip
    assert reset.arguments() == {
        "criterion": {"name": "gxd", "reduction": "abs_mean"},
        "selection": {"name": "threshold", "tau": 0.1, "cap": 1.0, "allow_full": False},
        "surgery": {
            "outgoing": "small_random", "compensate": False, "biases": "renew", "moments": "renew",
            "targets": "leave", "scale": 0.05,
        },
        "networks": None, "period": 1000, "maturity": 1000, "score_every": 16, "decay": 0.99,
        "score_on": "minibatch", "samples": reset.samples, "signal": "loss",
    }  # fmt: skip
    assert UnitReset(**reset.arguments()).arguments() == reset.arguments()


def general(**arguments: Any) -> UnitReset:
    return UnitReset(**{"criterion": "gxd", "selection": percentage(), **arguments})


WRONG = [
    (lambda: GXD(period=0), "period is 0; give a whole number of gradient steps of at least 1"),
    (lambda: GXD(period=2.5), r"period is 2\.5; give a whole number"),
    (lambda: GXD(period="10"), "period is '10'; give a whole number"),
    (lambda: GXD(rate=1.5), r"rate is 1\.5; give a share of units per gradient step between 0 and 1"),
    (lambda: GXD(rate=float("nan")), "rate is nan"),
    (lambda: GXD(maturity=-1), "maturity is -1; give a whole number of gradient steps of at least 0"),
    (lambda: GXD(score_every=True), "score_every is True"),
    (lambda: GXD(networks=[]), r"networks is \[\]; give a list of different networks"),
    (lambda: GXD(networks="actor"), r"networks is 'actor'; give a list of different networks"),
    (lambda: GXD(networks=["actor", "actor"]), r"networks is \['actor', 'actor'\]; give a list of different"),
    (lambda: GXD(reference="median"), "reference is 'median'; give zero or mean"),
    (lambda: GXD(reduction="sum"), "reduction is 'sum'; give abs_mean or mean_abs"),
    (lambda: GXD(budget=0), "budget is 0; give a share of the loss above 0, or leave it out"),
    (lambda: GXD(budget=0.1, signal="outputs"), "budget is a share of the loss; leave it out with signal 'outputs'"),
    (lambda: GXD(signal="both"), "signal is 'both'; give loss or outputs"),
    (lambda: ReDo(tau=-0.1), r"tau is -0\.1; give a threshold of at least 0"),
    (lambda: ReDo(samples=0), "samples is 0; give a whole number of transitions of at least 1"),
    (lambda: ReGraMa(cap=0), "cap is 0; give a share of a layer above 0"),
    (lambda: ReGraMa(gradient="both"), "gradient is 'both'; give one of weights, preactivations, activations"),
    (lambda: ReGraMa(outgoing="half"), "outgoing is 'half'; give one of zero, keep, small_random"),
    (lambda: CBP(rate=2), "rate is 2; give a share of units per gradient step"),
    (lambda: CBP(form="mine"), "form is 'mine'; give plain, centred or adaptable"),
    (lambda: CPR(rate=0), r"^rate is 0; give the part of a unit"),
    (lambda: general(decay=1.0), r"decay is 1\.0; give a number of at least 0 and below 1"),
    (lambda: general(score_on="rollout"), "score_on is 'rollout'; give minibatch or sample"),
    (lambda: general(criterion="gdx"), r"criterion\.name is 'gdx'; choose from gxd"),
    (lambda: general(selection={"name": "rate", "rate": 1.5}), r"selection\.rate is 1\.5; give a share"),
    (lambda: general(selection="rate"), "selection 'rate' does not take these arguments: .*'rate'"),
    (lambda: general(selection={}), r"selection\.name is None; choose from rate"),
    (lambda: general(surgery={"outgoing": "half"}), r"surgery\.outgoing is 'half'; give one of"),
    (
        lambda: general(surgery={"outgoing": "keep"}),
        r"surgery\.outgoing is 'keep', but the criterion 'gxd' is the cost",
    ),
    (lambda: general(criterion="redo", signal="outputs"), "signal is 'outputs', but the criterion 'redo' takes no gr"),
    (
        lambda: general(criterion="redo", selection={"name": "budget", "share": 0.1}),
        r"selection\.name is 'budget', which needs utilities in units of loss; give the criterion 'gxd'",
    ),
    (
        lambda: general(selection={"name": "budget", "share": 0.1}, signal="outputs"),
        r"selection\.name is 'budget', which needs utilities in units of loss",
    ),
    (
        lambda: UnitLayer("net.0", "net", nn.Linear(2, 3), nn.ReLU(), (), ACTING),
        r"net\.0: nothing reads the units of Linear.*; give the consumers' weights",
    ),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_impossible_arguments_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


def test_a_selection_of_defaults_alone_may_be_named() -> None:
    assert general(selection="calibrated").arguments() == general(selection={"name": "calibrated"}).arguments()


def test_networks_without_hidden_units_are_refused() -> None:
    learner = Regression()
    with pytest.raises(ValueError, match=r"gxd: networks names 'actor', which has no hidden units .*\(.*: net\)"):
        GXD(networks=["actor"]).attach(learner)
    learner.pose({"net": Network("net", (), learner.networks["net"].parts)})
    with pytest.raises(ValueError, match="gxd: networks names 'net', which has no hidden units in this policy"):
        GXD(networks=["net"]).attach(learner)
    with pytest.raises(ValueError, match="gxd: the policy has no hidden units to reset; give it hidden layers"):
        GXD().attach(learner)
    learner.pose({})
    with pytest.raises(ValueError, match="gxd: the policy has no hidden units to reset; give it hidden layers"):
        GXD().attach(learner)


@pytest.mark.parametrize(
    "reset",
    [
        lambda: GXD(period=4, score_every=1),
        lambda: ReGraMa(period=4, score_every=1),
        lambda: CBP(period=4, score_every=1),
    ],
)
def test_a_network_without_a_loss_is_refused(reset: Callable[[], UnitReset]) -> None:
    """Also where it has been saved and loaded between its last scored step and the selection."""
    torch.manual_seed(0)
    used, idle = (nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)) for _ in range(2))
    networks = {"used": sequential(used, "used"), "idle": sequential(idle, "idle")}

    def build() -> PlasticOptimizer:
        adam = torch.optim.Adam([*used.parameters(), *idle.parameters()])
        return PlasticOptimizer(adam, networks, [reset()])

    optimizer, other = build(), build()
    for step in range(1, 5):
        with optimizer.forward():
            loss = used(torch.randn(8, 4)).square().mean()
            idle(torch.randn(8, 4))
        optimizer.step(loss, update_ends=step < 4)
    other.load_state_dict(optimizer.state_dict())
    for learner in (optimizer, other):
        with pytest.raises(ValueError, match=r"no gradient has reached idle\.0 in 4 gradient steps, .*idle part of"):
            learner.after_update()


@pytest.mark.parametrize("how", ["requires_grad", "optimizer"])
def test_networks_in_which_nothing_is_trained_are_refused(how: str) -> None:
    """The middle layer is the first one's consumer and the second one's producer."""
    learner = Regression()
    frozen = learner.module[2].weight
    if how == "requires_grad":
        frozen.requires_grad_(False)
    else:
        learner.optimizers[0].param_groups[0]["params"] = [p for p in learner.module.parameters() if p is not frozen]
    why = "requires_grad is False" if how == "requires_grad" else "no optimizer steps on it"
    for reset in (GXD(), ReGraMa(), CPR(), GXD(signal="outputs"), ReDo(), CBP()):
        with pytest.raises(ValueError, match=rf"{reset.name}: nothing in net .* 2\.weight is frozen \({why}\); le"):
            reset.attach(learner)


def test_layers_that_do_not_show_what_the_criterion_looks_at_are_refused() -> None:
    learner = Regression()
    (net,) = learner.networks.values()
    learner.pose({"net": replace(net, layers=(net.layers[0], replace(net.layers[1], preactivation=None)))})
    with pytest.raises(
        ValueError, match=r"^net\.1: the criterion 'regrama_preactivation' .* give its UnitLayer a preact"
    ):
        ReGraMa(gradient="preactivations").attach(learner)
    ReGraMa(gradient="activations").attach(learner)
    fixed = replace(net.layers[1], preactivation=None, fixed="it is carried on by a skip connection")
    learner.pose({"net": replace(net, layers=(net.layers[0], fixed))})
    ReGraMa(gradient="preactivations").attach(learner)  # it is not reset anyway


def test_state_of_other_networks_is_refused() -> None:
    reset = GXD()
    Regression([reset])
    state = {key.replace("net.1", "net.7"): tensor for key, tensor in reset.state_dict().items()}
    with pytest.raises(ValueError, match=r"gxd: the saved state is of other networks.*net\.7"):
        reset.load_state_dict(state)


def test_a_saved_state_is_a_copy() -> None:
    reset = GXD(rate=0.05, period=2, maturity=0, score_every=1)
    learner = Regression([reset])
    learner.train(2)
    state = reset.state_dict()
    kept = {key: tensor.clone() for key, tensor in state.items()}
    learner.train(6)
    assert all(torch.equal(state[key], tensor) for key, tensor in kept.items())
    assert any(not torch.equal(reset.state_dict()[key], tensor) for key, tensor in kept.items())


@pytest.mark.parametrize("begins_at", [3, 5])
def test_what_is_refused_does_not_depend_on_when_the_state_was_put_back(begins_at: int) -> None:
    """A layer that the loss once reached is not refused, one that it never reached is, and at the same step."""

    def trained(steps: range, used: range, state: Mapping[str, Tensor] | None = None) -> Mapping[str, Tensor]:
        torch.manual_seed(0)
        modules = {name: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)) for name in ("one", "two")}
        networks = {name: sequential(module, name) for name, module in modules.items()}
        adam = torch.optim.Adam([parameter for module in modules.values() for parameter in module.parameters()])
        reset = GXD(period=8, score_every=2)
        optimizer = PlasticOptimizer(adam, networks, [reset])
        if state is not None:
            reset.load_state_dict(state)
            optimizer.optimizer_steps = steps.start - 1
        for step in steps:
            with optimizer.forward():
                outputs = {name: module(torch.randn(8, 4)) for name, module in modules.items()}
                loss = sum(outputs[name].square().mean() for name in ("one", "two") if name == "one" or step in used)
            optimizer.step(loss)
        return reset.state_dict()

    assert trained(range(1, 9), range(3))["begun"] == 0
    trained(range(begins_at, 9), range(0), trained(range(1, begins_at), range(3)))
    refusal = r"no gradient has reached two\.0 in 8 gradient steps"
    for state in (None, trained(range(1, begins_at), range(0))):
        with pytest.raises(ValueError, match=refusal):
            trained(range(1 if state is None else begins_at, 9), range(0), state)
