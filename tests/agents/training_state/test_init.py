"""A learner that is put back where another stood goes on as that one did."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import saved_worlds  # noqa: F401  (registers them)
import torch
from saved import leaves
from small_worlds import Begin
from stable_baselines3.common.logger import KVWriter, Logger
from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise, VectorizedActionNoise
from stable_baselines3.common.vec_env import VecNormalize, VecTransposeImage, is_vecenv_wrapped
from stable_baselines3.her.her_replay_buffer import HerReplayBuffer

import envs
from agents import DQN, PPO, SAC, TD3
from agents.plasticity import CBP, GXD, ReDo, ReGraMa, SampleWeightDecay, ShrinkAndPerturb, SIGReg
from agents.training_state import rebuild_games, restore_training_state, training_state
from agents.training_state.generators import random_state, restore_random
from crl import storage

pytestmark = pytest.mark.filterwarnings("ignore:speed is 'fast', but this cpu")
STEPS, STOP = 128, 64
ON = {"n_steps": 16, "batch_size": 16, "n_epochs": 2}
OFF = {"learning_starts": 16, "train_freq": 4, "gradient_steps": 2, "batch_size": 8, "buffer_size": 100}


def ou_noise() -> VectorizedActionNoise:
    return VectorizedActionNoise(OrnsteinUhlenbeckActionNoise(np.zeros(1), np.full(1, 0.3)), 2)


CASES: dict[str, dict[str, Any]] = {
    "ppo": {"cls": PPO, "env": ["cartpole"], "interventions": lambda: [GXD(rate=0.05, period=4, maturity=4)]},
    "ppo-gsde-normalized": {
        "cls": PPO, "env": ["pendulum"], "use_sde": True, "sde_sample_freq": 4, "normalized": {},
        "interventions": lambda: [CBP(rate=0.05, period=1, maturity=3)], "learning_rate": lambda left: 1e-3 * left,
    },
    "ppo-images": {"cls": PPO, "policy": "CnnPolicy", "env": ["SavedImages-v0"]},
    "ppo-images-moved": {"cls": PPO, "policy": "CnnPolicy", "env": ["SavedImages-v0"], "random_shift": 2},
    "ppo-dict": {
        "cls": PPO, "policy": "MultiInputPolicy", "env": ["SavedPairs-v0"],
        "normalized": {"norm_obs_keys": ["a vector"]},
    },
    "ppo-board": {"cls": PPO, "policy": "CnnPolicy", "env": ["breakout"]},
    "ppo-board-fast": {"cls": PPO, "policy": "CnnPolicy", "env": ["breakout"], "speed": "fast"},
    "dqn-n-step": {
        "cls": DQN, "env": ["cartpole"], "n_steps": 3, "target_update_interval": 20,
        "interventions": lambda: [ReDo(tau=0.9, period=4, samples=32), SampleWeightDecay(decay_steps=60)],
        "epsilon_per_env": True,
    },
    "dqn-images": {
        "cls": DQN, "policy": "CnnPolicy", "env": ["TwoImages-v0"], "target_update_interval": 20,
        "random_shift": 2,
    },
    "dqn-dict": {"cls": DQN, "policy": "MultiInputPolicy", "env": ["TwoPairs-v0"], "double_q": True},
    "dqn-fast": {"cls": DQN, "env": ["breakout"], "speed": "fast", "target_update_interval": 20},
    "sac-normalized": {
        "cls": SAC, "env": ["pendulum"], "normalized": {}, "ent_coef": "auto_0.1", "n_steps": 2,
        "interventions": lambda: [ReGraMa(tau=0.9, period=4, maturity=4, cap=0.5), SIGReg(every=2)],
    },
    "sac-fast": {
        "cls": SAC, "env": ["pendulum"], "speed": "fast",
        "interventions": lambda: [ReGraMa(tau=0.9, period=4, maturity=4, cap=0.5)],
    },
    "sac-noise": {
        "cls": SAC, "env": ["pendulum"], "action_noise": ou_noise,
        "interventions": lambda: [ShrinkAndPerturb(shrink=0.99, perturb=0.01, period=3)],
    },
    "sac-gsde": {"cls": SAC, "env": ["pendulum"], "use_sde": True, "use_sde_at_warmup": True, "sde_sample_freq": 3},
    "sac-her": {
        "cls": SAC, "policy": "MultiInputPolicy", "env": ["SavedReach-v0"], "normalized": {},
        "replay_buffer_class": HerReplayBuffer, "replay_buffer_kwargs": {"n_sampled_goal": 3},
    },
    "td3-noise": {
        "cls": TD3, "env": ["pendulum"], "normalized": {}, "action_noise": lambda: 0.2, "policy_delay": 3,
        "interventions": lambda: [ReDo(tau=0.9, period=4, samples=32), CBP(rate=0.05, period=1, maturity=3)],
    },
}  # fmt: skip


def build(case: str, seed: int = 5) -> Any:
    """A learner of two games, which switch between two tasks that differ in nothing but their games' states."""
    spec = dict(CASES[case])
    cls, policy = spec.pop("cls"), spec.pop("policy", "MlpPolicy")
    venv = envs.make(spec.pop("env") * 2, n_envs=2, steps_per_task=96, boundary="revealed")
    env = PPO._wrap_env(venv)
    if "normalized" in spec:
        env = VecNormalize(env, **spec.pop("normalized"))
    for key in ("interventions", "action_noise"):
        if key in spec:
            spec[key] = spec[key]()
    arguments = {**(ON if cls is PPO else OFF), **spec}
    few = {"features_extractor_kwargs": {"features_dim": 32}} if "images" in case else {}
    arguments["policy_kwargs"] = {"net_arch": [8], **few}
    model = cls(policy, env, device="cpu", seed=seed, **arguments)
    model.set_logger(Logger(None, []))
    return model


