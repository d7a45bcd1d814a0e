"""Unit graphs of sequences of modules: columns, taps, normalisations, heights and refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agents.plasticity.units import Affine, Orthogonal, TorchDefault, chain, sequential
from agents.plasticity.units.builders import parts_of

INIT = TorchDefault()


def test_columns_of_a_flattened_convolution_are_blocks() -> None:
    conv, linear = nn.Conv2d(1, 3, 2), nn.Linear(12, 5)
    head = nn.Linear(5, 2)
    layers = chain("net", [conv, nn.ReLU(), nn.Flatten(), linear, nn.ReLU()], [(head, 0)], INIT)
    assert [(layer.name, layer.network, layer.units) for layer in layers] == [("net.0", "net", 3), ("net.1", "net", 5)]
    consumer = layers[0].consumers[0]
    assert consumer.weight is linear.weight
    assert consumer.bias is linear.bias
    assert (consumer.start, consumer.block, layers[0].positions) == (0, 4, 4)
    piece, columns = consumer.columns(torch.tensor([False, True, False]))
    assert piece.shape == (5, 12)
    assert columns.flatten().tolist() == [False] * 4 + [True] * 4 + [False] * 4


def test_columns_of_a_convolution_are_its_input_channels() -> None:
    first, second = nn.Conv2d(1, 3, 2), nn.Conv2d(3, 4, 2)
    modules = [first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(36, 2), nn.ReLU()]
    layers = chain("net", modules, [(nn.Linear(2, 1), 0)], INIT)
    piece, columns = layers[0].consumers[0].columns(torch.tensor([True, False, True]))
    assert piece.shape == (4, 3, 2, 2)
    assert columns.shape == (1, 3, 1, 1)
    assert columns.flatten().tolist() == [True, False, True]


def test_a_head_can_read_from_an_offset_and_two_heads_can_read() -> None:
    hidden, late, other = nn.Linear(4, 3), nn.Linear(8, 2), nn.Linear(3, 2)
    layer = chain("net.a", [hidden, nn.Tanh()], [(late, 5), (other, 0)], INIT, first=7, network="net")[0]
    assert (layer.name, layer.network) == ("net.a.7", "net")
    assert [consumer.weight for consumer in layer.consumers] == [late.weight, other.weight]
    piece, columns = layer.consumers[0].columns(torch.tensor([False, False, True]))
    with torch.no_grad():
        piece.masked_fill_(columns, 9.0)
    assert (late.weight == 9).nonzero()[:, 1].unique().tolist() == [7]


def test_a_reader_that_is_too_narrow_or_too_wide_is_refused() -> None:
    with pytest.raises(ValueError, match=r"net\.0: Linear.* has 6 inputs and cannot read 3 units from column 5"):
        chain("net", [nn.Linear(4, 3), nn.ReLU()], [(nn.Linear(6, 2), 5)], INIT)
    with pytest.raises(ValueError, match=r"net\.0: Linear.* has 6 inputs and cannot read 3 units from column 0"):
        chain("net", [nn.Linear(4, 3), nn.ReLU()], [(nn.Linear(6, 2), 0)], INIT, alone=True)
    with pytest.raises(ValueError, match=r"net\.0: Linear.* must read the flattened convolution and nothing else"):
        chain("net", [nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten()], [(nn.Linear(13, 2), 0)], INIT, alone=True)
    with pytest.raises(ValueError, match=r"net\.0: Linear.* must read the flattened convolution and nothing else"):
        chain("net", [nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten()], [(nn.Linear(12, 2), 0)], INIT)


def test_a_norm_before_the_activation_belongs_to_the_units_and_the_activation_is_tapped() -> None:
    norm, activation = nn.LayerNorm(3), nn.ReLU()
    (layer,) = chain("net", [nn.Linear(4, 3), norm, activation], [(nn.Linear(3, 2), 0)], INIT)
    assert layer.tap is activation
    assert layer.preactivation is norm
    assert [(id(tensor), value) for tensor, value in layer.constants] == [(id(norm.weight), 1), (id(norm.bias), 0)]
    assert layer.exact is False


def test_a_norm_by_the_root_mean_square_is_one_too_and_mixes() -> None:
    norm, of_map = nn.RMSNorm(3), nn.RMSNorm((4, 3, 3))
    (layer,) = chain("net", [nn.RMSNorm(4), nn.Linear(4, 3), norm, nn.ReLU()], [(nn.Linear(3, 2), 0)], INIT)
    assert (layer.preactivation, layer.exact) == (norm, False)
    assert [(id(tensor), value) for tensor, value in layer.constants] == [(id(norm.weight), 1)]
    modules = [nn.Conv2d(1, 4, 2), of_map, nn.ReLU(), nn.Flatten()]
    (layer,) = chain("net", modules, [(nn.Linear(36, 2), 0)], INIT, alone=True)
    assert (layer.preactivation, layer.exact) == (of_map, False)


def test_a_norm_behind_the_activation_is_what_the_consumers_see() -> None:
    norm = nn.LayerNorm(3)
    (layer,) = chain("net", [nn.Linear(4, 3), nn.ReLU(), norm], [(nn.Linear(3, 2), 0)], INIT)
    assert layer.tap is norm
    assert layer.preactivation is layer.producer
    assert [tensor for tensor, _ in layer.constants] == [norm.weight, norm.bias]
    assert layer.exact is False


def test_norms_of_maps_have_a_row_for_each_channel() -> None:
    over_all, grouped, batch = nn.LayerNorm((4, 3, 3)), nn.GroupNorm(2, 4), nn.BatchNorm2d(4)
    for norm, exact, rows in ((over_all, False, 2), (grouped, False, 2), (batch, True, 4)):
        modules = [nn.Conv2d(1, 4, 2), norm, nn.ReLU(), nn.Flatten()]
        (layer,) = chain("net", modules, [(nn.Linear(36, 2), 0)], INIT, alone=True)
        assert layer.exact is exact
        assert len(layer.constants) == rows
        assert all(len(tensor) == 4 for tensor, _ in layer.constants)
    expected = [(batch.weight, 1.0), (batch.bias, 0.0), (batch.running_mean, 0.0), (batch.running_var, 1.0)]
    for (tensor, value), (wanted, start) in zip(layer.constants, expected, strict=True):
        assert tensor is wanted
        assert value == start
        assert (tensor == value).all()  # as a new one begins


def test_a_norm_without_parameters_has_no_constants_and_is_inexact_all_the_same() -> None:
    modules = [nn.Linear(4, 3), nn.LayerNorm(3, elementwise_affine=False), nn.ReLU()]
    (layer,) = chain("net", modules, [(nn.Linear(3, 2), 0)], INIT)
    assert layer.constants == ()
    assert layer.exact is False


def test_pooling_is_tapped_and_dropout_is_passed() -> None:
    pool, dropout = nn.MaxPool2d(2), nn.Dropout2d()
    modules = [nn.Conv2d(1, 3, 2), dropout, nn.ReLU(), pool, nn.Dropout(), nn.Flatten(), nn.Identity()]
    (layer,) = chain("net", modules, [(nn.Linear(12, 2), 0)], INIT, alone=True)
    assert layer.tap is pool
    assert layer.preactivation is dropout
    assert layer.exact is True
    assert layer.positions == 4


def test_nested_sequences_are_looked_into() -> None:
    first, second = nn.Linear(4, 3), nn.Linear(3, 5)
    modules = [nn.Flatten(), nn.Sequential(first, nn.Sequential(nn.ReLU())), nn.Sequential(second, nn.GELU())]
    layers = chain("net", modules, [(nn.Linear(5, 2), 0)], INIT)
    assert [layer.producer for layer in layers] == [first, second]
    assert layers[0].consumers[0].weight is second.weight


class Doubled(nn.Sequential):
    """Looks like a sequence and is none."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class Noisy(nn.Linear):
    """Looks like a linear layer and is none."""


