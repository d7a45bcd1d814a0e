"""`agents.plasticity.composition`: parameters as torch lists them, whatever was replaced since."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from agents.plasticity.composition import LiveParameters


def tree() -> nn.Sequential:
    shared = nn.Linear(2, 2)
    return nn.Sequential(nn.Linear(3, 2), shared, nn.Sequential(shared, nn.BatchNorm1d(2)))


def tie(model: nn.Sequential) -> None:
    model[0].bias = model[1].bias


CHANGES: dict[str, Callable[[nn.Sequential], None]] = {
    "another module": lambda model: model.__setitem__(0, nn.Linear(4, 2)),
    "one more": lambda model: model.append(nn.Linear(2, 1)),
    "one less": lambda model: model.__delitem__(2),
    "another parameter": lambda model: setattr(model[1], "weight", nn.Parameter(model[1].weight.detach())),
    "a parameter of none": lambda model: model[0].register_parameter("bias", None),
    "tied parameters": tie,
    "deep inside": lambda model: model[2].__setitem__(1, nn.Linear(2, 2, bias=False)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_parameters_are_torchs_before_and_after_a_change(change: str) -> None:
    model = tree()
    live = LiveParameters(model)
    for _ in range(2):
        assert [*map(id, live.now())] == [*map(id, model.parameters())]
    assert live.now() is live.now()
    CHANGES[change](model)
    assert [*map(id, live.now())] == [*map(id, model.parameters())]
