"""Unit graphs of features extractors, and what the graphs of all policies share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from gymnasium import spaces
from stable_baselines3.common.preprocessing import get_flattened_obs_dim
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    NatureCNN,
)
from torch import nn

from agents.networks.extractors import ImpalaCNN, ImpalaSequence, MinAtarCNN
from agents.networks.simba import EMBEDDING, INNER, SimbaBlock
from agents.plasticity.units import Init, Part, chain
from agents.plasticity.units.builders import parts_of, title
from agents.sb3_units.graph import Graph, Heads
from agents.sb3_units.own_extractors import traced_graph

TRUNK = "the skip connections behind it carry its units on, past the weights that read them"
PIECES = {NatureCNN, nn.Flatten}  # of a CombinedExtractor that is as SB3 makes it
ADDED = "its units are added to those of a skip connection, so that no weight reads them alone"


def extractor_graph(network: str, extractor: nn.Module, heads: Heads, init: Init, *, above: int) -> Graph:
    """The graph of a features extractor; its layers are ``<network>.0`` ...

    Args:
        network: the name of the network that it belongs to.
        extractor: one of `agents.networks.extractors.KNOWN`, by its exact type, or any other of SB3's kind, which is
            traced.
        heads: (module, column) of everything that reads the features, from that column on.
        init: how its layers were initialised.
        above: how many layers follow it in its network.

    Raises:
        ValueError: the extractor is not understood; the message names it.
    """
    if type(extractor) is FlattenExtractor:
        return Graph()
    if type(extractor) is NatureCNN or type(extractor) is MinAtarCNN:
        modules = [extractor.cnn, extractor.linear]
        layers = chain(network, modules, heads, init)
        return Graph(layers, parts_of(modules, init, above=above))
    if type(extractor) is ImpalaCNN:
        return _impala(network, extractor, heads, init, above)
    if type(extractor) is CombinedExtractor and {type(each) for each in extractor.extractors.values()} <= PIECES:
        return _combined(network, extractor, heads, init, above)
    if isinstance(extractor, BaseFeaturesExtractor):
        return traced_graph(network, extractor, heads, init, above=above)
    raise ValueError(
        f"{network}: the features extractor {type(extractor).__name__} is not understood; "
        "give a BaseFeaturesExtractor of Stable-Baselines3"
    )


def _combined(network: str, extractor: CombinedExtractor, heads: Heads, init: Init, above: int) -> Graph:
    """Each key's features follow those of the keys before it."""
    graph, offset = Graph(), 0
    for key, piece in extractor.extractors.items():
        if type(piece) is NatureCNN:
            shifted = [(reader, start + offset) for reader, start in heads]
            modules = [piece.cnn, piece.linear]
            graph.layers += chain(network, modules, shifted, init, first=len(graph.layers))
            graph.parts += parts_of(modules, init, above=above)
            offset += piece.features_dim
        else:
            offset += get_flattened_obs_dim(cast(spaces.Dict, extractor._observation_space)[key])
    return graph


def _impala(network: str, extractor: ImpalaCNN, heads: Heads, init: Init, above: int) -> Graph:
    """Inner convolutions are read by their block's second one alone; all others end in a trunk of skip connections."""
    graph = Graph()
    modules: list[nn.Module] = []
    for number, sequence in extractor.sequences.named_children():
        assert isinstance(sequence, ImpalaSequence)
        graph.fixed[f"{number}.conv"] = TRUNK
        modules.append(sequence.conv)
        for name, block in (("block1", sequence.block1), ("block2", sequence.block2)):
            first = len(graph.layers)
            graph.layers += chain(network, [block.inner], [(block.outer, 0)], init, first=first, alone=True)
            graph.fixed[f"{number}.{name}.outer"] = ADDED
            modules += [block.inner, block.outer]
    graph.layers += chain(network, [extractor.linear], heads, init, first=len(graph.layers))
    graph.parts += parts_of([*modules, extractor.linear], init, above=above)
    return graph


