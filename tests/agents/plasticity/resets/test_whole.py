"""Resets of whole layers and networks, and shrinking all weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from policies import POLICIES, Case
from small_loop import CaseLearner, Regression
from torch import Tensor, nn

from agents.plasticity import (
    Edit,
    FullReset,
    HeadReset,
    Intervention,
    PlasticOptimizer,
    ShrinkAndPerturb,
    Switch,
    UnitReset,
    Update,
)
from agents.plasticity.resets.whole import Oracle
from agents.plasticity.units import Affine, Orthogonal, TorchDefault

SWITCH = Switch("next", 1, 1)


def built(kind: str) -> Case:
    torch.manual_seed(0)
    case = POLICIES[kind]()
    case.train_step()
    return case


def switched(learner: Any) -> None:
    """A task switch is revealed, and the update ends."""
    learner.hooks.after_update([SWITCH])


def shifted(case: Case, by: float = 3.0) -> None:
    """Weights that no init would draw, targets' too."""
    with torch.no_grad():
        for parameter in case.policy.parameters():
            parameter += by


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


# ---------------------------------------------------------------------------------------------------- full


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
        criterion="random", selection={"name": "percentage", "share": 0.5}, period=4, maturity=6, score_every=1
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


# ---------------------------------------------------------------------------------------------------- head


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


# ---------------------------------------------------------------------------------------------------- schedule


MAKERS: list[Callable[..., Intervention]] = [
    FullReset,
    HeadReset,
    lambda period: ShrinkAndPerturb(period=period, shrink=0.9, perturb=0.1),
]


@pytest.mark.parametrize("make", MAKERS)
def test_a_period_is_counted_in_gradient_steps_and_waits_for_the_end_of_the_update(make: Callable) -> None:
    learner = Regression([make(period=10)], rate=0.0)
    acted, before = [], learner.parameters()
    for steps in (4, 5, 4, 6, 30):
        learner.train(steps)
        if any(not torch.equal(tensor, before[name]) for name, tensor in learner.parameters().items()):
            acted.append(learner.optimizer_steps)
        before = learner.parameters()
    assert acted == [13, 49]


@pytest.mark.parametrize(("make", "number"), list(zip(MAKERS, (0, 4, 0), strict=True)))
def test_period_one_acts_at_every_step(make: Callable, number: int) -> None:
    learner = Regression([make(period=1)], rate=0.0)
    for _ in range(3):
        before = learner.parameters()
        with learner.forward():
            loss = learner.loss(learner.module(learner.x), learner.y).mean()
        learner.step(loss, update_ends=False)
        assert not torch.equal(learner.module[number].weight, before[f"{number}.weight"])
        before = learner.parameters()
        learner.after_update()
        assert torch.equal(learner.module[number].weight, before[f"{number}.weight"])


@pytest.mark.parametrize("make", [FullReset, HeadReset, lambda: ShrinkAndPerturb(mode="boundary")])
def test_without_a_period_it_acts_at_revealed_switches_once_each(make: Callable) -> None:
    reset = make()
    assert reset.uses_boundaries
    learner = Regression([reset], rate=0.0)
    before = learner.parameters()
    learner.train(5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.parameters().items())
    learner.after_update(SWITCH)
    after = learner.parameters()
    assert not torch.equal(after["4.weight"], before["4.weight"])
    learner.train(5)
    assert all(torch.equal(tensor, after[name]) for name, tensor in learner.parameters().items())


@pytest.mark.parametrize("make", [lambda: FullReset(period=100), lambda: HeadReset(period=100), ShrinkAndPerturb])
def test_with_a_period_switches_do_not_matter(make: Callable) -> None:
    reset = make()
    assert not reset.uses_boundaries
    learner = Regression([reset], rate=0.0)
    before = learner.parameters()
    learner.train(5)
    learner.after_update(SWITCH)
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.parameters().items())


def test_a_switch_that_was_saved_is_not_forgotten() -> None:
    reset = FullReset()
    learner = Regression([reset])
    reset.on_task_switch(SWITCH)
    state = reset.state_dict()
    other = FullReset()
    learner = Regression([other])
    other.load_state_dict(state)
    before = learner.parameters()
    learner.after_update()
    assert not torch.equal(learner.module[0].weight, before["0.weight"])


def test_it_counts_from_where_a_learner_stands() -> None:
    learner = Regression().train(25)
    reset = FullReset(period=10)
    learner.interventions.append(reset)
    reset.attach(learner)
    learner.train(4)
    assert learner.edits == []
    learner.train(1)
    assert [step for step, _ in learner.edits] == [30]


# ---------------------------------------------------------------------------------------------------- shrinking


