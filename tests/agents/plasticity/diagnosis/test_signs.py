"""Signs by hand."""

from __future__ import annotations

import math

import pytest
import torch

from agents.plasticity.diagnosis.signs import certainty, feature_rank
from agents.plasticity.outputs import Form


def test_the_rank_of_features_counts_those_that_are_not_dormant_and_no_offset() -> None:
    # Two directions of the same size, in two of four features; the others are silent.
    features = torch.tensor([[1.0, 0, 0, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, -1, 0, 0]])
    assert feature_rank(features).item() == pytest.approx(1.0)
    assert feature_rank(features[:, :2] + 100).item() == pytest.approx(1.0)
    alike = torch.arange(4.0).view(4, 1) @ torch.ones(1, 5)
    assert feature_rank(alike).item() == pytest.approx(0.0, abs=1e-4)
    assert math.isnan(feature_rank(torch.zeros(4, 3)).item())


def test_certainty() -> None:
    assert certainty(Form("logits", (2, 2)), torch.tensor([[0.0, 0.0, 0.0, math.log(3.0)]])).item() == pytest.approx(
        0.5 * 0.75
    )
    assert certainty(Form("bits", (2,)), torch.tensor([[0.0, -math.log(3.0)]])).item() == pytest.approx(0.5 * 0.75)
    gaussian = torch.tensor([[math.atanh(0.5), -20.0, 7.0, 7.0]])  # the log standard deviations behind do not count
    assert certainty(Form("gaussian", (2,)), gaussian).item() == pytest.approx(0.75)