def add_mlp(
    graph: Graph,
    network: str,
    hidden: Sequence[nn.Module],
    outputs: Sequence[tuple[nn.Linear, Init]],
    init: Init,
) -> None:
    """Put hidden layers and the output layers that read the last of them behind what the graph has.

    Args:
        graph: is added to.
        network: the name of the network that they belong to.
        hidden: modules in execution order.
        outputs: output layers and how each was initialised.
        init: how the hidden layers were initialised.
    """
    heads = [(layer, 0) for layer, _ in outputs]
    add_hidden(graph, network, network, hidden, heads, init, first=len(graph.layers))
    graph.parts += [Part(layer, drawn, 0) for layer, drawn in outputs]


def add_hidden(
    graph: Graph, network: str, name: str, hidden: Sequence[nn.Module], heads: Heads, init: Init, *, first: int = 0
) -> None:
    """Put hidden layers that output layers read behind what the graph has.

    Of SimBa's the hidden units of each block are layers; those of the stream that the blocks add to are fixed.

    Args:
        graph: is added to.
        network: the name of the network that they belong to.
        name: what their names begin with.
        hidden: modules in execution order.
        heads: (module, column) of every output layer.
        init: how they were initialised; SimBa's have their own.
        first: number of the first layer in the names.
    """
    blocks = [module for module in hidden if isinstance(module, SimbaBlock)]
    if not blocks:
        graph.layers += chain(name, hidden, heads, init, first=first, network=network)
        graph.parts += parts_of(hidden, init, above=1)
        return
    embedding, *_, norm = hidden
    modules = [embedding]
    graph.fixed[f"{name}.embedding"] = TRUNK
    for number, block in enumerate(blocks):
        graph.layers += chain(
            name, [block.inner], [(block.outer, 0)], INNER, first=first + number, network=network, alone=True
        )
        graph.fixed[f"{name}.block{number}.outer"] = ADDED
        modules += [block.norm, block.inner, block.outer]
    stream, *others = parts_of([*modules, norm], INNER, above=1)
    graph.parts += [replace(stream, init=EMBEDDING), *others]


def depth(hidden: Sequence[nn.Module]) -> int:
    """How many layers the hidden modules have."""
    return sum(isinstance(module, nn.Linear) + 2 * isinstance(module, SimbaBlock) for module in hidden)


def first_linear(network: str, hidden: Sequence[nn.Module], otherwise: Sequence[nn.Linear]) -> list[nn.Linear]:
    """Who reads what comes into hidden modules: the first of them, or `otherwise` where there are none.

    Raises:
        ValueError: the first module is no Linear layer.
    """
    if not hidden:
        return list(otherwise)
    if type(hidden[0]) is not nn.Linear:
        raise ValueError(f"{network}: {title(hidden[0])} is not understood at this place; give a Linear layer")
    return [hidden[0]]


def output_layer(network: str, module: nn.Module) -> nn.Linear:
    """The module, which must be a Linear layer.

    Raises:
        ValueError: it is none.
    """
    if type(module) is not nn.Linear:
        raise ValueError(f"{network}: the output layer {title(module)} is not understood; resets know a Linear one")
    return module


def of_type(network: str, module: nn.Module, known: type[nn.Module]) -> None:
    """Refuse a module that is not of exactly this type: a subclass may do anything in its forward.

    Raises:
        ValueError: it is of another type.
    """
    if type(module) is not known:
        raise ValueError(
            f"{network}: {type(module).__name__} is not understood; resets know SB3's {known.__name__} there, and "
            "layers of your own in a features extractor"
        )


def computes_as(policy: nn.Module, known: type[nn.Module], methods: Sequence[str]) -> None:
    """Refuse a policy whose class computes anything in its own way; it may choose its modules.

    Raises:
        ValueError: it overrides one of the methods.
    """
    for method in methods:
        if method in vars(policy) or getattr(type(policy), method) is not getattr(known, method):
            raise ValueError(
                f"the policy {type(policy).__name__} is not understood: its {method} is its own; "
                f"resets know what SB3's {known.__name__} computes"
            )
