"""What leaves a unit, what a bias absorbs, and what a layer refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agents.plasticity.units import Consumer, Network, Part, TorchDefault, UnitLayer, chain
from agents.plasticity.units.builders import parts_of


def layer(*consumers: Consumer, constants: tuple = ()) -> UnitLayer:
    return UnitLayer("net.0", "net", nn.Linear(4, 3), nn.ReLU(), consumers, TorchDefault(), constants)


def test_a_consumer_spreads_values_over_blocks() -> None:
    weight = torch.arange(14.0).view(2, 7)
    piece, columns = Consumer(weight, start=1, block=3).columns(torch.tensor([0.25, 1.0]))
    assert piece.tolist() == [[1, 2, 3, 4, 5, 6], [8, 9, 10, 11, 12, 13]]
    assert columns.tolist() == [[0.25] * 3 + [1.0] * 3]
    piece.zero_()
    assert weight.tolist() == [[0.0] + [0.0] * 6, [7.0] + [0.0] * 6]  # a view: the weight itself is changed


def test_outgoing_weights_of_a_flattened_map_are_told_by_position() -> None:
    weight = torch.arange(14.0).view(2, 7)
    out = Consumer(weight, start=1, block=3).outgoing(2)
    assert out.tolist() == [[[1, 2, 3], [8, 9, 10]], [[4, 5, 6], [11, 12, 13]]]  # (units, weights, positions)


def test_outgoing_weights_to_a_convolution_are_its_kernels() -> None:
    weight = torch.arange(24.0).view(3, 2, 2, 2)
    out = Consumer(weight).outgoing(2)
    assert out.shape == (2, 12, 1)
    assert sorted(out[1].flatten().tolist()) == sorted(weight[:, 1].flatten().tolist())


def test_outgoing_weights_of_several_consumers_follow_each_other() -> None:
    first, second = torch.arange(6.0).view(2, 3), torch.arange(10.0, 18.0).view(2, 4)
    both = layer(Consumer(first), Consumer(second, start=1))
    assert both.outgoing().squeeze(2).tolist() == [[0, 3, 11, 15], [1, 4, 12, 16], [2, 5, 13, 17]]
    assert (both.units, both.positions) == (3, 1)
    assert layer(Consumer(torch.zeros(2, 12), block=4)).positions == 4


def test_a_bias_absorbs_the_mean_of_what_is_lost() -> None:
    weight = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    lost = torch.tensor([0.0, 1.0])
    consumer = Consumer(weight, torch.tensor([0.5, 0.0]), block=2)
    consumer.absorb(lost, torch.tensor([100.0, 10.0]))
    assert consumer.bias.tolist() == [0.5 + 10 * (3 + 4), 10 * (7 + 8)]
    by_position = Consumer(weight, torch.zeros(2), block=2)
    by_position.absorb(lost, torch.tensor([[100.0, 100.0], [10.0, 1.0]]))
    assert by_position.bias.tolist() == [30 + 4, 70 + 8]
    in_part = Consumer(weight, torch.zeros(2), block=2)
    in_part.absorb(torch.tensor([0.5, 0.25]), torch.tensor([2.0, 4.0]))
    assert in_part.bias.tolist() == [3 + 7, 11 + 15]
    behind = Consumer(weight, torch.zeros(2), start=2)
    behind.absorb(lost, torch.tensor([7.0, 3.0]))
    assert behind.bias.tolist() == [12, 24]
    kernel = Consumer(torch.ones(3, 2, 2, 2), torch.zeros(3))
    kernel.absorb(lost, torch.tensor([7.0, 5.0]))
    assert kernel.bias.tolist() == [20.0] * 3
    Consumer(weight, block=2).absorb(lost, torch.tensor([1.0, 1.0]))  # no bias, nothing to do


def test_a_mean_of_a_unit_that_stays_is_not_looked_at() -> None:
    consumer = Consumer(torch.ones(1, 2), torch.zeros(1))
    consumer.absorb(torch.tensor([0.0, 1.0]), torch.tensor([float("nan"), 3.0]))
    assert consumer.bias.tolist() == [3.0]


def test_a_layer_that_nothing_reads_or_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"net\.0: nothing reads the units of Linear.*; give the consumers' weights"):
        layer()
    for consumer in (Consumer(torch.zeros(2, 2)), Consumer(torch.zeros(2, 3), start=1),
                     Consumer(torch.zeros(2, 5), block=2), Consumer(torch.zeros(2, 9), start=-1)):  # fmt: skip
        with pytest.raises(ValueError, match=r"net\.0: a consumer with \d inputs cannot read 3 units of \d columns"):
            layer(consumer)
    with pytest.raises(ValueError, match=r"net\.0: a constant has not 3 rows"):
        layer(Consumer(torch.zeros(2, 3)), constants=((torch.zeros(2), 0.0),))


def test_a_networks_parameters_are_those_of_its_parts() -> None:
    hidden, output = nn.Linear(4, 3, bias=False), nn.Linear(3, 2)
    parts = (Part(hidden, TorchDefault(), 1), Part(output, TorchDefault(), 0))
    network = Network("net", (), parts)
    assert [id(p) for p in network.parameters] == [id(hidden.weight), id(output.weight), id(output.bias)]
    assert (network.constants, network.fixed) == ((), {})


def test_a_network_is_declared_whole() -> None:
    hidden, output = nn.Linear(4, 3), nn.Linear(3, 2)
    layer = chain("net", [hidden, nn.ReLU()], [(output, 0)], TorchDefault())[0]
    parts = tuple(parts_of([hidden, output], TorchDefault(), above=0))
    assert Network("net", (layer,), parts).parameters == (hidden.weight, hidden.bias, output.weight, output.bias)
    with pytest.raises(ValueError, match=r"net: the producer of net\.0 is not among the parts; add it"):
        Network("net", (layer,), parts[1:])
    with pytest.raises(ValueError, match=r"other: net\.0 is of the network 'net'; give both one name"):
        Network("other", (layer,), parts)
