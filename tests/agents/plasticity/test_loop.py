"""Interventions in a training loop of one's own."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from own_loop import Spy, X, model_of
from saved import leaves
from small_loop import ACTING, QUIET, Regression, together
from torch import Tensor, nn

from agents.plasticity import GXD, FullReset, Intervention, PlasticOptimizer, ReDo, Switch, UnitReset, Update
from agents.plasticity.units import sequential


@pytest.mark.parametrize("resets", [list, lambda: [GXD(period=10**6, score_every=2), ReDo(period=10**7)]])
@pytest.mark.parametrize("max_grad_norm", [None, 0.1])
def test_without_a_reset_it_is_the_optimizer_bit_for_bit(resets: Any, max_grad_norm: float | None) -> None:
    ours, plain = model_of(), model_of()
    optimizer = PlasticOptimizer(torch.optim.Adam(ours.parameters()), ours, resets())
    adam = torch.optim.Adam(plain.parameters())
    for _ in range(20):
        with optimizer.forward():
            loss = ours(X).square().mean()
        optimizer.step(loss, max_grad_norm=max_grad_norm)
        adam.zero_grad()
        plain(X).square().mean().backward()
        if max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(plain.parameters(), max_grad_norm)
        adam.step()
    for left, right in zip(ours.parameters(), plain.parameters(), strict=True):
        assert torch.equal(left, right)
    assert optimizer.optimizer_steps == 20
    assert optimizer.units_reset() == {"net": 0}


def test_units_are_reset_and_counted() -> None:
    learner = Regression([GXD(rate=0.01, period=10, maturity=0, score_every=1)])
    for _ in range(30):
        learner.train(1)
    assert learner.resets_at() == [10, 20, 30]
    assert learner.units_reset() == {"net": 12} == {"net": learner.count()}


def test_resets_wait_where_an_update_has_not_ended() -> None:
    """PPO's epochs over one rollout must not be disturbed."""
    learner = Regression([GXD(rate=0.01, period=10, maturity=0, score_every=1)])
    for steps in (4, 9, 30):
        learner.train(steps)
    assert [step for step, _ in learner.edits] == [13, 43]
    for _ in range(8):
        with learner.forward():
            loss = learner.loss(learner.module(learner.x), learner.y).mean()
        learner.step(loss, update_ends=False)
    assert len(learner.edits) == 2
    learner.after_update()
    assert [step for step, _ in learner.edits] == [13, 43, 51]


def test_an_update_says_what_a_backward_saw() -> None:
    model, spy = model_of(), Spy()
    adam = torch.optim.Adam(model.parameters(), lr=0.25)
    optimizer = PlasticOptimizer(adam, {"mine": sequential(model, "mine")}, [spy])
    with optimizer.forward():
        hidden = model[:4](X)
        loss = model[4](hidden).mean()
    head = model[4].weight.detach().clone()
    optimizer.step(loss)
    (update,) = spy.updates
    assert (update.networks, update.step, update.learning_rate) == (("mine",), 1, 0.25)
    assert update.optimizer is adam
    assert update.losses == {"loss": loss}
    a, g = update.taps["mine.1"]
    assert torch.equal(a, hidden)
    torch.testing.assert_close(g, head.expand(32, 8) / 32)


def test_a_task_switch_acts_at_once() -> None:
    spy, reset = Spy(), FullReset()
    learner = Regression([spy, reset])
    learner.train(2)
    assert learner.edits == []
    before = learner.parameters()
    switch = Switch("next", 1, 1)
    learner.after_update(switch)
    assert spy.switches == [switch]
    assert learner.resets_at() == [2]
    assert not torch.equal(learner.module[0].weight, before["0.weight"])
    assert learner.units_reset() == {"net": 40}


