"""`agents.PPO` without interventions is Stable-Baselines3's, tensor by tensor; and what it tells of a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import TimeLimit, TransformObservation
from small_ppo import SHARED, Images, assert_same, build, parameters, world
from stable_baselines3 import PPO as StockPPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_util import make_vec_env
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn
from torch.distributions import Bernoulli, Categorical, Normal

import envs
from agents import PPO
from agents.plasticity import Intervention


def like(model: PPO) -> dict:
    """Arguments that make stock SB3 build the same network."""
    return {"policy_kwargs": model.policy_kwargs}


def assert_same_log(ours: PPO, stock: StockPPO) -> None:
    """All that SB3 logs of its last update, to the last bit."""
    ours_log, stock_log = ours.logger.name_to_value, stock.logger.name_to_value
    assert ours_log.keys() == stock_log.keys()
    assert {tag: ours_log[tag] for tag in ours_log} == {tag: stock_log[tag] for tag in ours_log}
    assert len([tag for tag in ours_log if tag.startswith("train/")]) >= 9


def test_training_gives_sb3s_parameters_and_a_zip_goes_both_ways(kind: str, tmp_path: Path) -> None:
    """And training goes on the same."""
    ours = build(kind)
    untrained = parameters(ours)
    ours.learn(128)
    stock = build(kind, StockPPO, **like(ours)).learn(128)
    assert_same(parameters(ours), parameters(stock))
    assert any(not torch.equal(untrained[name], tensor) for name, tensor in parameters(ours).items())
    assert_same_log(ours, stock)
    ours.save(tmp_path / "ours")
    stock.save(tmp_path / "stock")
    trained = []
    for cls, name in ((PPO, "stock"), (StockPPO, "ours"), (StockPPO, "stock")):
        model = cls.load(tmp_path / name, env=world(kind), device="cpu")
        assert_same(parameters(model), parameters(ours))
        trained.append(parameters(model.learn(64)))
    for other in trained[1:]:
        assert_same(trained[0], other)


OPTIONS = {
    "schedules": {"learning_rate": lambda left: 1e-3 * left, "clip_range": lambda left: 0.3 * left},
    "clipped values": {"clip_range_vf": 0.1},
    "early stop": {"target_kl": 1e-5, "learning_rate": 1e-2},
    "plain advantages": {"normalize_advantage": False, "ent_coef": 0.02, "vf_coef": 0.7, "max_grad_norm": 0.1},
    "odd minibatches": {"batch_size": 24},
}


@pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")
@pytest.mark.parametrize("option", OPTIONS)
def test_options_give_sb3s_parameters(option: str) -> None:
    ours = build("mlp", **OPTIONS[option]).learn(128)
    stock = build("mlp", StockPPO, **OPTIONS[option]).learn(128)
    assert_same(parameters(ours), parameters(stock))
    assert_same_log(ours, stock)
    assert ours._n_updates == stock._n_updates
    steps = {int(state["step"]) for state in ours.policy.optimizer.state.values()}
    assert steps == {ours.optimizer_steps}


def test_training_on_a_stream_gives_what_sb3_gives_on_the_games_themselves() -> None:
    """Our games, our vector environment and our PPO against minatar's own environments, DummyVecEnv and SB3."""
    import minatar.gym

    minatar.gym.register_envs()
    space = gymnasium.spaces.Box(0.0, 1.0, (10, 10, 10), dtype=bool)

    def game() -> gymnasium.Env:
        env = TimeLimit(gymnasium.make("MinAtar/Breakout-v0", disable_env_checker=True), 2500)
        return TransformObservation(env, lambda board: np.pad(board, ((0, 0), (0, 0), (0, 6))), space)

    settings = {"n_steps": 32, "batch_size": 32, "n_epochs": 2, "seed": 4, "device": "cpu"}
    ours = PPO("CnnPolicy", envs.make("breakout", n_envs=4), **settings).learn(384)
    stock = StockPPO("CnnPolicy", make_vec_env(game, n_envs=4), policy_kwargs=ours.policy_kwargs, **settings).learn(384)
    assert_same(parameters(ours), parameters(stock))
    assert [e["r"] for e in ours.ep_info_buffer] == [e["r"] for e in stock.ep_info_buffer]


class Curious(ActorCriticPolicy):
    """Acts in its own way, by torch's distribution, and sees observations as they are stored."""

    def forward(self, obs: Any, deterministic: bool = False) -> Any:
        assert obs.dtype is torch.bool
        _, values, _ = super().forward(obs, deterministic)
        distribution = self.get_distribution(obs)
        actions = torch.multinomial(distribution.distribution.probs.sqrt(), 1).flatten()
        return actions, values, distribution.log_prob(actions)


