"""`agents.DQN`: its options, Double DQN and a coin for each game, and what it tells of a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_off_policy import KINDS, ours, state, train_alike, world
from small_ppo import assert_same
from stable_baselines3 import DQN as StockDQN
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch import Tensor

from agents import DQN
from agents.plasticity import Intervention, Update
from agents.plasticity.probing import probed
from agents.plasticity.taps import Taps

OPTIONS: dict[str, dict[str, Any]] = {
    "exploration": {"exploration_initial_eps": 0.8, "exploration_final_eps": 0.3, "exploration_fraction": 0.9},
    "rare targets": {"target_update_interval": 33, "n_envs": 2, "tau": 0.5},
    "clipped gradients": {"max_grad_norm": 0.01, "learning_rate": 1e-2},
    "another optimizer": {"policy_kwargs": {"net_arch": [8], "optimizer_class": torch.optim.RMSprop}},
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_give_sb3s_state_and_log(option: str) -> None:
    mine, _ = train_alike("dqn-mlp", **{"steps": 96, **OPTIONS[option]})
    if option == "exploration":
        assert mine.exploration_rate == pytest.approx(0.3)


def test_discrete_observations_and_actions_are_taken_as_sb3_takes_them() -> None:
    trained = []
    for cls in (DQN, StockDQN):
        model = cls("MlpPolicy", "FrozenLake-v1", learning_starts=8, buffer_size=50, seed=0, device="cpu").learn(32)
        assert model.q_net.q_net[0].weight.shape == (64, 16)
        trained.append(state(model))
    assert_same(*trained)


# ------------------------------------------------------------------------------------------------ targets


def by_hand(double_q: bool) -> DQN:
    """A linear Q-network of four numbers: the online one prefers action 1, its target's value of that is the lower."""
    model = DQN("MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": []}, gamma=0.5, double_q=double_q, seed=0)
    with torch.no_grad():
        for network, values in ((model.q_net, (1.0, 2.0)), (model.q_net_target, (5.0, 3.0))):
            (layer,) = network.q_net
            layer.weight.zero_(), layer.bias.zero_()
            layer.weight[:, 0] = torch.tensor(values)
    return model


@pytest.mark.parametrize(("double_q", "next_value"), [(False, 5.0), (True, 3.0)])
def test_targets_by_hand(double_q: bool, next_value: float) -> None:
    """The online network chooses the action of Double DQN, the target network says what it is worth."""
    model = by_hand(double_q)
    observation = torch.zeros(3, 4)
    observation[2, 0] = 1.0  # Q = (1, 2)
    next_observation = torch.zeros(3, 4)
    next_observation[:, 0] = 1.0
    batch = ReplayBufferSamples(
        observations=observation,
        actions=torch.tensor([[0], [0], [1]]),
        next_observations=next_observation,
        dones=torch.tensor([[0.0], [1.0], [0.0]]),
        rewards=torch.tensor([[1.0], [1.0], [2.0]]),
    )
    targets = torch.tensor([1 + 0.5 * next_value, 1.0, 2 + 0.5 * next_value])
    errors = targets - torch.tensor([0.0, 0.0, 2.0])
    expected = torch.where(errors.abs() < 1, 0.5 * errors**2, errors.abs() - 0.5)
    torch.testing.assert_close(model.sample_losses(batch)["critic"].detach(), expected)
    torch.testing.assert_close(model.td_targets(batch), targets[:, None])
    given = model.sample_losses(batch, td_targets=torch.zeros(3, 1))["critic"]  # in place of the batch's own
    assert given.tolist() == [0.0, 0.0, 1.5]
    later = batch._replace(discounts=torch.tensor([[0.25], [0.25], [0.125]]))
    targets = torch.tensor([1 + 0.25 * next_value, 1.0, 2 + 0.125 * next_value])
    errors = targets - torch.tensor([0.0, 0.0, 2.0])
    expected = torch.where(errors.abs() < 1, 0.5 * errors**2, errors.abs() - 0.5)
    torch.testing.assert_close(model.sample_losses(later)["critic"].detach(), expected)


