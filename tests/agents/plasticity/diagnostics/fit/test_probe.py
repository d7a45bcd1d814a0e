"""The fit probe: what it says of networks that can and cannot be trained, and that it leaves no trace."""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import small_off_policy
import small_ppo
import torch
from small_loop import Regression
from torch import Tensor, nn

from agents.plasticity import PlasticOptimizer, trainability
from agents.plasticity.diagnostics import Diagnostics, FitProbe
from agents.plasticity.diagnostics.fit import probe
from agents.plasticity.layers import AID
from agents.plasticity.protocols import NoDataError


def small(**arguments: Any) -> dict[str, float]:
    return trainability(arguments.pop("learner"), **{"steps": 3, "observations": 16, **arguments})


def test_a_linear_network_never_loses_any() -> None:
    """Its error is the same function of what is still missing, wherever it begins."""
    learner = Regression(model=nn.Sequential(nn.Linear(4, 3)))
    with torch.no_grad():
        learner.module[0].weight.mul_(7).add_(3)
    assert small(learner=learner, steps=20) == {"net/trainability": pytest.approx(1.0, abs=1e-4)}


def test_dead_units_lose_it_and_new_ones_have_it() -> None:
    learner = Regression()
    assert 0.5 < small(learner=learner, steps=20)["net/trainability"] < 2
    with torch.no_grad():
        learner.module[2].bias.fill_(-100)
    assert small(learner=learner, steps=20)["net/trainability"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("factor", [1e6, math.nan])
def test_networks_that_have_exploded_have_none(factor: float) -> None:
    learner = Regression()
    with torch.no_grad():
        for parameter in learner.module.parameters():
            parameter.mul_(factor)
    assert small(learner=learner) == {"net/trainability": 0.0}


def test_of_observations_that_are_all_alike_nothing_is_told() -> None:
    learner = Regression(x=torch.randn(1, 4).expand(64, 4).contiguous())
    assert small(learner=learner) == {}


def test_a_saturated_policy_is_fitted_but_does_not_learn() -> None:
    model = small_ppo.build("mlp").learn(64)
    with torch.no_grad():
        model.policy.action_net.bias.copy_(torch.tensor([60.0, 0.0]))
    found = small(learner=model, steps=20)
    assert found["actor/trainability"] > 0.5
    assert found["actor/policy_trainability"] < 1e-6
    assert found["critic/trainability"] > 0.5


PPO = {
    "crelu-board": {"actor", "critic", "features"}, "dict": {"actor", "critic", "features"},
    "norm-tanh-gsde": {"actor", "critic"},
}  # fmt: skip
OFF = {
    "dqn-norm-crelu": {"critic"}, "sac-cnn-shared": {"actor", "critic", "features"}, "sac-gsde": {"actor", "critic"},
    "td3-mlp": {"actor", "critic"},
}  # fmt: skip
PLAIN = ("dict", "norm-tanh-gsde", "dqn-norm-crelu")  # without a policy that saturates


@pytest.mark.parametrize("kind", [*PPO, *OFF])
def test_every_kind_of_network_is_probed_and_left_as_it_is(kind: str) -> None:
    model = small_ppo.build(kind).learn(64) if kind in PPO else small_off_policy.ours(kind).learn(32)
    found = unnoticed(model, lambda: small(learner=model))
    networks = (PPO | OFF)[kind]
    policies = set() if kind in PLAIN else {"actor/policy_trainability"}
    assert found.keys() == {f"{name}/trainability" for name in networks} | policies
    assert found == small(learner=model)
    assert found.keys() <= set(probe.measures(model))


@pytest.mark.parametrize("optimizer", ["adamw", "rmsprop", "trac", "upgd", "adamo"])
def test_every_optimizer(optimizer: str) -> None:
    model = small_ppo.build("mlp", optimizer=optimizer).learn(64)
    # TRAC's first steps are as good as none.
    assert len(unnoticed(model, lambda: small(learner=model, steps=25 if optimizer == "trac" else 3))) == 3


def unnoticed(model: Any, look: Callable[[], Any]) -> Any:
    """What a look gives, after which nothing of the agent, and no generator, is another than before it."""

    def now() -> list[Any]:
        parameters = list(model.policy.parameters())
        generators = [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]
        return [
            {name: tensor.clone() for name, tensor in model.policy.state_dict().items()},
            [copy.deepcopy(optimizer.state_dict()) for optimizer in model.optimizers],
            [(id(p), p.data_ptr(), p._version, p.requires_grad, None if p.grad is None else p.grad.clone())
             for p in parameters],
            [module.training for module in model.policy.modules()],
            [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.policy.modules()],
            generators,
        ]  # fmt: skip

    before, networks = now(), model.networks
    found = look()
    for old, new in zip(before, now(), strict=True):
        torch.testing.assert_close(new, old, rtol=0, atol=0)
    assert model.networks is networks
    return found


def test_frozen_parameters_stay_and_a_frozen_network_has_no_score() -> None:
    model = small_ppo.build("crelu-board").learn(64)
    for parameter in model.policy.features_extractor.parameters():
        parameter.requires_grad_(requires_grad=False)
    assert small(learner=model).keys() == {f"{n}/trainability" for n in ("actor", "critic")} | {
        "actor/policy_trainability"
    }


def test_replaced_modules_and_injected_heads_are_followed() -> None:
    policy = {"net_arch": [8, 6], "injectable": True, "activation_fn": AID}
    model = small_ppo.build("mlp", policy_kwargs=policy).learn(64)
    (head,) = model.networks["actor"].heads[0]
    head.inject([torch.randn_like(weight) for weight in head.live])
    assert len(unnoticed(model, lambda: small(learner=model))) == 3
    model = small_ppo.build("mlp").learn(64)
    model.policy.value_net = nn.Linear(12, 1)
    model.policy.optimizer = torch.optim.SGD(model.policy.parameters(), lr=0.1)
    assert len(unnoticed(model, lambda: small(learner=model))) == 3


def test_several_networks_of_an_own_loop_are_trained_through_the_last_one() -> None:
    torch.manual_seed(1)
    body, head = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU()), nn.Linear(8, 2)
    data = torch.randn(64, 4)
    learner = PlasticOptimizer(
        torch.optim.SGD([*body.parameters(), *head.parameters()], lr=0.1), nn.Sequential(*body, head), [],
        sample=lambda n, generator: data[:n], sample_losses=lambda x: head(body(x)).square().mean(1),
        outputs=lambda x: head(body(x)),
    )  # fmt: skip
    assert small(learner=learner).keys() == {"net/trainability"}


