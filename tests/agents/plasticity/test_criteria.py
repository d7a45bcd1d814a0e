"""Utilities worked out by hand, and against autograd sample by sample."""

import torch
from torch import nn

from agents.plasticity import criteria
from agents.plasticity.taps import Taps
from agents.plasticity.units import Orthogonal, chain


def test_gxd_of_a_linear_layer_by_hand() -> None:
    a = torch.tensor([[1.0, 2.0], [3.0, -4.0]])
    g = torch.tensor([[0.5, 0.1], [-0.5, 0.2]])  # of a mean over two samples: per sample 1, .2 and -1, .4
    # unit 0: (|1*1| + |-1*3|) / 2 = 2; unit 1: (|.2*2| + |.4*-4|) / 2 = 1
    torch.testing.assert_close(criteria.gxd(a, g), torch.tensor([2.0, 1.0]))
    # reference 1: unit 0: (0 + |-1*2|) / 2 = 1; unit 1: (|.2*1| + |.4*-5|) / 2 = 1.1
    torch.testing.assert_close(criteria.gxd(a, g, reference=1.0), torch.tensor([1.0, 1.1]))


def test_gxd_of_a_convolution_sums_positions_inside_the_absolute_value() -> None:
    a = torch.tensor([[[[1.0, 1.0]], [[2.0, 0.0]]]])  # one sample, two channels, one row of two positions
    g = torch.tensor([[[[3.0, -3.0]], [[1.0, 5.0]]]])
    torch.testing.assert_close(criteria.gxd(a, g), torch.tensor([0.0, 2.0]))


def test_redo_by_hand() -> None:
    torch.testing.assert_close(criteria.redo(torch.tensor([[1.0, -2.0], [3.0, 0.0]])), torch.tensor([2.0, 1.0]))
    board = torch.tensor([[[[1.0, -1.0]], [[0.0, 4.0]]]])
    torch.testing.assert_close(criteria.redo(board), torch.tensor([1.0, 2.0]))


def test_redo_agrees_with_a_loop_and_has_mean_one() -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in [(7, 5), (7, 5, 3, 2)]:
        a = torch.randn(shape, generator=generator)
        loop = torch.stack([torch.stack([a[b, i].abs().mean() for b in range(7)]).mean() for i in range(5)])
        torch.testing.assert_close(criteria.redo(a), loop)
        torch.testing.assert_close(criteria.normalized(criteria.redo(a)).mean(), torch.tensor(1.0))
        torch.testing.assert_close(criteria.normalized(loop), loop / loop.mean())


def test_regrama_by_hand() -> None:
    torch.testing.assert_close(criteria.regrama(torch.tensor([[1.0, -3.0], [0.0, 1.0]])), torch.tensor([2.0, 0.5]))
    kernel = torch.tensor([[[[1.0, -1.0]]], [[[4.0, 0.0]]]])
    torch.testing.assert_close(criteria.regrama(kernel), torch.tensor([1.0, 2.0]))


def _network() -> tuple[nn.Sequential, list]:
    torch.manual_seed(3)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(36, 6), nn.Tanh(), nn.Linear(6, 2)
    ).double()
    return network, chain("net", list(network)[:-1], [(network[-1], 0)], Orthogonal(1.0))


def test_gxd_agrees_with_autograd_on_each_sample() -> None:
    network, layers = _network()
    x, y = torch.randn(8, 2, 5, 5, dtype=torch.float64), torch.randn(8, 2, dtype=torch.float64)
    with Taps(layers) as taps:
        loss = (network(x) - y).square().sum(1).mean()
    loss.backward()
    seen = taps.read()
    expected = {layer.name: torch.zeros(layer.units, dtype=torch.float64) for layer in layers}
    for sample, target in zip(x, y, strict=True):
        with Taps(layers) as alone:
            own_loss = (network(sample[None]) - target).square().sum()
        own_loss.backward()
        for name, (a, g) in alone.read().items():
            expected[name] += (a * g).flatten(2).sum(-1).abs()[0] / 8 if a.dim() > 2 else (a * g).abs()[0] / 8
    for layer in layers:
        torch.testing.assert_close(criteria.gxd(*seen[layer.name]), expected[layer.name])


def test_signed_cost_is_the_directional_derivative() -> None:
    network, layers = _network()
    x, y = torch.randn(64, 2, 5, 5, dtype=torch.float64), torch.randn(64, 2, dtype=torch.float64)

    def loss_with(layer: object, unit: int, share: float) -> torch.Tensor:
        """The loss when a unit's activation is replaced by (1 - share) times itself."""

        def shrink(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
            scale = torch.ones(output.shape[1], dtype=torch.float64)
            scale[unit] = 1 - share
            return output * scale.view(1, -1, *[1] * (output.dim() - 2))

        handle = layer.tap.register_forward_hook(shrink)
        loss = (network(x) - y).square().sum(1).mean()
        handle.remove()
        return loss.detach()

    with Taps(layers) as taps:
        loss = (network(x) - y).square().sum(1).mean()
    loss.backward()
    for layer in layers:
        a, g = taps.read()[layer.name]
        signed = (g * (0 - a)).flatten(1) if a.dim() == 2 else (g * (0 - a)).flatten(2).sum(-1)
        for unit in range(layer.units):
            slope = (loss_with(layer, unit, 1e-6) - loss_with(layer, unit, -1e-6)) / 2e-6
            torch.testing.assert_close(signed.sum(0)[unit], slope, rtol=1e-3, atol=1e-9)
