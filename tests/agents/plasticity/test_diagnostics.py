"""Measures on spectra and activations that are known."""

import math

import pytest
import torch
from small_ppo import build, parameters

from agents.plasticity import diagnostics


def test_dormant_ratio_is_over_the_units_of_all_layers() -> None:
    alive = torch.tensor([[1.0, -1.0, 0.0, 2.0]])  # scores over the mean: 1, 1, 0, 2
    quiet = torch.tensor([[0.05, 1.95]])  # scores over the mean: .05 and 1.95
    assert diagnostics.dormant_ratio([alive]).item() == pytest.approx(1 / 4)
    assert diagnostics.dormant_ratio([alive, quiet]).item() == pytest.approx(1 / 6)
    assert diagnostics.dormant_ratio([alive, quiet], tau=0.1).item() == pytest.approx(2 / 6)
    assert diagnostics.dormant_ratio([torch.zeros(3, 2, 4, 4)]).item() == 1.0


def test_effective_rank_of_known_spectra() -> None:
    identity = torch.eye(6)
    assert diagnostics.effective_rank(torch.cat([identity] * 3)).item() == pytest.approx(6.0)
    one = torch.outer(torch.arange(1.0, 9.0), torch.ones(4))
    assert diagnostics.effective_rank(one).item() == pytest.approx(1.0, abs=1e-3)
    geometric = torch.diag(torch.tensor([8.0, 4.0, 2.0, 1.0]))
    p = [8 / 15, 4 / 15, 2 / 15, 1 / 15]
    expected = math.exp(-sum(x * math.log(x) for x in p))
    assert diagnostics.effective_rank(geometric).item() == pytest.approx(expected)
    assert diagnostics.effective_rank(geometric.T[:, :2]).item() == pytest.approx(
        math.exp(-(2 / 3) * math.log(2 / 3) - (1 / 3) * math.log(1 / 3))
    )
    assert diagnostics.effective_rank(torch.zeros(5, 3)).item() == 0.0


def test_norms_by_hand() -> None:
    assert diagnostics.norm([torch.tensor([3.0]), torch.tensor([[4.0]])]).item() == pytest.approx(5.0)
    assert diagnostics.weight_norm([torch.tensor([1.0, 7.0])]).item() == pytest.approx(5.0)


def test_measure_takes_every_value_of_every_network_and_changes_nothing() -> None:
    model = build("board").learn(64)
    before, gradients = parameters(model), {n: p.grad.clone() for n, p in model.policy.named_parameters()}
    rng = torch.get_rng_state()
    values = diagnostics.measure(model, torch.Generator().manual_seed(1))
    assert list(values) == [
        f"plasticity/{network}/{name}"
        for network in ("actor", "critic", "features")
        for name in ("dormant_ratio", "effective_rank", "weight_norm", "grad_norm")
    ]
    assert all(math.isfinite(value) for value in values.values())
    assert all(torch.equal(before[n], t) for n, t in parameters(model).items())
    assert all(torch.equal(gradients[n], p.grad) for n, p in model.policy.named_parameters())
    assert torch.equal(rng, torch.get_rng_state())
    assert values == diagnostics.measure(model, torch.Generator().manual_seed(1))


def test_measured_gradient_norm_is_that_of_the_loss() -> None:
    model = build("mlp").learn(64)
    values = diagnostics.measure(model, torch.Generator().manual_seed(1))
    batch = model.sample(diagnostics.PROBE, torch.Generator().manual_seed(1))
    model.policy.zero_grad()
    model.losses(batch)["loss"].backward()
    critic = [p.grad for n, p in model.policy.named_parameters() if "value" in n]
    assert values["plasticity/critic/grad_norm"] == pytest.approx(
        torch.cat([g.flatten() for g in critic]).norm().item()
    )
