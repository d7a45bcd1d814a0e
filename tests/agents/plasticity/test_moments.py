"""What optimizers remember of weights that were made new."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from stable_baselines3.common.sb2_compat.rmsprop_tf_like import RMSpropTFLike
from torch import Tensor, nn, optim

from agents.plasticity import TRAC, UPGD, AdamO, Muon, PlasticOptimizer, UnitReset
from agents.plasticity.moments import KNOWN, SCALARS, refuse_unknown_moments, renew_moments

OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "Adam": optim.Adam,
    "AMSGrad": lambda p: optim.Adam(p, amsgrad=True),
    "AdamW": optim.AdamW,
    "NAdam": optim.NAdam,
    "RAdam": optim.RAdam,
    "Adamax": optim.Adamax,
    "Adadelta": optim.Adadelta,
    "Adagrad": optim.Adagrad,
    "Adafactor": optim.Adafactor,
    "ASGD": optim.ASGD,
    "RMSprop": lambda p: optim.RMSprop(p, momentum=0.9, centered=True),
    "Rprop": lambda p: optim.Rprop(p, lr=0.01),
    "SGD": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "TRAC": TRAC,
    "UPGD": UPGD,
    "AdamO": AdamO,
    "Muon": Muon,
    "RMSpropTFLike": lambda p: RMSpropTFLike(p, momentum=0.9, centered=True),
}


def stepped(make: Callable[[Any], optim.Optimizer]) -> tuple[optim.Optimizer, nn.Parameter]:
    torch.manual_seed(0)
    weight = nn.Parameter(torch.randn(4, 3))
    optimizer = make([weight])
    for _ in range(5):
        weight.grad = torch.randn(4, 3)
        optimizer.step()
    return optimizer, weight


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_forgets_the_rows_that_are_new_and_no_others(name: str) -> None:
    optimizer, weight = stepped(OPTIMIZERS[name])
    before = {key: value.clone() for key, value in optimizer.state[weight].items() if isinstance(value, Tensor)}
    assert before.keys() <= KNOWN
    refuse_unknown_moments([optimizer])
    with torch.no_grad():
        weight[1] = 7.0
    rows = torch.tensor([False, True, False, False]).view(-1, 1)
    renew_moments([optimizer], {weight: rows})
    kept = torch.tensor([0, 2, 3])
    for key, old in before.items():
        new = optimizer.state[weight][key]
        if key in SCALARS or key == "col_var":  # Adafactor's columns are shared by all rows
            assert torch.equal(new, old)
            continue
        assert torch.equal(new[kept], old[kept])
        if key in ("exp_avg", "momentum_buffer", "grad_avg", "max_exp_avg_sq", "prev", "utility", "offset"):
            expected = torch.zeros(3)
        elif key == "step_size":
            expected = torch.full((3,), 0.01)
        elif key == "ax":
            expected = torch.full((3,), 7.0)
        elif key == "row_var":
            expected = old[kept].mean().view(1)
        else:
            expected = old[kept].mean().expand(3)
        torch.testing.assert_close(new[1], expected)


def test_columns_of_a_factored_moment() -> None:
    optimizer, weight = stepped(optim.Adafactor)
    old = optimizer.state[weight]["col_var"].clone()
    renew_moments([optimizer], {weight: torch.tensor([[True, False, False]])})
    new = optimizer.state[weight]["col_var"]
    torch.testing.assert_close(new[0, 0], old[0, 1:].mean())
    assert torch.equal(new[0, 1:], old[0, 1:])


class Slow(optim.SGD):
    """Remembers where its weights were, as Lookahead does."""

    def step(self, closure: Any = None) -> Any:
        super().step()
        for group in self.param_groups:
            for weight in group["params"]:
                self.state[weight]["slow_weights"] = weight.detach().clone()


def test_an_optimizer_that_remembers_something_unknown_is_refused_at_its_first_step() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))

    def optimizer_with(surgery: dict[str, Any]) -> PlasticOptimizer:
        reset = UnitReset(criterion="magnitude", selection={"name": "percentage", "share": 0.5}, surgery=surgery)
        return PlasticOptimizer(Slow(model.parameters(), lr=0.1), model, [reset])

    def step(optimizer: PlasticOptimizer) -> None:
        with optimizer.forward():
            loss = model(torch.ones(2, 3)).square().mean()
        optimizer.step(loss)

    with pytest.raises(ValueError, match=r"Slow remembers 'slow_weights' of its weights, which resets cannot make n"):
        step(optimizer_with({}))
    step(optimizer_with({"moments": "keep"}))
