"""`agents.SAC`: its options, and that each network is shown the loss that trains it (METHODS 15.16)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diary import Diary
from small_off_policy import ALL, Boards, ours, state, train_alike, world
from small_ppo import assert_same
from stable_baselines3 import SAC as StockSAC
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.noise import NormalActionNoise, OrnsteinUhlenbeckActionNoise
from torch import Tensor
from torch.distributions import Normal
from torch.nn import functional as F

from agents import SAC
from agents.plasticity import Intervention, Update
from agents.plasticity.probing import probed
from agents.plasticity.taps import Taps

SACS = [kind for kind in ALL if kind.startswith("sac")]
PLAIN = ["sac-mlp", "sac-cnn", "sac-cnn-shared", "sac-dict-shared", "sac-board"]  # without gSDE
NOISE = {"mean": np.zeros(1), "sigma": 0.3 * np.ones(1)}
OPTIONS: dict[str, dict[str, Any]] = {
    "fixed entropy coefficient": {"ent_coef": 0.2},
    "entropy coefficient from 0.1": {"ent_coef": "auto_0.1", "learning_rate": lambda left: 1e-2 * left},
    "target entropy": {"target_entropy": -0.3},
    "targets every second step": {"target_update_interval": 2, "gradient_steps": 3, "tau": 0.2},
    "noise": {"action_noise": NormalActionNoise(**NOISE)},
    "noise with a memory, several games": {"action_noise": OrnsteinUhlenbeckActionNoise(**NOISE), "n_envs": 2},
    "three critics": {"policy_kwargs": {"net_arch": [8], "n_critics": 3}},
    "one critic": {"policy_kwargs": {"net_arch": [8], "n_critics": 1}},
    "gSDE": {"use_sde": True, "sde_sample_freq": 2, "use_sde_at_warmup": True},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_give_sb3s_state_and_log(option: str) -> None:
    train_alike("sac-mlp", **{"steps": 48, **OPTIONS[option]})


def test_actions_between_other_bounds() -> None:
    trained = []
    settings = {"learning_starts": 8, "buffer_size": 50, "seed": 0, "device": "cpu", "batch_size": 8}
    for cls in (SAC, StockSAC):
        kwargs = trained[0][0].policy_kwargs if trained else None
        model = cls("CnnPolicy", make_vec_env(Boards), policy_kwargs=kwargs, **settings).learn(24)
        action, _ = model.predict(model.env.reset())
        assert (action >= [-3, 0]).all()
        assert (action <= [1, 5]).all()
        trained.append((model, state(model)))
    assert_same(trained[0][1], trained[1][1])


def test_noise_and_entropy_go_on_after_a_load(tmp_path: Path) -> None:
    """The zip holds the noise's memory and the entropy coefficient with its optimizer, for either class."""
    arguments = {"action_noise": OrnsteinUhlenbeckActionNoise(**NOISE), "ent_coef": "auto_0.1"}
    mine = ours("sac-mlp", **arguments).learn(40)
    mine.save(tmp_path / "model")
    mine.save_replay_buffer(tmp_path / "replay")
    trained = []
    for cls in (SAC, StockSAC):
        model = cls.load(tmp_path / "model", env=world("sac-mlp"), device="cpu")
        model.load_replay_buffer(tmp_path / "replay")
        assert np.array_equal(model.action_noise.noise_prev, mine.action_noise.noise_prev)
        assert_same(state(model), state(mine))
        trained.append(state(model.learn(16, reset_num_timesteps=False)))
    assert_same(*trained)
    assert not torch.equal(trained[0]["log_ent_coef"], state(mine)["log_ent_coef"])


# ------------------------------------------------------------------------------------------------ a batch


def quiet(kind: str, interventions: list[Intervention], **arguments: Any) -> SAC:
    """A SAC whose actions have next to no noise and whose entropy counts nothing: its losses are without chance."""
    model = ours(kind, interventions=interventions, **{"ent_coef": 0.0, "learning_rate": 1e-2, **arguments})
    with torch.no_grad():
        model.actor.log_std.weight.zero_()
        model.actor.log_std.bias.fill_(-30.0)  # clipped to -20
    return model


def best(model: SAC, observations: Any) -> Tensor:
    """The action in the middle of the policy's."""
    return torch.tanh(model.actor.get_action_dist_params(observations)[0])


def critic_loss(model: SAC, batch: Any) -> Tensor:
    """Written out once more, for a policy without noise: (batch,)."""
    with torch.no_grad():
        ahead = model.critic_target(batch.next_observations, best(model, batch.next_observations))
        discounts = model.gamma if batch.discounts is None else batch.discounts
        targets = batch.rewards + (1 - batch.dones) * discounts * torch.minimum(*ahead)
    return sum(0.5 * (value - targets)[:, 0] ** 2 for value in model.critic(batch.observations, batch.actions))


