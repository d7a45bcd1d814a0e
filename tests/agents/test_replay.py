"""Learners whose replay is prioritised: what they learn from a sample, and what they make of its errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from small_off_policy import ours, state
from small_ppo import assert_same
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch.nn import functional as F

from agents.buffers.bits import BitArray
from agents.buffers.prioritized import PrioritizedReplayBuffer, PrioritizedSamples
from agents.plasticity import SampleWeightDecay
from agents.plasticity.protocols import Intervention, Learner, Update

PRIORITIZED = {"name": "prioritized", "alpha": 0.5, "beta": 0.3, "epsilon": 0.25}


class Seen(Intervention):
    """Keeps what the last update of each network saw, and looks at replay all the time."""

    name = "seen"

    def __init__(self) -> None:
        self.updates: dict[str, Update] = {}
        self._generator = torch.Generator()

    def attach(self, learner: Learner) -> None:
        self._learner = learner

    def after_backward(self, update: Update) -> None:
        self.updates[update.network] = update
        self._learner.sample(4, self._generator)


@pytest.mark.parametrize("n_steps", [1, 3])
def test_losses_are_weighted_and_errors_become_priorities(n_steps: int) -> None:
    seen = Seen()
    model = ours("dqn-mlp", n_envs=2, n_steps=n_steps, replay=PRIORITIZED, interventions=[seen]).learn(40)
    buffer, drawn = model.replay_buffer, np.random.get_state()
    batch = buffer.sample(8)
    np.random.set_state(drawn)
    assert (batch.weights < 1).any()
    targets, values = model.td_targets(batch), model._values(batch).detach()
    before = buffer.td_priorities.numbers.copy()
    model.train(1, 8)
    update = seen.updates["critic"]
    assert np.array_equal(update.batch.indices, batch.indices)
    expected = (batch.weights * F.smooth_l1_loss(values, targets, reduction="none")).mean()
    torch.testing.assert_close(update.losses["loss"], expected)
    before.ravel()[batch.indices] = ((values - targets).abs().double().flatten() + 0.25).sqrt().numpy()
    np.testing.assert_allclose(buffer.td_priorities.numbers, before, rtol=1e-6)


@pytest.mark.parametrize("kind", ["sac-mlp", "td3-mlp"])
def test_critics_are_weighted_and_their_mean_error_counts(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, targets, told = Seen(), [], []
    model = ours(kind, replay=PRIORITIZED, interventions=[seen]).learn(40)
    step, update = model._step_critic, model.replay_buffer.update_priorities

    def spied(batch: Any, target: Any) -> Any:
        targets.append((target, [value.detach() for value in model.critic(batch.observations, batch.actions)]))
        return step(batch, target)

    monkeypatch.setattr(model, "_step_critic", spied)
    monkeypatch.setattr(model.replay_buffer, "update_priorities", lambda *given: [told.append(given), update(*given)])
    model.train(2, 8)
    batch, (target, values) = seen.updates["critic"].batch, targets[-1]
    errors = torch.cat(values, dim=1) - target
    loss = (batch.weights * errors.square()).mean(dim=0).sum() * model._critic_coef
    torch.testing.assert_close(seen.updates["critic"].losses["loss"], loss)
    ((indices, found),) = told  # of both gradient steps at once
    assert np.array_equal(indices[8:], batch.indices)
    np.testing.assert_allclose(found[8:], errors.abs().mean(dim=1), rtol=1e-6)
    assert len(found) == 16


def test_beta_goes_with_the_run() -> None:
    model = ours("dqn-mlp", replay="prioritized").learn(40)
    assert (model.replay_buffer.alpha, model.replay_buffer.epsilon) == (0.6, 1e-6)
    assert model.replay_buffer.beta == pytest.approx(1.0)
    fixed = ours("dqn-mlp", replay=PRIORITIZED).learn(40)
    assert fixed.replay_buffer.beta == 0.3
    assert (model.schedules, fixed.schedules) == (("replay.beta",), ())
    model = ours("dqn-mlp", replay={"name": "prioritized", "beta": {"linear": [0.2, 0.6]}})
    assert model.replay_buffer.beta == 0.2
    model._current_progress_remaining = 0.25
    model._begin_weighing()
    assert model.replay_buffer.beta == pytest.approx(0.5)


def test_looking_at_replay_is_uniform_and_leaves_no_trace() -> None:
    model = ours("sac-board", n_envs=2, replay="prioritized").learn(48)
    buffer = model.replay_buffer
    assert isinstance(buffer.observations, BitArray)
    buffer.rewards[:24] = np.arange(48).reshape(24, 2)
    buffer.update_priorities(np.arange(40), np.full(40, 1e9))  # of 48
    before = buffer.td_priorities.numbers.copy()
    batches = [model.sample(48, torch.Generator().manual_seed(seed)) for seed in range(4)]
    assert {type(batch) for batch in batches} == {ReplayBufferSamples}
    assert (torch.cat([batch.rewards for batch in batches]) >= 40).any()
    assert (model.sample_newest(8, 8, torch.Generator().manual_seed(0)).rewards >= 40).all()
    assert (buffer.sample(48).rewards < 40).all()
    assert np.array_equal(buffer.td_priorities.numbers, before)


def test_an_intervention_that_looks_at_replay_does_not_change_what_is_drawn() -> None:
    plain, looking = (ours("dqn-mlp", replay="prioritized", interventions=seen).learn(64) for seen in ([], [Seen()]))
    assert np.array_equal(plain.replay_buffer.td_priorities.numbers, looking.replay_buffer.td_priorities.numbers)
    assert_same(state(plain), state(looking))


@pytest.mark.parametrize("kind", ["dqn-mlp", "sac-board"])
def test_a_zip_goes_on_prioritised(kind: str, tmp_path: Any) -> None:
    model = ours(kind, replay=PRIORITIZED, n_steps=2).learn(24)
    assert isinstance(model.replay_buffer, PrioritizedReplayBuffer)
    model.save(tmp_path / "zip")
    with pytest.warns(UserWarning, match="`n_steps=2` is ignored"):  # SB3's, of its own class that it has saved
        again = type(model).load(tmp_path / "zip", env=model.get_env())
    assert again.replay == PRIORITIZED
    assert (again.replay_buffer.n_steps, again.replay_buffer.alpha) == (2, 0.5)
    assert type(again.learn(24).replay_buffer.sample(4)) is PrioritizedSamples


def test_what_does_not_go_together_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^replay=priority has no known name; give name: uniform or prioritized"):
        ours("dqn-mlp", replay="priority")
    with pytest.raises(ValueError, match=r"^sample_weight_decay: replay is prioritized, by errors; give replay unif"):
        ours("dqn-mlp", replay="prioritized", interventions=[SampleWeightDecay()])
    with pytest.raises(ValueError, match=r"^replay is prioritized, but replay_buffer_class is HerReplayBuffer; give"):
        ours("dqn-her", replay="prioritized")
    with pytest.raises(ValueError, match=r"^prioritized replay takes no Dict of observations, but they are Dict\("):
        ours("dqn-dict", replay="prioritized")


def test_a_buffer_of_another_kind_is_refused_and_a_prioritised_one_taken(tmp_path: Any) -> None:
    uniform, prioritized = (ours("dqn-mlp", replay=replay).learn(24) for replay in ("uniform", PRIORITIZED))
    uniform.save_replay_buffer(tmp_path / "uniform"), prioritized.save_replay_buffer(tmp_path / "prioritized")
    uniform.load_replay_buffer(tmp_path / "prioritized")
    uniform.learn(24, reset_num_timesteps=False)
    assert uniform.replay_buffer.beta == 0.3
    prioritized.load_replay_buffer(tmp_path / "uniform")
    with pytest.raises(ValueError, match=r"^replay is prioritized, but replay_buffer was replaced by a ReplayBuffer"):
        prioritized.learn(24, reset_num_timesteps=False)
