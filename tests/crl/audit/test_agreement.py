"""Rank correlations and the cost of the lowest, with numbers worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from agents.plasticity import PlasticOptimizer, criterion
from agents.plasticity.audit import Costs, audited_criteria
from agents.plasticity.registry import CRITERIA
from crl.audit.agreement import (
    Agreement,
    LayerAudit,
    Lowest,
    agreement,
    audit_layers,
    lowest_units,
    ranks,
    spearman,
    summaries,
    summary,
)

RISING = torch.tensor([1.0, 2.0, 3.0, 4.0])


def test_spearman_by_hand() -> None:
    assert spearman(RISING, RISING.exp()) == pytest.approx(1)
    assert spearman(RISING, -RISING) == pytest.approx(-1)
    # ranks 1 2 3 4 and 2 1 4 3: 1 - 6 * (1 + 1 + 1 + 1) / (4 * 15) = .6
    assert spearman(RISING, torch.tensor([20.0, 10.0, 40.0, 30.0])) == pytest.approx(0.6)
    # ranks 1.5 1.5 3 4: covariance 4.5 over the root of 5 * 4.5
    assert spearman(RISING, torch.tensor([0.0, 0.0, 1.0, 2.0])) == pytest.approx(4.5 / math.sqrt(22.5))


@pytest.mark.parametrize("side", [torch.zeros(4), torch.full((4,), 7.0), torch.tensor([1.0, math.nan, 2.0, 3.0])])
def test_what_ranks_nothing_has_no_correlation(side: Tensor) -> None:
    assert spearman(side, RISING) is None
    assert spearman(RISING, side) is None
    assert not ranks(side)
    assert ranks(RISING)


def test_lowest_units() -> None:
    assert lowest_units(torch.tensor([3.0, 1.0, 2.0])).tolist() == [1]  # at least one
    assert lowest_units(torch.arange(29.0).flip(0)).tolist() == [28, 27]
    assert lowest_units(torch.zeros(20)).tolist() == [0, 1]


def test_ratio() -> None:
    assert Lowest(2, cost=6, best=2, chance=9, joint=7).ratio == 3
    assert Lowest(2, cost=0, best=0, chance=9, joint=0).ratio == 1
    assert Lowest(2, cost=1, best=0, chance=9, joint=1).ratio == math.inf


def test_agreement_with_each_cost() -> None:
    costs = Costs(absolute=RISING, mean_loss=-RISING, outputs=torch.ones(4))
    found = agreement(RISING, costs, None)
    assert (found.absolute, found.mean_loss, found.outputs) == (pytest.approx(1), pytest.approx(-1), None)


def test_summary_passes_over_what_is_not_defined() -> None:
    found = summary([
        Agreement(0.5, None, None, Lowest(1, 4, 1, 9, 4)),
        Agreement(1.0, None, None, Lowest(1, 2, 1, 9, 2)),
        Agreement(None, None, None, None),
    ])  # fmt: skip
    assert (found.absolute, found.mean_loss, found.ratio) == (0.75, None, 3)


@pytest.fixture
def users() -> Iterator[None]:
    """The cost's opposite, and a criterion that says the same of all units."""
    known = dict(CRITERIA)

    @criterion("opposite")
    def opposite(a: Tensor, g: Tensor) -> Tensor:
        return 100 - (a * g).abs().sum(0)

    @criterion("same")
    def same(weight_in: Tensor) -> Tensor:
        return torch.full((len(weight_in),), 0.3)

    yield
    CRITERIA.clear()
    CRITERIA.update(known)


@pytest.fixture
def linear() -> LayerAudit:
    """The audit of one layer of 20 units under a loss that is linear in the outputs."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 20), nn.Tanh(), nn.Linear(20, 2))
    learner = PlasticOptimizer(
        torch.optim.SGD(model.parameters(), 0.1), model, [], sample=lambda n, generator: None,
        sample_losses=lambda batch: (model(batch[0]) * batch[1]).sum(1), outputs=lambda batch: model(batch[0]),
    )  # fmt: skip
    (found,) = audit_layers(learner, (torch.randn(64, 4), torch.randn(64, 2)), audited_criteria()[0], 0)
    return found


@pytest.mark.usefixtures("users")
def test_a_linear_loss(linear: LayerAudit) -> None:
    for label, replacement in (("gxd", "zero"), ("gxd to mean", "mean")):
        right = linear.agreements[label][replacement]
        assert right.absolute == pytest.approx(1)
        assert right.lowest is not None
        assert right.lowest.units == 2
        assert right.lowest.ratio == 1
        costs = linear.costs[replacement].absolute
        assert right.lowest.best == pytest.approx(float(costs.sort().values[:2].sum()))
        assert right.lowest.chance == pytest.approx(float(costs.sum()) / 10)
        assert 0 < right.lowest.joint <= right.lowest.cost  # signs may cancel, costs alone add up
    assert linear.agreements["gxd mean_abs"]["zero"].mean_loss == pytest.approx(1)
    assert linear.agreements["gxd outputs"]["zero"].outputs == pytest.approx(1)
    wrong = linear.agreements["opposite"]["zero"]
    assert wrong.absolute == pytest.approx(-1)
    assert wrong.lowest is not None
    assert wrong.lowest.cost == pytest.approx(float(linear.costs["zero"].absolute.sort().values[-2:].sum()))
    assert linear.silent == ["same"]
    assert linear.agreements["same"]["zero"] == Agreement(None, None, None, None)
    first, *_, last = summaries([linear])
    assert first.startswith("gxd")
    assert last == "same"
