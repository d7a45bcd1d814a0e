"""What stands around an optimizer in a training loop of one's own: scalers, schedulers, closures."""

from __future__ import annotations

import copy

import pytest
import torch
from own_loop import Spy, X, model_of
from torch import Tensor

from agents.plasticity import GXD, PlasticOptimizer


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


def test_a_scaler_or_an_old_habit_that_steps_without_the_loss_is_told_how() -> None:
    model = model_of()
    optimizer = PlasticOptimizer(torch.optim.SGD(model.parameters(), lr=0.01), model, [])
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(model(X).mean()).backward()
    with pytest.raises(TypeError, match=r"call step\(loss\), and with a GradScaler step\(loss, scaler=scaler\)"):
        scaler.step(optimizer)


def test_learning_rates_follow_a_scheduler_of_the_optimizer_or_are_set_by_hand() -> None:
    model, spy = model_of(), Spy()
    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    scheduler = torch.optim.lr_scheduler.StepLR(sgd, 1, gamma=0.5)
    optimizer = PlasticOptimizer(sgd, model, [spy])
    for _ in range(3):
        with optimizer.forward():
            loss = model(X).mean()
        optimizer.step(loss)
        scheduler.step()
    assert [update.learning_rate for update in spy.updates] == [1.0, 0.5, 0.25]
    optimizer.param_groups[0]["lr"] = 0.125
    assert sgd.param_groups[0]["lr"] == 0.125


def test_an_optimizer_that_needs_a_closure_is_refused() -> None:
    model = model_of()
    with pytest.raises(ValueError, match=r"LBFGS computes the loss several times in a step.*give an optimizer such as"):
        PlasticOptimizer(torch.optim.LBFGS(model.parameters()), model, [GXD()])


def test_examples_of_several_networks_come_by_name() -> None:
    model = model_of()
    for example in (torch.zeros(2, 4), {"nett": torch.zeros(2, 4)}):
        with pytest.raises(ValueError, match="example is no mapping of networks' names to their inputs; the names"):
            PlasticOptimizer(torch.optim.Adam(model.parameters()), {"net": model}, [GXD()], example=example)
