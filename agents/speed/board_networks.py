"""Actors and critics on boards of zeros and ones that learn without a graph, on CPUs: few compiled calls a minibatch.

What is between a network's products is done while these are made, all else is loops over set cells, and none of it
holds the interpreter lock: threads of Python's learn from a share of the minibatch each.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, pairwise
from math import prod
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from agents.speed.activations import Activation
from agents.speed.boards import Boards, Cells, kernels
from agents.speed.perceptrons import Dense, Perceptrons
from agents.speed.relu_networks import RELU, is_hidden, is_last
from agents.speed.sharing import at_once, shares
from agents.speed.sparse import are_numbers
from agents.speed.trunks import Geometry, Trunk

SHARE = 256
"""Boards of a share from which a thread pays for being woken."""
ACTIVATIONS = (RELU, Activation("Tanh"))
Arrays = tuple[np.ndarray, ...]
Groups = list[Arrays]
"""Of the trunk; weights, and biases, of the actor; and of the critic."""


class Room(NamedTuple):
    """Where what is behind layers, or its gradient, is written.

    Attributes:
        maps: of the convolution, (rows, ...).
        actor: (rows, units) of each hidden layer; of networks with a convolution behind that of the features.
        critic: likewise.
    """

    maps: np.ndarray
    actor: Arrays
    critic: Arrays

    def share(self, first: int, end: int) -> Room:
        """The rows from one to another."""
        maps, *heads = self.maps[first:end], *(tuple([each[first:end] for each in head]) for head in self[1:])
        return Room(maps, *heads)


class Learnt(NamedTuple):
    """What a minibatch teaches.

    Attributes:
        terms: of the loss.
        gradients: of the parameters.
        units: a hidden layer's weight -> activations, (batch, units) or (batch, filters, rows, columns), and the loss's
            gradients there; empty where nobody looks.
    """

    terms: Tensor
    gradients: list[Tensor]
    units: dict[Tensor, tuple[Tensor, Tensor]]


class BoardNetworks:
    """An actor and a critic, see `of`.

    Args:
        trunk: in front of both.
        actor: its layers, at least two.
        critic: likewise.
        half: whether what is between layers is bfloat16.

    Attributes:
        parameters: all, in the order of their gradients.
    """

    def __init__(self, trunk: Trunk, actor: Sequence[Dense], critic: Sequence[Dense], *, half: bool) -> None:
        self._trunk, self._heads, self._kind = trunk, (actor, critic), np.int16 if half else np.float32
        assert actor[0].activation is not None
        self._activation: int = kernels().ACTIVATIONS[actor[0].activation.kind]
        groups = [trunk.parameters]
        for layers in self._heads:
            groups += [[each.weights[0] for each in layers], [each.biases[0] for each in layers]]
        self._bounds = [*pairwise(accumulate(map(len, groups), initial=0))]
        self.parameters = [parameter for group in groups for parameter in group]

    @classmethod
    def of(cls, trunk: Trunk, actor: Perceptrons, critic: Perceptrons, rows: int) -> Self | None:
        """None where they are of other layers, or the CPU's registers are too small.

        Args:
            trunk: in front of both.
            actor: a single network.
            critic: likewise.
            rows: boards that they are asked about, usually.
        """
        if kernels() is None or not kernels().has_registers():
            return None
        heads = [[each[0] for each in network.layers] for network in (actor, critic)]
        if not all(len(layers) > 1 and is_last(layers[-1]) for layers in heads):
            return None
        read = {layers[0].weights[0].shape[1] for layers in heads}
        if len(read) > 1 or (trunk.dense is not None and read != {len(trunk.dense.weights[0])}):
            return None  # torch says how they do not fit one another
        if len(critic.layers[-1][0].weights[0]) != 1:
            return None
        hidden = [layer for layers in heads for layer in layers[:-1]]
        products = hidden if trunk.dense else [layer for layers in heads for layer in layers[1:-1]]
        if trunk.dense is not None:
            hidden, products = [*hidden, trunk.dense], [*products, trunk.dense]
        activation = hidden[0].activation
        if activation not in ACTIVATIONS or not all(is_hidden(each, activation) for each in hidden):
            return None
        half = any(actor.pays(rows * each.weights[0].numel(), each.weights[0]) for each in products)
        if half and not kernels().has_pairs():
            return None
        found = cls(trunk, *heads, half=half)
        plain = all(each.is_cpu and each.dtype is torch.float32 for each in found.parameters)
        alone = len(set(map(id, found.parameters))) == len(found.parameters)  # else gradients are to be added up
        return found if plain and alone else None

    @property
    def producers(self) -> list[Tensor]:
        """The weights of the hidden layers: of the trunk, the actor, and the critic."""
        return [*self._trunk.parameters[::2], *(layer.weights[0] for layers in self._heads for layer in layers[:-1])]

    def outputs(self, observations: Any) -> tuple[Tensor, Tensor] | None:
        """Logits (batch, actions) and values (batch, 1); None where torch has to say them.

        Args:
            observations: (batch, ...).
        """
        read = self._read(observations)
        if read is None:
            return None
        (cells, starts), geometry = read
        numbers, room, calls = self._numbers(), self._room(len(observations), geometry.sides, self._kind), []
        found = [np.empty((len(observations), len(numbers[place][-1])), np.float32) for place in (2, 4)]
        for first, end in shares(len(observations), least=SHARE):
            boards = cells, starts[first : end + 1], geometry.places
            given, into = self._given(numbers, room.share(first, end)), [each[first:end] for each in found]
            loops = kernels().actor_critics
            call = loops.outputs_of_maps if geometry.sides else loops.outputs_of_boards
            calls.append(partial(call, boards, *given, *into))
        at_once(calls, pays=len(calls) > 1)
        return torch.from_numpy(found[0]), torch.from_numpy(found[1])

    def learn(
        self, observations: Any, fields: Sequence[Tensor], settings: tuple[float, ...], *, looks: bool = False
    ) -> Learnt | None:
        """PPO's loss on a minibatch; None where torch has to say it, or what is wrong.

        Args:
            observations: (batch, ...).
            fields: actions, their old log-probabilities, advantages, old values and returns, (batch,) each.
            settings: as `agents.speed.kernels.proximal` is given them.
            looks: whether somebody looks at hidden units.
        """
        read = self._read(observations)
        if read is None:
            return None
        (cells, starts), geometry = read
        rows, numbers, batch = len(observations), self._numbers(), [each.contiguous().numpy() for each in fields]
        room = self._room(rows, geometry.sides, self._kind)
        at_room = self._room(rows if looks else 0, geometry.sides, np.float32, apart=True)
        dealt = shares(rows, least=SHARE)
        gradients = [np.empty(sum(map(Tensor.numel, self.parameters)), np.float32) for _ in dealt]
        terms = np.empty((len(dealt), len(kernels().TERMS)), np.float32)
        calls = []
        for (first, end), *written in zip(dealt, gradients, terms, strict=True):
            boards = cells, starts[first : end + 1], geometry.places
            asked = tuple([each[first:end] for each in batch]), settings
            given = self._given(numbers, room.share(first, end))
            calls.append(self._learning(boards, given, asked, at_room.share(first, end), *written))
        if not all(at_once(calls, pays=len(calls) > 1)):
            return None
        for others in gradients[1:]:
            gradients[0] += others
        parts = torch.from_numpy(gradients[0]).split([each.numel() for each in self.parameters])
        found = [part.view(each.shape) for part, each in zip(parts, self.parameters, strict=True)]
        return Learnt(torch.from_numpy(terms.sum(0)), found, self._units(room, at_room) if looks else {})

    def _learning(
        self, boards: Arrays, given: tuple[Any, ...], asked: tuple[Any, ...], at_room: Room, gradients: np.ndarray,
        terms: np.ndarray,
    ) -> Callable[[], bool]:  # fmt: skip
        """What learns from a share, and says whether all are numbers."""
        at_trunk, *at_heads = self._grouped(gradients)
        written = (*at_heads[:2], at_room.actor), (*at_heads[2:], at_room.critic), terms
        loops = kernels().actor_critics
        if self._trunk.convolution is None:
            return partial(loops.learn_of_boards, boards, *given, *asked, *written)
        at_maps = at_room.maps.reshape(len(at_room.maps), prod(at_room.maps.shape[1:]))
        return partial(loops.learn_of_maps, boards, *given, *asked, (*at_trunk, at_maps), *written)

    def _given(self, numbers: Groups, room: Room) -> tuple[Any, ...]:
        """Parameters, and where what is behind layers is written, as the loops are given them."""
        trunk, *heads = numbers
        networks = (*heads[:2], room.actor), (*heads[2:], room.critic), self._activation
        return networks if self._trunk.convolution is None else (trunk, *networks, room.maps)

    def _room(self, rows: int, sides: tuple[int, ...], kind: Any, *, apart: bool = False) -> Room:
        """For so many rows, of maps with these sides; `apart` where actor and critic have features of their own."""
        trunk, *heads = [[len(each) for each in self.parameters[slice(*bounds)]] for bounds in self._bounds]
        maps = np.empty((rows, *sides, *trunk[1:2]), kind)
        features = [np.empty((rows, width), kind) for width in trunk[3:]]
        others = [np.empty_like(each) for each in features] if apart else features
        hidden = [[np.empty((rows, width), kind) for width in biases[:-1]] for biases in (heads[1], heads[3])]
        return Room(maps, (*features, *hidden[0]), (*others, *hidden[1]))

    def _units(self, room: Room, at_room: Room) -> dict[Tensor, tuple[Tensor, Tensor]]:
        """See `Learnt.units`."""
        seen = [*zip(room.actor, at_room.actor, strict=True), *zip(room.critic, at_room.critic, strict=True)]
        if self._trunk.convolution is not None:
            del seen[len(room.actor)]  # features, which the actor's come with
            seen.insert(0, (room.maps, at_room.maps))
        pairs = [(_widened(a).movedim(-1, 1), torch.from_numpy(gradient).movedim(-1, 1)) for a, gradient in seen]
        return dict(zip(self.producers, pairs, strict=True))

    def _read(self, observations: Any) -> tuple[Cells, Geometry] | None:
        """Boards of bools; None of others, of many set cells, and where weights are no numbers."""
        if type(observations) is not Tensor or observations.dtype is not torch.bool or not observations.is_cpu:
            return None
        if observations.dim() < 2 or not observations.numel() or not observations.is_contiguous():
            return None
        readers = (
            [self._trunk.convolution] if self._trunk.convolution else [layers[0].linears[0] for layers in self._heads]
        )
        geometry = self._trunk.on(observations.shape[1:], readers[0].weight.shape[1])
        if geometry is None or not all(are_numbers(each.weight) for each in readers):
            return None
        found = Boards.of(observations).set_cells(observations)
        return None if found is None else (found, geometry)

    def _numbers(self) -> Groups:
        """The parameters as they are now."""
        found = [each.detach().contiguous().numpy() for each in self.parameters]
        return [tuple(found[slice(*bounds)]) for bounds in self._bounds]

    def _grouped(self, gradients: np.ndarray) -> Groups:
        """Views of gradients that lie one behind the other."""
        ends = [*accumulate((each.numel() for each in self.parameters), initial=0)]
        found = [
            gradients[slice(*bounds)].reshape(parameter.shape)
            for parameter, bounds in zip(self.parameters, pairwise(ends), strict=True)
        ]
        return [tuple(found[slice(*bounds)]) for bounds in self._bounds]


def _widened(numbers: np.ndarray) -> Tensor:
    """As float32, of what may be the bits of bfloat16."""
    found = torch.from_numpy(numbers)
    return found.view(torch.bfloat16).float() if found.dtype is torch.int16 else found