class Rollouts(BaseCallback):
    """Copies what each rollout was."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[np.ndarray] = []

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        buffer = self.model.rollout_buffer
        names = ("observations", "actions", "rewards", "episode_starts", "values", "log_probs", "advantages", "returns")
        self.found += [getattr(buffer, name).copy() for name in names]


@pytest.mark.parametrize("own_buffer", [False, True])
def test_a_policy_and_a_buffer_of_ones_own_give_sb3s_rollouts(own_buffer: bool) -> None:
    class Own(RolloutBuffer):
        pass

    settings = {"n_steps": 16, "batch_size": 16, "n_epochs": 2, "seed": 4, "device": "cpu"}
    if own_buffer:
        settings["rollout_buffer_class"] = Own
    seen = []
    for cls in (PPO, StockPPO):
        seen.append(Rollouts())
        model = cls(Curious, world("board"), **settings).learn(192, callback=seen[-1])
        assert (type(model.rollout_buffer) is Own) is own_buffer
    ours, stock = (rollouts.found for rollouts in seen)
    assert len(ours) == 24
    for mine, its in zip(ours, stock, strict=True):
        assert mine.dtype == its.dtype
        assert np.array_equal(mine, its)


def test_a_policy_may_have_no_distribution_of_sb3s() -> None:
    class Own(ActorCriticPolicy):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            del self.action_dist

    assert not hasattr(PPO(Own, world("mlp"), device="cpu").policy, "action_dist")


def test_normalised_observations_and_rewards_give_sb3s_parameters() -> None:
    trained = []
    for cls in (PPO, StockPPO):
        model = build("mlp", cls)
        model.set_env(VecNormalize(model.env))
        trained.append(parameters(model.learn(128)))
    assert_same(*trained)


def test_samples_are_the_rollouts_own_transitions() -> None:
    model = build("board", n_epochs=1)
    generator = torch.Generator().manual_seed(2)

    class Look(Intervention):
        def after_update(self) -> None:
            self.late = model.sample(10, torch.Generator().manual_seed(2))

    class Early(BaseCallback):
        def _on_rollout_end(self) -> None:
            self.sample = model.sample(10, generator)
            self.whole = model.sample(10**6, generator)

        def _on_step(self) -> bool:
            return True

    early, look = Early(), Look()
    model.interventions.append(look)
    model.learn(64, callback=early)
    # before SB3 flattens the rollout, and after it has: the same transitions
    for before, after in zip(early.sample, look.late, strict=True):
        assert torch.equal(before, after)
    assert len(early.whole.actions) == 64
    assert sorted(early.whole.returns.tolist()) == sorted(model.rollout_buffer.returns.flatten().tolist())


def probe(model: PPO, n: int = 48) -> Any:
    return model.sample(n, torch.Generator().manual_seed(3))


def assert_mean_is_the_loss(model: PPO) -> None:
    """Of the values and of the gradients."""
    batch = probe(model)
    losses = model.sample_losses(batch)
    assert set(losses) == set(model.networks)
    (loss,) = {id(loss): loss for loss in losses.values()}.values()  # one tensor for all networks
    assert loss.shape == (48,)
    whole = model.losses(batch)["loss"]
    torch.testing.assert_close(loss.mean(), whole, rtol=1e-6, atol=1e-7)
    assert loss.std() > 0
    trained = list(model.policy.parameters())
    both = [torch.autograd.grad(value, trained, allow_unused=True) for value in (loss.mean(), whole)]
    assert any(gradient is not None and gradient.any() for gradient in both[0])
    for ours, expected in zip(*both, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(model.sample_losses(batch)["critic" if "critic" in losses else "features"], loss)


def test_losses_of_the_samples_have_the_loss_as_their_mean(kind: str) -> None:
    assert_mean_is_the_loss(build(kind, ent_coef=0.02).learn(64))


LOSSES = {**OPTIONS, "clipped": {"clip_range": 0.01, "clip_range_vf": 0.01, "learning_rate": 1e-2}}


@pytest.mark.filterwarnings("ignore:You have specified a mini-batch size")
@pytest.mark.parametrize("option", LOSSES)
def test_losses_of_the_samples_follow_the_options(option: str) -> None:
    assert_mean_is_the_loss(build("mlp", **LOSSES[option]).learn(64))


class Acts(Images):
    """Random vectors for any action space."""

    observation_space = gymnasium.spaces.Box(-1, 1, (5,), np.float32)

    def __init__(self, space: gymnasium.Space) -> None:
        self.action_space = space

    def _observation(self) -> np.ndarray:
        return self.np_random.uniform(-1, 1, 5).astype(np.float32)

    def step(self, action: Any) -> Any:
        return super().step(np.atleast_1d(action))


ACTIONS = {
    "discrete": (gymnasium.spaces.Discrete(3), {}),
    "continuous": (gymnasium.spaces.Box(-1, 1, (2,)), {}),
    "gsde": (gymnasium.spaces.Box(-1, 1, (2,)), {"use_sde": True}),
    "squashed gsde": (gymnasium.spaces.Box(-1, 1, (2,)), {"use_sde": True, "policy_kwargs": {"squash_output": True}}),
    "several": (gymnasium.spaces.MultiDiscrete([2, 3]), {}),
    "bits": (gymnasium.spaces.MultiBinary(4), {}),
}


@pytest.mark.parametrize("actions", ACTIONS)
def test_every_action_space_has_losses_and_distributions(actions: str) -> None:
    space, arguments = ACTIONS[actions]
    settings = {"n_steps": 64, "batch_size": 16, "n_epochs": 2, "seed": 5, "device": "cpu", "ent_coef": 0.05}
    model, stock = (cls("MlpPolicy", Acts(space), **settings, **arguments).learn(64) for cls in (PPO, StockPPO))
    assert_same(parameters(model), parameters(stock))
    assert_mean_is_the_loss(model)
    batch = probe(model)
    outputs = model.outputs(batch)["actor"]
    found = model.distributions(batch)
    assert isinstance(found, tuple)
    if isinstance(space, gymnasium.spaces.Box):
        (normal,) = found
        assert isinstance(normal, Normal)
        assert torch.equal(normal.mean, outputs[:, :2])
        deviation = model.policy.log_std.exp()
        if model.use_sde:
            with torch.no_grad():
                latent = model.policy.mlp_extractor.forward_actor(batch.observations)
            deviation = (latent.square() @ deviation.square() + 1e-6).sqrt()
            torch.testing.assert_close(outputs[:, 2:].exp(), deviation)
        else:
            assert outputs.shape == (48, 2)
        torch.testing.assert_close(normal.stddev, deviation.expand(48, 2))
    elif actions == "bits":
        (bernoulli,) = found
        assert isinstance(bernoulli, Bernoulli)
        torch.testing.assert_close(bernoulli.logits, outputs)
    else:
        sizes = {"discrete": [3], "several": [2, 3]}[actions]
        assert all(isinstance(categorical, Categorical) for categorical in found)
        for categorical, logits in zip(found, outputs.split(sizes, 1), strict=True):
            torch.testing.assert_close(categorical.probs, logits.softmax(1))


@pytest.mark.parametrize("kind", ["norm-dict", "norm-nature-separate"])
def test_distributions_of_policies_with_norms(kind: str) -> None:
    model = build(kind).learn(64)
    batch = probe(model, 8)
    (normal,) = model.distributions(batch)
    assert torch.equal(normal.mean, model.outputs(batch)["actor"])
    assert_mean_is_the_loss(model)


@pytest.mark.parametrize("training", [True, False])
def test_a_batch_is_looked_at_in_evaluation_mode_and_the_mode_comes_back(training: bool) -> None:
    model = build("mlp", policy_kwargs={"net_arch": [16], "activation_fn": nn.ReLU}).learn(64)
    model.policy.mlp_extractor.policy_net.append(nn.Dropout(0.5))
    model.policy.set_training_mode(training)
    batch = probe(model)
    looks = [lambda: model.outputs(batch)["actor"], lambda: model.sample_losses(batch)["actor"],
             lambda: model.distributions(batch)[0].logits]  # fmt: skip
    for look in looks:
        assert torch.equal(look(), look())
        assert model.policy.training is training
    if training:
        assert not torch.equal(model.losses(batch)["loss"], model.losses(batch)["loss"])


def test_looking_at_a_batch_changes_nothing() -> None:
    model = build("board").learn(64)
    before, batch = parameters(model), probe(model)
    gradients = [p.grad.clone() for p in model.policy.parameters()]
    state = torch.get_rng_state()
    model.outputs(batch), model.distributions(batch), model.sample_losses(batch)
    assert_same(parameters(model), before)
    assert all(torch.equal(p.grad, g) for p, g in zip(model.policy.parameters(), gradients, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_ppo_has_no_target_networks() -> None:
    assert build("board").targets == {}


def test_samples_of_dict_observations_have_every_key() -> None:
    model = build("dict", policy_kwargs={"net_arch": [8], **SHARED}).learn(64)
    batch = probe(model)
    assert {key: tuple(value.shape) for key, value in batch.observations.items()} == {
        "a vector": (48, 3), "image": (48, 1, 36, 36),
    }  # fmt: skip
    buffer = model.rollout_buffer
    rows = torch.randperm(64, generator=torch.Generator().manual_seed(3))[:48].numpy()
    assert np.array_equal(batch.observations["image"], buffer.observations["image"][rows])
    assert np.array_equal(batch.old_log_prob, buffer.log_probs.flatten()[rows])


def test_the_replay_ratio_is_the_epochs_over_a_rollout() -> None:
    model = build("mlp")
    assert model.replay_ratio == 2.0
    model.replay_ratio = 3
    assert (model.n_epochs, model.replay_ratio, model.given_replay_ratio) == (2, 3.0, 2.0)
    assert model.learn(64).optimizer_steps == 12
    assert_same(parameters(model), parameters(build("mlp", n_epochs=3).learn(64)))
    for ratio in (0.5, 1.5, 0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=f"^replay_ratio is {ratio!r}; give a whole number of epochs of"):
            model.replay_ratio = ratio
