"""A small audit, made without a run."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agents.plasticity import PlasticOptimizer
from agents.plasticity.audit import AuditedCriterion, audited_criteria
from crl.audit.agreement import LayerAudit, audit_layers


@pytest.fixture
def silent_audit() -> tuple[list[AuditedCriterion], list[LayerAudit]]:
    """Two layers of a network whose outputs have no weights: nothing costs anything, most criteria rank nothing."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 20), nn.ReLU(), nn.Linear(20, 2))
    model[4].weight.data.zero_()
    learner = PlasticOptimizer(
        torch.optim.SGD(model.parameters(), 0.1), model, [], sample=lambda n, generator: None,
        sample_losses=lambda batch: model(batch).square().sum(1), outputs=model,
    )  # fmt: skip
    found = audited_criteria()[0]
    return found, list(audit_layers(learner, torch.randn(8, 4), found, 0))
