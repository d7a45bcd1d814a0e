"""New weights are distributed as those of a new module, and come from their own generator alone."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from agents.plasticity.units import Affine, HeNormal, Init, Orthogonal, TorchDefault


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


@pytest.mark.parametrize("module", [nn.Linear(8, 5), nn.Linear(5, 8), nn.Conv2d(3, 4, 2), nn.Conv2d(2, 20, 3)])
def test_orthogonal_rows_or_columns_have_the_gain_as_their_length(module: nn.Module) -> None:
    weight, bias = Orthogonal(1.5).draw(module, generator())
    assert weight.shape == module.weight.shape
    matrix = weight.flatten(1)
    short = matrix if len(matrix) <= matrix.shape[1] else matrix.T
    torch.testing.assert_close(short @ short.T, 2.25 * torch.eye(len(short)), rtol=0, atol=1e-5)
    assert torch.equal(bias, torch.zeros(len(weight)))
    expected = torch.empty_like(weight)
    nn.init.orthogonal_(expected, 1.5, generator=generator())
    assert torch.equal(weight, expected)


@pytest.mark.parametrize("module", [nn.Linear(100, 60), nn.Conv2d(4, 50, 5)])
def test_torchs_default_is_uniform_within_one_over_the_root_of_the_inputs(module: nn.Module) -> None:
    """Both, 1/sqrt(100) = 0.1 for each: nn.Linear's and nn.Conv2d's own weights keep to the same bound."""
    weight, bias = TorchDefault().draw(module, generator())
    for tensor in (weight, bias, module.weight.detach(), module.bias.detach()):
        assert tensor.abs().max() <= 0.1
        assert tensor.abs().max() > 0.09
    for tensor in (weight, module.weight.detach()):
        assert abs(tensor.mean()) < 0.003
        assert abs(tensor.std() * math.sqrt(3) / 0.1 - 1) < 0.03


def test_normalisations_begin_with_one_and_zero() -> None:
    weight, bias = Affine().draw(nn.LayerNorm((3, 2)), generator())
    assert torch.equal(weight, torch.ones(3, 2))
    assert torch.equal(bias, torch.zeros(3, 2))
    weight, bias = Affine().draw(nn.RMSNorm(3), generator())  # which has no bias
    assert torch.equal(weight, torch.ones(3))
    assert bias is None


def test_he_normal_is_that_of_torch_for_relu_with_zero_biases() -> None:
    weight, bias = HeNormal().draw(nn.Linear(8, 5), generator())
    assert torch.equal(weight, torch.empty(5, 8).normal_(0, 0.5, generator=generator()))  # sqrt(2/8)
    assert torch.equal(bias, torch.zeros(5))


@pytest.mark.parametrize("init", [Orthogonal(1.7), TorchDefault(), HeNormal(), Affine()])
@pytest.mark.parametrize(
    "module", [nn.Linear(8, 5), nn.Linear(5, 8), nn.Linear(6, 6), nn.Conv2d(3, 4, 2), nn.Conv2d(2, 20, 3)]
)
def test_statistics_are_those_of_many_draws(init: Init, module: nn.Module) -> None:
    draws = generator()
    drawn = [init.draw(module, draws) for _ in range(400)]
    for index, (mean, deviation) in enumerate(init.statistics(module)):
        entries = torch.stack([pair[index] for pair in drawn])
        assert abs(float(entries.mean()) - mean) <= 5 * deviation / math.sqrt(entries.numel())
        assert float(entries.std()) == pytest.approx(deviation, rel=0.05)


@pytest.mark.parametrize("init", [Orthogonal(1.0), TorchDefault(), Affine()])
def test_a_draw_is_its_generators_alone_and_leaves_the_module_as_it_is(init: Init) -> None:
    module = nn.Linear(6, 4, bias=False).double()
    before, state = module.weight.detach().clone(), torch.get_rng_state()
    drawn = [init.draw(module, generator()) for _ in range(2)]
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert drawn[0][0].dtype == torch.float64
    assert [bias for _, bias in drawn] == [None, None]
    assert not torch.equal(drawn[0][0], before)
    assert torch.equal(module.weight, before)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("init", [Orthogonal(1.0), TorchDefault(), HeNormal()])
def test_a_draw_is_the_same_where_another_device_is_the_default(init: Init) -> None:
    module = nn.Linear(6, 4)
    expected = init.draw(module, generator())
    with torch.device("meta"):
        found = init.draw(module, generator())
    assert all(map(torch.equal, found, expected))
