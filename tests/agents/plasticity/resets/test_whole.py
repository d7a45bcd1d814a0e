"""Resets of whole layers and networks, and their arguments."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from policies import POLICIES
from small_loop import CaseLearner, Regression
from torch import nn
from whole_networks import SWITCH, built, shifted, switched

from agents.plasticity import (
    Edit,
    FullReset,
    HeadReset,
    Intervention,
    PlasticOptimizer,
    ShrinkAndPerturb,
    UnitReset,
)
from agents.plasticity.resets.whole import Oracle
from agents.plasticity.units import Affine, Orthogonal, TorchDefault


class Listener(Intervention):
    """Keeps what it is told."""

    name = "listener"

    def __init__(self) -> None:
        self.edits: list[Edit] = []

    def on_surgery(self, edit: Edit) -> None:
        self.edits.append(edit)


def assert_drawn(part: Any) -> None:
    """The parameters are as the part's init draws them."""
    weight, bias = part.module.weight.detach(), part.module.bias.detach()
    if isinstance(part.init, Orthogonal):
        rows = weight.flatten(1).double()
        gram = rows @ rows.T if len(rows) <= rows.shape[1] else rows.T @ rows
        torch.testing.assert_close(gram, torch.eye(len(gram), dtype=gram.dtype) * part.init.gain**2, rtol=0, atol=1e-3)
        assert not bias.any()
    elif isinstance(part.init, TorchDefault):
        bound = 1 / math.sqrt(weight[0].numel())
        for tensor in (weight, bias):
            assert tensor.abs().max() <= bound
            if tensor.numel() >= 200:
                assert abs(tensor.std() * math.sqrt(3) / bound - 1) < 0.15
    else:
        assert part.init == Affine()
        assert (weight == 1).all()
        assert not bias.any()


@pytest.mark.parametrize("kind", POLICIES)
def test_a_full_reset_draws_everything_anew_as_it_was_built(kind: str) -> None:
    case, listener = built(kind), Listener()
    learner = CaseLearner(case, [FullReset(), listener])
    learner.train(1)
    shifted(case)
    untouched = torch.get_rng_state()
    before = {id(p): p.detach().clone() for n in case.networks.values() for p in n.parameters}
    assert all(optimizer.state for optimizer in case.optimizers)
    switched(learner)
    assert torch.equal(torch.get_rng_state(), untouched)
    for network in case.networks.values():
        for part in network.parts:
            assert_drawn(part)
            assert not (part.module.weight == before[id(part.module.weight)]).any()
        for tensor, value in network.constants:
            assert (tensor == value).all()
        for parameter in (*network.parameters, *(tensor for tensor, _ in network.constants)):
            assert not any(parameter in optimizer.state for optimizer in case.optimizers)
    for parameter, target in case.targets.items():
        assert torch.equal(parameter, target)
        assert parameter is not target
    (edit,) = listener.edits
    assert edit.amounts.keys() == {layer.name for layer in case.layers}
    assert all((amounts == 1).all() for amounts in edit.amounts.values())
    learner.train(1)  # the optimizers go on with a state of their own
    assert all(p.isfinite().all() for p in case.policy.parameters())


@pytest.mark.parametrize("kind", ["ppo-board", "dqn-mlp", "sac-cnn-shared"])
def test_an_oracle_is_a_full_reset_that_forgets_the_rest(kind: str) -> None:
    """And as METHODS 15.4 asks, it keeps all identities."""
    drawn = []
    for make in (Oracle, FullReset):
        case = built(kind)
        learner = CaseLearner(case, [make()])
        learner.train(1)
        identities = [(name, id(p)) for name, p in case.policy.named_parameters(remove_duplicate=False)]
        before = {name: tensor.clone() for name, tensor in case.policy.state_dict().items()}
        learner.train(1)
        assert learner.begun_anew == 0
        for visits in (1, 2):
            switched(learner)
            assert learner.begun_anew == (visits if make is Oracle else 0)
            now = {name: tensor.clone() for name, tensor in case.policy.state_dict().items()}
            assert not any(torch.equal(now[name], before[name]) for name in now if name.endswith("weight"))
            before = now
            learner.train(1)
        assert identities == [(name, id(p)) for name, p in case.policy.named_parameters(remove_duplicate=False)]
        drawn.append(now)
    # Of its own name and seed: other draws than a full reset's.
    assert not torch.equal(*(next(t for n, t in found.items() if n.endswith("weight")) for found in drawn))
    assert Oracle().arguments() == {}
    assert Oracle().uses_boundaries