class Witness(Intervention):
    """Compares the loss of training with the samples' losses, and its gradient with `look`'s."""

    name = "witness"
    needs = frozenset({"activations", "activation_grads"})

    def attach(self, learner: Any) -> None:
        self.learner = learner
        self.seen = 0

    def after_backward(self, update: Update) -> None:
        self.seen += 1
        losses = self.learner.sample_losses(update.batch)
        assert losses.keys() == self.learner.networks.keys() == {"critic"}
        assert losses["critic"].shape == (len(update.batch.actions),)
        torch.testing.assert_close(losses["critic"].mean(), update.losses["loss"], rtol=1e-6, atol=0)
        found = probed(self.learner, update.batch)
        for parameter, gradient in found.parameter_gradients.items():
            torch.testing.assert_close(gradient, parameter.grad, rtol=1e-4, atol=1e-7)
        assert found.activations.keys() == update.taps.keys()
        for name, (activations, gradient) in update.taps.items():
            torch.testing.assert_close(found.activations[name], activations)
            torch.testing.assert_close(found.gradients[name], gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "arguments", [{}, {"double_q": True}, {"n_steps": 3}, {"double_q": True, "n_envs": 2}], ids=str
)
def test_losses_of_the_samples_have_the_loss_as_their_mean(arguments: dict[str, Any]) -> None:
    witness = Witness()
    ours("dqn-mlp", interventions=[witness], learning_rate=1e-2, **arguments).learn(64)
    assert witness.seen >= 6


@pytest.mark.parametrize("kind", ["dqn-cnn", "dqn-dict", "dqn-board"])
def test_losses_of_all_policies(kind: str) -> None:
    witness = Witness()
    ours(kind, interventions=[witness], double_q=True).learn(24)
    assert witness.seen == 2


def test_double_dqn_trains_otherwise_than_dqn() -> None:
    settings = {"learning_rate": 1e-2, "learning_starts": 30}
    plain, double = (ours("dqn-mlp", double_q=double_q, **settings).learn(300) for double_q in (False, True))
    assert not torch.equal(state(plain)["q_net.q_net.0.weight"], state(double)["q_net.q_net.0.weight"])


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("dqn")])
def test_outputs_are_the_q_values(kind: str) -> None:
    model = ours(kind).learn(20)
    batch = model.sample(9, torch.Generator().manual_seed(0))
    outputs = model.outputs(batch)
    with torch.no_grad():
        assert outputs.keys() == {"critic"}
        assert torch.equal(outputs["critic"], model.q_net(batch.observations))
    assert outputs["critic"].shape == (9, model.action_space.n)
    assert model.distributions(batch) == ()
    assert model.paper_networks == ("critic",)
    assert model.targets[model.q_net.q_net[0].weight] is model.q_net_target.q_net[0].weight


# ------------------------------------------------------------------------------------------------ exploration


def explored(model: DQN, observation: Any, draws: int) -> np.ndarray:
    """Which games have explored in each draw, (draws, games): the greedy action is always 0, a random one never."""
    games = len(observation["image"] if isinstance(observation, dict) else observation)
    model.policy._predict = lambda observation, deterministic: torch.zeros(games, dtype=int)
    model.action_space.sample = lambda: 1
    return np.array([model.predict(observation)[0] for _ in range(draws)])


