"""Shrinking all weights: closed forms, noise, and where weights began."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from small_loop import CaseLearner, Regression
from torch import Tensor, nn
from whole_networks import SWITCH, built, switched

from agents.plasticity import (
    Edit,
    HeadReset,
    ShrinkAndPerturb,
    UnitReset,
    Update,
)


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
    assert not any(edit.amounts or edit.tensors for _, edit in learner.edits)  # no unit is new


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