def test_a_step_needs_a_forward_pass_of_its_own() -> None:
    model = model_of()
    optimizer = PlasticOptimizer(torch.optim.Adam(model.parameters()), model, [])
    with pytest.raises(RuntimeError, match=r"step was called without a forward pass; compute the loss inside `with"):
        optimizer.step(model(X).mean())
    with optimizer.forward():
        loss = model(X).mean()
    optimizer.step(loss)
    with pytest.raises(RuntimeError, match="without a forward pass"):
        optimizer.step(model(X).mean())
    assert optimizer.optimizer_steps == 1


def test_data_are_given_with_what_to_do_with_them() -> None:
    model = model_of()
    adam = torch.optim.Adam(model.parameters())
    for given, missing in (({}, "sample_losses"), ({"sample_losses": lambda rows: X}, "outputs")):
        with pytest.raises(ValueError, match=f"{missing} is None, but sample is given; give both functions"):
            PlasticOptimizer(adam, model, [], sample=lambda n, generator: X, **given)
    optimizer = PlasticOptimizer(adam, model, [])
    with pytest.raises(LookupError, match="PlasticOptimizer has no data; give it sample, sample_losses and outputs"):
        optimizer.sample(3, torch.Generator())


@pytest.mark.parametrize("reset", [lambda: ReDo(period=1), lambda: GXD(signal="outputs", rate=1, period=1, maturity=0)])
def test_what_needs_data_says_so(reset) -> None:
    model = model_of()
    optimizer = PlasticOptimizer(torch.optim.Adam(model.parameters()), model, [reset()])
    with optimizer.forward():
        loss = model(X).mean()
    with pytest.raises(ValueError, match=r"it looks at a sample of the data at hand, but PlasticOptimizer has no data"):
        optimizer.step(loss)


def test_it_is_a_learner() -> None:
    learner = Regression()
    generator = torch.Generator().manual_seed(1)
    rows = learner.sample(16, generator)
    assert rows.shape == (16,)
    assert list(learner.outputs(rows)) == ["net"]
    torch.testing.assert_close(learner.outputs(rows)["net"], learner.module(learner.x[rows]))
    now, old = learner.outputs(rows)["net"], learner.snapshot()
    learner.train(2)
    assert torch.equal(learner.outputs(rows, old)["net"], now)
    assert not torch.equal(learner.outputs(rows)["net"], now)
    losses = learner.sample_losses(rows)
    assert list(losses) == ["net"]
    assert losses["net"].shape == (16,)
    assert learner.distributions(rows) == ()
    assert learner.targets == {}
    assert learner.device == torch.device("cpu")


def test_two_networks_share_the_loss_and_the_last_one_gives_the_outputs() -> None:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5))
    head = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 2))
    networks = {"body": sequential(body, "body"), "head": sequential(head, "head")}
    parameters = [*body.parameters(), *head.parameters()]
    optimizer = PlasticOptimizer(
        torch.optim.Adam(parameters), networks, [GXD(rate=0.5, period=1, maturity=0, score_every=1)],
        sample=lambda n, generator: X, sample_losses=lambda x: head(body(x)).sum(1), outputs=lambda x: head(body(x)),
    )  # fmt: skip
    losses = optimizer.sample_losses(X)
    assert list(losses) == ["body", "head"]
    assert losses["body"] is losses["head"]
    assert list(optimizer.outputs(X)) == ["head"]
    first, old = optimizer.outputs(X)["head"], optimizer.snapshot()
    with torch.no_grad():
        for parameter in (*body.parameters(), *head.parameters()):
            parameter += 1
    assert torch.equal(optimizer.outputs(X, old)["head"], first)
    with optimizer.forward():
        loss = head(body(X)).sum(1).mean()
    optimizer.step(loss)
    assert optimizer.units_reset() == {"body": 3, "head": 3}


@pytest.mark.parametrize("model", [nn.LSTM(3, 4), nn.Sequential(nn.ReLU()), nn.Sequential(nn.Linear(2, 2))])
def test_models_that_cannot_be_reset_are_refused(model: nn.Module) -> None:
    adam = torch.optim.Adam([*model.parameters(), nn.Parameter(torch.zeros(1))])
    with pytest.raises(ValueError, match=r"^(net|gxd): "):
        PlasticOptimizer(adam, model, [GXD()])


