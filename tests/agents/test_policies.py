"""Policies with layer normalisation or folding activations: where these stand, that they train, and that they load."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import pytest
import torch
from small_off_policy import world as replay_world
from small_ppo import MORE, RESETS, assert_same, build, global_rng, parameters, twin, world
from stable_baselines3 import PPO as StockPPO
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import CombinedExtractor, MlpExtractor, NatureCNN
from torch import nn
from torch.nn import functional as F

from agents import DQN, PPO, SAC
from agents.networks import ImpalaCNN, MinAtarCNN
from agents.networks.policies import PlasticActorCriticPolicy, PlasticDQNPolicy, PlasticSACPolicy, PlasticTD3Policy
from agents.plasticity.layers import CReLU, Fourier

NORMED = [kind for kind in MORE if kind.startswith("norm-")]


def types(sequence: nn.Sequential) -> list[type]:
    return [type(module) for module in sequence]


def shapes(module: nn.Module) -> list[tuple[int, ...]]:
    return [norm.normalized_shape for norm in module.modules() if isinstance(norm, nn.LayerNorm)]


def test_a_norm_stands_between_every_hidden_layer_and_its_activation() -> None:
    policy = build("norm-mlp").policy
    assert type(policy) is PlasticActorCriticPolicy
    assert type(policy.mlp_extractor) is MlpExtractor
    for net in (policy.mlp_extractor.policy_net, policy.mlp_extractor.value_net):
        assert types(net) == [nn.Linear, nn.LayerNorm, nn.ReLU] * 2
        assert shapes(net) == [(16,), (12,)]
    assert (type(policy.action_net), type(policy.value_net)) == (nn.Linear, nn.Linear)
    assert types(build("norm-tanh-gsde").policy.mlp_extractor.policy_net) == [nn.Linear, nn.LayerNorm, nn.Tanh] * 2


def test_convolutions_are_normalised_over_channels_and_positions() -> None:
    policy = build("norm-board").policy
    extractor = policy.features_extractor
    assert (type(policy), type(extractor)) == (PlasticActorCriticPolicy, MinAtarCNN)
    assert types(extractor.cnn) == [nn.Conv2d, nn.LayerNorm, nn.ReLU, nn.Flatten]
    assert shapes(extractor) == [(16, 8, 8), (128,)]
    policy = build("norm-nature-separate").policy
    extractors = (policy.pi_features_extractor, policy.vf_features_extractor)
    assert extractors[0] is not extractors[1]
    for extractor in extractors:
        assert type(extractor) is NatureCNN
        assert types(extractor.cnn) == [*[nn.Conv2d, nn.LayerNorm, nn.ReLU] * 3, nn.Flatten]
        assert shapes(extractor) == [(32, 8, 8), (64, 3, 3), (64, 1, 1), (32,)]
    policy = build("norm-dict").policy
    assert (type(policy), type(policy.features_extractor)) == (PlasticActorCriticPolicy, CombinedExtractor)
    assert shapes(policy.features_extractor) == [(32, 8, 8), (64, 3, 3), (64, 1, 1), (32,)]


def test_impala_is_normalised_inside_its_blocks_and_behind_its_linear_layer() -> None:
    extractor = build("norm-impala").policy.features_extractor
    assert type(extractor) is ImpalaCNN
    assert shapes(extractor) == [(4, 18, 18)] * 2 + [(6, 9, 9)] * 2 + [(16,)]
    assert types(extractor.sequences.sequence1.block1.inner) == [nn.Conv2d, nn.LayerNorm, nn.ReLU]
    assert types(extractor.linear) == [nn.Linear, nn.LayerNorm, nn.ReLU]


def test_the_policy_computes_normalised_layers() -> None:
    model = build("norm-mlp").learn(64)
    policy = model.policy
    batch = model.sample(20, torch.Generator().manual_seed(0))
    latent = batch.observations
    linears = [module for module in policy.mlp_extractor.policy_net if isinstance(module, nn.Linear)]
    norms = [module for module in policy.mlp_extractor.policy_net if isinstance(module, nn.LayerNorm)]
    for linear, norm in zip(linears, norms, strict=True):
        z = F.linear(latent, linear.weight, linear.bias)
        z = (z - z.mean(1, keepdim=True)) / (z.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        latent = F.relu(z * norm.weight + norm.bias)
    logits = F.linear(latent, policy.action_net.weight, policy.action_net.bias)
    torch.testing.assert_close(model.outputs(batch)["actor"], logits)


@pytest.mark.parametrize("kind", NORMED)
def test_all_other_weights_begin_as_in_sb3s_policy_of_the_same_seed(kind: str) -> None:
    settings = {key: value for key, value in MORE[kind].items() if key not in ("policy", "env", "use_sde")}
    arguments = {"policy_kwargs": settings, "use_sde": MORE[kind].get("use_sde", False), "device": "cpu", "seed": 5}
    plain = PPO(MORE[kind]["policy"].removeprefix("LayerNorm"), world(kind), **arguments).policy
    normed = build(kind).policy
    norms = [module for module in normed.modules() if isinstance(module, nn.LayerNorm)]
    theirs = {id(p) for norm in norms for p in norm.parameters()}
    others = [p for p in normed.parameters() if id(p) not in theirs]
    assert len(norms) >= 2
    assert all(torch.equal(norm.weight, torch.ones_like(norm.weight)) and not norm.bias.any() for norm in norms)
    assert all(torch.equal(ours, sb3) for ours, sb3 in zip(others, plain.parameters(), strict=True))


@pytest.mark.parametrize("kind", NORMED)
def test_every_parameter_is_trained(kind: str) -> None:
    model = build(kind)
    before = parameters(model)
    optimized = {id(p) for group in model.policy.optimizer.param_groups for p in group["params"]}
    assert optimized == {id(p) for p in model.policy.parameters()}
    model.learn(64)
    assert [name for name, p in parameters(model).items() if torch.equal(p, before[name])] == []
    assert all(torch.isfinite(p).all() for p in model.policy.parameters())


@pytest.mark.parametrize("kind", ["norm-tanh-gsde", "norm-board", "norm-nature-separate", "norm-dict", "crelu-board"])
def test_resets_act_and_train_save_load_train_is_train_train(kind: str, tmp_path: Path) -> None:
    model = build(kind, interventions=[RESETS["gxd"]()]).learn(64)
    counts = model.units_reset()
    model.save(tmp_path / "model")
    restore, games = global_rng(), twin(model.env)
    uninterrupted = parameters(model.learn(64, reset_num_timesteps=False))
    assert all(count > 0 for count in model.units_reset().values())
    loaded = PPO.load(tmp_path / "model", env=games, device="cpu", force_reset=False)
    assert loaded.units_reset() == counts
    restore()
    assert_same(parameters(loaded.learn(64, reset_num_timesteps=False)), uninterrupted)
    assert loaded.units_reset() == model.units_reset() != counts


def test_stock_sb3_takes_the_policy_and_trains_it_the_same(tmp_path: Path) -> None:
    ours = build("norm-board").learn(128)
    arguments = {"policy_kwargs": ours.policy_kwargs, "n_steps": 16, "batch_size": 16, "n_epochs": 2, "seed": 5}
    stock = StockPPO(PlasticActorCriticPolicy, world("norm-board"), device="cpu", **arguments).learn(128)
    assert_same(parameters(ours), parameters(stock))
    ours.save(tmp_path / "model")
    assert_same(parameters(StockPPO.load(tmp_path / "model", device="cpu")), parameters(ours))


def test_small_boards_get_the_minatar_network() -> None:
    policy = build("norm-board").policy
    assert policy.net_arch == {"pi": [64], "vf": [64]}
    assert types(policy.mlp_extractor.value_net) == [nn.Linear, nn.LayerNorm, nn.ReLU]
    assert type(build("norm-nature-separate").policy.features_extractor) is NatureCNN


def test_an_extractor_that_is_not_known_is_refused_by_name() -> None:
    class Wider(NatureCNN):
        pass

    with pytest.raises(ValueError, match="norm is 'layer', but the features extractor Wider is not understood; give"):
        PPO("LayerNormCnnPolicy", world("nature"), policy_kwargs={"features_extractor_class": Wider})


# ---------------------------------------------------------------------------------------------------- DQN, SAC and TD3


REPLAYING: dict[str, tuple[type, str, str]] = {  # kind -> algorithm, SB3's policy, world
    "dqn": (DQN, "MlpPolicy", "dqn-mlp"),
    "dqn-cnn": (DQN, "CnnPolicy", "dqn-cnn"),
    "dqn-board": (DQN, "CnnPolicy", "dqn-board"),
    "dqn-dict": (DQN, "MultiInputPolicy", "dqn-dict"),
    "sac": (SAC, "MlpPolicy", "sac-mlp"),
    "sac-board": (SAC, "CnnPolicy", "sac-board"),
    "sac-dict": (SAC, "MultiInputPolicy", "sac-dict"),
}


def replaying(kind: str, prefix: str = "LayerNorm", **arguments: Any) -> Any:
    cls, policy, where = REPLAYING[kind]
    settings = {"learning_starts": 16, "train_freq": 4, "batch_size": 8, "buffer_size": 64, "device": "cpu", "seed": 5}
    return cls(f"{prefix}{policy}", replay_world(where), **{**settings, **arguments})


def expected_norms(network: nn.Module) -> int:
    """How many activation functions there are, but for the one that squashes."""
    return sum(isinstance(module, nn.ReLU) for module in network.modules())


@pytest.mark.parametrize("kind", REPLAYING)
def test_norms_stand_in_online_and_target_networks_and_all_else_is_sb3s(kind: str) -> None:
    normed, plain = replaying(kind), replaying(kind, "")
    assert type(normed.policy) is {DQN: PlasticDQNPolicy, SAC: PlasticSACPolicy}[type(normed)]
    roots = ["q_net", "q_net_target"] if isinstance(normed, DQN) else ["actor", "critic", "critic_target"]
    for root in roots:
        network, stock = getattr(normed.policy, root), getattr(plain.policy, root)
        assert type(network) is type(stock)
        norms = [module for module in network.modules() if isinstance(module, nn.LayerNorm)]
        assert len(norms) == expected_norms(network) > 0
        theirs = {id(p) for norm in norms for p in norm.parameters()}
        others = [p for p in network.parameters() if id(p) not in theirs]
        assert all(torch.equal(ours, sb3) for ours, sb3 in zip(others, stock.parameters(), strict=True))
        for sequence in network.modules():
            if type(sequence) is nn.Sequential:
                kinds = types(sequence)
                assert all(
                    kinds[i + 1] is nn.LayerNorm for i in range(len(kinds) - 1) if kinds[i] in (nn.Linear, nn.Conv2d)
                )
                assert kinds[-1] is not nn.LayerNorm
    online, target = (getattr(normed.policy, root) for root in roots[-2:])
    assert_same(dict(online.state_dict()), dict(target.state_dict()))
    assert {id(p) for p in online.parameters()}.isdisjoint({id(p) for p in target.parameters()})


@pytest.mark.parametrize("kind", ["dqn-board", "sac", "sac-dict"])
def test_resets_under_layer_normalisation_renew_a_units_gain_and_bias(kind: str, tmp_path: Path) -> None:
    model = replaying(kind, interventions=[RESETS["gxd-each-step"]()])
    model.learn(64)
    counts = model.units_reset()
    assert all(count > 0 for count in counts.values()), counts
    for network in model.networks.values():
        for layer in network.layers:
            assert not layer.exact
            assert [value for _, value in layer.constants] == [1.0, 0.0]
    assert all(torch.isfinite(p).all() for p in model.policy.parameters())
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model", device="cpu")
    assert_same(parameters(loaded), parameters(model))
    assert loaded.units_reset() == counts


# ---------------------------------------------------------------------------------------------------- folding


def test_layers_are_as_wide_as_what_they_read() -> None:
    policy = build("crelu-board").policy
    assert type(policy) is PlasticActorCriticPolicy
    extractor = policy.features_extractor
    assert [types(extractor.cnn), types(extractor.linear)] == [[nn.Conv2d, CReLU, nn.Flatten], [nn.Linear, CReLU]]
    assert (extractor.linear[0].in_features, extractor.features_dim) == (2 * 16 * 64, 2 * 128)
    assert types(policy.mlp_extractor.policy_net) == [nn.Linear, CReLU]
    assert policy.mlp_extractor.policy_net[0].in_features == 256
    assert (policy.action_net.in_features, policy.value_net.in_features) == (128, 128)


@pytest.mark.parametrize("activation", [CReLU, Fourier])
@pytest.mark.parametrize("use_sde", [False, True])
def test_actors_and_critics_of_sac_fold(activation: type[nn.Module], use_sde: bool) -> None:
    kwargs = {"activation_fn": activation, "net_arch": {"pi": [6, 5], "qf": [4]}}
    model = replaying("sac", "", policy_kwargs=kwargs, use_sde=use_sde)
    assert type(model.policy) is PlasticSACPolicy
    actor, critic = model.actor, model.critic
    assert [layer.in_features for layer in actor.latent_pi if isinstance(layer, nn.Linear)] == [3, 12]
    mu = actor.mu[0] if use_sde else actor.mu
    assert mu.in_features == 10
    assert (len(actor.log_std) if use_sde else actor.log_std.in_features) == 10
    assert type(actor.mu) is (nn.Sequential if use_sde else nn.Linear)  # SB3 clips the mean of gSDE
    for q_net in (critic.qf0, critic.qf1, *model.critic_target.q_networks):
        assert [layer.in_features for layer in q_net if isinstance(layer, nn.Linear)] == [4, 8]
    assert critic.q_networks == [critic.qf0, critic.qf1]
    model.learn(32)
    for name, network in model.networks.items():
        assert [layer.fold for layer in network.layers] == [2, 2], name


def test_the_output_layer_of_td3_is_squashed_and_not_normalised() -> None:
    space, actions = gymnasium.spaces.Box(-1, 1, (3,)), gymnasium.spaces.Box(-1, 1, (2,))
    policy = PlasticTD3Policy(space, actions, lambda _: 1e-3, net_arch=[6, 5], activation_fn=CReLU, norm="layer")
    for actor in (policy.actor, policy.actor_target):
        hidden = [nn.Linear, nn.LayerNorm, CReLU]
        assert types(actor.mu) == [*hidden, *hidden, nn.Linear, nn.Tanh]
        assert [layer.in_features for layer in actor.mu if isinstance(layer, nn.Linear)] == [3, 12, 10]
    assert shapes(policy.critic) == [(6,), (5,)] * 2
    assert policy(torch.zeros(4, 3)).shape == (4, 2)


def test_a_policy_alone_is_saved_with_its_norm(tmp_path: Path) -> None:
    policy = build("norm-mlp").policy
    policy.save(tmp_path / "policy")
    loaded = PlasticActorCriticPolicy.load(tmp_path / "policy", device="cpu")
    assert loaded.norm == "layer"
    assert_same(loaded.state_dict(), policy.state_dict())


def test_norms_of_other_policies_and_other_norms_are_refused() -> None:
    class Own(ActorCriticPolicy):
        def __init__(self, space: Any, actions: Any, schedule: Any, use_sde: bool = False) -> None:
            super().__init__(space, actions, schedule)

    with pytest.raises(ValueError, match=r"^norm is 'batch'; give one of none, layer, rms$"):
        PPO("MlpPolicy", "CartPole-v1", policy_kwargs={"norm": "batch"})
    with pytest.raises(
        ValueError, match=r"^norm is 'layer', but the policy Own takes none; give one of MlpPolicy, Cnn"
    ):
        PPO(Own, "CartPole-v1", policy_kwargs={"norm": "layer"})
    assert type(PPO("MlpPolicy", "CartPole-v1", policy_kwargs={"norm": "none"}).policy) is ActorCriticPolicy
