"""`agents.target_values`: a network that is asked about minibatches together says what it says of each alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agents.target_values import Together


def whole_numbers(outputs: int) -> nn.Linear:
    """A layer whose sums are exact, in whatever order a processor adds them up."""
    layer = nn.Linear(3, outputs)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.copy_(torch.randint(-4, 5, parameter.shape))
    return layer


def minibatches() -> list[Tensor]:
    return [torch.randint(-4, 5, (4, 3)).float() for _ in range(5)]


class Counting(nn.Module):
    """Counts its rows; says of a row what depends on how many there are, where `odd`."""

    def __init__(self, odd: bool) -> None:
        super().__init__()
        self.layer, self.odd, self.seen = whole_numbers(2), odd, []

    def forward(self, rows: Tensor) -> Tensor:
        self.seen.append(len(rows))
        return self.layer(rows) + (1e-6 * len(rows) if self.odd else 0)


def asked(network: Counting, together: Together, batches: list[Tensor]) -> list[int]:
    """How many rows each forward had."""
    network.seen.clear()
    found = together.ask(network, batches)
    seen = [*network.seen]
    for batch, values in zip(batches, found, strict=True):
        assert torch.equal(values, network(batch))
        assert not values.requires_grad
    return seen


def test_it_is_asked_once_where_that_is_the_same() -> None:
    network, together, batches = Counting(odd=False), Together(), minibatches()
    assert asked(network, together, batches) == [20, *[4] * 5]  # the first time both ways
    assert asked(network, together, batches) == [20]
    assert asked(network, together, batches[:2]) == [8, 4, 4]  # of other shapes nothing is known
    assert asked(network, together, batches[:1]) == [4]
    network.layer = whole_numbers(5)
    assert asked(network, together, batches) == [20, *[4] * 5]


def test_it_is_asked_one_by_one_where_it_is_not() -> None:
    network, together, batches = Counting(odd=True), Together(), minibatches()
    assert asked(network, together, batches) == [20, *[4] * 5]
    assert asked(network, together, batches) == [4] * 5
