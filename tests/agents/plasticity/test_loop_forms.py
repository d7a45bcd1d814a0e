"""Three forms of one training loop: `step(loss)`, `step(closure)`, and a backward of one's own before `step()`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from graphs_left import left_by
from own_loop import Spy, X, model_of
from torch import Tensor, nn

from agents.plasticity import CBP, GXD, Intervention, PlasticOptimizer, ReDo, ReGraMa, Update
from agents.plasticity.taps import Taps
from agents.plasticity.units import sequential

FORMS = ("loss", "closure", "own")


class Decay(Intervention):
    """Penalises the weights, the more the larger the loss is where it is known."""

    name = "decay"

    def __init__(self, *, of_loss: bool) -> None:
        self.of_loss = of_loss

    def attach(self, learner: Any) -> None:
        self.network = learner.networks["net"]

    def penalty(self, update: Update) -> Tensor:
        size = update.losses["loss"].detach() if self.of_loss else 1.0
        return 0.1 * size * torch.stack([p.square().sum() for p in self.network.parameters]).sum()


def by_taps() -> list[Intervention]:
    return [
        GXD(rate=0.05, reference="mean", period=2, maturity=2, score_every=1),
        CBP(rate=0.05, period=3, maturity=2, score_every=2),
        ReDo(tau=0.5, period=4),
    ]


def by_weights_too() -> list[Intervention]:
    return [*by_taps(), ReGraMa(tau=0.9, period=5, maturity=2, score_every=1, cap=0.5), Decay(of_loss=False)]


def samples_of(model: nn.Module) -> dict[str, Any]:
    return {
        "sample": lambda n, generator: X[torch.randperm(len(X), generator=generator)[:n]],
        "sample_losses": lambda x: model(x).square().sum(1),
        "outputs": model,
    }


class Loop:
    """Trains a model in one of the three forms.

    Args:
        form: see `FORMS`.
        make: the optimizer inside.
        clip: the norm that gradients are clipped to, by `clips`: "step", or "own" where the loop does it itself.
        scaler: where the loss is scaled.
        schedule: of the learning rate.
    """

    def __init__(
        self,
        form: str,
        resets: list[Intervention],
        make: Callable[..., torch.optim.Optimizer] = torch.optim.Adam,
        *,
        clip: float | None = None,
        clips: str = "step",
        scaler: torch.amp.GradScaler | None = None,
        schedule: Callable[[torch.optim.Optimizer], Any] | None = None,
        seed: int = 0,
    ) -> None:
        self.model, self.form, self.scaler = model_of(seed), form, scaler
        self.clip = clip if clips == "step" or form == "loss" else None
        self.own_clip = None if self.clip else clip
        self.optimizer = PlasticOptimizer(
            make(self.model.parameters(), lr=0.01), self.model, resets, seed=seed,
            **samples_of(self.model),
        )  # fmt: skip
        self.schedule = schedule(self.optimizer) if schedule else None

    def train(self, steps: int) -> Loop:
        for _ in range(steps):
            getattr(self, f"_{self.form}")()
            if self.schedule is not None:
                self.schedule.step()
        return self

    def _forward(self, scaler: torch.amp.GradScaler | None = None) -> Tensor:
        with self.optimizer.forward(scaler):
            return (self.model(X) - X[:, :1]).square().mean()

    def _loss(self) -> None:
        self.optimizer.step(self._forward(), max_grad_norm=self.clip, scaler=self.scaler)

    def _closure(self) -> None:
        def closure() -> Tensor:
            self.optimizer.zero_grad()
            loss = self._forward()
            loss.backward()
            self._clip()
            return loss

        assert self.optimizer.step(closure=closure, max_grad_norm=self.clip).ndim == 0

    def _own(self) -> None:
        self.optimizer.zero_grad()
        loss = self._forward(self.scaler)
        (loss if self.scaler is None else self.scaler.scale(loss)).backward()
        self._clip()
        if self.scaler is None:
            self.optimizer.step(max_grad_norm=self.clip)
        else:
            self.scaler.step(self.optimizer, max_grad_norm=self.clip)
            self.scaler.update()

    def _clip(self) -> None:
        if self.own_clip is not None:
            if self.scaler is not None:
                self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.model.parameters(), self.own_clip)

    def end(self) -> list[Any]:
        return [self.model.state_dict(), self.optimizer.state_dict()]


def assert_same(left: Any, right: Any) -> None:
    """To the last bit, whatever it is made of."""
    if isinstance(left, Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        assert_same(list(left.values()), list(right.values()))
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    else:
        assert left == right


def sgd(parameters: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr, momentum=0.9, nesterov=True)


def one_cycle(optimizer: torch.optim.Optimizer) -> Any:
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.02, total_steps=12)


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"make": sgd},
        {"clip": 0.05},
        {"clip": 0.05, "clips": "own", "resets": by_taps},
        {"schedule": one_cycle},
        {"schedule": one_cycle, "make": sgd, "clip": 0.05},
    ],
    ids="-".join,
)
def test_three_forms_of_one_loop_train_alike(arguments: dict[str, Any]) -> None:
    resets = arguments.pop("resets", by_weights_too)
    first, *others = (Loop(form, resets(), **arguments).train(12) for form in FORMS)
    assert first.optimizer.units_reset()["net"] > 3
    for other in others:
        assert other.optimizer.units_reset() == first.optimizer.units_reset()
        assert_same(other.end(), first.end())


@pytest.mark.parametrize(
    "arguments", [{}, {"clip": 0.05}, {"clip": 0.05, "clips": "own", "resets": by_taps}, {"make": sgd}], ids="-".join
)
def test_a_scaler_steps_alike_in_both_forms_that_take_it(arguments: dict[str, Any]) -> None:
    resets = arguments.pop("resets", by_weights_too)
    first, second, plain = (
        Loop(form, resets(), scaler=torch.amp.GradScaler("cpu", init_scale=2.0**10) if scaled else None, **arguments)
        for form, scaled in (("loss", True), ("own", True), ("own", False))
    )
    for loop in (first, second, plain):
        loop.train(12)
        assert loop.optimizer.units_reset()["net"] > 3
        assert_same(loop.end(), first.end())


def test_units_gradients_are_of_the_loss_that_no_scaler_has_scaled_and_no_penalty_is_in() -> None:
    seen = []
    for form, scale in (("loss", None), ("own", None), ("own", 2.0**16)):
        spy = Spy()
        scaler = None if scale is None else torch.amp.GradScaler("cpu", init_scale=scale)
        Loop(form, [spy, Decay(of_loss=False)], scaler=scaler).train(3)
        seen.append([update.taps for update in spy.updates])
    for other in seen[1:]:
        assert_same(other, seen[0])


@pytest.mark.parametrize("form", FORMS)
def test_saved_by_torch_it_goes_on_to_the_last_bit(form: str, tmp_path: Any) -> None:
    start = {"schedule": one_cycle, "make": sgd}
    one = Loop(form, by_weights_too(), **start).train(5)
    torch.save([*one.end(), one.schedule.state_dict()], tmp_path / "state.pt")
    other = Loop(form, by_weights_too(), seed=1, **start)
    model, optimizer, schedule = torch.load(tmp_path / "state.pt", weights_only=True)
    other.model.load_state_dict(model)
    other.optimizer.load_state_dict(optimizer)
    other.schedule.load_state_dict(schedule)
    assert_same(other.train(7).end(), one.train(7).end())
    assert other.optimizer.units_reset()["net"] > 3
    assert other.schedule.get_last_lr() == [other.optimizer.param_groups[0]["lr"]]


def test_several_backwards_before_a_step_are_of_parts_of_one_batch() -> None:
    whole, parts = (model_of() for _ in range(2))
    spies = [Spy(), Spy()]
    one, many = (
        PlasticOptimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, [spy, GXD(rate=0.2, period=2, maturity=0)])
        for model, spy in zip((whole, parts), spies, strict=True)
    )
    for step in range(4):
        with one.forward():
            loss = whole(X).square().mean()
        one.step(loss)
        if step == 2:  # a part that is dropped with its gradients
            with many.forward():
                (7 * parts(X)).mean().backward()
        many.zero_grad()
        for rows in X.chunk(4):
            with many.forward():
                loss = parts(rows).square().mean() / 4
            loss.backward()
        many.step()
    assert one.optimizer_steps == many.optimizer_steps == 4
    for left, right in zip(*(spy.updates for spy in spies), strict=True):
        for name, (a, g) in left.taps.items():
            torch.testing.assert_close(a, right.taps[name][0])
            torch.testing.assert_close(g, right.taps[name][1])
    assert one.units_reset() == many.units_reset()
    for left, right in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(left, right)


def test_gradients_may_be_cleared_between_forward_and_backward() -> None:
    model, spy = model_of(), Spy()
    optimizer = PlasticOptimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, [spy])
    with optimizer.forward():
        loss = model(X).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    assert spy.updates[0].taps.keys() == {"net.0", "net.1"}


@pytest.mark.parametrize("form", FORMS)
def test_forwards_whose_losses_have_one_backward_are_parts_of_one_batch(form: str) -> None:
    model, spy = model_of(), Spy()
    optimizer = PlasticOptimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, [spy])
    for _ in range(2):
        with optimizer.forward():
            model(X[:3])  # is in no loss
        losses = []
        for rows in X.split([20, 12]):
            with optimizer.forward():
                losses.append(model(rows).square().sum() / len(X))
        optimizer.zero_grad()  # between forwards and backward, as some write it
        if form == "loss":
            optimizer.step(sum(losses))
        else:
            sum(losses).backward()
            optimizer.step()
    again = model_of()
    with Taps(sequential(again).layers) as taps:
        loss = again(X).square().mean()
    loss.backward()
    for name, (a, g) in taps.read().items():
        torch.testing.assert_close(spy.updates[0].taps[name], (a, g))
        assert len(spy.updates[1].taps[name][0]) == len(X)


def test_parts_of_other_sizes_are_refused_by_name() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 1, 3))
    optimizer = PlasticOptimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, [Spy()])
    for size in (6, 8):
        with optimizer.forward():
            loss = model(torch.ones(1, 1, size, size)).mean()
        loss.backward()
    with pytest.raises(
        ValueError, match=r"net\.0: forwards of one step have units of sizes \(2, 4, 4\) and \(2, 6, 6\)"
    ):
        optimizer.step()


def test_no_forward_keeps_a_graph_that_the_loop_has_let_go() -> None:
    model = model_of()
    optimizer = PlasticOptimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, by_taps(), **samples_of(model))

    def skip() -> None:
        with optimizer.forward():
            model(X).mean()

    count, alive = left_by(skip, graphs_alone=True)
    assert count
    assert alive == []


def test_a_forward_that_raised_is_none() -> None:
    loop = Loop("own", [spy := Spy()])

    def fail() -> None:
        with loop.optimizer.forward():
            loop.model(X)
            raise KeyError

    for _ in range(2):
        with pytest.raises(KeyError):
            fail()
        with pytest.raises(RuntimeError, match="step was called without a forward pass"):
            loop.optimizer.step()
        loop.train(1)
    assert [len(update.taps["net.0"][0]) for update in spy.updates] == [len(X)] * 2


@pytest.mark.parametrize("form", FORMS)
def test_the_loss_is_known_where_step_is_given_it(form: str) -> None:
    loop = Loop(form, [Decay(of_loss=True)])
    known = form != "own"
    sentence = r"an intervention looks at the 'loss' of the update, but step\(\) was not given it; call step\(loss\) in"
    with nullcontext() if known else pytest.raises(LookupError, match=sentence):
        loop.train(2)
    if known:
        assert_same(loop.end(), Loop("loss", [Decay(of_loss=True)]).train(2).end())


def test_losses_that_were_not_given_are_missed_after_the_backward_too() -> None:
    spy = Spy()
    Loop("own", [spy]).train(1)
    assert spy.updates[0].losses == {}
    with pytest.raises(LookupError, match="looks at the 'policy_loss' of the update"):
        spy.updates[0].losses["policy_loss"]


def test_a_closure_that_returns_a_number_has_given_no_loss() -> None:
    loop, spy = Loop("own", []), Spy()
    optimizer = PlasticOptimizer(torch.optim.Adam(loop.model.parameters()), loop.model, [spy])

    def closure() -> float:
        optimizer.zero_grad()
        with optimizer.forward():
            loss = loop.model(X).mean()
        loss.backward()
        return loss.item()

    with torch.no_grad():  # as torch's own, it lets the closure take gradients
        assert isinstance(optimizer.step(closure), float)
    assert spy.updates[0].losses == {}
    assert spy.updates[0].taps


def test_every_form_needs_a_forward() -> None:
    loop = Loop("own", [])
    loss = loop.model(X).mean()
    loss.backward()
    for given in (None, loss, lambda: loss):
        with pytest.raises(RuntimeError, match="step was called without a forward pass; compute the loss inside `with"):
            loop.optimizer.step(given)
    assert loop.optimizer.optimizer_steps == 0


def test_a_scaler_that_forward_does_not_know_of_is_refused_before_it_steps() -> None:
    loop, scaler = Loop("own", by_taps()), torch.amp.GradScaler("cpu")
    before = {name: tensor.clone() for name, tensor in loop.model.state_dict().items()}
    scaler.scale(loop._forward()).backward()
    with pytest.raises(RuntimeError, match=r"a GradScaler steps, of which forward does not know; write `with forward"):
        scaler.step(loop.optimizer)
    assert_same(loop.model.state_dict(), before)
    with pytest.raises(TypeError, match=r"scaler is given without a loss; call step\(loss, scaler=scaler\)"):
        loop.optimizer.step(scaler=scaler)


def test_a_step_that_a_scaler_leaves_out_leaves_nothing_behind() -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, backoff_factor=2.0**-110)
    spy = Spy()
    loop = Loop("own", [spy], scaler=scaler)
    before = {name: tensor.clone() for name, tensor in loop.model.state_dict().items()}
    with loop.optimizer.forward(scaler):
        loss = 1e6 * loop.model(X).square().mean()
    scaler.scale(loss).backward()
    scaler.step(loop.optimizer)
    scaler.update()
    assert_same(loop.model.state_dict(), before)
    assert (loop.optimizer.optimizer_steps, spy.updates) == (0, [])
    loop.train(2)
    plain = Loop("own", [other := Spy()]).train(2)
    assert_same([loop.end(), [u.taps for u in spy.updates]], [plain.end(), [u.taps for u in other.updates]])
