"""A run's checkpoint -> its agent with a rollout."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from crl.audit import newest_checkpoint
from crl.audit.loading import Played, play
from crl.checkpoint import load_policy
from crl.config import ConfigError, load

Trained = tuple[Path, object]


@pytest.fixture
def run(trained: Trained, tmp_path: Path) -> Path:
    """A copy of the folder of a finished run."""
    return Path(shutil.copytree(trained[0], tmp_path / "run [1]"))


def played_of(run: Path, task: str | None = None, seed: int = 3) -> Played:
    return play(newest_checkpoint(run), load(run / "config.yaml"), task, seed)


def test_the_agent_plays_the_last_task(run: Path) -> None:
    played = played_of(run)
    assert (played.task, played.steps, played.seed) == ("asterix", 1024, 3)
    model = played.model
    for name, tensor in load_policy(run / "checkpoints" / "1024").items():
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


def test_the_task_of_an_interrupted_run(run: Path) -> None:
    (run / "checkpoints" / "1024").rename(run / "checkpoints" / "256")  # of 4 visits with 256 steps each
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
    tensors = run / "checkpoints" / "1024" / "policy.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:100])
    with pytest.raises(ConfigError, match="cannot be read"):
        played_of(run)


def test_a_checkpoint_of_another_config(run: Path) -> None:
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("- 8\n", "- 9\n"))
    with pytest.raises(ConfigError, match=r"does not fit the run's config\.yaml"):
        played_of(run)