def test_an_oracle_in_a_loop_of_ones_own_empties_the_optimizer() -> None:
    learner = Regression([Oracle()]).train(3)
    before = learner.parameters()
    assert learner.optimizers[0].state
    learner.after_update(SWITCH)
    assert not learner.optimizers[0].state
    assert not torch.equal(learner.parameters()["0.weight"], before["0.weight"])


@pytest.mark.parametrize("make", [FullReset, HeadReset])
def test_targets_can_be_left_to_follow(make: Callable) -> None:
    case = built("sac-mlp")
    shifted(case)
    before = [target.clone() for target in case.targets.values()]
    switched(CaseLearner(case, [make(targets="leave")]))
    assert all(torch.equal(*pair) for pair in zip(case.targets.values(), before, strict=True))
    with pytest.raises(ValueError, match=r"^targets is 'sync'; give copy or leave"):
        make(targets="sync")


def test_log_std_goes_back_to_where_it_began() -> None:
    case = built("ppo-mlp-tanh-gsde")
    learner = CaseLearner(case, [FullReset(networks=["actor"])])
    shifted(case)
    critic = [p.clone() for p in case.networks["critic"].parameters]
    switched(learner)
    assert (case.policy.log_std == case.policy.log_std_init).all()
    assert case.policy.log_std not in case.policy.optimizer.state
    assert all(torch.equal(*pair) for pair in zip(case.networks["critic"].parameters, critic, strict=True))


def test_the_rest_of_the_optimizer_is_kept() -> None:
    case = built("ppo-mlp")
    learner = CaseLearner(case, [FullReset(networks=["actor"])])
    learner.train(2)
    state = case.policy.optimizer.state
    before = {id(p): state[p]["exp_avg"].clone() for p in case.networks["critic"].parameters}
    switched(learner)
    for parameter in case.networks["critic"].parameters:
        assert torch.equal(case.policy.optimizer.state[parameter]["exp_avg"], before[id(parameter)])
    assert case.networks["actor"].parameters[0] not in case.policy.optimizer.state


def test_statistics_of_a_normalisation_begin_anew() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    learner = Regression([FullReset(period=3)], model=model)
    learner.train(2)
    assert model[1].running_mean.any()
    assert int(model[1].num_batches_tracked) > 0
    learner.train(1)
    assert not model[1].running_mean.any()
    assert (model[1].running_var == 1).all()
    assert (model[1].weight == 1).all()


def test_a_full_reset_makes_units_young_for_the_others() -> None:
    reset = UnitReset(
        criterion="random", selection={"name": "percentage", "share": 0.5}, period=3, maturity=6, score_every=1
    )
    learner = Regression([FullReset(period=4), reset])
    learner.train(8)
    assert [step for step, _ in learner.edits] == [8]  # the units are new at the reset's turn
    for _ in range(4):
        learner.train(1)
    assert [step for step, _ in learner.edits] == [8, 12]
    assert all((a == 1).all() for _, edit in learner.edits for a in edit.amounts.values())


def test_a_full_reset_draws_something_else_each_time() -> None:
    learner = Regression([FullReset(period=2)])
    drawn = []
    for _ in range(2):
        learner.train(2)
        drawn.append(learner.parameters())
    assert not any(torch.equal(drawn[0][name], tensor) for name, tensor in drawn[1].items())


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(
    "kind", ["ppo-mlp", "ppo-board", "ppo-norm-mlp", "dqn-mlp", "dqn-cnn", "sac-mlp", "sac-cnn-shared"]
)
def test_a_head_reset_draws_the_last_layers_anew(kind: str, layers: int) -> None:
    case, listener = built(kind), Listener()
    learner = CaseLearner(case, [HeadReset(layers=layers), listener])
    learner.train(1)
    shifted(case)
    parts = [(network, part) for network in case.networks.values() for part in network.parts]
    before = {id(p): p.detach().clone() for _, part in parts for p in part.module.parameters(recurse=False)}
    switched(learner)
    redrawn = [part for network, part in parts if part.height < layers and network.name != "features"]
    assert redrawn
    assert len(redrawn) < len(parts)
    for network, part in parts:
        for parameter in part.module.parameters(recurse=False):
            state = [parameter in optimizer.state for optimizer in case.optimizers]
            if any(part is one for one in redrawn):
                assert not (parameter == before[id(parameter)]).all()
                assert not any(state)
                if parameter in case.targets:
                    assert torch.equal(case.targets[parameter], parameter)
            else:
                assert torch.equal(parameter, before[id(parameter)]), network.name
                assert any(state)
    for part in redrawn:
        assert_drawn(part)
    (edit,) = listener.edits
    weights = {id(part.module.weight) for part in redrawn}
    assert edit.amounts.keys() == {layer.name for layer in case.layers if id(layer.producer.weight) in weights}
    assert bool(edit.amounts) == (layers == 2)


