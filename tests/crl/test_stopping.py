"""A run that is asked to stop: what it saves, and that it ends as any other."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from compared import assert_equal
from saved import leaves
from small_checkpoints import CHECKPOINTED, steps_of, train

from agents import PPO
from crl import run, storage
from crl.summary import tensorboard_command

WALK = """
imports: [walk_world]
stream: {tasks: [Walk-v0], steps_per_task: 400}
agent: {name: ppo, n_envs: 2, n_steps: 20, batch_size: 20, n_epochs: 1, net_arch: {pi: [8], vf: [8]}}
checkpoint: {every: 100, keep: 4}
seed: 3
device: cpu
threads: 1
"""


ANEW = (
    "crl: warning: the games cannot be saved and begin anew where the run was stopped, so that it will not end as one "
    "that was never stopped"
)


def interrupted(parent: Path, step: int, config: str) -> Path:
    """A run that gets Ctrl-C as the update after so many steps begins."""
    real = PPO.train

    def update(model: Any) -> None:
        if model.num_timesteps == step:
            os.kill(os.getpid(), signal.SIGINT)
        real(model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PPO, "train", update)
        return train(parent, code=130, config=config)


@pytest.mark.parametrize("step", [160, 200])
def test_stopping_does_not_change_what_is_best(step: int, checkpointed: Path, tmp_path: Path) -> None:
    """At step 200 a checkpoint is due, at 160 it is written for the sake of stopping alone."""
    found = interrupted(tmp_path, step, CHECKPOINTED)
    assert steps_of(found)[-1] == step
    tasks = {160: {"level_0", "level_1"}, 200: {"level_0", "level_1", "level_2"}}[step]
    best = {path.name: storage.Manifest.load(path).step for path in (found / "best").iterdir()}
    assert set(best) <= tasks
    assert 160 not in best.values()
    assert run.resume(found, ["crl"]) == 0
    assert_equal(found, checkpointed)
    for path in (checkpointed / "best").iterdir():
        assert dict(leaves(storage.read(found / "best" / path.name))) == dict(leaves(storage.read(path)))


def test_a_moved_run_names_where_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved = tmp_path / "elsewhere" / "renamed"
    moved.parent.mkdir()
    interrupted(tmp_path, 160, CHECKPOINTED).rename(moved)
    capsys.readouterr()
    assert run.resume(moved, ["crl"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-4] == f"run folder: {moved}"
    assert lines[-2] == f"curves: {tensorboard_command(moved.parent)}"
    assert str(tmp_path / "runs") not in "".join(lines)


@pytest.mark.parametrize("step", [160, 200])
def test_games_that_cannot_be_saved_say_that_stopping_changes_the_run(
    step: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = interrupted(tmp_path, step, WALK)
    said = capsys.readouterr().err
    assert said.splitlines() == ([ANEW] if step == 160 else [])
    assert steps_of(found)[-1] == step
    assert run.resume(found, ["crl"]) == 0
    assert steps_of(found)[-1] == 400


def test_a_signal_after_the_last_update_lets_the_run_finish(
    checkpointed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real = PPO.save

    def save(model: Any, *args: Any, **kwargs: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        real(model, *args, **kwargs)

    monkeypatch.setattr(PPO, "save", save)
    found = train(tmp_path)
    assert capfd.readouterr().err.endswith("\nthe run is finished and being saved; Ctrl-C again exits at once\n")
    assert (found / "model.zip").exists()
    assert_equal(found, checkpointed)
