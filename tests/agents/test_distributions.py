"""Discrete actions without torch's objects are drawn, weighed and learnt from as with them, to the last bit."""

from __future__ import annotations

import pytest
import torch
from small_ppo import build
from stable_baselines3.common.distributions import CategoricalDistribution
from torch import Tensor
from torch.distributions import Categorical, Distribution

from agents.networks.distributions import LeanCategorical

KINDS = (LeanCategorical, CategoricalDistribution)


def looked_at(distribution: CategoricalDistribution, *, learning: bool) -> list[Tensor]:
    """What PPO asks in a rollout, or in an update with its gradient, of logits that are the same for all."""
    torch.manual_seed(3)
    logits = (torch.randn(500, 6) * torch.logspace(-2, 2, 500)[:, None]).requires_grad_(learning)
    distribution.proba_distribution(logits)
    actions = torch.randint(6, (500,)) if learning else distribution.get_actions()
    found = [actions, distribution.log_prob(actions), distribution.entropy(), distribution.get_actions(True)]
    if learning:
        (0.3 * found[1].exp().mean() - found[2].mean()).backward()
        assert logits.grad is not None
        found.append(logits.grad)
    return found


@pytest.mark.parametrize("learning", [False, True])
def test_all_is_that_of_sb3(learning: bool) -> None:
    ours, stock = (looked_at(kind(6), learning=learning) for kind in KINDS)
    for mine, its in zip(ours, stock, strict=True):
        assert mine.dtype is its.dtype
        assert torch.equal(mine, its)


def test_a_policy_of_sb3s_has_it_and_gives_torchs_object_to_who_asks() -> None:
    model = build("mlp")
    assert type(model.policy.action_dist) is LeanCategorical
    observation = torch.zeros(1, 4)
    with torch.no_grad():
        found = model.policy.get_distribution(observation)
    asked = found.distribution
    assert isinstance(asked, Categorical)
    assert torch.equal(asked.log_prob(torch.tensor([1])), found.log_prob(torch.tensor([1])))
    found.distribution = None  # as the end of an update does
    assert found.distribution is None


@pytest.mark.parametrize("validates", [True, False])  # `torch.compile`, once used, turns it off
@pytest.mark.parametrize("strange", [float("nan"), float("inf")])
def test_logits_that_are_no_numbers_are_refused_as_by_torch(
    strange: float, validates: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Distribution, "_validate_args", validates)
    logits = torch.tensor([[0.0, 1.0], [strange, 0.0]])
    for kind in KINDS if validates else [LeanCategorical]:
        with pytest.raises(ValueError, match="found invalid values"):
            kind(2).proba_distribution(logits)
    impossible = torch.tensor([[0.0, -float("inf")]])
    assert LeanCategorical(2).proba_distribution(impossible).get_actions().item() == 0


@pytest.mark.parametrize("shape", [(1,), (), (3, 1)])
def test_actions_of_another_shape_are_broadcast_as_by_torch(shape: tuple[int, ...]) -> None:
    logits, actions = torch.randn(5, 3), torch.ones(shape)
    ours, stock = (kind(3).proba_distribution(logits).log_prob(actions) for kind in KINDS)
    assert torch.equal(ours, stock)


def test_torchs_object_may_be_put_in() -> None:
    given = Categorical(probs=torch.tensor([[0.1, 0.2, 0.7]] * 2))
    found = []
    for kind in KINDS:
        distribution = kind(3).proba_distribution(torch.zeros(2, 3))
        distribution.distribution = given
        torch.manual_seed(0)
        found.append([distribution.log_prob(torch.tensor([0, 2])), distribution.mode(), distribution.sample()])
    assert all(map(torch.equal, *found))
    assert torch.equal(found[0][0], given.log_prob(torch.tensor([0, 2])))


def test_a_policy_is_compiled_whole() -> None:
    policy = build("mlp").policy
    compiled = torch.compile(policy.evaluate_actions, fullgraph=True, backend="eager")
    given = torch.zeros(3, 4), torch.tensor([0, 1, 1])
    with torch.no_grad():
        assert all(map(torch.equal, compiled(*given), policy.evaluate_actions(*given)))