def everything(model: Any) -> dict[str, Any]:
    """All leaves of the state, and the gradients' consumers: what a further update would use."""
    return dict(leaves(training_state(model)))


def trained(case: str, act: Any, seed: int = 5) -> Any:
    model = build(case, seed)
    model.learn(STEPS, callback=Begin(act))
    return model


@pytest.fixture
def saving(tmp_path: Path) -> Any:
    """Has a learner saved after `STOP` steps: into the folder of that name."""

    def begin(model: Any) -> None:
        def ended() -> None:
            if model.num_timesteps == STOP:
                storage.write(tmp_path / str(STOP), training_state(model))

        model.update_ended.append(ended)

    return begin


@pytest.mark.parametrize("case", CASES)
def test_going_on_equals_never_having_stopped(case: str, saving: Any, tmp_path: Path) -> None:
    whole = trained(case, saving)
    expected = everything(whole)
    whole.env.close()
    saved = storage.read(tmp_path / str(STOP))
    random.seed(1)  # other generators than those that the first began with
    np.random.seed(2)
    torch.manual_seed(3)

    def restore(model: Any) -> None:
        restore_training_state(model, saved)
        assert model.num_timesteps == STOP
        again = everything(model)
        assert again == dict(leaves(storage.read(tmp_path / str(STOP))))

    again = trained(case, restore, seed=11)
    found = everything(again)
    again.env.close()
    assert found.keys() == expected.keys()
    assert [key for key in expected if found[key] != expected[key]] == []
    assert again.num_timesteps == STEPS
    assert again.optimizer_steps > 0
    # what was read is not what the learner has gone on with
    assert dict(leaves(saved)) == dict(leaves(storage.read(tmp_path / str(STOP))))


def test_the_cases_are_what_they_say() -> None:
    model = build("ppo-images")
    assert is_vecenv_wrapped(model.env, VecTransposeImage)
    model.env.close()
    names = {}
    for case in ("dqn-n-step", "sac-her"):
        model = build(case)
        names[case] = type(model.replay_buffer).__name__
        model.env.close()
    assert names == {"dqn-n-step": "NStepReplayBuffer", "sac-her": "HerReplayBuffer"}


def test_optimizers_go_on_with_copies(tmp_path: Path) -> None:
    model = trained("ppo", lambda model: None)
    state = training_state(model)
    slots = state["learner"]["modules"]["policy.optimizer"]["state"]
    other = build("ppo")
    other._setup_learn(STEPS)
    restore_training_state(other, state)
    for parameter, held in other.policy.optimizer.state.items():
        assert held["exp_avg"].shape == parameter.shape
        assert not any(held["exp_avg"].data_ptr() == slot["exp_avg"].data_ptr() for slot in slots.values())
    model.env.close()
    other.env.close()


