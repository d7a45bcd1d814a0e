"""Other hidden layers than SB3's: RMSNorm, dropout, AID and SimBa's blocks, of all agents."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import pytest
import torch
from small_off_policy import ALL as REPLAYING
from small_off_policy import world as replay_world
from small_ppo import assert_same, global_rng, parameters, twin
from small_ppo import world as rollout_world
from stable_baselines3 import PPO as StockPPO
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn
from torch.nn import functional as F

from agents import DQN, PPO, SAC, TD3
from agents.networks.builder import fitted
from agents.networks.policies import PlasticActorCriticPolicy
from agents.plasticity import GXD, HeadReset
from agents.plasticity.diagnostics.measure import last_layers
from agents.plasticity.layers import AID, CReLU, SmoothLeaky
from agents.plasticity.surgery import reset_units
from agents.plasticity.units import Affine, HeNormal, Orthogonal, TorchDefault

WIDTHS: dict[type, Any] = {
    PPO: {"pi": [6], "vf": [5, 5]}, DQN: [5, 5], SAC: {"pi": [6], "qf": [5, 5]}, TD3: {"pi": [6], "qf": [5, 5]},
}  # fmt: skip
WORLDS = {DQN: "dqn-mlp", SAC: "sac-mlp", TD3: "td3-mlp"}
FORMS: dict[str, dict[str, Any]] = {
    "simba": {"network": "simba", "dropout": 0.1},
    "simba-crelu-rms": {"network": "simba", "activation_fn": CReLU, "norm": "rms"},
    "rms-dropout": {"norm": "rms", "dropout": 0.3, "activation_fn": SmoothLeaky},
    "aid": {"activation_fn": partial(AID, 0.8)},
}


def build(cls: type, form: dict[str, Any], **arguments: Any) -> Any:
    """A small agent: 8 gradient steps for PPO's 64 transitions, else one for each 4 steps from 16 on."""
    settings = {"device": "cpu", "seed": 5, "policy_kwargs": {"net_arch": WIDTHS[cls], **form}, **arguments}
    if cls is PPO:
        return PPO("MlpPolicy", rollout_world("mlp"), n_steps=16, batch_size=16, n_epochs=2, **settings)
    settings = {"learning_starts": 16, "train_freq": 4, "batch_size": 8, "buffer_size": 64, **settings}
    return cls(REPLAYING[WORLDS[cls]]["policy"], replay_world(WORLDS[cls]), **settings)


def kinds(net: Any) -> list[type]:
    return [type(module) for module in net]


def hidden_of(model: Any) -> nn.Module:
    """The critic's layers, or those of its first Q-function."""
    policy = model.policy
    if isinstance(model, PPO):
        return policy.mlp_extractor.value_net
    return policy.q_net.q_net if isinstance(model, DQN) else policy.critic.qf0


# ---------------------------------------------------------------------- of all agents


@pytest.mark.parametrize(
    ("cls", "form"),
    [
        (PPO, "simba"), (PPO, "rms-dropout"), (DQN, "simba-crelu-rms"), (DQN, "aid"), (SAC, "simba"), (SAC, "aid"),
        (TD3, "simba-crelu-rms"), (TD3, "rms-dropout"),
    ],
)  # fmt: skip
def test_resets_act_all_is_trained_and_saved_agents_go_on_exactly(cls: type, form: str, tmp_path: Path) -> None:
    model = build(cls, FORMS[form], interventions=[GXD(rate=0.05, period=2, maturity=4, score_every=1)])
    before = parameters(model)
    model.learn(64)
    counts = model.units_reset()
    assert all(count > 0 for count in counts.values()), counts
    same = [name for name, p in parameters(model).items() if torch.equal(p, before[name])]
    assert not [name for name in same if "target" not in name]
    assert all(p.isfinite().all() for p in model.policy.parameters())
    model.save(tmp_path / "model")
    loaded = cls.load(tmp_path / "model", device="cpu")
    assert_same(parameters(loaded), parameters(model))
    if cls is PPO:
        restore, games = global_rng(), twin(model.env)
        uninterrupted = parameters(model.learn(64, reset_num_timesteps=False))
        loaded = PPO.load(tmp_path / "model", env=games, device="cpu", force_reset=False)
        restore()
        assert_same(parameters(loaded.learn(64, reset_num_timesteps=False)), uninterrupted)


@pytest.mark.parametrize("cls", WIDTHS)
def test_what_draws_does_so_in_losses_alone(cls: type) -> None:
    for form in ("simba", "aid"):
        model = build(cls, FORMS[form]).learn(64)
        batch = model.sample(16, torch.Generator().manual_seed(0))
        observation = model.observation_space.sample()
        for mode in (True, False):
            model.policy.set_training_mode(mode)
            for look in (lambda: model.outputs(batch)["critic"], lambda: model.sample_losses(batch)["critic"]):  # noqa: B023
                assert torch.equal(look(), look())
        model.policy.set_training_mode(True)
        drawing = [m for m in hidden_of(model).modules() if isinstance(m, AID | nn.Dropout)]
        assert drawing
        assert all(m.training for m in drawing)
        assert {float(model.predict(observation, deterministic=True)[0].sum()) for _ in range(8)} == {
            float(model.predict(observation, deterministic=True)[0].sum())
        }
        for target in ("q_net_target", "critic_target", "actor_target"):
            assert not getattr(model.policy, target, nn.Identity().eval()).training


