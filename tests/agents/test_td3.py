"""`agents.TD3`: its options, delayed updates of the actor, and that each network is shown the loss that trains it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diary import Diary
from small_off_policy import build, ours, state, train_alike, world
from small_ppo import assert_same
from stable_baselines3 import TD3 as StockTD3
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from torch import Tensor, nn
from torch.nn import functional as F

from agents import TD3
from agents.plasticity import Intervention, ReGraMa, Update
from agents.plasticity.probing import probed

KINDS = ["td3-mlp", "td3-cnn-shared"]
NOISE = {"mean": np.zeros(1, np.float32), "sigma": np.full(1, 0.3, np.float32)}
OPTIONS: dict[str, dict[str, Any]] = {
    "the actor at every third step": {"policy_delay": 3, "gradient_steps": 2},
    "the actor at every step": {"policy_delay": 1, "tau": 0.2},
    "no smoothing": {"target_policy_noise": 0.0},
    "wide smoothing": {"target_policy_noise": 0.8, "target_noise_clip": 0.1},
    "noise": {"action_noise": NormalActionNoise(**NOISE)},
    "noise with a memory, several games": {"action_noise": OrnsteinUhlenbeckActionNoise(**NOISE), "n_envs": 2},
    "three critics": {"policy_kwargs": {"net_arch": [8], "n_critics": 3}},
    "one critic": {"policy_kwargs": {"net_arch": [8], "n_critics": 1}},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_give_sb3s_state_and_log(option: str) -> None:
    train_alike("td3-mlp", **{"steps": 48, **OPTIONS[option]})


@pytest.mark.parametrize("n_envs", [1, 2])
def test_noise_is_a_standard_deviation_or_sb3s(n_envs: int, tmp_path: Path) -> None:
    mine = ours("td3-mlp", action_noise=np.float32(0.3) if n_envs == 1 else 0.3, n_envs=n_envs).learn(48)
    stock = build("td3-mlp", action_noise=NormalActionNoise(**NOISE), n_envs=n_envs).learn(48)
    assert_same(state(mine), state(stock))
    mine.save(tmp_path / "model")
    mine.save_replay_buffer(tmp_path / "replay")
    trained = []
    for cls in (TD3, StockTD3):
        model = cls.load(tmp_path / "model", env=world("td3-mlp", n_envs), device="cpu")
        model.load_replay_buffer(tmp_path / "replay")
        trained.append(state(model.learn(16, reset_num_timesteps=False)))
    assert_same(*trained)


@pytest.mark.parametrize("noise", [0, -0.1, float("nan")])
def test_noise_of_no_size_is_refused(noise: float) -> None:
    with pytest.raises(ValueError, match=rf"^action_noise={noise}(\.0)? is (too small|no noise); give a "):
        ours("td3-mlp", action_noise=noise)


# ------------------------------------------------------------------------------------------------ a batch


def critic_loss(model: TD3, batch: Any) -> Tensor:
    """Written out once more, for targets without smoothing: (batch,)."""
    with torch.no_grad():
        ahead = model.critic_target(batch.next_observations, model.actor_target(batch.next_observations))
        discounts = model.gamma if batch.discounts is None else batch.discounts
        targets = batch.rewards + (1 - batch.dones) * discounts * torch.minimum(*ahead)
    return sum((value - targets)[:, 0] ** 2 for value in model.critic(batch.observations, batch.actions))


def actor_loss(model: TD3, batch: Any) -> Tensor:
    """The same of the actor: (batch,)."""
    return -model.critic(batch.observations, model.actor(batch.observations))[0][:, 0]


class Witness(Intervention):
    """Compares what interventions are shown with losses that are differentiated apart from training."""

    name = "witness"
    needs = frozenset({"activations", "activation_grads"})

    def attach(self, learner: Any) -> None:
        self.learner = learner
        self.seen: list[tuple[int, tuple[str, ...]]] = []

    def after_backward(self, update: Update) -> None:
        model = self.learner
        self.seen.append((update.step, update.networks))
        of_critic = update.networks == ("critic",)
        loss = (critic_loss if of_critic else actor_loss)(model, update.batch)
        torch.testing.assert_close(loss.mean(), update.losses["loss"], rtol=1e-5, atol=1e-6)
        assert update.optimizer is (model.critic if of_critic else model.actor).optimizer
        mine = model.sample_losses(update.batch)
        assert mine.keys() == model.networks.keys()
        for name in update.networks:
            torch.testing.assert_close(mine[name], loss, rtol=1e-5, atol=1e-6)
        found = probed(model, update.batch, outputs=False)
        assert set(update.taps) == {name for name in found.activations if name.split(".")[0] in update.networks}
        for name, (activations, gradient) in update.taps.items():
            torch.testing.assert_close(found.activations[name], activations)
            torch.testing.assert_close(found.gradients[name], gradient, rtol=1e-4, atol=1e-6)
        parameters = [p for name in update.networks for p in model.networks[name].parameters]
        expected = torch.autograd.grad(loss.mean(), parameters, allow_unused=True, materialize_grads=True)
        for parameter, gradient in zip(parameters, expected, strict=True):
            torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(found.parameter_gradients[parameter], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_network_is_shown_the_loss_that_trains_it(kind: str) -> None:
    """METHODS 15.16."""
    witness = Witness()
    model = ours(kind, interventions=[witness], target_policy_noise=0.0, learning_rate=1e-2).learn(36)
    of_actor = ("actor", "features") if "features" in model.networks else ("actor",)
    critic = [(step, ("critic",)) for step in range(1, 6)]
    assert witness.seen == [critic[0], critic[1], (2, of_actor), critic[2], critic[3], (4, of_actor), critic[4]]
    assert not any(module._forward_hooks for module in model.policy.modules())


def test_losses_of_n_step_replay() -> None:
    witness = Witness()
    ours("td3-mlp", interventions=[witness], target_policy_noise=0.0, n_steps=3, gradient_steps=2).learn(32)
    assert len(witness.seen) == 12


@pytest.mark.parametrize("kind", KINDS)
def test_targets_are_smoothed_by_noise_that_the_seed_decides(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ours(kind, target_policy_noise=0.6, target_noise_clip=0.4).learn(28)
    batch = model.sample(10, torch.Generator().manual_seed(0))
    first = model.td_targets(batch)
    torch.manual_seed(99)
    assert torch.equal(first, model.td_targets(batch))
    drawn = torch.randn(10, *model.action_space.shape, generator=torch.Generator().manual_seed(7))
    with monkeypatch.context() as patch:
        patch.setattr(torch, "randn", lambda shape, generator: drawn)
        found, losses = model.td_targets(batch), model.sample_losses(batch)
    assert not torch.equal(found, first)
    with torch.no_grad():
        actions = (model.actor_target(batch.next_observations) + (0.6 * drawn).clamp(-0.4, 0.4)).clamp(-1, 1)
        ahead = torch.minimum(*model.critic_target(batch.next_observations, actions))
        targets = batch.rewards + (1 - batch.dones) * 0.99 * ahead
        values = model.critic(batch.observations, batch.actions)
        expected = sum(F.mse_loss(value, targets, reduction="none") for value in values)
    torch.testing.assert_close(found, targets)
    torch.testing.assert_close(losses["critic"], expected[:, 0])
    shifted = model.sample_losses(batch, td_targets=found + 1)
    assert torch.equal(shifted["actor"], losses["actor"])
    assert not torch.isclose(shifted["critic"], losses["critic"]).any()
    assert losses.get("features", losses["actor"]) is losses["actor"]


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_taken_before_the_squashing(kind: str) -> None:
    model = ours(kind).learn(24)
    batch = model.sample(9, torch.Generator().manual_seed(0))
    outputs = model.outputs(batch)
    with torch.no_grad():
        torch.testing.assert_close(outputs["actor"].tanh(), model.actor(batch.observations))
        torch.testing.assert_close(outputs["critic"], torch.cat(model.critic(batch.observations, batch.actions), 1))
    assert model.distributions(batch) == ()
    assert model.paper_networks == ("critic",)


# ------------------------------------------------------------------------------------------------ hooks and targets


def test_the_actor_is_trained_at_delayed_steps_alone() -> None:
    """Resets act when both have stepped: what they change must not lie in the graph of the actor's loss."""
    diary = Diary()
    ours("td3-mlp", interventions=[diary], gradient_steps=2).learn(20)
    both = ["critic", "actor"]
    assert diary.pages == [
        *[("update", [])] * 4,  # while the agent warms up: switches are told
        ("penalty", "critic", []), ("backward", "critic", []), ("step", "critic", ["critic"]),
        ("penalty", "critic", ["critic"]), ("backward", "critic", ["critic"]),
        ("penalty", "actor", ["critic"]), ("backward", "actor", ["critic"]),
        ("step", "critic", both), ("step", "actor", both),
        ("update", both),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_online_parameter_has_a_target(kind: str) -> None:
    model = ours(kind, tau=1.0).learn(24)
    named = model.policy.named_parameters()
    online = {parameter for name, parameter in named if not name.split(".")[0].endswith("_target")}
    assert model.targets.keys() == online
    assert all(torch.equal(parameter, target) for parameter, target in model.targets.items())


def test_scorings_that_never_meet_the_actor_are_no_refusal() -> None:
    """Periods count all gradient steps: of the few that are scored, none may be one that trains the actor."""
    regrama = ReGraMa(tau=0.9, period=2, maturity=0, score_every=2, networks=["actor", "critic"])
    model = ours("td3-mlp", interventions=[regrama], policy_delay=7, gradient_steps=7).learn(40)
    counts = model.units_reset()
    assert counts["critic"] > 0
    assert counts["actor"] > 0


def test_an_actor_without_hidden_layers() -> None:
    model = ours("td3-mlp", policy_kwargs={"net_arch": {"pi": [], "qf": [8]}})
    assert {name: len(network.layers) for name, network in model.networks.items()} == {"actor": 0, "critic": 2}
    model.policy.actor.mu[-1] = nn.Identity()
    with pytest.raises(
        ValueError,
        match=r"^actor: Identity is not understood; resets know SB3's Tanh there, and layers of your own in ",
    ):
        _ = model.networks
