"""What unit resets are built of, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from percentages import percentage
from small_loop import ACTING, ELSEWHERE, Regression
from torch import Tensor, nn

from agents.plasticity import CBP, CPR, GXD, PlasticOptimizer, ReDo, ReGraMa, UnitReset
from agents.plasticity.registry import INTERVENTIONS
from agents.plasticity.units import Network, UnitLayer, sequential


def test_arguments_build_the_same_again() -> None:
    for name, make in ACTING.items():
        one = make()
        other = INTERVENTIONS[name].resolve()(**one.arguments())
        assert type(other) is type(one)
        assert other.arguments() == one.arguments()
        state, again = (vars(reset) for reset in (one, other))
        plain = {key: value for key, value in state.items() if key != "_recipe"}
        assert plain == {key: value for key, value in again.items() if key in plain}
    assert set(ACTING) == set(INTERVENTIONS) - ELSEWHERE


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
    wider = reset.state_dict() | {"utility/net.1": torch.zeros(99)}
    with pytest.raises(ValueError, match=r"of other networks: utility/net\.1 has the shape \(99,\) in place of \("):
        reset.load_state_dict(wider)


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
