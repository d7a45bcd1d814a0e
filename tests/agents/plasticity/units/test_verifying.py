"""A graph that is not what a forward really does is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from modules import Mlp
from torch import Tensor, nn

from agents.plasticity.units import traced


class Liar(nn.Module):
    """Does something else than it says it does, if it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.out = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 2)
        self.lie: Callable[[Any, Tensor], Any] | None = None

    def forward(self, x: Tensor) -> Any:
        h = torch.relu(self.one(x))
        return self.out(torch.relu(self.two(h))) if self.lie is None else self.lie(self, h)


LIES: dict[str, Callable[[Any, Tensor], Any]] = {
    "reach Linear.* at other places": lambda m, h: m.out(torch.relu(m.two(h.flip(1)))),
    r"reach Linear\(in_features=6, out_features=2": lambda m, h: m.out(torch.relu(m.two(h)) + h),
    "reach Linear.* at other": lambda m, h: m.out(torch.relu(m.two(h - h.mean(0)))),
    "reach Linear.* at other pl": lambda m, h: m.out(torch.relu(m.two(h * (torch.arange(6) != 3)))),
    "past all layers": lambda m, h: (m.out(torch.relu(m.two(h))), h),
    "runs twice": lambda m, h: m.out(torch.relu(m.two(torch.relu(m.two(h))))),
    "does not run": lambda m, h: m.out(h),
}


@pytest.mark.parametrize("message", LIES)
def test_a_forward_that_does_something_else_is_refused(message: str) -> None:
    model = Liar()
    network = traced(model)
    x = torch.randn(20, 4)
    network.verify(((x,), {}))
    model.lie = LIES[message]
    with pytest.raises(ValueError, match=f"the forward of Liar does something else than what was traced: .*{message}"):
        network.verify(((x,), {}))


def test_every_unit_is_told_from_the_others() -> None:
    """Two of 300 units have changed places, on a batch of one and of many."""
    model = Liar()
    model.one, model.two = nn.Linear(4, 300), nn.Linear(300, 6)
    network = traced(model)
    order = torch.arange(300)
    order[[17, 18]] = torch.tensor([18, 17])
    for n in (1, 7, 100):
        model.lie = None
        network.verify(((torch.randn(n, 4),), {}))
        model.lie = lambda m, h: m.out(torch.relu(m.two(h[:, order])))
        with pytest.raises(ValueError, match="at other places"):
            network.verify(((torch.randn(n, 4),), {}))


def test_an_example_without_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"puts out \(8,\); a batch of examples has the units in axis 1"):
        traced(Mlp(), example=torch.randn(4))


def test_a_forward_may_know_its_batch_size() -> None:
    class Fixed(Mlp):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.view(50, 4))

    assert traced(Fixed(), example=torch.randn(50, 4)).is_verified