def test_of_ppo_nothing_draws_where_actions_depend_on_it() -> None:
    """The ratio is 1 until something is learnt; of a policy of SB3's own with dropout it is not."""
    for form in FORMS.values():
        model = build(PPO, form)
        resting = [m for m in model.policy.mlp_extractor.policy_net.modules() if type(m) in (AID, nn.Dropout)]
        assert not any(m.training for m in resting)
        model.fill_buffer()
        model.policy.set_training_mode(True)
        losses = [model.losses(batch) for batch in model.rollout_buffer.get(16)]
        assert all(abs(float(each["approx_kl"])) < 1e-6 for each in losses)
        assert not any(m.training for m in resting)


def test_stock_sb3_trains_the_policy_the_same_and_loads_it(tmp_path: Path) -> None:
    ours = build(PPO, FORMS["simba"]).learn(64)
    arguments = {"policy_kwargs": ours.policy_kwargs, "n_steps": 16, "batch_size": 16, "n_epochs": 2, "seed": 5}
    stock = StockPPO(PlasticActorCriticPolicy, rollout_world("mlp"), device="cpu", **arguments).learn(64)
    assert_same(parameters(ours), parameters(stock))
    ours.policy.save(tmp_path / "policy")
    loaded = PlasticActorCriticPolicy.load(tmp_path / "policy", device="cpu")
    assert (loaded.norm, loaded.dropout, loaded.network) == ("none", 0.1, "simba")
    assert_same(loaded.state_dict(), ours.policy.state_dict())


def test_defaults_are_sb3s_policy() -> None:
    form = {"norm": "none", "dropout": 0.0, "network": "mlp", "injectable": False}
    assert type(build(PPO, form).policy) is ActorCriticPolicy
    assert_same(parameters(build(PPO, form)), parameters(build(PPO, {})))


# ---------------------------------------------------------------------- RMSNorm and dropout


def test_where_they_stand() -> None:
    model = build(TD3, {"norm": "rms", "dropout": 0.2})
    hidden = [nn.Linear, nn.RMSNorm, nn.ReLU, nn.Dropout]
    assert kinds(model.actor.mu) == [*hidden, nn.Linear, nn.Tanh]
    assert kinds(model.critic.qf1) == [*hidden, *hidden, nn.Linear]
    assert kinds(model.critic_target.qf1) == kinds(model.critic.qf1)
    assert {m.p for m in model.policy.modules() if isinstance(m, nn.Dropout)} == {0.2}
    board = DQN("CnnPolicy", replay_world("dqn-board"), policy_kwargs={"norm": "rms", "dropout": 0.2}, buffer_size=9)
    extractor = board.q_net.features_extractor
    assert kinds(extractor.cnn) == [nn.Conv2d, nn.RMSNorm, nn.ReLU, nn.Flatten]
    assert kinds(extractor.linear) == hidden
    assert extractor.cnn[1].normalized_shape == (16, 8, 8)


def test_a_layer_behind_rms_norm_by_hand() -> None:
    model = build(DQN, {"norm": "rms", "net_arch": [4]}).learn(32)
    linear, norm, _, output = model.q_net.q_net
    x = torch.randn(7, 4)
    z = linear(x)
    hidden = F.relu(z / (z.square().mean(1, keepdim=True) + 1e-5).sqrt() * norm.weight)
    torch.testing.assert_close(model.q_net.q_net(x), output(hidden))