def test_boundary_mode_is_its_closed_form() -> None:
    reset = ShrinkAndPerturb(mode="boundary", shrink=0.4, perturb=0.3)
    assert (reset.period, reset.uses_boundaries) == (None, True)
    learner = Regression([reset])
    learner.train(2)
    before = learner.parameters()
    moments = {id(p): learner.optimizers[0].state[p]["exp_avg"].clone() for p in learner.module.parameters()}
    learner.after_update(SWITCH)
    for number, part in enumerate(learner.networks["net"].parts):
        place = 2 * number
        fresh = part.init.draw(part.module, reset._generator("net", number, 2))
        for key, drawn in zip(("weight", "bias"), fresh, strict=True):
            expected = 0.4 * before[f"{place}.{key}"] + 0.3 * drawn
            torch.testing.assert_close(getattr(part.module, key).detach(), expected)
    for parameter in learner.module.parameters():
        assert torch.equal(learner.optimizers[0].state[parameter]["exp_avg"], moments[id(parameter)])
    assert learner.edits == []  # no unit is new


def wide(reset: ShrinkAndPerturb, init: Callable[[Tensor], object]) -> nn.Linear:
    """A large layer that the reset works on."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(120, 100), nn.Tanh(), nn.Linear(100, 120))
    with torch.no_grad():
        init(model[0].weight)
        model[0].bias.fill_(5.0)
    Regression([reset], model=model, x=torch.randn(2, 120))
    return model[0]


def pass_steps(reset: ShrinkAndPerturb, first: int, last: int) -> None:
    for step in range(first, last + 1):
        update = Update(("net",), None, {}, torch.optim.SGD([torch.zeros(1)]), 0.0, step)
        reset.after_backward(update)
        reset.after_step(update)
    reset.after_update()


def test_a_thousand_soft_steps_at_once_have_the_mean_and_the_variance_of_single_steps() -> None:
    shrink, perturb, steps = 0.999, 0.05, 1000
    found = {}
    for period in (1, steps):
        reset = ShrinkAndPerturb(shrink=shrink, perturb=perturb, period=period)
        layer = wide(reset, lambda weight: weight.fill_(2.0))
        pass_steps(reset, 1, steps)
        found[period] = layer.weight.detach().double(), layer.bias.detach().double()
    bound = 1 / math.sqrt(120)  # of the init, whose variance is bound^2 / 3
    left = shrink**steps
    deviation = perturb * bound / math.sqrt(3) * math.sqrt((1 - shrink ** (2 * steps)) / (1 - shrink**2))
    for weight, bias in found.values():
        assert abs(float(weight.mean()) - 2 * left) < 4 * deviation / math.sqrt(weight.numel())
        assert abs(float(weight.std()) / deviation - 1) < 0.03
        assert abs(float(bias.mean()) - 5 * left) < 4 * deviation / math.sqrt(bias.numel())
        assert abs(float(bias.std()) / deviation - 1) < 0.35
    (singles, _), (once, _) = found[1], found[steps]
    for level in (0.05, 0.25, 0.75, 0.95):  # sums of many draws are Gaussian too
        assert abs(float(singles.quantile(level) - once.quantile(level))) < 0.1 * deviation


def test_noise_of_weights_and_of_biases_differ() -> None:
    reset = ShrinkAndPerturb(shrink=1.0, perturb=1.0, period=4)
    layer = wide(reset, nn.init.zeros_)
    layer.bias.data.zero_()
    pass_steps(reset, 1, 4)
    weight, bias = layer.weight.detach().flatten()[:100], layer.bias.detach()
    correlation = torch.corrcoef(torch.stack([weight, bias]))[0, 1]
    assert abs(float(correlation)) < 0.4


@pytest.mark.parametrize(("shrink", "total"), [(0.5, 1.9375), (1.0, 5.0)])
def test_soft_steps_of_a_normalisation_are_exact(shrink: float, total: float) -> None:
    """Its weights are drawn as 1 and its biases as 0, without any variance: 1 + s + s^2 + s^3 + s^4 times perturb."""
    model = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 2))
    reset = ShrinkAndPerturb(shrink=shrink, perturb=0.25, period=5)
    Regression([reset], model=model)
    with torch.no_grad():
        model[1].weight.fill_(3.0)
        model[1].bias.fill_(2.0)
    pass_steps(reset, 1, 5)
    torch.testing.assert_close(model[1].weight.detach(), torch.full((6,), 3 * shrink**5 + 0.25 * total))
    torch.testing.assert_close(model[1].bias.detach(), torch.full((6,), 2 * shrink**5))


def test_soft_steps_are_made_for_every_period_that_has_passed() -> None:
    reset = ShrinkAndPerturb(shrink=0.5, perturb=0.0, period=2)
    layer = wide(reset, nn.init.ones_)
    pass_steps(reset, 1, 7)
    torch.testing.assert_close(layer.weight.detach(), torch.full((100, 120), 0.5**6))
    pass_steps(reset, 8, 8)
    torch.testing.assert_close(layer.weight.detach(), torch.full((100, 120), 0.5**8))


def test_to_init_is_its_closed_form() -> None:
    reset = ShrinkAndPerturb(mode="to_init", shrink=0.9, period=3)
    assert not reset.uses_boundaries
    learner = Regression([reset], rate=0.0)
    start = learner.parameters()
    with torch.no_grad():
        for parameter in learner.module.parameters():
            parameter += 2
    pass_steps(reset, 1, 7)
    for name, tensor in learner.parameters().items():
        torch.testing.assert_close(tensor, start[name] + 2 * 0.9**6)


def test_anchors_follow_resets() -> None:
    anchored = ShrinkAndPerturb(mode="to_init", shrink=0.5, period=4)
    learner = Regression([anchored], rate=0.0)
    start = learner.parameters()
    with torch.no_grad():
        learner.module[0].weight[[2, 7]] = 6.0
        learner.module[0].bias[[2, 7]] = 8.0
    # unit 2 is new; unit 7 was changed in part, and goes back to where it began
    amounts = torch.zeros(20)
    amounts[2], amounts[7] = 1.0, 0.9
    anchored.on_surgery(Edit({"net.0": amounts, "elsewhere.0": torch.ones(3)}))
    pass_steps(anchored, 1, 4)
    weight, bias = learner.module[0].weight.detach(), learner.module[0].bias.detach()
    assert (weight[2] == 6).all()
    assert bias[2] == 8
    near = 0.5**4
    torch.testing.assert_close(weight[7], start["0.weight"][7] * (1 - near) + 6 * near)
    torch.testing.assert_close(bias[7], start["0.bias"][7] * (1 - near) + 8 * near)
    others = [unit for unit in range(20) if unit not in (2, 7)]
    torch.testing.assert_close(weight[others], start["0.weight"][others])


def test_anchors_are_where_units_really_began() -> None:
    """With a unit reset beside it, a new unit is pulled to its own first weights."""
    reset = UnitReset(
        criterion="random", selection={"name": "percentage", "share": 0.2}, period=2, maturity=0, score_every=1
    )
    anchored = ShrinkAndPerturb(mode="to_init", shrink=0.0, period=3)
    learner = Regression([reset, anchored], rate=0.0).train(2)
    units = learner.units("net.0")
    new = learner.module[0].weight[units].detach().clone()
    learner.module[0].weight.data += 1
    learner.train(1)
    torch.testing.assert_close(learner.module[0].weight[units].detach(), new)


@pytest.mark.parametrize("kind", ["dqn-mlp", "sac-mlp"])
@pytest.mark.parametrize("mode", ["soft", "boundary", "to_init"])
def test_targets_and_moments_are_left_alone(kind: str, mode: str) -> None:
    case = built(kind)
    arguments = {} if mode == "boundary" else {"period": 2}
    learner = CaseLearner(case, [ShrinkAndPerturb(mode=mode, shrink=0.5, **arguments)])
    learner.train(1)
    targets = [target.clone() for target in case.targets.values()]
    before = [p.clone() for network in case.networks.values() for p in network.parameters]
    learner.optimizer_steps = 1
    for intervention in learner.hooks._interventions:
        intervention.after_backward(Update(("critic",), None, {}, case.optimizers[0], 0.0, 2))
    switched(learner)
    after = [p for network in case.networks.values() for p in network.parameters]
    assert not any(torch.equal(*pair) for pair in zip(before, after, strict=True) if pair[0].any())
    assert all(torch.equal(*pair) for pair in zip(targets, case.targets.values(), strict=True))


def test_state_of_other_networks_is_refused() -> None:
    one, other = (ShrinkAndPerturb(mode="to_init") for _ in range(2))
    Regression([one])
    Regression([other], model=nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)))
    with pytest.raises(ValueError, match=r"shrink_and_perturb: the saved state is of other networks: anchor/net/4"):
        other.load_state_dict(one.state_dict())


# ---------------------------------------------------------------------------------------------------- arguments


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


def test_anchors_follow_layers_that_are_drawn_anew_as_a_whole() -> None:
    pull, head = ShrinkAndPerturb(mode="to_init", shrink=0.0, period=1), HeadReset(period=1)
    learner = Regression([head, pull])
    begun = learner.module[-1].weight.detach().clone()
    learner.train(1)  # the head is drawn anew, then everything is pulled all the way to where it began
    drawn = learner.module[-1].weight.detach().clone()
    assert not torch.equal(drawn, begun)
    learner.interventions.remove(head)
    learner.train(3)
    assert torch.equal(learner.module[-1].weight, drawn)


def test_statistics_without_parameters_are_reset() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, affine=False), nn.ReLU(), nn.Linear(6, 1))
    optimizer = PlasticOptimizer(torch.optim.Adam(model.parameters()), model, [FullReset(period=1)])
    with optimizer.forward():
        loss = model(torch.randn(16, 4) + 5).square().mean()
    optimizer.step(loss)
    assert model[1].running_mean.eq(0).all()
    assert model[1].running_var.eq(1).all()
