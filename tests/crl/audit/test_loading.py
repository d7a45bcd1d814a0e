"""A run's checkpoint -> its agent with a rollout."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from saved import learner_of, normalizer_of, policy_of

from crl import storage
from crl.audit.loading import Played, play
from crl.config import ConfigError, load
from crl.learnt import newest_checkpoint

Trained = tuple[Path, object]
Replaying = tuple[str, Path, object]


@pytest.fixture
def run(trained: Trained, tmp_path: Path) -> Path:
    """A copy of the folder of a finished run."""
    return Path(shutil.copytree(trained[0], tmp_path / "run [1]"))


def played_of(run: Path, task: str | None = None, seed: int = 3) -> Played:
    return play(newest_checkpoint(run), load(run / "config.yaml"), task, 64, seed)


def test_the_agent_plays_the_last_task(run: Path) -> None:
    played = played_of(run)
    assert (played.task, played.steps, played.seed) == ("asterix", 1024, 3)
    model = played.model
    for name, tensor in policy_of(run / "checkpoints" / "1024").items():
        assert torch.equal(model.policy.state_dict()[name], tensor)
    assert model.interventions == []
    assert model.optimizer_steps == 0
    buffer = model.rollout_buffer
    assert buffer.full
    assert (buffer.advantages != 0).any()
    assert model.env is not None
    assert model.env.get_attr("task") == ["asterix"] * 4
    # the clipping range is that of the end of training
    assert model._current_progress_remaining == 0
    # what was played is what the policy says now: nothing is clipped yet
    batch = model.sample(64, torch.Generator())
    _, log_prob, _ = model.policy.evaluate_actions(batch.observations, batch.actions.long().flatten())
    torch.testing.assert_close(log_prob, batch.old_log_prob, rtol=1e-5, atol=1e-5)
    model.env.close()


def test_an_earlier_task_and_seed(run: Path) -> None:
    observations = []
    for task, seed in (("breakout", 3), ("breakout", 3), ("breakout", 8), (None, 3)):
        played = played_of(run, task, seed)
        assert played.task == (task or "asterix")
        observations.append(played.model.rollout_buffer.observations.copy())
        played.model.env.close()
    assert (observations[0] == observations[1]).all()
    assert (observations[0] != observations[2]).any()
    assert (observations[0] != observations[3]).any()


def test_a_policy_that_is_no_number_cannot_play(run: Path) -> None:
    checkpoint = run / "checkpoints" / "1024"
    state = storage.read(checkpoint)
    state["learner"]["modules"]["policy"]["action_net.weight"][0, 0] = torch.nan
    shutil.rmtree(checkpoint)
    storage.write(checkpoint, state)
    message = r"cannot play, for weights of its are no finite numbers \(action_net\.weight\); give an earlier"
    with pytest.raises(ConfigError, match=message):
        played_of(run)


def test_the_task_of_an_interrupted_run(run: Path) -> None:
    checkpoint = run / "checkpoints" / "1024"
    storage.write(run / "checkpoints" / "256", storage.read(checkpoint))  # of 4 visits with 256 steps each
    shutil.rmtree(checkpoint)
    played = played_of(run)
    assert played.task == "breakout"
    assert played.model._current_progress_remaining == 0.75
    played.model.env.close()


def test_an_unknown_task(run: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        played_of(run, "brakeout")
    assert str(refusal.value) == "--task \"brakeout\" is no task of this run; did you mean 'breakout'?"
    with pytest.raises(ConfigError, match="choose from breakout, asterix"):
        played_of(run, "x")


def test_a_checkpoint_that_is_broken(run: Path) -> None:
    checkpoint = run / "checkpoints" / "1024"
    tensors = checkpoint / "learner.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:100])
    with pytest.raises(ConfigError, match="has no checkpoint that is whole"):
        played_of(run)
    with pytest.raises(ConfigError, match=r"cannot be read .* it is damaged, give another run"):
        play(checkpoint, load(run / "config.yaml"), None, 64, 3)


def test_a_checkpoint_of_another_config(run: Path) -> None:
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("- 8\n", "- 9\n"))
    with pytest.raises(ConfigError, match=r"does not fit the run's config\.yaml"):
        played_of(run)


# ---------------------------------------------------------------------- agents with a replay buffer


def replayed_of(run: Path, samples: int, task: str | None = None, seed: int = 3) -> Any:
    return play(newest_checkpoint(run), load(run / "config.yaml"), task, samples, seed)


def test_the_replay_buffer_holds_what_the_agent_has_played(replaying: Replaying) -> None:
    agent, run, _ = replaying
    played = replayed_of(run, 30)
    model, checkpoint = played.model, newest_checkpoint(run)
    assert played.task == {"dqn": "asterix", "sac": "long"}[agent]
    state = model.policy.state_dict()
    assert all(torch.equal(state[name], tensor) for name, tensor in policy_of(checkpoint).items())
    assert model.optimizer_steps == 0
    assert model.interventions == []
    buffer = model.replay_buffer
    assert buffer.full
    assert buffer.size() * buffer.n_envs == buffer.rewards.size == played.transitions == 8 * 30
    assert len(model.sample(30, torch.Generator()).rewards) == 30
    model.env.close()


def test_few_transitions_are_drawn_twice(replaying: Replaying) -> None:
    model = replayed_of(replaying[1], 100).model
    # Of 8 times as many, all of them different: 100 - 100^2 / (2 x 800) = 94 on average.
    model.replay_buffer.rewards[:] = np.arange(800).reshape(model.replay_buffer.rewards.shape)
    drawn = model.replay_buffer.sample(100).rewards
    assert len(set(drawn.flatten().tolist())) > 85
    model.env.close()


def test_at_least_a_rollout_is_played(replaying: Replaying) -> None:
    agent, run, _ = replaying
    config = load(run / "config.yaml", ["agent.train_freq=20"])
    model: Any = play(newest_checkpoint(run), config, None, 2, 3).model
    assert model.replay_buffer.rewards.size == {"dqn": 80, "sac": 20}[agent]
    model.env.close()


def test_exploration_is_that_of_the_end(replaying: Replaying) -> None:
    agent, run, _ = replaying
    model = replayed_of(run, 50).model
    if agent == "dqn":
        assert model.exploration_rate == 0.2
        batch = model.sample(400, torch.Generator())
        greedy = model.outputs(batch)["critic"].argmax(1) == batch.actions.flatten()
        assert 0.75 < float(greedy.float().mean()) < 0.95  # all but 0.2, of which a sixth is greedy by chance
        # The target network has not followed.
        online, target = model.q_net.state_dict(), model.q_net_target.state_dict()
        assert any(not torch.equal(online[name], target[name]) for name in online)
    else:
        assert torch.equal(model.log_ent_coef.detach(), learner_of(newest_checkpoint(run))["tensors"]["log_ent_coef"])
        normalizer = model.get_vec_normalize_env()
        saved = normalizer_of(newest_checkpoint(run))
        assert saved is not None
        assert normalizer.obs_rms.count == saved["obs_rms"][""]["count"]
        assert (normalizer.obs_rms.mean == saved["obs_rms"][""]["mean"]).all()
        assert normalizer.ret_rms.var == saved["ret_rms"]["var"]
        assert not normalizer.training
        assert len(set(model.replay_buffer.actions.flatten().tolist())) == 400  # sampled
    model.env.close()


def test_another_task_and_seed_of_replay(replaying: Replaying) -> None:
    agent, run, _ = replaying
    first = {"dqn": "breakout", "sac": "earth"}[agent]
    observations = []
    for task, seed in ((first, 3), (first, 3), (first, 8), (None, 3)):
        played = replayed_of(run, 16, task, seed)
        observations.append(np.array(played.model.replay_buffer.observations))
        played.model.env.close()
    assert (observations[0] == observations[1]).all()
    assert (observations[0] != observations[2]).any()
    assert (observations[0] != observations[3]).any()


def test_a_checkpoint_without_what_was_learnt_beside_the_policy(replaying: Replaying, tmp_path: Path) -> None:
    agent, run, _ = replaying
    if agent == "dqn":
        pytest.skip("nothing is learnt beside its policy")
    copied = Path(shutil.copytree(run, tmp_path / "run"))
    checkpoint = newest_checkpoint(copied)
    state = storage.read(checkpoint)
    del state["learner"]["tensors"]
    storage.write(checkpoint, state)
    with pytest.raises(ConfigError, match=r"cannot be read \('tensors'\); it is damaged, give another run"):
        replayed_of(copied, 30)
