"""The unit graphs of features extractors."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import CombinedExtractor, FlattenExtractor
from torch import nn

from agents.networks import ImpalaCNN
from agents.plasticity.taps import Taps
from agents.plasticity.units import TorchDefault, UnitLayer
from agents.sb3_units.extractors import extractor_graph

INIT = TorchDefault()
IMAGE = spaces.Box(0, 255, (3, 20, 24), np.uint8)


def impala() -> tuple[ImpalaCNN, nn.Linear]:
    torch.manual_seed(0)
    return ImpalaCNN(IMAGE, features_dim=8, depths=(4, 6)), nn.Linear(8, 2)


def test_flattened_observations_have_no_layers() -> None:
    graph = extractor_graph("actor", FlattenExtractor(IMAGE), [], INIT, above=1)
    assert (graph.layers, graph.parts, graph.fixed) == ([], [], {})


def test_of_impala_inner_convolutions_and_the_linear_layer_can_be_reset() -> None:
    extractor, head = impala()
    graph = extractor_graph("features", extractor, [(head, 0)], INIT, above=1)
    first, second = extractor.sequences.sequence1, extractor.sequences.sequence2
    blocks = [first.block1, first.block2, second.block1, second.block2]
    assert [layer.name for layer in graph.layers] == [f"features.{number}" for number in range(5)]
    assert [layer.units for layer in graph.layers] == [4, 4, 6, 6, 8]
    for layer, block in zip(graph.layers, blocks, strict=False):
        assert (layer.producer, layer.tap) == (block.inner[0], block.inner[1])
        assert [(c.weight, c.bias, c.start, c.block) for c in layer.consumers] == [
            (block.outer.weight, block.outer.bias, 0, 1)
        ]
    last = graph.layers[-1]
    assert (last.producer, last.tap) == (extractor.linear[0], extractor.linear[1])
    assert [consumer.weight for consumer in last.consumers] == [head.weight]


def test_of_impala_all_other_convolutions_are_listed_with_the_reason() -> None:
    extractor, head = impala()
    graph = extractor_graph("features", extractor, [(head, 0)], INIT, above=1)
    outer = [f"sequence{s}.block{b}.outer" for s in (1, 2) for b in (1, 2)]
    assert set(graph.fixed) == {"sequence1.conv", "sequence2.conv", *outer}
    assert all("skip connection" in reason for reason in graph.fixed.values())
    fixed = {extractor.sequences.get_submodule(name) for name in graph.fixed}
    producers = {layer.producer for layer in graph.layers}
    convolutions = {module for module in extractor.modules() if isinstance(module, nn.Conv2d | nn.Linear)}
    assert fixed | producers == convolutions
    assert not fixed & producers
    assert {part.module for part in graph.parts} == convolutions
    assert [part.height for part in graph.parts] == list(range(11, 0, -1))


@pytest.mark.parametrize("fixed", ["sequence1.conv", "sequence1.block1.outer"])
def test_a_fixed_convolutions_channels_really_are_heard_past_the_next_weights(fixed: str) -> None:
    """The reason is true: the next convolution silenced, its channels still reach the features."""
    extractor, _ = impala()
    images = torch.rand(5, 3, 20, 24)
    following = {"sequence1.conv": "sequence1.block1.inner.0", "sequence1.block1.outer": "sequence1.block2.inner.0"}
    with torch.no_grad():
        extractor.sequences.get_submodule(following[fixed]).weight.zero_()
        before = extractor(images)
        extractor.sequences.get_submodule(fixed).bias += 1.0
        assert not torch.equal(before, extractor(images))


@torch.no_grad()
def test_one_audible_channel_of_impala_is_heard_and_no_other_is() -> None:
    """METHODS 15.2, column map: a block's second convolution is left with the columns of one channel."""
    extractor, head = impala()
    images = torch.rand(5, 3, 20, 24)
    layers = extractor_graph("features", extractor, [(head, 0)], INIT, above=1).layers

    def features(layer: UnitLayer, silent: int) -> torch.Tensor:
        def silence(module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
            output = output.clone()
            output[:, silent] = 0
            return output

        handle = layer.tap.register_forward_hook(silence)
        found: torch.Tensor = extractor(images)
        handle.remove()
        return found

    for layer in layers[:-1]:
        with Taps([layer]) as taps:
            extractor(images)
        audible = int(taps.activations[layer.name].sum((0, 2, 3)).argmax())
        piece, others = layer.consumers[0].columns(torch.arange(layer.units) != audible)
        piece.masked_fill_(others, 0)
        everything = extractor(images)
        assert not torch.equal(features(layer, audible), everything)
        for unit in set(range(layer.units)) - {audible}:
            assert torch.equal(features(layer, unit), everything)


def test_keys_of_a_dict_are_read_from_their_own_column_on() -> None:
    space = spaces.Dict(
        {"one": spaces.Box(0, 255, (1, 36, 36), np.uint8), "pair": spaces.Box(-1, 1, (2,)), "kind": spaces.Discrete(5),
         "two": spaces.Box(0, 255, (1, 36, 36), np.uint8)}
    )  # fmt: skip
    extractor = CombinedExtractor(space, cnn_output_dim=10)
    order = list(extractor.extractors)
    head = nn.Linear(extractor.features_dim, 3)
    graph = extractor_graph("critic", extractor, [(head, 0)], INIT, above=2)
    width = {"one": 10, "two": 10, "pair": 2, "kind": 5}
    starts = {key: sum(width[before] for before in order[: order.index(key)]) for key in order}
    assert extractor.features_dim == 27
    images = [key for key in order if key in ("one", "two")]
    assert [layer.name for layer in graph.layers] == [f"critic.{number}" for number in range(8)]
    assert [layer.consumers[0].start for layer in graph.layers[3::4]] == [starts[key] for key in images]
    assert starts["one"] != starts["two"]
    assert [part.height for part in graph.parts] == [5, 4, 3, 2] * 2


def test_what_is_no_extractor_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="actor: the features extractor Linear is not understood; give a Base"):
        extractor_graph("actor", nn.Linear(2, 2), [], INIT, above=1)
