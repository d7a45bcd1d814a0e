"""SAC's gradient steps without graphs, beside exact twins on the same data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from fast_twins import assert_alike, moves
from small_off_policy import ours
from torch import nn

from agents.plasticity import CBP, GXD, CChain, Intervention, L2Init, Update
from agents.speed import layers
from agents.speed.boards import kernels
from agents.speed.relu_networks import ReluNetwork

pytestmark = pytest.mark.filterwarnings("ignore:speed is 'fast', but this cpu")


def net(**more: Any) -> dict[str, Any]:
    """Networks whose layers are as wide as compiled loops want them."""
    return {"policy_kwargs": {"net_arch": [32, 64], **more}}


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "has_bfloat16", lambda _kind: False)
    monkeypatch.setattr(kernels(), "has_registers", lambda: True)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows of each forward."""
    found: list[int] = []
    forward = ReluNetwork.forward

    def noting(network: ReluNetwork, x: torch.Tensor) -> Any:
        found.append(len(x))
        return forward(network, x)

    monkeypatch.setattr(ReluNetwork, "forward", noting)
    return found


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"policy_kwargs": {"net_arch": {"pi": [32], "qf": [64, 96]}, "n_critics": 3}},
        {"policy_kwargs": {"net_arch": [32], "n_critics": 1}, "ent_coef": 0.2},
        {**net(), "replay": "prioritized", "n_steps": 2, "target_update_interval": 2},
        {**net(), "optimizer": "adamw"},
    ],
    ids=str,
)  # fmt: skip
def test_an_update_is_the_exact_one_within_rounding(settings: dict[str, Any], asked: list[int]) -> None:
    steps, critics = 3, settings.get("policy_kwargs", {}).get("n_critics", 2)
    assert_alike(*moves("sac-mlp", steps, **{**net(), **settings}))
    assert asked == [16] * (3 * critics + 2) * steps


def test_interventions_see_what_they_need(asked: list[int]) -> None:
    """Where they look at hidden units these are run by their modules; penalties are of the modules anyhow."""
    for make, steps in (
        (lambda: L2Init(coefficient=0.1, decoupled=False), 3),
        (lambda: CChain(), 3),
        (lambda: GXD(rate=0.2, period=2, maturity=1, score_every=2), 2),
        (lambda: CBP(rate=0.2, period=1, maturity=1, score_every=1), 0),
    ):  # fmt: skip
        asked.clear()
        assert_alike(*moves("sac-mlp", 3, make=make, **net()))
        assert len(asked) == 8 * steps, make()


class OfLoss(Intervention):
    """A penalty of a user's, which squares the loss."""

    name = "of_loss"

    def penalty(self, update: Update) -> torch.Tensor:
        return update.losses["loss"].square()


def test_a_penalty_may_be_taken_of_the_loss(asked: list[int]) -> None:
    assert_alike(*moves("sac-mlp", 2, make=OfLoss, **net()))
    assert asked == []


def _freeze(model: Any) -> None:
    for parameter in (*model.critic.qf0.parameters(), model.actor.mu.bias):
        parameter.requires_grad_(False)


def _watch(model: Any) -> None:
    model.actor.latent_pi[1].register_forward_hook(lambda *_: None)


def _share(model: Any) -> None:
    for critic in (model.critic, model.critic_target):
        critic.qf1[2].weight = critic.qf0[2].weight


def _other_forward(model: Any) -> None:
    plain = model.critic.forward
    model.critic.forward = lambda observations, actions: plain(observations, actions)


def _norm(model: Any) -> None:
    for q_net in (*model.critic.q_networks, *model.critic_target.q_networks):
        q_net[1] = nn.Sequential(nn.LayerNorm(32), nn.ReLU())


@pytest.mark.parametrize(
    ("change", "without_graph"),
    [(_freeze, True), (_watch, False), (_share, False), (_other_forward, False), (_norm, False)],
)
def test_networks_that_were_changed(change: Any, without_graph: bool, asked: list[int]) -> None:
    """Those that stay what is known here are computed without graphs; others by their modules."""
    assert_alike(*moves("sac-mlp", 1, change, **net()))
    assert bool(asked) is without_graph


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("sac-gsde", net(use_sde=True)),
        ("sac-cnn-shared", {}),
        ("td3-mlp", net()),
    ],
)
def test_other_agents_are_computed_with_graphs(kind: str, settings: dict[str, Any], asked: list[int]) -> None:
    assert_alike(*moves(kind, 2, **settings))
    assert asked == []


@pytest.mark.parametrize("settings", [{}, {"action_noise": 0.1}])
def test_what_is_played_is_drawn_alike(settings: dict[str, Any], asked: list[int]) -> None:
    played = []
    for speed in ("exact", "fast"):
        model = ours("sac-mlp", **net(), **settings, speed=speed)
        model._setup_learn(1)
        model.num_timesteps = model.learning_starts
        np.random.seed(0)
        torch.manual_seed(0)
        played.append([model._sample_action(16, model.action_noise) for _ in range(3)])
    np.testing.assert_allclose(*played, rtol=1e-5, atol=1e-6)
    assert asked == [1] * 3
    model.num_timesteps -= 1  # still random
    model._sample_action(16, None)
    model.policy._predict = lambda observation, deterministic: model.actor(observation, deterministic)
    model.num_timesteps += 1
    model._sample_action(16, None)
    assert asked == [1] * 3