def test_a_network_without_an_output_layer_is_skipped_unless_it_is_named() -> None:
    case = built("ppo-board")
    features = [p.clone() for p in case.networks["features"].parameters]
    learner = CaseLearner(case, [HeadReset(layers=9)])
    switched(learner)
    assert all(torch.equal(*pair) for pair in zip(case.networks["features"].parameters, features, strict=True))
    with pytest.raises(ValueError, match="head_reset: networks names 'features', which has no output layer of its own"):
        CaseLearner(case, [HeadReset(networks=["actor", "features"])])


@pytest.mark.parametrize("kind", ["ppo-nature", "sac-cnn-shared-linear"])
def test_heads_without_hidden_units_are_reset(kind: str) -> None:
    """The output layers read the features directly."""
    case = built(kind)
    before = {name: p.clone() for name, p in case.policy.named_parameters()}
    switched(CaseLearner(case, [HeadReset()]))
    changed = {name for name, p in case.policy.named_parameters() if not torch.equal(p, before[name])}
    assert changed
    assert not any("features_extractor" in name for name in changed)


def test_defaults() -> None:
    """METHODS 14.1: soft steps of a millionth; halves at a boundary (Juliani and Ash)."""
    assert FullReset().arguments() == {"networks": None, "period": None, "targets": "copy"}
    assert HeadReset().arguments() == {"networks": None, "layers": 1, "period": None, "targets": "copy"}
    keys = ("mode", "shrink", "perturb", "period")
    expected = {
        ShrinkAndPerturb(): ("soft", 1 - 1e-6, 1e-6, 1000),
        ShrinkAndPerturb(paper=True): ("soft", 1 - 1e-6, 1e-6, 1),
        ShrinkAndPerturb(mode="boundary"): ("boundary", 0.5, 0.5, None),
        ShrinkAndPerturb(mode="to_init"): ("to_init", 1 - 1e-6, None, 1000),
    }
    for reset, values in expected.items():
        assert tuple(reset.arguments()[key] for key in keys) == values
        assert ShrinkAndPerturb(**reset.arguments()).arguments() == reset.arguments()


WRONG = [
    (lambda: FullReset(period=0), "period is 0; give a whole number of gradient steps of at least 1"),
    (lambda: HeadReset(layers=0), "layers is 0; give a whole number of layers of at least 1"),
    (lambda: HeadReset(layers=True), "layers is True; give a whole number of layers"),
    (lambda: HeadReset(networks=[]), r"networks is \[\]; give a list of different networks"),
    (lambda: ShrinkAndPerturb(mode="hard"), "mode is 'hard'; give soft, boundary or to_init"),
    (lambda: ShrinkAndPerturb(shrink=1.1), r"shrink is 1\.1; give a factor between 0 and 1"),
    (lambda: ShrinkAndPerturb(perturb=-1), "perturb is -1; give a factor between 0 and 1"),
    (lambda: ShrinkAndPerturb(period=0), "period is 0; give a whole number of gradient steps"),
    (lambda: ShrinkAndPerturb(mode="boundary", period=5), "period is 5, but mode 'boundary' acts at task switches"),
    (lambda: ShrinkAndPerturb(mode="to_init", perturb=0.1), r"perturb is 0\.1, but mode 'to_init' adds nothing fresh"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_impossible_arguments_are_refused(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        make()


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(ValueError, match="full_reset: networks names 'actor'"):
        Regression([FullReset(networks=["actor"])])


def test_statistics_without_parameters_are_reset() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, affine=False), nn.ReLU(), nn.Linear(6, 1))
    optimizer = PlasticOptimizer(torch.optim.Adam(model.parameters()), model, [FullReset(period=1)])
    with optimizer.forward():
        loss = model(torch.randn(16, 4) + 5).square().mean()
    optimizer.step(loss)
    assert model[1].running_mean.eq(0).all()
    assert model[1].running_var.eq(1).all()