def test_games_that_can_be_saved_are_not_rebuilt() -> None:
    model = build("ppo")
    model._setup_learn(STEPS)
    games = model.env.unwrapped.venv.envs
    assert rebuild_games(model, 64) is False
    assert model.env.unwrapped.venv.envs is games
    model.env.close()


def test_an_environment_without_a_state_is_refused() -> None:
    model = PPO("MlpPolicy", "CartPole-v1", n_steps=16, batch_size=16, device="cpu")
    model._setup_learn(16)
    for act in (training_state, lambda model: rebuild_games(model, 1)):
        with pytest.raises(NotImplementedError, match=r"has no get_state and set_state; play a stream of envs\.make"):
            act(model)


class Rows(KVWriter):
    """Keeps which iteration each row was of."""

    def __init__(self) -> None:
        self.found: list[tuple[int, int]] = []

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        self.found.append((step, key_values["time/iterations"]))

    def close(self) -> None:
        pass


@pytest.mark.parametrize("log_interval", [1, 4])
def test_the_count_of_iterations_goes_on(log_interval: int, saving: Any, tmp_path: Path) -> None:
    """Four rollouts of 32 steps, of which two are before the checkpoint."""
    whole, again = build("ppo"), build("ppo", seed=11)
    rows = []
    for model, act in ((whole, saving), (again, None)):
        writer = Rows()
        model.set_logger(Logger(None, [writer]))
        restore = act or (lambda model: restore_training_state(model, storage.read(tmp_path / str(STOP))))
        model.learn(STEPS, callback=Begin(restore), log_interval=log_interval)
        rows.append(writer.found)
        model.env.close()
    assert rows[0] == [(32 * number, number) for number in range(1, 5) if number % log_interval == 0]
    assert rows[1] == [(step, number) for step, number in rows[0] if step > STOP]
    assert rows[1]


@pytest.mark.parametrize("name", ["num_timesteps", "_n_updates"])
def test_a_counter_is_a_number(name: str) -> None:
    model = build("ppo")
    model._setup_learn(STEPS)
    state = training_state(model)
    assert state["learner"]["counters"]["_segment"] is None
    restore_training_state(model, state)
    state["learner"]["counters"][name] = None
    with pytest.raises(ValueError, match=f"^the saved counter {name} is no number$"):
        restore_training_state(model, state)
    model.env.close()


@pytest.mark.parametrize("place", ["counters", "observed"])
def test_only_known_names_are_put_back(place: str) -> None:
    model = build("ppo")
    model._setup_learn(STEPS)
    state = training_state(model)
    with pytest.raises(ValueError, match="the saved state is of another kind of learner: train"):
        restore_training_state(
            model, {**state, "learner": {**state["learner"], place: {**state["learner"][place], "train": 1}}}
        )
    assert "train" not in vars(model)
    monitor = dict(state["world"]["wrappers"][0], step_wait=None)
    restore_training_state(model, {**state, "world": {**state["world"], "wrappers": [monitor]}})
    assert all("step_wait" not in vars(layer) for layer in (model.env, model.env.unwrapped))
    model.env.close()


def test_of_gpus_the_learners_generator_alone_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a CPU none is asked for: torch would begin to use them all."""
    model = PPO("MlpPolicy", envs.make("cartpole", n_envs=2), device="cpu", seed=1, **ON)
    learnt_on = torch.device("cuda", 1)
    held = {learnt_on: torch.arange(16, dtype=torch.uint8)}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", held.__getitem__)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: held.update({device: state}))
    assert random_state(model)["cuda"] == []
    model.device = learnt_on
    saved = random_state(model)
    held[learnt_on] = torch.zeros(16, dtype=torch.uint8)
    restore_random(model, saved)
    assert held.keys() == {learnt_on}
    assert torch.equal(held[learnt_on], torch.arange(16, dtype=torch.uint8))
    held.clear()
    model.device = torch.device("cpu")  # where another draws
    restore_random(model, saved)
    assert held == {}