def test_every_game_throws_its_own_coin() -> None:
    model = ours("dqn-mlp", n_envs=4, epsilon_per_env=True)
    model.exploration_rate = 0.3
    np.random.seed(0)
    found = explored(model, np.zeros((4, 4), np.float32), 4000)
    assert found.shape == (4000, 4)
    assert np.allclose(found.mean(0), 0.3, atol=0.03)  # four standard deviations
    correlations = np.corrcoef(found.T)[np.triu_indices(4, 1)]
    assert np.abs(correlations).max() < 0.07
    both = ours("dqn-mlp", n_envs=4)
    both.exploration_rate = 0.3
    together = explored(both, np.zeros((4, 4), np.float32), 400)
    assert set(together.sum(1).tolist()) == {0, 4}  # SB3's coin is one for all


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_never_and_always(epsilon: float) -> None:
    model = ours("dqn-mlp", n_envs=3, epsilon_per_env=True)
    model.exploration_rate = epsilon
    found = explored(model, np.zeros((3, 4), np.float32), 50)
    assert (found == epsilon).all()
    greedy, _ = model.predict(np.zeros((3, 4), np.float32), deterministic=True)
    assert greedy.tolist() == [0, 0, 0]


def test_games_explore_by_themselves_with_dict_observations() -> None:
    model = ours("dqn-dict", n_envs=3, epsilon_per_env=True)
    model.exploration_rate = 0.5
    observation = model.env.reset()
    found = explored(model, observation, 60)
    assert found.shape == (60, 3)
    assert set(found.sum(1).tolist()) == {0, 1, 2, 3}


def test_actions_of_games_that_do_not_explore_are_greedy() -> None:
    model = ours("dqn-mlp", n_envs=6, epsilon_per_env=True)
    observations = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32) * 3
    model.exploration_rate = 0.5
    greedy, _ = model.predict(observations, deterministic=True)
    assert len(set(greedy.tolist())) == 2
    np.random.seed(3)
    explores = np.random.rand(6) < 0.5
    assert 0 < explores.sum() < 6
    np.random.seed(3)
    model.action_space.sample = lambda: 7
    actions, _ = model.predict(observations)
    assert actions.tolist() == np.where(explores, 7, greedy).tolist()
    assert actions.dtype == np.int64


def test_a_single_observation_is_taken_as_sb3_takes_it() -> None:
    """With and without a coin for each game, from the same numbers of the global generator."""
    found = []
    for per_env in (True, False):
        model = ours("dqn-mlp", epsilon_per_env=per_env)
        model.exploration_rate = 0.5
        np.random.seed(0), model.action_space.seed(0)
        found.append([int(model.predict(np.ones(4, np.float32))[0]) for _ in range(20)])
        assert model.predict(np.ones(4, np.float32))[0].shape == ()
    assert found[0] == found[1]
    assert len(set(found[0])) == 2


def test_one_game_with_a_coin_of_its_own_is_sb3s() -> None:
    """One number of the global generator for one game: the same run."""
    plain, coin = (state(ours("dqn-mlp", epsilon_per_env=per_env).learn(96)) for per_env in (False, True))
    assert_same(plain, coin)


def test_options_are_in_the_zip(tmp_path: Any) -> None:
    model = ours("dqn-board", n_envs=2, epsilon_per_env=True, double_q=True).learn(48)
    model.save(tmp_path / "model")
    loaded = DQN.load(tmp_path / "model", env=world("dqn-board", 2), device="cpu")
    assert (loaded.epsilon_per_env, loaded.double_q) == (True, True)
    assert_same(state(loaded), state(model))
    loaded.learn(24)


def test_only_the_forward_that_is_trained_is_tapped() -> None:
    """Double DQN's choice of actions goes through the online network, too, and taps do not see it."""
    model = ours("dqn-mlp", double_q=True).learn(24)
    batch = model.sample(12, torch.Generator().manual_seed(0))
    hidden: list[Tensor] = []
    model.q_net.q_net[1].register_forward_hook(lambda module, inputs, output: hidden.append(output.detach()))
    found = probed(model, batch, outputs=False)
    assert len(hidden) == 2
    with torch.no_grad():
        expected = model.q_net.q_net[:2](batch.observations)
        choosing = model.q_net.q_net[:2](batch.next_observations)
    assert torch.equal(found.activations["critic.0"], expected)
    with Taps(model.networks["critic"].layers) as taps:
        model.sample_losses(batch)
    assert torch.equal(taps.activations["critic.0"], expected)
    assert not torch.equal(expected, choosing)