class Mirrored(nn.ReLU):
    """Looks like an activation and has twice the units."""


SHARED = nn.ReLU()
REFUSED = {
    "Noisy": [Noisy(4, 4), nn.ReLU()],
    "Mirrored": [nn.Linear(4, 4), Mirrored()],
    "ParametrizedLinear is": [nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)), nn.ReLU()],
    "the weight of Linear": [nn.utils.spectral_norm(nn.Linear(4, 4)), nn.ReLU()],
    r"ReLU\(\) stands in two places": [nn.Linear(4, 4), SHARED, nn.Linear(4, 4), SHARED],
    "Linear": [nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU()],
    "ReLU": [nn.ReLU(), nn.Linear(4, 4), nn.ReLU()],
    "LSTM": [nn.LSTM(4, 4), nn.ReLU()],
    "no activation follows Linear": [nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)],
    "grouped convolution Conv2d": [nn.Conv2d(4, 4, 3, groups=2), nn.ReLU()],
    "Softmax": [nn.Linear(4, 4), nn.Softmax(1)],
    "Doubled": [nn.Linear(4, 4), nn.ReLU(), Doubled(nn.Linear(4, 4), nn.ReLU())],
    "InstanceNorm2d": [nn.Conv2d(1, 4, 3), nn.InstanceNorm2d(4), nn.ReLU()],
    r"LayerNorm\(\(3, 3\)": [nn.Conv2d(1, 4, 3), nn.LayerNorm((3, 3)), nn.ReLU()],
    r"LayerNorm\(\(2, 4\)": [nn.Linear(4, 4), nn.LayerNorm((2, 4)), nn.ReLU()],
    r"LayerNorm\(\(36,\)": [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.LayerNorm(36)],
    r"BatchNorm1d\(5": [nn.Linear(4, 4), nn.BatchNorm1d(5), nn.ReLU()],
    "MaxPool2d": [nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.ReLU()],
    r"Flatten\(start_dim=2": [nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(2)],
    "Flatten": [nn.Conv2d(1, 4, 3), nn.Flatten(), nn.ReLU()],
}


