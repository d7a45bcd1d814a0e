"""What DQN, SAC and TD3 share: without interventions they are Stable-Baselines3's, and how they sample and log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_off_policy import ALL, OURS, Boards, build, like, logged, ours, state, train_alike, world
from small_ppo import assert_same, global_rng
from stable_baselines3 import DQN as StockDQN
from stable_baselines3.common.callbacks import (
    BaseCallback,
    CallbackList,
    CheckpointCallback,
    EvalCallback,
    StopTrainingOnMaxEpisodes,
)
from stable_baselines3.common.vec_env import VecNormalize
from torch.distributions import Distribution

import envs
from agents import DQN, SAC
from agents.plasticity.protocols import NoDataError

MLP = ("dqn-mlp", "sac-mlp", "td3-mlp")


@pytest.fixture(params=list(ALL))
def kind(request: pytest.FixtureRequest) -> str:
    """Every kind of policy that they have."""
    return str(request.param)


# ------------------------------------------------------------------------------------------------ as stock SB3


# What an update does differs between the algorithms; how they collect does not.
UPDATES: dict[str, Any] = {
    "n_envs": 2, "n_steps": 3, "gamma": 0.5, "learning_rate": lambda left: 1e-2 * left, "gradient_steps": 3, "tau": 0.3,
}  # fmt: skip
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    **{f"n-step replay, discount, schedule and target of {kind}": (kind, UPDATES) for kind in MLP},
    "several games": ("td3-mlp", {"n_envs": 3}),
    "as many gradient steps as steps": ("sac-mlp", {"gradient_steps": -1, "n_envs": 2}),
    "whole episodes": ("dqn-mlp", {"train_freq": (1, "episode"), "gradient_steps": 3, "steps": 120}),
    "no gradient steps yet": ("sac-mlp", {"learning_starts": 0}),
    "a full buffer": ("td3-mlp", {"buffer_size": 24, "n_envs": 2}),
    **{f"many minibatches of {kind}": (kind, {"gradient_steps": 9, "target_update_interval": 12, "steps": 48})
       for kind in ("dqn-mlp", "dqn-cnn", "dqn-norm-crelu", "dqn-dict")},
    "many minibatches of many boards": ("dqn-board", {
        "n_envs": 64, "train_freq": 1, "gradient_steps": 16, "batch_size": 32, "learning_starts": 64,
        "buffer_size": 640, "target_update_interval": 128, "steps": 256,
    }),
    "one minibatch of a board": ("dqn-board", {"batch_size": 1}),
    "a lean buffer that is full": ("dqn-mlp", {
        "optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False},
        "buffer_size": 20, "gradient_steps": 5,
    }),
    "a lean buffer": ("dqn-mlp", {
        "optimize_memory_usage": True, "replay_buffer_kwargs": {"handle_timeout_termination": False},
    }),
}  # fmt: skip


@pytest.mark.parametrize("option", OPTIONS)
def test_options_give_sb3s_state_and_log(option: str) -> None:
    kind, arguments = OPTIONS[option]
    mine, _ = train_alike(kind, **{"steps": 40, **arguments})
    if "n-step" in option:
        assert mine.replay_buffer.sample(4).discounts is not None


def test_training_gives_sb3s_state_and_log_and_a_zip_goes_both_ways(kind: str, tmp_path: Path) -> None:
    """And training goes on the same."""
    cls = OURS[ALL[kind]["cls"]]
    mine, stock = train_alike(kind, 40 if "dqn" in kind else 32)  # where the second copy of DQN's targets is trained
    mine.save(tmp_path / "ours")
    stock.save(tmp_path / "stock")
    mine.save_replay_buffer(tmp_path / "replay")
    trained = []
    for loads, name in ((cls, "stock"), (ALL[kind]["cls"], "ours"), (ALL[kind]["cls"], "stock")):
        model = loads.load(tmp_path / name, env=world(kind), device="cpu")
        model.load_replay_buffer(tmp_path / "replay", truncate_last_traj=False)
        assert_same(state(model), state(mine))
        trained.append(state(model.learn(4, reset_num_timesteps=False)))
    assert trained[0]["_n_updates"] > mine._n_updates
    for other in trained[1:]:
        assert_same(trained[0], other)


@pytest.mark.parametrize("kind", [*MLP, "dqn-her", "sac-her"])
def test_normalised_observations_and_rewards_give_sb3s_state(kind: str) -> None:
    trained = []
    for cls in (None, OURS[ALL[kind]["cls"]]):
        model = build(kind, cls, n_envs=2)
        model.set_env(VecNormalize(world(kind, 2)))
        trained.append(state(model.learn(40)))
        assert model._vec_normalize_env.ret_rms.count > 38
    assert_same(*trained)


@pytest.mark.parametrize("kind", ["dqn-mlp", "sac-her"])
def test_sb3s_callbacks_work(kind: str, tmp_path: Path) -> None:
    trained = []
    for cls in (None, OURS[ALL[kind]["cls"]]):
        folder = tmp_path / str(cls)
        games = world(kind)
        games.seed(8)
        callbacks = CallbackList([
            EvalCallback(games, n_eval_episodes=1, eval_freq=30, best_model_save_path=str(folder), verbose=0),
            CheckpointCallback(40, str(folder), save_replay_buffer=True),
            StopTrainingOnMaxEpisodes(5),
        ])  # fmt: skip
        model = build(kind, cls)
        rows = logged(model)
        model.learn(1000, callback=callbacks, log_interval=None)
        assert model.num_timesteps < 400
        assert any("eval/mean_reward" in values for _, values in rows.rows)
        assert (folder / "best_model.zip").exists()
        assert (folder / "rl_model_40_steps.zip").exists()
        assert (folder / "rl_model_replay_buffer_40_steps.pkl").exists()
        trained.append((state(model), rows.rows))
    assert_same(trained[0][0], trained[1][0])
    assert trained[0][1] == trained[1][1]


@pytest.mark.parametrize("kind", MLP)
def test_parameters_are_taken_and_given(kind: str) -> None:
    teacher, pupil, stock = ours(kind).learn(64), ours(kind, seed=6), build(kind, seed=7)
    for model in (pupil, stock):
        model.set_parameters(teacher.get_parameters())
        policy = {name: tensor for name, tensor in state(model).items() if "/" not in name and "." in name}
        assert_same(policy, {name: state(teacher)[name] for name in policy})
    pupil.set_parameters(stock.get_parameters())
    assert teacher.get_parameters().keys() == stock.get_parameters().keys()


@pytest.mark.parametrize("deterministic", [True, False])
def test_it_predicts_what_sb3_predicts(kind: str, deterministic: bool) -> None:
    mine = ours(kind)
    stock = build(kind, **like(mine))
    if mine.use_sde:
        torch.manual_seed(0), mine.actor.reset_noise(3), torch.manual_seed(0), stock.actor.reset_noise(3)
    venv = world(kind, 3)
    venv.seed(2)
    batch = venv.reset()
    single = {key: value[0] for key, value in batch.items()} if isinstance(batch, dict) else batch[0]
    if hasattr(mine, "exploration_rate"):
        mine.exploration_rate = stock.exploration_rate = 0.5
    for observation in (batch, single):
        actions = []
        for model in (mine, stock):
            np.random.seed(1), torch.manual_seed(1), model.action_space.seed(1)
            actions.append([model.predict(observation, deterministic=deterministic)[0] for _ in range(6)])
        assert np.array_equal(actions[0], actions[1])
        assert len(np.unique(actions[0])) > 1 or deterministic or mine.use_sde or "td3" in kind
        assert actions[0][0].shape == ((3,) if observation is batch else ()) + mine.action_space.shape


@pytest.mark.parametrize("cls", [DQN, SAC])
def test_what_sb3_refuses_is_refused(cls: type) -> None:
    wrong = world("sac-mlp" if cls is DQN else "dqn-mlp")
    with pytest.raises(AssertionError, match="The algorithm only supports"):
        cls("MlpPolicy", wrong)


# ------------------------------------------------------------------------------------------------ samples


def generator(seed: int = 3) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_sample_is_of_the_buffers_own_transitions(kind: str) -> None:
    model = ours(kind, learning_starts=40).learn(40)
    untouched = np.random.get_state()[1].copy(), torch.get_rng_state(), model.action_space.np_random.bit_generator.state
    batch = model.sample(30, generator())
    assert np.array_equal(np.random.get_state()[1], untouched[0])
    assert torch.equal(torch.get_rng_state(), untouched[1])
    assert model.action_space.np_random.bit_generator.state == untouched[2]
    assert model.replay_buffer.device == model.device
    assert len(batch.actions) == len(batch.rewards) == 30
    again = model.sample(30, generator())
    other = model.sample(30, generator(4))
    assert torch.equal(batch.actions, again.actions)
    assert not torch.equal(batch.rewards + batch.actions[:, :1], other.rewards + other.actions[:, :1])
    stored, buffer = (batch.observations, model.replay_buffer.observations)
    for key in stored if isinstance(stored, dict) else [None]:
        rows = stored[key] if key else stored
        held = {np.asarray(row, np.float32).tobytes() for row in (buffer[key] if key else buffer)[:40, 0]}
        if "her" not in kind or key != "desired_goal":
            assert {row.numpy().astype(np.float32).tobytes() for row in rows} <= held
    actions = {row.tobytes() for row in model.replay_buffer.actions[:40, 0]}
    assert {row.numpy().tobytes() for row in batch.actions} <= actions


def test_a_sample_is_no_larger_than_the_buffers_contents() -> None:
    model = ours("dqn-mlp", n_envs=2).learn(24)
    assert len(model.sample(1000, generator()).actions) == 24
    assert len(model.sample(7, generator()).actions) == 7


def test_a_sample_is_uploaded_apart_from_the_buffer() -> None:
    model = ours("dqn-mlp").learn(24)
    model.replay_buffer.device = torch.device("meta")
    assert model.sample(4, generator()).rewards.device == model.device
    assert model.replay_buffer.device == torch.device("meta")


def test_samples_are_normalised_as_in_training() -> None:
    model = ours("sac-mlp")
    model.set_env(VecNormalize(world("sac-mlp")))
    model.learn(40)
    batch, normalizer = model.sample(40, generator()), model._vec_normalize_env
    raw = model.replay_buffer.observations[:40, 0]
    held = {row.tobytes() for row in normalizer.normalize_obs(raw).astype(np.float32)}
    assert {row.numpy().tobytes() for row in batch.observations} <= held
    rewards = normalizer.normalize_reward(model.replay_buffer.rewards[:40, 0]).astype(np.float32)
    assert set(batch.rewards.flatten().tolist()) <= set(rewards.tolist())


def test_samples_of_n_step_replay_have_their_discounts() -> None:
    batch = ours("sac-mlp", n_steps=3, gamma=0.5).learn(40).sample(40, generator())
    assert {0.125} < set(batch.discounts.flatten().tolist()) <= {0.125, 0.25, 0.5}


@pytest.mark.parametrize("kind", ["dqn-mlp", "sac-her"])
def test_without_data_there_is_no_sample(kind: str) -> None:
    model = ours(kind)
    with pytest.raises(NoDataError, match="the replay buffer is empty; let the agent take some steps first"):
        model.sample(4, generator())
    model.learn(8)
    if "her" in kind:
        with pytest.raises(NoDataError, match="holds no finished episode yet; let the agent take some steps first"):
            model.sample(4, generator())
        model.learn(4, reset_num_timesteps=False)
    assert len(model.sample(4, generator()).actions) == 4


@pytest.mark.parametrize("kind", MLP)
@pytest.mark.parametrize("training", [True, False])
def test_looking_at_a_batch_changes_nothing(kind: str, training: bool) -> None:
    model = ours(kind).learn(48)
    policy = model.policy
    owners, targets = {
        "dqn-mlp": lambda: ([policy.q_net.q_net], [policy.q_net_target.q_net]),
        "sac-mlp": lambda: ([policy.actor.latent_pi, policy.critic.qf0], [policy.critic_target.qf0]),
        "td3-mlp": lambda: ([policy.actor.mu, policy.critic.qf0], [policy.actor_target.mu, policy.critic_target.qf0]),
    }[kind]()
    for network in (*owners, *targets):
        network.insert(2, torch.nn.Dropout(0.5).train(network.training))  # SB3 never has targets in training mode
    model.policy.set_training_mode(training)
    before, batch = state(model), model.sample(32, generator())
    gradients = [None if p.grad is None else p.grad.clone() for p in model.policy.parameters()]
    restore = global_rng()
    untouched = np.random.get_state()[1].copy(), torch.get_rng_state()
    looks = [lambda: model.outputs(batch)["critic"], lambda: model.sample_losses(batch)["critic"]]
    if "dqn" not in kind:
        looks += [lambda: model.outputs(batch)["actor"], lambda: model.sample_losses(batch)["actor"]]
    if "sac" in kind:
        looks += [lambda: model.distributions(batch)[0].stddev]
    for look in looks:
        assert torch.equal(look(), look())
        assert model.policy.training is owners[0].training is training
    assert np.array_equal(np.random.get_state()[1], untouched[0])
    assert torch.equal(torch.get_rng_state(), untouched[1])
    restore()
    assert_same(state(model), before)
    for parameter, gradient in zip(model.policy.parameters(), gradients, strict=True):
        assert (parameter.grad is None) if gradient is None else torch.equal(parameter.grad, gradient)


# ------------------------------------------------------------------------------------------------ rows


def test_there_is_at_most_one_row_for_a_step_of_all_games() -> None:
    settings = {"n_envs": 8, "learning_starts": 10**6, "buffer_size": 4096, "seed": 1}
    mine, stock = ours("dqn-mlp", **settings), build("dqn-mlp", **settings)
    rows = [logged(model) for model in (mine, stock)]
    for model in (mine, stock):
        model.learn(1200, log_interval=1)
    written, stocks = ([step for step, _ in found.rows] for found in rows)
    assert len(written) == len(set(written)) < len(stocks)
    assert set(written) == set(stocks)
    assert rows[0].first() == rows[1].first()


def test_steps_that_are_counted_anew_have_rows_anew() -> None:
    model = ours("dqn-mlp")
    rows = logged(model)
    for _ in range(2):
        model.learn(24, log_interval=None)
        model.dump_logs()
        model.dump_logs()
    assert [step for step, _ in rows.rows] == [24, 24]


def test_rows_go_on_with_resets_once_they_have_them() -> None:
    """As of a run that was gone on with, and whose units nobody has asked for since."""
    model = ours("dqn-mlp")
    rows = logged(model)
    model.learn(24, log_interval=None)
    model.dump_logs()
    model.units_logged = {"critic": 3}
    model.learn(48, log_interval=None)
    model.dump_logs()
    found = [{tag: value for tag, value in row.items() if tag.startswith("reset/")} for _, row in rows.rows]
    assert found == [{}, {"reset/critic/total": 0, "reset/critic/units": -3}]


def test_without_a_log_interval_rows_are_written_on_demand() -> None:
    model = ours("dqn-mlp", n_envs=8)
    rows = logged(model)

    class Hand(BaseCallback):
        def _on_step(self) -> bool:
            if self.num_timesteps % 160 == 0:
                self.model.dump_logs()
                self.model.dump_logs()
            return True

    model.learn(480, callback=Hand(), log_interval=None)
    assert [step for step, _ in rows.rows] == [160, 320, 480]
    assert all("train/loss" in values for _, values in rows.rows)


def test_boards_are_given_the_network_for_boards() -> None:
    from agents.networks import MinAtarCNN

    dqn, sac = ours("dqn-board"), ours("sac-board")
    assert type(dqn.q_net.features_extractor) is MinAtarCNN
    assert [tuple(layer.weight.shape) for layer in dqn.q_net.q_net] == [(6, 128)]
    assert type(sac.actor.features_extractor) is MinAtarCNN
    assert sac.critic.qf1[0].weight.shape == (64, 130)
    own = SAC("CnnPolicy", Boards(), policy_kwargs={"net_arch": [8]}, buffer_size=10)
    assert own.actor.mu.weight.shape == (2, 8)
    board = DQN("CnnPolicy", envs.make("breakout", n_envs=2), buffer_size=10)
    assert board.n_envs == 2


@pytest.mark.parametrize("cls", ["dqn-mlp", "sac-mlp"])
@pytest.mark.parametrize(
    ("n_envs", "arguments", "expected"),
    [
        (1, {"train_freq": 3, "gradient_steps": 2}, 26),  # 17 updates, of which those at steps 3, 6, 9 and 12 are none
        (2, {"train_freq": 2, "gradient_steps": -1}, 40),  # at 16, 20, ... and 52, of 4 steps each
        (1, {"train_freq": 60, "gradient_steps": 1}, 1),
        (1, {"train_freq": 3, "gradient_steps": 0}, 0),
        (1, {"train_freq": 3, "gradient_steps": 2, "learning_starts": 60}, 0),
    ],
)
def test_it_knows_how_many_gradient_steps_it_makes(
    cls: str, n_envs: int, arguments: dict[str, Any], expected: int
) -> None:
    model = ours(cls, n_envs=n_envs, **{"learning_starts": 12, **arguments})
    known = model._most_gradient_steps(50)
    assert known == model.learn(50).optimizer_steps == expected


# ------------------------------------------------------------------------------------------------ replay ratio


@pytest.mark.parametrize(
    ("n_envs", "arguments", "ratio"),
    [
        (1, {"train_freq": 4, "gradient_steps": 1}, 0.25),
        (2, {"train_freq": 4, "gradient_steps": 2}, 0.25),
        (2, {"train_freq": 4, "gradient_steps": -1}, 1.0),
        (1, {"train_freq": (1, "episode"), "gradient_steps": -1}, 1.0),
        (1, {"train_freq": 2, "gradient_steps": 0}, 0.0),
    ],
)
def test_the_replay_ratio_is_gradient_steps_for_each_step(n_envs: int, arguments: dict[str, Any], ratio: float) -> None:
    assert ours("dqn-mlp", n_envs=n_envs, **arguments).replay_ratio == ratio


@pytest.mark.parametrize("kind", MLP)
def test_a_ratio_of_whole_gradient_steps_is_sb3s(kind: str) -> None:
    model = ours(kind, n_envs=2)
    model.replay_ratio = 0.25  # twice the given one: DQN's target is copied twice as often
    often = {"target_update_interval": 10} if kind == "dqn-mlp" else {}
    assert_same(state(model.learn(64)), state(ours(kind, n_envs=2, gradient_steps=2, **often).learn(64)))
    assert (model.gradient_steps, model.replay_ratio) == (ours(kind).gradient_steps, 0.25)


class Counts(BaseCallback):
    """Keeps the gradient steps of each update."""

    def _on_training_start(self) -> None:
        self.counts: list[int] = []
        self.before = self.model.optimizer_steps
        self.model.update_ended.append(self._ended)

    def _ended(self) -> None:
        self.counts.append(self.model.optimizer_steps - self.before)
        self.before = self.model.optimizer_steps

    def _on_step(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("ratio", "counts"),
    [(0.3, [1, 1, 1, 1, 2, 1, 1, 1, 1, 2]), (0.1, [0, 0, 1, 0, 1, 0, 0, 1, 0, 1]), (2.0, [8] * 10), (0.0, [0] * 10)],
)
def test_what_is_left_of_a_gradient_step_is_carried_over(ratio: float, counts: list[int], tmp_path: Path) -> None:
    callback = Counts()
    model = ours("dqn-mlp", learning_starts=0)
    model.replay_ratio = ratio
    assert model._most_gradient_steps(40) == sum(counts)
    assert model.learn(40, callback=callback).optimizer_steps == sum(counts)
    assert callback.counts == counts
    part = ours("dqn-mlp", learning_starts=0)
    part.replay_ratio = ratio
    part.learn(16).save(tmp_path / "part")
    again = DQN.load(tmp_path / "part", env=world("dqn-mlp"), device="cpu", replay_buffer=None)
    assert again.replay_ratio == ratio
    again.learn(24, callback=callback, reset_num_timesteps=False)
    assert callback.counts == counts[4:]


def test_stock_sb3_makes_as_many_gradient_steps_as_were_configured(tmp_path: Path) -> None:
    """Whatever ratio was set, and whatever was due in the last update."""
    model = ours("dqn-mlp", learning_starts=0, gradient_steps=1)
    model.replay_ratio = 0.0
    model.learn(16).save(tmp_path / "model")
    stock = StockDQN.load(tmp_path / "model", env=world("dqn-mlp"), device="cpu", replay_buffer=None)
    assert (stock.gradient_steps, stock._n_updates) == (1, 0)
    assert stock.learn(16)._n_updates == 4


def test_a_ratio_is_kept_where_no_gradient_steps_were_configured() -> None:
    model = ours("dqn-mlp", learning_starts=0, gradient_steps=0)
    model.replay_ratio = 0.5
    assert model.learn(16).optimizer_steps == 8
    model.train(3)
    assert model.optimizer_steps == 11


def test_nothing_is_owed_for_the_steps_before_learning_starts() -> None:
    model = ours("sac-mlp", learning_starts=16)
    model.replay_ratio = 0.5
    assert model._most_gradient_steps(32) == 8  # of 4 updates, from step 20 on
    assert model.learn(32).optimizer_steps == 8


def test_a_ratio_that_is_none_is_refused() -> None:
    model = ours("dqn-mlp")
    for ratio in (-0.5, float("nan"), float("inf"), True):
        with pytest.raises(ValueError, match=f"^replay_ratio is {ratio!r}; give a number of gradient steps per step"):
            model.replay_ratio = ratio
    episodes = ours("dqn-mlp", train_freq=(1, "episode"), gradient_steps=3)
    with pytest.raises(ValueError, match="train_freq counts episodes, so that the replay ratio is not known"):
        _ = episodes.replay_ratio
    episodes.replay_ratio = 0.5
    steps = episodes.learn(100).num_timesteps
    assert 0 < episodes.optimizer_steps <= 0.5 * steps


@pytest.mark.parametrize("kind", ["sac-mlp", "td3-mlp"])
def test_actions_that_are_no_numbers_are_not_played(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Distribution, "_validate_args", False)  # as `torch.compile`, once used in a process, leaves it
    model = ours(kind, learning_starts=0)
    with torch.no_grad():
        for parameter in model.actor.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(ValueError, match=r"^the policy gives actions that are no numbers \(nan\): training"):
        model.learn(4)
    assert model.num_timesteps == 0
