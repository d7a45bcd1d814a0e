"""What stands around an optimizer in a training loop of one's own: scalers, schedulers, hooks, copies."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from own_loop import Spy, X, model_of
from torch import Tensor, nn
from torch.optim import lr_scheduler

from agents.plasticity import CBP, GXD, Intervention, PlasticOptimizer


def test_a_scaler_changes_nothing_but_the_range_of_gradients() -> None:
    def trained(scaler: torch.amp.GradScaler | None) -> tuple[dict[str, Tensor], list[tuple[Tensor, Tensor]]]:
        model, spy = model_of(), Spy()
        adam = torch.optim.Adam(model.parameters())
        optimizer = PlasticOptimizer(adam, model, [spy, GXD(rate=0.2, period=2, maturity=0, score_every=1)])
        for _ in range(6):
            with optimizer.forward():
                loss = model(X).square().mean()
            optimizer.step(loss, scaler=scaler, max_grad_norm=0.1)
        assert optimizer.units_reset()["net"] > 0
        return model.state_dict(), [update.taps["net.1"] for update in spy.updates]

    (plain, seen), (scaled, same) = trained(None), trained(torch.amp.GradScaler("cpu", init_scale=2.0**10))
    for key, tensor in plain.items():
        assert torch.equal(tensor, scaled[key]), key
    for (a, g), (same_a, same_g) in zip(seen, same, strict=True):
        assert torch.equal(a, same_a)
        assert torch.equal(g, same_g)


def test_a_step_that_a_scaler_leaves_out_spoils_nothing() -> None:
    model = model_of()
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=2.0**-20)
    reset = GXD(rate=0.2, period=3, maturity=0, score_every=1)
    optimizer = PlasticOptimizer(torch.optim.SGD(model.parameters(), lr=0.01), model, [reset])
    before = copy.deepcopy(model.state_dict())
    for step in range(6):
        with optimizer.forward():
            loss = 1e6 * model(X).square().mean()
        optimizer.step(loss * 1e-3, scaler=scaler)
        if step == 0:
            assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    assert scaler.get_scale() < 2.0**127
    assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
    assert optimizer.units_reset()["net"] > 0
    assert optimizer.metrics()["warnings/gxd/net/not_finite"] > 0


SCHEDULES = {
    "steps": lambda optimizer: lr_scheduler.StepLR(optimizer, 2, gamma=0.5),
    "one cycle": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=8),
    "cycles": lambda optimizer: lr_scheduler.CyclicLR(optimizer, 0.01, 0.1, step_size_up=2, cycle_momentum=True),
    "sequence": lambda optimizer: lr_scheduler.SequentialLR(
        optimizer, [lr_scheduler.ConstantLR(optimizer, 0.1, 2), lr_scheduler.CosineAnnealingLR(optimizer, 6)], [2]
    ),
    "averaging": lambda optimizer: torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.05, anneal_epochs=4),
    "plateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_scheduler_is_built_on_it_as_on_the_optimizer_inside(name: str) -> None:
    def trained(outside: bool) -> tuple[list[float], list[float], dict[str, Tensor]]:
        model, spy = model_of(), Spy()
        sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        optimizer = PlasticOptimizer(sgd, model, [spy])
        schedule = SCHEDULES[name](optimizer if outside else sgd)
        rates = []
        for _ in range(8):
            with optimizer.forward():
                loss = model(X).mean()
            optimizer.step(loss)
            schedule.step(*([1.0] if name == "plateau" else []))
            rates.append(optimizer.param_groups[0]["lr"])
        seen = [update.learning_rate for update in spy.updates]
        assert seen[1:] == rates[:-1]
        return rates, [sgd.param_groups[0]["momentum"]], model.state_dict()

    (rates, momentum, model), (same_rates, same_momentum, same_model) = trained(True), trained(False)
    assert len(set(rates)) > 1
    assert (rates, momentum) == (same_rates, same_momentum)
    assert all(torch.equal(tensor, same_model[key]) for key, tensor in model.items())


def test_it_is_an_optimizer_whose_groups_and_state_are_those_of_the_one_inside() -> None:
    model = model_of()
    adam = torch.optim.Adam(model.parameters(), lr=0.5)
    optimizer = PlasticOptimizer(adam, model, [])
    assert isinstance(optimizer, torch.optim.Optimizer)
    assert repr(optimizer) == repr(adam).replace("Adam", "PlasticOptimizer", 1)
    assert optimizer.defaults is adam.defaults
    with optimizer.forward():
        loss = model(X).mean()
    optimizer.step(loss)
    held = copy.deepcopy(optimizer.state_dict())
    optimizer.load_state_dict(held)  # puts other groups and another state in place
    optimizer.add_param_group({"params": [nn.Parameter(torch.zeros(2))], "lr": 0.25})
    for _ in range(2):
        assert optimizer.param_groups is adam.param_groups
        assert optimizer.state is adam.state
        assert [group["lr"] for group in adam.param_groups] == [0.5, 0.25]
        assert len(adam.state) == 6
        optimizer.param_groups, optimizer.state = list(adam.param_groups), copy.copy(adam.state)
    assert optimizer.state_dict().keys() == {"state", "param_groups", "plasticity"}
    plain = torch.optim.Adam(model_of().parameters())
    plain.load_state_dict(held)  # what there is beside its own does not disturb it
    assert plain.param_groups[0]["lr"] == 0.5


def test_the_state_of_resets_of_another_kind_is_refused() -> None:
    model = model_of()

    def optimizer(*interventions: Intervention) -> PlasticOptimizer:
        return PlasticOptimizer(torch.optim.Adam(model.parameters()), model, interventions)

    held = optimizer(GXD(), CBP(period=7)).state_dict()
    with pytest.raises(ValueError, match=r"^the saved state is of gxd, cbp, but here is cbp, gxd; give those that it"):
        optimizer(CBP(period=7), GXD()).load_state_dict(held)
    del held["plasticity"]["names"]  # as it was saved before
    optimizer(GXD(), CBP(period=7)).load_state_dict(held)


def test_gradients_are_cleared_as_the_optimizer_does() -> None:
    model = model_of()
    optimizer = PlasticOptimizer(torch.optim.Adam(model.parameters()), model, [])
    model(X).mean().backward()
    optimizer.zero_grad(set_to_none=False)
    assert all(not parameter.grad.any() for parameter in model.parameters())
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in model.parameters())


def test_hooks_of_steps_and_states_are_called_once() -> None:
    model, calls = model_of(), []
    adam = torch.optim.Adam(model.parameters())
    adam.register_state_dict_post_hook(lambda optimizer, state: calls.append("inside"))
    optimizer = PlasticOptimizer(adam, model, [])
    optimizer.register_step_pre_hook(lambda optimizer, args, kwargs: calls.append("before"))
    optimizer.register_step_post_hook(lambda optimizer, args, kwargs: calls.append(optimizer.optimizer_steps))
    optimizer.register_state_dict_post_hook(lambda optimizer, state: calls.append("saved"))
    optimizer.register_load_state_dict_post_hook(lambda optimizer: calls.append("loaded"))
    with optimizer.forward():
        loss = model(X).mean()
    optimizer.step(loss)
    optimizer.load_state_dict(optimizer.state_dict())
    assert calls == ["before", 1, "inside", "saved", "loaded"]


def test_a_step_may_be_compiled() -> None:
    def trained(compiled: bool) -> dict[str, Tensor]:
        model = model_of()
        adam = torch.optim.Adam(model.parameters())
        optimizer = PlasticOptimizer(adam, model, [GXD(rate=0.2, period=2, maturity=0, score_every=1)])
        step = torch.compile(optimizer.step, backend="eager") if compiled else optimizer.step
        for _ in range(4):
            optimizer.zero_grad()
            with optimizer.forward():
                loss = model(X).square().mean()
            loss.backward()
            step()
        assert optimizer.units_reset()["net"] > 0
        return model.state_dict()

    plain, same = trained(False), trained(True)
    assert all(torch.equal(tensor, same[key]) for key, tensor in plain.items())


@pytest.mark.parametrize("take", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_copy_that_would_not_follow_its_model_is_refused(take: Callable[[object], object]) -> None:
    model = model_of()
    optimizer = PlasticOptimizer(torch.optim.Adam(model.parameters()), model, [])
    with pytest.raises(TypeError, match=r"would not follow a copy of them; save its state_dict\(\), and load it into"):
        take(optimizer)


def test_the_state_of_an_optimizer_without_interventions_is_refused() -> None:
    model = model_of()
    adam = torch.optim.Adam(model.parameters())
    with pytest.raises(ValueError, match="is of an optimizer without interventions; load it into that one, before"):
        PlasticOptimizer(adam, model, [GXD()]).load_state_dict(adam.state_dict())


def test_learning_rates_may_be_set_by_hand() -> None:
    model = model_of()
    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    optimizer = PlasticOptimizer(sgd, model, [])
    optimizer.param_groups[0]["lr"] = 0.125
    assert sgd.param_groups[0]["lr"] == 0.125


def test_one_in_another_is_refused() -> None:
    model = model_of()
    optimizer = PlasticOptimizer(torch.optim.SGD(model.parameters()), model, [GXD()])
    with pytest.raises(ValueError, match="optimizer is a PlasticOptimizer already; give all interventions to one"):
        PlasticOptimizer(optimizer, model, [GXD()])


def test_an_optimizer_that_needs_a_closure_is_refused() -> None:
    model = model_of()
    with pytest.raises(ValueError, match=r"LBFGS computes the loss several times in a step.*give an optimizer such as"):
        PlasticOptimizer(torch.optim.LBFGS(model.parameters()), model, [GXD()])


def test_examples_of_several_networks_come_by_name() -> None:
    model = model_of()
    for example in (torch.zeros(2, 4), {"nett": torch.zeros(2, 4)}):
        with pytest.raises(ValueError, match="example is no mapping of networks' names to their inputs; the names"):
            PlasticOptimizer(torch.optim.Adam(model.parameters()), {"net": model}, [GXD()], example=example)
