"""SAC and TD3 whose critics are computed at once, beside exact twins on the same data."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from fast_twins import GIVEN, assert_alike, moves
from small_off_policy import ours
from torch import nn

from agents.plasticity import CBP, GXD, CChain, L2Init
from agents.speed import layers, perceptrons

pytestmark = pytest.mark.filterwarnings("ignore:speed is 'fast', but this cpu")


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "has_bfloat16", lambda _kind: False)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Networks in each forward that was computed at once."""
    found: list[int] = []
    forward = perceptrons.forward

    def noting(networks: perceptrons.Perceptrons, x: torch.Tensor) -> Any:
        found.append(len(networks.layers[0]))
        return forward(networks, x)

    monkeypatch.setattr(perceptrons, "forward", noting)
    return found


@pytest.mark.parametrize(
    ("kind", "settings", "forwards"),
    [
        ("sac-mlp", {}, [1, 2, 2, 2]),
        ("sac-mlp", {"policy_kwargs": {"net_arch": [8, 6], "n_critics": 3, "activation_fn": nn.Tanh}}, [1, 3, 3, 3]),
        ("sac-mlp", {"policy_kwargs": {"net_arch": [8], "n_critics": 1}, "ent_coef": 0.2}, [1, 1, 1, 1]),
        ("sac-mlp", {"policy_kwargs": {"net_arch": []}, "target_update_interval": 2}, [1, 2, 2, 2]),
        ("sac-mlp", {"replay": "prioritized", "n_steps": 2}, [1, 2, 2, 2]),
        ("sac-gsde", {}, [2, 2, 2]),
        ("sac-cnn", {}, [2, 2, 2]),
        ("sac-cnn-shared", {}, [2, 2, 2]),
        ("sac-dict-shared", {}, [2, 2, 2]),
        ("sac-board", {}, [2, 2, 2]),
        ("sac-norm-fourier", {}, []),
        ("td3-mlp", {}, [1, 2, 2, 1, 1]),
        ("td3-cnn-shared", {}, [1, 2, 2, 1, 1]),
    ],
)  # fmt: skip
def test_an_update_is_the_exact_one_within_rounding(
    kind: str, settings: dict[str, Any], forwards: list[int], asked: list[int]
) -> None:
    steps = 2
    assert_alike(*moves(kind, steps, **settings))
    # TD3's actor learns at the second step.
    assert asked == (forwards[:3] + forwards if kind.startswith("td3") else forwards * steps)


@pytest.mark.parametrize(
    ("make", "at_once"),
    [
        (lambda: L2Init(coefficient=0.1, decoupled=False), True),
        (lambda: CChain(), True),
        (lambda: GXD(rate=0.2, period=2, maturity=1, score_every=1), False),
        (lambda: CBP(rate=0.2, period=1, maturity=1, score_every=1), False),
    ],
    ids=["l2_init", "c_chain", "gxd", "cbp"],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["sac-mlp", "td3-mlp"])
def test_interventions_see_what_they_need(kind: str, make: Any, at_once: bool, asked: list[int]) -> None:
    """Where they look at hidden units these are run by their modules; targets, and critics of the actor's, are not."""
    exact, fast = moves(kind, 2, make=make)
    assert_alike(exact, fast)
    assert (
        asked.count(2)
        == {("sac-mlp", True): 6, ("sac-mlp", False): 4, ("td3-mlp", True): 4, ("td3-mlp", False): 2}[kind, at_once]
    )


def _freeze(model: Any) -> None:
    for parameter in (*model.critic.qf0.parameters(), model.actor.mu.bias):
        parameter.requires_grad_(False)


def _other_forward(model: Any) -> None:
    plain = model.critic.forward
    model.critic.forward = lambda observations, actions: plain(observations, actions)


@pytest.mark.parametrize(("change", "critics"), [(_freeze, 3), (_other_forward, 1)])
def test_networks_that_were_changed(change: Any, critics: int, asked: list[int]) -> None:
    """Those that stay what is known here are computed at once; others by their modules."""
    assert_alike(*moves("sac-mlp", 1, change))
    assert asked.count(2) == critics


def test_what_is_measured_is_computed_by_the_modules(asked: list[int]) -> None:
    for kind in ("sac-mlp", "td3-mlp"):
        exact, fast = (ours(kind, **GIVEN, speed=speed) for speed in ("exact", "fast"))
        exact.fill_buffer()
        fast.replay_buffer = exact.replay_buffer
        fast.policy.load_state_dict(exact.policy.state_dict())
        batch = exact.sample(8, torch.Generator().manual_seed(0))
        assert torch.equal(fast.td_targets(batch), exact.td_targets(batch))
        found, expected = fast.sample_losses(batch), exact.sample_losses(batch)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert asked == []
