"""How far outputs are apart, in numbers worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Categorical, Normal, kl_divergence

from agents.plasticity.outputs import Form, cross_entropy, distance

LOGITS = Form("logits", (2, 3))
OLD, NEW = torch.randn(2, 7, 5, generator=torch.Generator().manual_seed(0))


def test_of_values_it_is_the_mean_square() -> None:
    old, new = torch.zeros(2, 2), torch.tensor([[1.0, 2.0], [3.0, 0.0]])
    assert float(distance(Form(), old, new)) == pytest.approx(14 / 4)
    assert float(distance(Form("values", (2,)), old, new)) == pytest.approx(14 / 4)
    assert float(distance(Form("values", (1, 1)), old, new)) == pytest.approx((1 + 9) / 2 + 4 / 2)  # two critics
    assert float(distance(Form("means", (1,)), old, new)) == pytest.approx((1 + 9) / 2)  # gSDE's deviations follow
    assert float(distance(Form(), torch.zeros(2, 3, 4), torch.ones(2, 3, 4))) == 1.0


@pytest.mark.parametrize("kind", ["values", "means", "actions", "logits"])
def test_in_half_precision_small_differences_are_not_lost(kind: str) -> None:
    """The square of 2^-14 is below the smallest number of half precision."""
    form, old = Form(kind, (2,)), torch.zeros(3, 2, dtype=torch.float16)  # type: ignore[arg-type]
    new = torch.tensor([[2.0**-14, 0.0]] * 3, dtype=torch.float16)
    assert distance(form, old, new) == distance(form, old.float(), new.float()) > 0


def test_of_actions_it_is_taken_behind_the_tanh() -> None:
    old, new = torch.zeros(1, 1), torch.full((1, 1), math.atanh(0.5))
    assert float(distance(Form("actions", (1,)), old, new)) == pytest.approx(0.25)


def test_of_choices_it_is_the_divergence_of_all_parts() -> None:
    """Old probabilities 1/2 and 1/2, new ones 1/4 and 3/4: KL = log(2)/2 + log(2/3)/2; the other part is unchanged."""
    old = torch.tensor([[0.0, 0.0, 1.0, 2.0, 3.0]])
    new = torch.tensor([[0.0, math.log(3), 1.0, 2.0, 3.0]])
    assert float(distance(LOGITS, old, new)) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3))
    pairs = [(OLD[:, :2], NEW[:, :2]), (OLD[:, 2:], NEW[:, 2:])]
    expected = sum(kl_divergence(Categorical(logits=a), Categorical(logits=b)).mean() for a, b in pairs)
    torch.testing.assert_close(distance(LOGITS, OLD, NEW), expected)


def test_of_bits_too() -> None:
    expected = kl_divergence(Bernoulli(logits=OLD), Bernoulli(logits=NEW)).sum(1).mean()
    torch.testing.assert_close(distance(Form("bits", (5,)), OLD, NEW), expected)


def test_of_gaussians_it_is_that_of_the_new_one_from_the_old() -> None:
    few = [0.5 * x for x in (OLD, NEW)]
    old, new = (Normal(x[:, :2], x[:, 2:4].exp()) for x in few)
    torch.testing.assert_close(distance(Form("gaussian", (2,)), *few), kl_divergence(new, old).sum(1).mean())


@pytest.mark.parametrize("kind", ["logits", "bits", "gaussian", "values", "actions", "means"])
@pytest.mark.parametrize(("old", "new"), [(1e4, -1e4), (-1e4, 1e4), (1e4, 1e4)])
def test_nothing_overflows(kind: str, old: float, new: float) -> None:
    form = Form(kind, (2,))  # type: ignore[arg-type]
    then, now = torch.tensor([[old, -old] * 2]), torch.tensor([[new, -new] * 2], requires_grad=True)
    found = distance(form, then[:, : 4 if kind == "gaussian" else 2], now[:, : 4 if kind == "gaussian" else 2])
    found.backward()
    assert found.isfinite()
    assert now.grad is not None
    assert now.grad.isfinite().all()


FORMS = [Form(), Form("values", (1,) * 5), Form("means", (3,)), Form("actions", (5,)), LOGITS, Form("bits", (5,)),
         Form("gaussian", (2,))]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_it_is_zero_where_nothing_has_changed_and_small_where_little_has(form: Form) -> None:
    assert float(distance(form, OLD, OLD.clone())) == 0.0
    old, new = OLD.double(), OLD.double() + 1e-4 * NEW.double()
    exact = float(distance(form, old, new))
    assert float(distance(form, old.float(), new.float())) == pytest.approx(exact, rel=2e-2)


@pytest.mark.parametrize("form", [LOGITS, Form("bits", (5,))])
def test_the_cross_entropy_has_the_divergences_gradient_and_the_entropy_beside_it(form: Form) -> None:
    """METHODS 15.20."""

    def gradient(function: object) -> tuple[Tensor, Tensor]:
        now = NEW.clone().requires_grad_()
        value = function(form, OLD, now)  # type: ignore[operator]
        value.backward()
        assert now.grad is not None
        return value.detach(), now.grad

    (kl, one), (ce, other) = gradient(distance), gradient(cross_entropy)
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(ce - kl, cross_entropy(form, OLD, OLD))