def test_a_plain_tensor_of_losses_is_no_scalar() -> None:
    learner = Regression()
    with learner.forward():
        losses = learner.loss(learner.module(learner.x), learner.y)
    with pytest.raises(RuntimeError, match="scalar"):
        learner.step(losses)


@pytest.mark.parametrize("name", ACTING)
def test_saved_and_loaded_it_goes_on_as_if_nothing_had_been(name: str) -> None:
    """For every registered intervention: train, save, load, train is train, train."""

    def start(seed: int) -> Regression:
        target = model_of(seed + 5)
        module = copy.deepcopy(target)
        targets = dict(zip(module.parameters(), target.parameters(), strict=True))
        learner = Regression([ACTING[name]()], seed=seed, model=module, targets=targets)
        learner.target = target
        return learner

    one = start(0).train(7)
    state = copy.deepcopy(one.state_dict())
    other = start(1)
    other.module.load_state_dict(one.module.state_dict())
    other.target.load_state_dict(one.target.state_dict())
    other.load_state_dict(state)
    other.x, other.y = one.x, one.y
    assert other.optimizer_steps == 7
    assert other.units_reset() == one.units_reset()
    before = one.parameters()
    for learner in (one, other):
        learner.edits.clear()
        for _ in range(6):
            learner.train(1)
    assert name in QUIET or one.edits
    for key, tensor in one.parameters().items():
        assert torch.equal(tensor, other.parameters()[key]), key
        # Where snr makes all units new, the weights between layers are zeros, which cannot learn.
        assert not torch.equal(tensor, before[key]) or (name == "snr" and not tensor.any())
    for left, right in zip(one.target.parameters(), other.target.parameters(), strict=True):
        assert torch.equal(left, right)
    assert one.metrics() == other.metrics()
    assert one.units_reset() == other.units_reset()
    (left,), (right,) = (learner.state_dict()["plasticity"]["interventions"] for learner in (one, other))
    assert dict(leaves(left)) == dict(leaves(right))


def test_in_a_saved_state_are_tensors_alone() -> None:
    learner = Regression(together(name for name in ACTING if name != "c_chain")).train(3)  # which keeps a batch
    state = learner.state_dict()
    held = [*state["plasticity"]["interventions"], state["plasticity"]["units_reset"]]
    assert all(isinstance(tensor, Tensor) for tensors in held for tensor in tensors.values())
    assert state["plasticity"]["optimizer_steps"] == 3
    assert set(state) == {"state", "param_groups", "plasticity"}


class Comparing(Intervention):
    """Keeps the reference batches that it is given."""

    name = "comparing"
    needs = frozenset({"reference_batch"})

    def __init__(self) -> None:
        self.given: list[list[int]] = []

    def penalty(self, update: Update) -> None:
        self.given.append(update.reference_batch.tolist())


def test_each_update_has_a_reference_batch_of_its_own() -> None:
    learner = Regression([Comparing()], batch_size=8).train(3)
    first = learner.interventions[0].given
    assert [len(batch) for batch in first] == learner.samples == [8, 8, 8]
    assert first[0] != first[1] != first[2]
    plain = Regression().train(3)
    assert all(torch.equal(tensor, plain.parameters()[name]) for name, tensor in learner.parameters().items())
    assert plain.samples == []
    again = Regression([Comparing()], batch_size=8, seed=7)
    again.load_state_dict(learner.state_dict())
    expected, found = learner.train(2).interventions[0].given[3:], again.train(2).interventions[0].given
    assert found == expected


def test_reference_batches_have_a_size() -> None:
    with pytest.raises(ValueError, match="comparing needs reference batches, whose size is not known; give batch_size"):
        Regression([Comparing()])