def test_aid_stands_in_the_minatar_network_too() -> None:
    model = DQN("CnnPolicy", replay_world("dqn-board"), policy_kwargs={"activation_fn": AID}, buffer_size=9)
    assert kinds(model.q_net.features_extractor.cnn) == [nn.Conv2d, AID, nn.Flatten]
    assert kinds(model.q_net_target.features_extractor.linear) == [nn.Linear, AID]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"dropout": 1.0}, r"^dropout is 1.0; give a number from 0 to below 1$"),
        ({"dropout": 0.1, "net_arch": []}, r"^dropout is 0.1, but would stand nowhere: no linear layer that it may"),
        ({"dropout": 0.1, "net_arch": {"pi": [4], "vf": []}}, r"^dropout is 0.1, but would stand nowhere: no linear"),
        ({"network": "resnet"}, r"^network is 'resnet'; give one of mlp, simba$"),
        (
            {"network": "simba", "net_arch": [8, 6]},
            r"^network is 'simba', but the hidden layers are \[8, 6\] wide, and",
        ),
        ({"network": "simba", "net_arch": []}, r"^network is 'simba', but no hidden layer stands behind the features;"),
        ({"activation_fn": AID, "net_arch": []}, r"^the activation function AID would stand nowhere: net_arch has no"),
    ],
)
def test_what_cannot_be_built_is_refused(form: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(PPO, form)


# ---------------------------------------------------------------------- SimBa


def test_simba_by_hand() -> None:
    model = build(PPO, {"network": "simba"}).learn(64)
    embedding, first, second, norm = model.policy.mlp_extractor.value_net
    x = torch.randn(9, 4)
    stream = embedding(x)
    for block in (first, second):
        hidden = F.relu(F.linear(F.layer_norm(stream, [5], block.norm.weight, block.norm.bias),
                                 block.inner[0].weight, block.inner[0].bias))  # fmt: skip
        assert hidden.shape == (9, 20)  # 4 units for each value of the stream
        stream = stream + block.outer(hidden)
    expected = F.layer_norm(stream, [5], norm.weight, norm.bias)
    torch.testing.assert_close(model.policy.mlp_extractor.forward_critic(x), expected)


def test_widths_that_are_not_given_are_the_published_ones() -> None:
    def arch(cls: Any, **given: Any) -> Any:
        names = cls.policy_aliases
        asked = {"network": "simba", **given}
        return fitted(names["MlpPolicy"], asked, gymnasium.spaces.Box(-1, 1, (3,)), cls.spec, names)[1]["net_arch"]

    assert arch(PPO) == {"pi": [128], "vf": [512, 512]}
    assert arch(SAC, net_arch=None) == {"pi": [128], "qf": [512, 512]}
    assert arch(DQN) == [512, 512]
    assert arch(DQN, net_arch=[]) == []


@pytest.mark.parametrize("cls", [PPO, SAC])
def test_simba_is_drawn_as_published_and_redrawn_so(cls: type) -> None:
    network = build(cls, {"network": "simba"}).networks["critic"]
    inits = [type(part.init) for part in network.parts]
    one = [Orthogonal, *[Affine, HeNormal, HeNormal] * 2, Affine, {PPO: Orthogonal, SAC: TorchDefault}[cls]]
    assert inits == (one if cls is PPO else one * 2)
    embedding = network.parts[0].module.weight
    width = min(embedding.shape)
    product = embedding @ embedding.T if len(embedding) == width else embedding.T @ embedding
    torch.testing.assert_close(product, torch.eye(width), atol=1e-5, rtol=0)
    assert not any(part.module.bias.any() for part in network.parts[:-1] if part.init != TorchDefault())
    heights = [part.height for part in network.parts]
    assert heights[: len(one)] == [5, 5, 4, 3, 3, 2, 1, 1, 0]


def test_the_streams_layers_cannot_be_reset_and_say_so() -> None:
    critic = build(SAC, {"network": "simba"}).networks["critic"]
    assert [layer.name for layer in critic.layers] == [f"critic.qf{q}.{b}" for q in (0, 1) for b in (0, 1)]
    assert all(layer.exact and layer.units == 20 for layer in critic.layers)
    of_one = ["embedding", "block0.outer", "block1.outer"]
    assert list(critic.unresettable) == [f"critic.qf{q}.{name}" for q in (0, 1) for name in of_one]
    assert all("skip connection" in reason for reason in critic.unresettable.values())
    assert [layer.name for layer in last_layers(critic)] == ["critic.qf0.1", "critic.qf1.1"]


@pytest.mark.parametrize("activation", [nn.ReLU, CReLU])
def test_replacing_a_dead_unit_of_a_block_changes_no_output_by_a_bit(activation: type[nn.Module]) -> None:
    model = build(DQN, {"network": "simba", "activation_fn": activation})
    layers, x = model.networks["critic"].layers, torch.randn(9, 4)
    with torch.no_grad():
        for layer in layers:
            layer.producer.weight[3], layer.producer.bias[3] = 0.0, 0.0
        before = model.q_net(x)
        amounts = {layer.name: (torch.arange(layer.units) == 3).float() for layer in layers}
        reset_units(layers, amounts, [], lambda _: torch.Generator().manual_seed(2))
        assert torch.equal(model.q_net(x), before)
        assert all(layer.producer.weight[3].any() for layer in layers)


def test_a_head_reset_draws_the_last_layers_of_simba_alone() -> None:
    model = build(DQN, {"network": "simba"}, interventions=[HeadReset(layers=2, period=1)])
    model.learn(20)
    output, outer = model.q_net.q_net[-1], model.q_net.q_net[2].outer
    assert not outer.bias.any()  # He's, drawn at the last step
    assert output.bias.any()
    assert model.q_net.q_net[1].outer.bias.any()  # which has learnt


def test_gsde_of_simba_reads_the_stream() -> None:
    model = build(SAC, {"network": "simba"}, use_sde=True).learn(32)
    assert model.actor.log_std.shape[0] == 6
    assert not any(layer.fixed for layer in model.networks["actor"].layers)