def actor_loss(model: SAC, batch: Any) -> Tensor:
    """The same of the actor: (batch,)."""
    return -torch.minimum(*model.critic(batch.observations, best(model, batch.observations)))[:, 0]


class Witness(Intervention):
    """Compares what interventions are shown with losses that are differentiated apart from training."""

    name = "witness"
    needs = frozenset({"activations", "activation_grads"})

    def attach(self, learner: Any) -> None:
        self.learner = learner
        self.seen: list[tuple[str, ...]] = []
        self.left_behind: list[float] = []

    def after_backward(self, update: Update) -> None:
        model = self.learner
        self.seen.append(update.networks)
        of_critic = update.networks == ("critic",)
        loss = (critic_loss if of_critic else actor_loss)(model, update.batch)
        torch.testing.assert_close(loss.mean(), update.losses["loss"], rtol=1e-5, atol=1e-6)
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
            assert of_critic or update.optimizer is model.actor.optimizer
        if of_critic:
            self.gradients = [parameter.grad.clone() for parameter in parameters]
        else:  # what the actor's backward has left in the critics is another gradient
            now = torch.cat([parameter.grad.flatten() for parameter in model.networks["critic"].parameters])
            before = torch.cat([gradient.flatten() for gradient in self.gradients])
            self.left_behind.append(float((now - before).norm() / before.norm()))


@pytest.mark.parametrize("kind", PLAIN)
def test_every_network_is_shown_the_loss_that_trains_it(kind: str) -> None:
    """METHODS 15.16."""
    witness = Witness()
    model = quiet(kind, [witness]).learn(32)
    of_actor = ("actor", "features") if "features" in model.networks else ("actor",)
    assert witness.seen == [("critic",), of_actor] * 4
    assert min(witness.left_behind) > 0.01
    assert not any(module._forward_hooks for module in model.policy.modules())


def test_losses_of_n_step_replay() -> None:
    witness = Witness()
    quiet("sac-mlp", [witness], n_steps=3, gamma=0.8, gradient_steps=2).learn(32)
    assert len(witness.seen) == 16


