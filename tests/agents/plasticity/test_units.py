"""Unit graphs of sequences of modules: columns, offsets and refusals."""

import pytest
import torch
from torch import nn

from agents.plasticity.units import Consumer, TorchDefault, chain


def test_columns_of_a_flattened_convolution_are_blocks() -> None:
    conv, linear = nn.Conv2d(1, 3, 2), nn.Linear(12, 5)
    head = nn.Linear(5, 2)
    layers = chain("net", [conv, nn.ReLU(), nn.Flatten(), linear, nn.ReLU()], [(head, 0)], TorchDefault())
    assert [(layer.name, layer.units) for layer in layers] == [("net.0", 3), ("net.1", 5)]
    consumer = layers[0].consumers[0]
    assert consumer.weight is linear.weight
    assert consumer.block == 4
    piece, columns = consumer.columns(torch.tensor([False, True, False]))
    assert piece.shape == (5, 12)
    assert columns.flatten().tolist() == [False] * 4 + [True] * 4 + [False] * 4


def test_columns_of_a_convolution_are_its_input_channels() -> None:
    first, second = nn.Conv2d(1, 3, 2), nn.Conv2d(3, 4, 2)
    modules = [first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(36, 2), nn.ReLU()]
    layers = chain("net", modules, [(nn.Linear(2, 1), 0)], TorchDefault())
    piece, columns = layers[0].consumers[0].columns(torch.tensor([True, False, True]))
    assert piece.shape == (4, 3, 2, 2)
    assert columns.shape == (1, 3, 1, 1)
    assert columns.flatten().tolist() == [True, False, True]


def test_a_head_can_read_from_an_offset_and_two_heads_can_read() -> None:
    hidden, late, other = nn.Linear(4, 3), nn.Linear(8, 2), nn.Linear(3, 2)
    layer = chain("net", [hidden, nn.Tanh()], [(late, 5), (other, 0)], TorchDefault(), first=7)[0]
    assert layer.name == "net.7"
    assert [consumer.weight is head.weight for consumer, head in zip(layer.consumers, (late, other), strict=True)] == [
        True, True,
    ]  # fmt: skip
    piece, columns = layer.consumers[0].columns(torch.tensor([False, False, True]))
    with torch.no_grad():
        piece.masked_fill_(columns, 9.0)
    assert (late.weight == 9).nonzero()[:, 1].unique().tolist() == [7]


def test_a_reader_that_is_too_narrow_is_refused() -> None:
    with pytest.raises(ValueError, match=r"net\.0: Linear.* has 6 inputs and cannot read 3 units from column 5"):
        chain("net", [nn.Linear(4, 3), nn.ReLU()], [(nn.Linear(6, 2), 5)], TorchDefault())


REFUSED = {
    "dropout": [nn.Linear(4, 4), nn.ReLU(), nn.Dropout(0.5)],
    "norm": [nn.Linear(4, 4), nn.LayerNorm(4), nn.ReLU()],
    "no activation between": [nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU()],
    "activation first": [nn.ReLU(), nn.Linear(4, 4), nn.ReLU()],
    "recurrent": [nn.LSTM(4, 4), nn.ReLU()],
    "no activation at the end": [nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)],
    "grouped": [nn.Conv2d(4, 4, 3, groups=2), nn.ReLU()],
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_not_understood_is_refused_by_name(case: str) -> None:
    offender = {"dropout": "Dropout", "norm": "LayerNorm", "recurrent": "LSTM", "grouped": "grouped convolution Conv2d",
                "activation first": "ReLU"}.get(case, "Linear")  # fmt: skip
    with pytest.raises(ValueError, match=f"net: .*{offender}"):
        chain("net", REFUSED[case], [(nn.Linear(4, 2), 0)], TorchDefault())


def test_an_empty_chain_has_no_layers() -> None:
    assert chain("net", [], [(nn.Linear(4, 2), 0)], TorchDefault()) == []


def test_a_consumer_spreads_a_mask_over_blocks() -> None:
    consumer = Consumer(torch.zeros(2, 7), start=1, block=3)
    piece, columns = consumer.columns(torch.tensor([True, False]))
    assert piece.shape == (2, 6)
    assert columns.tolist() == [[True, True, True, False, False, False]]


def test_a_bias_absorbs_the_mean_of_masked_units() -> None:
    weight = torch.tensor([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    mask = torch.tensor([False, True])
    consumer = Consumer(weight, torch.tensor([0.5, 0.0]), block=2)
    consumer.absorb(mask, torch.tensor([100.0, 10.0]))
    assert consumer.bias.tolist() == [0.5 + 10 * (3 + 4), 10 * (7 + 8)]
    by_position = Consumer(weight, torch.zeros(2), block=2)
    by_position.absorb(mask, torch.tensor([[100.0, 100.0], [10.0, 1.0]]))
    assert by_position.bias.tolist() == [30 + 4, 70 + 8]
    kernel = Consumer(torch.ones(3, 2, 2, 2), torch.zeros(3))
    kernel.absorb(mask, torch.tensor([7.0, 5.0]))
    assert kernel.bias.tolist() == [20.0] * 3
    Consumer(weight, block=2).absorb(mask, torch.tensor([1.0, 1.0]))  # no bias, nothing to do
