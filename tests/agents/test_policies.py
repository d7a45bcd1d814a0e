"""Policies with layer normalisation: where the norms stand, what they compute, and that they train and load."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from small_ppo import MORE, RESETS, assert_same, build, global_rng, parameters, world
from stable_baselines3 import PPO as StockPPO
from stable_baselines3.common.torch_layers import CombinedExtractor, MlpExtractor, NatureCNN
from torch import nn
from torch.nn import functional as F

from agents import PPO
from agents.networks import ImpalaCNN, MinAtarCNN
from agents.policies import LayerNormCnnPolicy, LayerNormMultiInputPolicy, LayerNormPolicy

NORMED = [kind for kind in MORE if kind.startswith("norm-")]


def types(sequence: nn.Sequential) -> list[type]:
    return [type(module) for module in sequence]


def shapes(module: nn.Module) -> list[tuple[int, ...]]:
    return [norm.normalized_shape for norm in module.modules() if isinstance(norm, nn.LayerNorm)]


def test_a_norm_stands_between_every_hidden_layer_and_its_activation() -> None:
    policy = build("norm-mlp").policy
    assert type(policy) is LayerNormPolicy
    assert type(policy.mlp_extractor) is MlpExtractor
    for net in (policy.mlp_extractor.policy_net, policy.mlp_extractor.value_net):
        assert types(net) == [nn.Linear, nn.LayerNorm, nn.ReLU] * 2
        assert shapes(net) == [(16,), (12,)]
    assert (type(policy.action_net), type(policy.value_net)) == (nn.Linear, nn.Linear)
    assert types(build("norm-tanh-gsde").policy.mlp_extractor.policy_net) == [nn.Linear, nn.LayerNorm, nn.Tanh] * 2


def test_convolutions_are_normalised_over_channels_and_positions() -> None:
    policy = build("norm-board").policy
    extractor = policy.features_extractor
    assert (type(policy), type(extractor)) == (LayerNormCnnPolicy, MinAtarCNN)
    assert types(extractor.cnn) == [nn.Conv2d, nn.LayerNorm, nn.ReLU, nn.Flatten]
    assert shapes(extractor) == [(16, 8, 8), (128,)]
    policy = build("norm-nature-separate").policy
    extractors = (policy.pi_features_extractor, policy.vf_features_extractor)
    assert extractors[0] is not extractors[1]
    for extractor in extractors:
        assert type(extractor) is NatureCNN
        assert types(extractor.cnn) == [*[nn.Conv2d, nn.LayerNorm, nn.ReLU] * 3, nn.Flatten]
        assert shapes(extractor) == [(32, 8, 8), (64, 3, 3), (64, 1, 1), (512,)]
    policy = build("norm-dict").policy
    assert (type(policy), type(policy.features_extractor)) == (LayerNormMultiInputPolicy, CombinedExtractor)
    assert shapes(policy.features_extractor) == [(32, 8, 8), (64, 3, 3), (64, 1, 1), (256,)]


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
    model.learn(128)
    assert [name for name, p in parameters(model).items() if torch.equal(p, before[name])] == []
    assert all(torch.isfinite(p).all() for p in model.policy.parameters())


@pytest.mark.parametrize("kind", NORMED)
def test_train_save_load_train_is_train_train(kind: str, tmp_path: Path) -> None:
    model = build(kind, interventions=[RESETS["gxd"]()]).learn(192)
    counts = model.units_reset()
    assert all(count > 0 for count in counts.values()), counts
    model.save(tmp_path / "model")
    restore = global_rng()
    uninterrupted = parameters(model.learn(128, reset_num_timesteps=False))
    twin = build(kind, interventions=[RESETS["gxd"]()]).learn(192)
    loaded = PPO.load(tmp_path / "model", env=twin.env, device="cpu", force_reset=False)
    assert loaded.units_reset() == counts
    restore()
    assert_same(parameters(loaded.learn(128, reset_num_timesteps=False)), uninterrupted)


def test_stock_sb3_takes_the_policy_and_trains_it_the_same(tmp_path: Path) -> None:
    ours = build("norm-board").learn(128)
    arguments = {"policy_kwargs": ours.policy_kwargs, "n_steps": 32, "batch_size": 16, "n_epochs": 2, "seed": 5}
    stock = StockPPO(LayerNormCnnPolicy, world("norm-board"), device="cpu", **arguments).learn(128)
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

    with pytest.raises(ValueError, match="LayerNormCnnPolicy: the features extractor Wider is not understood; give"):
        PPO("LayerNormCnnPolicy", world("nature"), policy_kwargs={"features_extractor_class": Wider})