@pytest.mark.parametrize("kind", SACS)
def test_losses_of_the_samples_with_noise_and_entropy(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against SB3's own distributions, for noise that the test chooses; the means are what training differentiates."""
    model = ours(kind, ent_coef="auto_0.3").learn(24)
    batch = model.sample(10, torch.Generator().manual_seed(0))
    drawn = torch.randn(10, *model.action_space.shape, generator=torch.Generator().manual_seed(7))
    with monkeypatch.context() as patch:
        patch.setattr(torch, "randn", lambda shape, generator: drawn)
        losses, found = model.sample_losses(batch), model.td_targets(batch)
        shifted = model.sample_losses(batch, td_targets=found + 1)
    assert torch.equal(shifted["actor"], losses["actor"])
    assert not torch.isclose(shifted["critic"], losses["critic"]).any()

    def act(observations: Any) -> tuple[Tensor, Tensor]:
        mean, log_std, more = model.actor.get_action_dist_params(observations)
        distribution = model.actor.action_dist.proba_distribution(mean, log_std, **more)
        wanted = mean + distribution.distribution.stddev * drawn
        if model.use_sde:
            return torch.tanh(wanted), distribution.log_prob(torch.tanh(wanted))
        return torch.tanh(wanted), distribution.log_prob(torch.tanh(wanted), wanted)

    alpha = model.log_ent_coef.exp().detach()
    with torch.no_grad():
        actions, log_prob = act(batch.next_observations)
        ahead = torch.minimum(*model.critic_target(batch.next_observations, actions)) - alpha * log_prob[:, None]
        targets = batch.rewards + (1 - batch.dones) * 0.99 * ahead
        values = model.critic(batch.observations, batch.actions)
        expected = sum(0.5 * F.mse_loss(value, targets, reduction="none") for value in values)
        torch.testing.assert_close(found, targets, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(losses["critic"], expected[:, 0], rtol=1e-4, atol=1e-4)
        actions, log_prob = act(batch.observations)
        expected = alpha * log_prob - torch.minimum(*model.critic(batch.observations, actions))[:, 0]
        torch.testing.assert_close(losses["actor"], expected, rtol=1e-4, atol=1e-4)
    assert losses.keys() == model.networks.keys()
    assert losses.get("features", losses["actor"]) is losses["actor"]


def test_noise_of_the_samples_is_decided_by_the_seed_alone() -> None:
    model, other = ours("sac-mlp", learning_rate=0.0).learn(24), ours("sac-mlp", seed=6, learning_rate=0.0).learn(24)
    batch = model.sample(10, torch.Generator().manual_seed(0))
    first = model.sample_losses(batch)["actor"]
    torch.manual_seed(99)
    assert torch.equal(first, model.sample_losses(batch)["actor"])
    other.set_parameters(model.get_parameters())
    assert not torch.equal(first, other.sample_losses(batch)["actor"])
    current, ahead = model._act(batch.observations, "now"), model._act(batch.observations, "next")
    assert not torch.equal(current[0], ahead[0])


@pytest.mark.parametrize("kind", SACS)
def test_a_look_gives_each_network_its_own_loss(kind: str) -> None:
    """The critics' loss does not reach the actor, nor the features that it trains; the actor's loss trains these."""
    model = ours(kind).learn(24)
    batch = model.sample(10, torch.Generator().manual_seed(0))
    losses = model.sample_losses(batch)
    of_critic = [p for name, network in model.networks.items() if name != "critic" for p in network.parameters]
    found = torch.autograd.grad(losses["critic"].mean(), of_critic, allow_unused=True, retain_graph=True)
    assert all(gradient is None for gradient in found)
    seen = probed(model, batch)
    for name, network in model.networks.items():
        expected = torch.autograd.grad(losses[name].mean(), network.parameters, allow_unused=True, retain_graph=True)
        assert any(gradient is not None and gradient.any() for gradient in expected)
        for parameter, gradient in zip(network.parameters, expected, strict=True):
            torch.testing.assert_close(seen.parameter_gradients[parameter], gradient)
    with Taps(layer for network in model.networks.values() for layer in network.layers) as taps:
        model.sample_losses(batch)  # nothing runs twice
    for name, activations in taps.activations.items():
        assert torch.equal(seen.activations[name], activations)
    with torch.no_grad():  # the activations of the right forward
        taken = critic_activations(model, batch)
    for name, activations in taken.items():
        assert torch.equal(seen.activations[name], activations)
    assert set(seen.activations) == {layer.name for network in model.networks.values() for layer in network.layers}


def critic_activations(model: SAC, batch: Any) -> dict[str, Tensor]:
    """Of the first hidden layer of each Q-function, on the actions that were taken."""
    critic = model.critic
    inputs = torch.cat([critic.extract_features(batch.observations, critic.features_extractor), batch.actions], 1)
    taps = {layer.name: (layer.tap, layer.places[0]) for layer in model.networks["critic"].layers}
    found = {}
    for number, net in enumerate(critic.q_networks):
        if (name := f"critic.qf{number}.0") in taps:
            tap, place = taps[name]
            found[name] = place.units(net[: list(net).index(tap) + 1](inputs))
    return found


@pytest.mark.parametrize("kind", SACS)
def test_outputs_and_distributions(kind: str) -> None:
    model = ours(kind).learn(24)
    batch = model.sample(9, torch.Generator().manual_seed(0))
    outputs, (normal,) = model.outputs(batch), model.distributions(batch)
    actions = model.action_space.shape[0]
    assert {name: tuple(found.shape) for name, found in outputs.items()} == {
        "actor": (9, 2 * actions),
        "critic": (9, 2),
    }
    assert isinstance(normal, Normal)
    with torch.no_grad():
        mean, log_std, more = model.actor.get_action_dist_params(batch.observations)
        torch.testing.assert_close(outputs["actor"][:, :actions], mean)
        torch.testing.assert_close(normal.mean, mean)
        if model.use_sde:
            deviation = (more["latent_sde"].square() @ log_std.exp().square() + 1e-6).sqrt()
            torch.testing.assert_close(normal.stddev, deviation, rtol=1e-3, atol=1e-5)
            torch.testing.assert_close(outputs["actor"][:, actions:].exp(), deviation, rtol=1e-3, atol=1e-5)
        else:
            torch.testing.assert_close(normal.stddev, log_std.exp())
            torch.testing.assert_close(outputs["actor"][:, actions:].clamp(-20, 2), log_std)
        torch.testing.assert_close(outputs["critic"], torch.cat(model.critic(batch.observations, batch.actions), 1))
    assert model.paper_networks == ("critic",)


def test_hooks_are_called_in_their_order() -> None:
    """Resets act when both have stepped: what they change must not lie in the graph of the actor's loss."""
    diary = Diary()
    ours("sac-mlp", interventions=[diary]).learn(20)
    assert diary.pages == [
        *[("update", [])] * 4,  # while the agent warms up: switches are told
        ("penalty", "critic", []), ("backward", "critic", []),
        ("penalty", "actor", ["critic"]), ("backward", "actor", ["critic"]),
        ("step", "critic", ["critic", "actor"]), ("step", "actor", ["critic", "actor"]),
        ("update", ["critic", "actor"]),
    ]  # fmt: skip