def test_without_data_or_steps_it_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    learner = PlasticOptimizer(torch.optim.SGD(model.parameters(), lr=0.1), model, [])
    with pytest.raises(NoDataError, match="give it sample"):
        trainability(learner)
    with pytest.raises(ValueError, match="steps is 0; give a number of gradient steps of at least 1"):
        trainability(Regression(), steps=0)
    with pytest.raises(ValueError, match="observations is 0"):
        trainability(Regression(), observations=0)


# ------------------------------------------------------------------ again and again


def short(learner: Any, seed: int = 1) -> FitProbe:
    """Of two steps on eight observations."""
    return FitProbe(learner, seed, steps=2, observations=8)


def test_the_fresh_share_is_taken_once_until_the_rate_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    learner, calls = Regression(), []
    whole = probe.errors_removed

    def counted(*arguments: Any, **named: Any) -> dict[str, Tensor]:
        calls.append(1)
        return whole(*arguments, **named)

    monkeypatch.setattr(probe, "errors_removed", counted)
    fit = short(learner)
    scores = []
    for rate in (0.01, 0.01, 0.02, 0.02):
        learner.param_groups[0]["lr"] = rate
        scores.append(fit.measure(learner.sample)["net/trainability"].item())
    assert len(calls) == 6
    again = short(learner)
    again.restore(copy.deepcopy(fit.state()))
    assert again.measure(learner.sample) == fit.measure(learner.sample)
    fit.forget()
    fit.measure(learner.sample)
    assert len(calls) == 10
    assert all(0 < score < 3 for score in scores)


def test_it_is_due_when_training_has_learnt_from_many_times_as_much() -> None:
    whole = Regression(batch_size=4)
    learner = SimpleNamespace(**{name: getattr(whole, name) for name in LOOKED_AT})
    fit = short(learner)
    assert not fit.is_due()
    learner.optimizer_steps = 63  # 16 x 2 steps x 8 observations are 64 minibatches of 4
    assert not fit.is_due()
    learner.optimizer_steps = 64
    assert fit.is_due()
    learner.batch_size = None
    learner.optimizer_steps = 0
    assert fit.is_due()  # not known


LOOKED_AT = ("networks", "optimizers", "output_forms", "optimizer_steps", "batch_size")


def test_diagnostics_give_it_at_the_first_call_on_a_probe() -> None:
    model = small_ppo.build("mlp").learn(64)
    keys = {f"plasticity/{key}" for key in probe.measures(model)}

    def measured(diagnostics: Diagnostics) -> set[str]:
        return diagnostics.measure().keys() & keys

    fit = short(model)
    diagnostics = Diagnostics(model, torch.Generator().manual_seed(1), fit=fit)
    assert measured(diagnostics) == set()  # too little was learnt
    assert keys < set(diagnostics.tags)
    diagnostics.renew_probe()
    model.optimizer_steps = 10_000
    assert measured(diagnostics) == keys
    assert measured(diagnostics) == set()
    diagnostics.renew_probe()
    assert measured(diagnostics) == set()
    model.optimizer_steps = 20_000
    state = copy.deepcopy(diagnostics.state())
    diagnostics.renew_probe()
    expected = diagnostics.measure()
    again = Diagnostics(model, torch.Generator().manual_seed(1), fit=short(model))
    again.restore(state)
    again.renew_probe()
    assert again.measure() == expected
    # Others are as without it.
    plain = Diagnostics(model, torch.Generator().manual_seed(1)).measure()
    beside = Diagnostics(model, torch.Generator().manual_seed(1), fit=short(model)).measure()
    assert plain == {tag: value for tag, value in beside.items() if tag not in keys}
