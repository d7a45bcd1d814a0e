"""PPO's objective, by numbers worked out on paper."""

from __future__ import annotations

import math

import pytest
import torch
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from torch import Tensor

from agents.clipped_objective import Samples, Settings, evaluated, losses, sample_losses

SETTINGS = Settings(normalize_advantage=False, clip_range=0.2, clip_range_vf=0.5, ent_coef=0.1, vf_coef=0.5)


def batch_of(advantages: list[float]) -> RolloutBufferSamples:
    """Actions of probability 1/2, whose states were thought to be worth 0 and 3, and were worth 2 and 1."""
    n, nothing = len(advantages), torch.zeros(len(advantages), 1)
    worth, returns = torch.tensor([0.0, 3.0] * n)[:n], torch.tensor([2.0, 1.0] * n)[:n]
    return RolloutBufferSamples(
        nothing, nothing, worth, torch.full((n,), math.log(0.5)), torch.tensor(advantages), returns
    )


def samples_of(batch: RolloutBufferSamples, settings: Settings, probabilities: Tensor) -> Samples:
    values, entropy = torch.tensor([1.0, 3.0]), torch.tensor([0.5, 0.7])
    return evaluated(values, torch.log(probabilities), entropy, batch, settings)


def test_the_terms_are_those_of_the_paper() -> None:
    """Ratios 1.5 and 0.5 are clipped to 1.2 and 0.8; the first value may move by 0.5 of the 1 that it has moved."""
    batch = batch_of([1.0, -1.0])
    samples = samples_of(batch, SETTINGS, torch.tensor([0.75, 0.25]))
    torch.testing.assert_close(samples.surrogate, torch.tensor([1.2, -0.8]))
    torch.testing.assert_close(samples.values, torch.tensor([0.5, 3.0]))
    found = {name: float(value) for name, value in losses(samples, batch, SETTINGS).items()}
    assert found == pytest.approx(
        {
            "loss": -0.26 + 0.5 * 3.125,
            "actor_loss": -0.2 - 0.1 * 0.6,
            "policy_loss": -0.2,
            "value_loss": (2.25 + 4) / 2,
            "entropy_loss": -0.6,
            "approx_kl": math.log(4 / 3) / 2,
            "clip_fraction": 1.0,
        }
    )
    each = sample_losses(samples, batch, SETTINGS)
    torch.testing.assert_close(each, torch.tensor([-1.2 - 0.05 + 1.125, 0.8 - 0.07 + 2.0]))


def test_a_ratio_that_was_clipped_is_not_moved_on_but_one_that_went_wrong_is() -> None:
    batch = batch_of([1.0, -1.0])
    probabilities = torch.tensor([0.75, 0.75], requires_grad=True)
    losses(samples_of(batch, SETTINGS, probabilities), batch, SETTINGS)["policy_loss"].backward()
    assert probabilities.grad is not None
    assert probabilities.grad.tolist() == [0.0, 1.0]  # the ratio, 2 p, times the advantage, and a mean of two


def test_advantages_are_normalised_by_the_deviation_of_the_minibatch() -> None:
    settings = SETTINGS._replace(normalize_advantage=True)
    samples = samples_of(batch_of([3.0, 1.0]), settings, torch.tensor([0.5, 0.5]))
    torch.testing.assert_close(samples.surrogate, torch.tensor([0.5**0.5, -(0.5**0.5)]))


def test_one_transition_alone_keeps_its_advantage() -> None:
    settings = SETTINGS._replace(normalize_advantage=True, clip_range_vf=None)
    batch = batch_of([3.0])
    samples = evaluated(torch.tensor([1.0]), torch.tensor([math.log(0.5)]), None, batch, settings)
    assert samples.surrogate.tolist() == [3.0]
    assert samples.values.tolist() == [1.0]
    torch.testing.assert_close(samples.entropy, torch.tensor([math.log(2)]))  # estimated by the action
