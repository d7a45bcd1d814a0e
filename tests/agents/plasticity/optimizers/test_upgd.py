"""UPGD: gates worked out by hand, its noise, and what the largest utility is."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from agents.plasticity import UPGD
from agents.plasticity.seeds import derive_seed

SIGNS: dict[str, Any] = {"lr": 0.1, "betas": (0.0, 0.0), "eps": 0.0, "weight_decay": 0.0, "sigma": 0.0}


def after(weights: list[list[float]], gradients: list[list[float]], **settings: Any) -> list[Tensor]:
    """The weights after a step from each of these gradients, which are the same at every step."""
    parameters = [nn.Parameter(torch.tensor(weight)) for weight in weights]
    optimizer = UPGD(parameters, **{**SIGNS, **settings})
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = torch.tensor(gradient)
    optimizer.step()
    return [parameter.detach() for parameter in parameters]


def gate(share: float) -> float:
    """1 - sigmoid, of a utility over the largest."""
    return 1 / (1 + math.exp(share))


def test_useful_weights_move_less() -> None:
    """Utilities are 1 and -2, so the gates are 1 - sigmoid(1) and 1 - sigmoid(-2), of steps of 0.2."""
    (weight,) = after([[1.0, -2.0]], [[-1.0, -1.0]])
    torch.testing.assert_close(weight, torch.tensor([1 + 0.2 * 0.26894143, -2 + 0.2 * 0.88079709]))
    (alone,) = after([[1.0, -2.0]], [[-1.0, -1.0]], lr_factor=1.0, weight_decay=0.5)
    torch.testing.assert_close(alone, torch.tensor([0.95 + 0.1 * 0.26894143, -1.9 + 0.1 * 0.88079709]))


def test_without_a_useful_weight_none_is_protected() -> None:
    (weight,) = after([[1.0, 2.0]], [[1.0, 1.0]])  # utilities of -1 and -2: a ratio of the two would be above 0
    torch.testing.assert_close(weight, torch.tensor([0.8, 1.8]))
    (neither,) = after([[0.0]], [[1.0]])  # 0, neither useful nor harmful
    torch.testing.assert_close(neither, torch.tensor([-0.1]))


def test_the_largest_utility_is_that_of_all_tensors_or_of_its_own() -> None:
    weights, gradients = [[4.0], [1.0]], [[-1.0], [-1.0]]
    first, second = after(weights, gradients)
    torch.testing.assert_close(torch.cat([first, second]), torch.tensor([4 + 0.2 * gate(1), 1 + 0.2 * gate(0.25)]))
    first, second = after(weights, gradients, local=True)
    torch.testing.assert_close(torch.cat([first, second]), torch.tensor([4 + 0.2 * gate(1), 1 + 0.2 * gate(1)]))


def test_utilities_are_means_whose_beginning_is_corrected() -> None:
    """With a decay of 0.5 utilities of 1 and then of 0.4 have the mean (0.25 * 1 + 0.5 * 0.4) / 0.75 = 0.6."""
    weights = [nn.Parameter(torch.tensor([value])) for value in (1.0, 5.0)]
    optimizer = UPGD(weights, **{**SIGNS, "lr": 0.0}, beta_utility=0.5)
    for gradient in (-1.0, -0.4):
        weights[0].grad, weights[1].grad = torch.tensor([gradient]), torch.tensor([-1.0])
        optimizer.param_groups[0]["lr"] = 0.1 if gradient == -0.4 else 0.0
        optimizer.step()
    torch.testing.assert_close(weights[0].detach(), torch.tensor([1 + 0.2 * gate(0.6 / 5)]))


def test_noise_is_gated_too_and_comes_from_a_generator_of_its_own() -> None:
    state = torch.get_rng_state()
    (weight,) = after([[1.0, -2.0]], [[-1.0, -1.0]], sigma=0.5, seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    noise = torch.randn(2, generator=torch.Generator().manual_seed(derive_seed(3, 0)))
    (quiet,) = after([[1.0, -2.0]], [[-1.0, -1.0]])
    torch.testing.assert_close(weight, quiet - 0.2 * torch.tensor([gate(1), gate(-2)]) * 0.5 * noise)


def test_its_seed_follows_from_torch_and_from_the_shapes() -> None:
    def seed_of(*shapes: int) -> int:
        found: int = UPGD([nn.Parameter(torch.zeros(shape)) for shape in shapes]).param_groups[0]["seed"]
        return found

    torch.manual_seed(1)
    assert seed_of(2, 3) == seed_of(2, 3) != seed_of(3, 2)
    before = seed_of(2)
    torch.manual_seed(2)
    assert seed_of(2) != before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, r"^lr is -1.0; give a number of at least 0$"),
        ({"betas": (0.9, 1.0)}, r"^betas is \(0.9, 1.0\); give two decay rates of at least 0 and below 1$"),
        ({"beta_utility": 1.0}, r"^beta_utility is 1.0; give a decay rate of at least 0 and below 1$"),
        ({"sigma": -1.0}, r"^sigma is -1.0; give a number of at least 0$"),
        ({"lr_factor": 0.0}, r"^lr_factor is 0.0; give a number above 0$"),
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        UPGD([nn.Parameter(torch.zeros(1))], **settings)
