"""AdamO: steps to isometries worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from agents.plasticity import AdamO
from agents.plasticity.isometry import gap, slope


def after(weight: Any, **settings: Any) -> Tensor:
    """A parameter after a step without a gradient of the loss."""
    parameter = nn.Parameter(torch.tensor(weight))
    optimizer = AdamO([parameter], lr=0.01, **settings)
    parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    return parameter.detach()


def test_steps_are_as_worked_out_by_hand() -> None:
    """4 (W W^T - I) W has 4 * 3 * 2 = 24 at the singular value 2, and 4 * (2 - 1) * 1 where columns are fewer."""
    torch.testing.assert_close(after([[2.0, 0.0], [0.0, 1.0]], coefficient=1.0), torch.tensor([[1.76, 0], [0, 1]]))
    torch.testing.assert_close(after([[1.0], [1.0]], coefficient=1.0), torch.tensor([[0.96], [0.96]]))
    torch.testing.assert_close(after([[1.0], [1.0]], coefficient=1.0, scale=2.0), torch.tensor([[1.0], [1.0]]))
    convolution = [[[[1.0], [0.0]], [[1.0], [0.0]]]]  # one channel of two inputs and two places: a row of four
    expected = torch.tensor([[[[0.96], [0.0]], [[0.96], [0.0]]]])
    torch.testing.assert_close(after(convolution, coefficient=1.0), expected)
    assert after([2.0, 2.0], coefficient=1.0).tolist() == [2.0, 2.0]  # a bias


@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_the_slope_is_that_of_the_squared_norm(shape: tuple[int, int]) -> None:
    weight = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    gram = weight @ weight.T if shape[0] < shape[1] else weight.T @ weight
    (gram - 1.5 * torch.eye(3)).square().sum().backward()
    held = weight.detach()
    torch.testing.assert_close(4 * slope(gap(held, 1.5), held), weight.grad)


def test_moments_see_the_gradient_of_the_loss_alone_and_without_strength_it_is_adam() -> None:
    found = []
    for kind, settings in ((torch.optim.Adam, {}), (AdamO, {"coefficient": 0.0}), (AdamO, {"coefficient": 1.0})):
        torch.manual_seed(0)
        weight = nn.Parameter(torch.randn(4, 3))
        optimizer = kind([weight], lr=1e-2, **settings)
        for _ in range(5):
            weight.grad = torch.randn(4, 3)
            optimizer.step()
        found.append((weight.detach(), optimizer.state[weight]["exp_avg"], optimizer.state[weight]["exp_avg_sq"]))
    adam, without, with_strength = found
    assert all(map(torch.equal, adam, without))
    assert all(map(torch.equal, adam[1:], with_strength[1:]))
    assert not torch.equal(adam[0], with_strength[0])