@pytest.mark.parametrize("offender", REFUSED)
def test_what_is_not_understood_is_refused_by_name(offender: str) -> None:
    with pytest.raises(ValueError, match=rf"net: .*{offender}"):
        chain("net", REFUSED[offender], [(nn.Linear(4, 2), 0)], INIT)


def test_a_grouped_reader_is_refused() -> None:
    modules = [nn.Conv2d(1, 4, 3), nn.ReLU()]
    with pytest.raises(ValueError, match=r"net\.0: the grouped convolution Conv2d"):
        chain("net", modules, [(nn.Conv2d(4, 4, 3, groups=2), 0)], INIT)


def test_an_empty_chain_has_no_layers() -> None:
    assert chain("net", [], [(nn.Linear(4, 2), 0)], INIT) == []
    assert parts_of([], INIT, above=3) == []


def test_parts_are_numbered_from_what_follows_them() -> None:
    conv, linear, norm = nn.Conv2d(1, 4, 3), nn.Linear(16, 3), nn.LayerNorm(3)
    plain = nn.LayerNorm((4, 2, 2), elementwise_affine=False)
    modules = [conv, plain, nn.ReLU(), nn.Sequential(nn.Flatten(), linear, norm), nn.ReLU()]
    found = [(part.module, part.init, part.height) for part in parts_of(modules, Orthogonal(2.0), above=1)]
    assert found == [(conv, Orthogonal(2.0), 2), (linear, Orthogonal(2.0), 1), (norm, Affine(), 1)]


def test_a_sequential_models_last_layer_is_its_output() -> None:
    first, norm, second, output = nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 5), nn.Linear(5, 2)
    model = nn.Sequential(nn.Sequential(first, norm, nn.Tanh()), second, nn.Tanh(), output, nn.Softmax(dim=1))
    network = sequential(model)
    assert network.name == "net"
    assert [(layer.name, layer.producer) for layer in network.layers] == [("net.0", first), ("net.1", second)]
    assert network.layers[1].consumers[0].weight is output.weight
    assert [(part.module, part.height) for part in network.parts] == [
        (first, 2), (norm, 2), (second, 1), (output, 0),
    ]  # fmt: skip
    assert [id(p) for p in network.parameters] == [id(p) for p in model.parameters()]
    assert {layer.init for layer in network.layers} == {TorchDefault()}
    assert {layer.init for layer in sequential(model, "q", Orthogonal(1.0)).layers} == {Orthogonal(1.0)}
    convolutional = nn.Sequential(nn.Conv2d(1, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(27, 2))
    assert sequential(convolutional, "q").layers[0].positions == 9


def test_a_model_without_an_output_layer_of_its_own_is_refused() -> None:
    with pytest.raises(ValueError, match=r"net: Sequential(?s:.*) has no Linear or Conv2d layer"):
        sequential(nn.Sequential(nn.ReLU()))
    with pytest.raises(ValueError, match=r"q: LayerNorm.* is not understood behind the output layer Linear"):
        sequential(nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2), nn.LayerNorm(2)), "q")
    assert sequential(nn.Linear(2, 2)).layers == ()


def test_what_an_output_layer_shares_with_hidden_ones_is_refused() -> None:
    layer, tied, relu = nn.Linear(4, 4), nn.Linear(4, 4), nn.ReLU()
    tied.weight = layer.weight
    with pytest.raises(ValueError, match=r"net: Linear.* stands in two places"):
        sequential(nn.Sequential(layer, nn.ReLU(), layer))
    with pytest.raises(ValueError, match=r"net: ReLU\(\) stands in two places"):
        sequential(nn.Sequential(layer, relu, nn.Linear(4, 4), relu))
    with pytest.raises(ValueError, match=r"net: Linear.* shares a parameter with Linear"):
        sequential(nn.Sequential(layer, nn.ReLU(), tied))


@pytest.mark.parametrize("place", ["Sequential", "0", "1", "2"])
def test_a_forward_that_was_replaced_is_refused(place: str) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    module = model if place == "Sequential" else model[int(place)]
    module.forward = lambda x: x
    with pytest.raises(ValueError, match=f"net: the forward of {type(module).__name__}.* was replaced"):
        sequential(model)