def test_the_loop_decides_how_often_it_steps() -> None:
    learner = Regression()
    with pytest.raises(NotImplementedError, match="has no replay ratio: the loop decides how often it steps"):
        _ = learner.replay_ratio
    with pytest.raises(NotImplementedError, match="has no replay ratio"):
        learner.replay_ratio = 2.0


def test_an_argument_of_a_part_is_refused_by_its_place() -> None:
    with pytest.raises(ValueError, match=r"selection\.share is 2; give a share of a layer above 0 and at most 1"):
        UnitReset(criterion="random", selection={"name": "percentage", "share": 2})


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("name", ACTING)
def test_networks_of_any_precision(name: str, dtype: torch.dtype) -> None:
    learner = Regression([ACTING[name]()], model=model_of().to(dtype), x=X.to(dtype))
    learner.y = learner.y.to(dtype)
    before = learner.parameters()
    for _ in range(6):
        learner.train(1)
    assert name in QUIET or learner.edits
    for key, tensor in learner.parameters().items():
        assert tensor.dtype == dtype
        assert tensor.isfinite().all()
        assert not torch.equal(tensor, before[key])


def test_networks_under_automatic_mixed_precision() -> None:
    model = model_of()
    resets = [GXD(rate=0.05, reference="mean", period=2, maturity=2, score_every=1), *together(["cbp"])]
    optimizer = PlasticOptimizer(torch.optim.Adam(model.parameters()), model, resets)
    for _ in range(8):
        with optimizer.forward(), torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(X).float().square().mean()
        optimizer.step(loss)
    assert optimizer.units_reset()["net"] > 0
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_looking_at_a_sample_draws_nothing_and_moves_no_statistics() -> None:
    """What the protocol asks of `outputs` and `sample_losses`: evaluation mode, each module back in its own after."""

    def trained(resets: list) -> tuple[nn.Module, Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))
        optimizer = PlasticOptimizer(
            torch.optim.Adam(model.parameters()), model, resets,
            sample=lambda n, generator: X, sample_losses=lambda x: model(x).sum(1), outputs=model,
        )  # fmt: skip
        for _ in range(4):
            with optimizer.forward():
                loss = model(X).square().mean()
            optimizer.step(loss)
        optimizer.sample_losses(X)
        assert all(module.training for module in model.modules())
        return model, torch.rand(())

    (plain, number), (looked_at, same) = trained([]), trained([ReDo(tau=0.0, period=2)])
    assert number == same
    for key, tensor in plain.state_dict().items():
        assert torch.equal(tensor, looked_at.state_dict()[key]), key


def test_networks_bear_the_names_that_they_are_given_under() -> None:
    model = model_of()
    adam = torch.optim.Adam(model.parameters())
    with pytest.raises(ValueError, match=r"'net' under the key 'actor'; give both one name, such as sequential\(model"):
        PlasticOptimizer(adam, {"actor": sequential(model)}, [GXD()])
    with pytest.raises(ValueError, match=r"networks has no parameters in \[\]; give at least one network"):
        PlasticOptimizer(adam, {}, [])


@pytest.mark.parametrize("error", [IndexError, KeyError])
@pytest.mark.parametrize("name", ["redo", "gxd"])
def test_a_mistake_in_the_users_sample_is_not_taken_for_a_lack_of_data(name: str, error: type[Exception]) -> None:
    learner = Regression([ACTING[name]()])

    def broken(n: int, generator: torch.Generator) -> Tensor:
        raise error("mine")

    learner._sample = broken
    with pytest.raises(error, match="mine"):
        learner.train(4)


@pytest.mark.parametrize("names", [["gxd"], ["gxd", "redo", "full_reset"], []])
def test_the_state_of_other_interventions_is_refused(names: list[str]) -> None:
    state = Regression(together(["gxd", "redo"])).state_dict()
    with pytest.raises(ValueError, match=f"is of 2 interventions, but here are {len(names)}; give those"):
        Regression(together(names)).load_state_dict(state)
