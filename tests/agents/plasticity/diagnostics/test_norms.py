"""Sizes, worked out by hand."""

from __future__ import annotations

import pytest
import torch

from agents.plasticity.diagnostics import norm, signal, weight_norm
from agents.plasticity.diagnostics.norms import flat


def test_norms() -> None:
    assert norm([torch.tensor([3.0]), torch.tensor([[4.0]])]).item() == pytest.approx(5.0)
    assert weight_norm([torch.tensor([1.0]), torch.tensor([[7.0]])]).item() == pytest.approx(5.0)


def test_flat_is_a_copy() -> None:
    weight = torch.nn.Parameter(torch.ones(2, 2))
    vector = flat([weight])
    weight.data.zero_()
    assert vector.tolist() == [1.0] * 4
    assert not vector.requires_grad


def test_signal_is_the_mean_size_of_a_samples_gradient() -> None:
    # The loss is a mean over two samples: their own gradients are (6, 8), of size 10, and 0.
    assert signal([torch.tensor([[3.0, 4.0], [0.0, 0.0]])]).item() == pytest.approx(5.0)
    two = [torch.tensor([[3.0], [0.0]]), torch.tensor([4.0, 12.0]).view(2, 1, 1, 1)]
    assert signal(two).item() == pytest.approx((10 + 24) / 2)


def test_signal_does_not_depend_on_the_size_of_the_batch() -> None:
    a = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    found = []
    for batch in (a, a.repeat(4, 1)):
        batch.requires_grad_()
        (gradient,) = torch.autograd.grad(batch.square().sum(1).mean(), batch)
        found.append(signal([gradient]).item())
    assert found[1] == pytest.approx(found[0])
    assert found[0] == pytest.approx((2 * a).norm(dim=1).mean().item())
