"""When a run writes checkpoints, which of them stay, and what keeps it from writing one."""

from __future__ import annotations

import json
import re
import shutil
import zlib
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from saved import learner_of, state_of
from small_checkpoints import CHECKPOINTED, steps_of, train

from agents import PPO
from crl import run, run_folder, storage
from crl.best import folder_name
from crl.config import ConfigError, check_arguments, load


def test_at_the_end_of_the_first_update_after_every_n_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    write = storage.write

    def spy(path: Path, *args: Any, **kwargs: Any) -> None:
        if path.parent.name == "checkpoints":
            written.append(int(path.name))
        write(path, *args, **kwargs)

    monkeypatch.setattr(storage, "write", spy)
    found = train(tmp_path)
    assert written == [120, 200, 320, 400, 400]
    assert steps_of(found) == [200, 320, 400]
    assert learner_of(found / "checkpoints" / "200")["counters"]["_n_updates"] == 5


def test_one_is_there_at_the_end_whatever_the_step(tmp_path: Path) -> None:
    assert steps_of(train(tmp_path, "checkpoint={every: 1_000_000, keep: 1}")) == [400]


def test_only_the_newest_two_keep_their_replay(tmp_path: Path) -> None:
    dqn = (
        "agent: {name: dqn, n_envs: 2, buffer_size: 200, learning_starts: 20, train_freq: 4, batch_size: 8, "
        "net_arch: [8]}"
    )
    (tmp_path / "dqn.yaml").write_text(re.sub("agent: .*", dqn, CHECKPOINTED))
    assert run.train(check_arguments(load(tmp_path / "dqn.yaml", [f"runs={tmp_path / 'runs'}"])), ["crl"]) == 0
    (found,) = (tmp_path / "runs").iterdir()
    kept = [(found / "checkpoints" / str(step) / "replay.safetensors").exists() for step in steps_of(found)]
    assert kept == [False, True, True]


def test_what_a_checkpoint_holds(checkpointed: Path) -> None:
    checkpoint = checkpointed / "checkpoints" / "400"
    names = {"config.yaml", "manifest.json"}
    for part in ("learner", "world", "random", "run"):
        names |= {f"{part}.json", f"{part}.safetensors"}
    assert {path.name for path in checkpoint.iterdir()} == names
    state = storage.read(checkpoint)
    log = (checkpointed / "progress.csv").read_bytes()
    size, columns = len(log), log.splitlines()[0].count(b",") + 1
    assert state["learner"]["counters"]["num_timesteps"] == 400
    assert [*state["run"]["parts"]] == [
        "checkpoints", "usage", "logger", "tasks", "plasticity", "rows", "progress", "best",
    ]  # fmt: skip
    assert state["run"]["threads"] == 1
    assert state["run"]["machine"]["torch"] == torch.__version__
    assert state["run"]["logs"]["progress.csv"] == [size, columns]
    assert len(state["world"]["wrappers"]) == 2
    assert len(state_of(checkpoint)) > 100


def test_the_best_of_each_task(checkpointed: Path) -> None:
    best = storage.read(checkpointed / "checkpoints" / "400", ["run"])["run"]["parts"]["best"]
    assert {path.name for path in (checkpointed / "best").iterdir()} == set(best)
    assert len(best) > 2
    for task, found in best.items():
        place = checkpointed / "best" / task
        assert float((place / "return.txt").read_text()) == found
        assert set(storage.read(place)) == {"learner", "world"}
        step = storage.Manifest.load(place).step
        assert step is not None
        assert 80 * int(task.removeprefix("level_")) < step <= 80 * (1 + int(task.removeprefix("level_")))


def test_the_best_of_all_variants_together(tmp_path: Path) -> None:
    """Thousands of variants would fill a disk with one checkpoint each."""
    tasks = "[{id: cartpole, shifts: [pixel_permutation], variants: 5}, {id: cartpole, name: plain}]"
    found = train(tmp_path, f"stream.tasks={tasks}")
    best = storage.read(found / "checkpoints" / "480", ["run"])["run"]["parts"]["best"]
    assert set(best) == {"cartpole+pixel_permutation", "plain"}
    folders = {path.name: path for path in (found / "best").iterdir()}
    assert set(folders) == {f"cartpole-pixel_permutation-{zlib.crc32(b'cartpole+pixel_permutation'):08x}", "plain"}
    (variants,) = (path for name, path in folders.items() if name != "plain")
    assert float((variants / "return.txt").read_text()) == best["cartpole+pixel_permutation"]
    step = storage.Manifest.load(variants).step
    assert step is not None
    assert 0 < step <= 400
    visits = json.loads((found / "results.json").read_text())["visits"]
    assert [visit["family"] for visit in visits] == ["cartpole+pixel_permutation"] * 5 + ["plain"]


@pytest.mark.parametrize("what", ["loss", "parameter"])
def test_what_is_not_finite_writes_no_checkpoint(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = PPO.train

    def spoiled(model: Any) -> None:
        if model.num_timesteps < {"loss": 360, "parameter": 400}[what]:
            real(model)
            return
        ended, model.update_ended = model.update_ended, []
        real(model)
        model.update_ended = ended
        if what == "loss":
            model.logger.record("train/value_loss", float("nan"))
        else:
            model.policy.action_net.bias.data[0] = float("inf")
        for each in ended:
            each()

    monkeypatch.setattr(PPO, "train", spoiled)
    found = train(tmp_path, code=1)
    step, sentence = {
        "loss": (360, "train/value_loss is nan after 360 steps"),
        "parameter": (400, "the parameter action_net.bias is not finite after 400 steps"),
    }[what]
    assert steps_of(found) == [120, 200, 320]
    assert not (found / "results.json").exists()
    report = (found / f"crash-{step}.txt").read_text()
    assert report.startswith(f"at step {step}: {sentence}\n\nTraceback")
    warning, line = capsys.readouterr().err.splitlines()
    assert "so that best/ will have no parameters" in warning
    assert line == (
        f"crl: the run failed at step {step} with LossError: {sentence}; lower agent.learning_rate, or look at the "
        f"rewards and observations of the task (the report is in {found / f'crash-{step}.txt'})"
    )
    monkeypatch.undo()
    assert run.resume(found, ["crl"]) == 0
    assert steps_of(found)[-1] == 400


def test_a_vanished_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    real = PPO.train

    def vanishing(model: Any) -> None:
        if model.num_timesteps == 200:
            (gone,) = (tmp_path / "runs").iterdir()
            shutil.rmtree(gone)
        real(model)

    monkeypatch.setattr(PPO, "train", vanishing)
    (tmp_path / "tiny.yaml").write_text(CHECKPOINTED)
    config = check_arguments(load(tmp_path / "tiny.yaml", [f"runs={tmp_path / 'runs'}"]))
    assert run.train(config, ["crl"]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert "put it back, then resume the run" in errors[-1]


def test_a_locked_folder_refuses_others(tmp_path: Path) -> None:
    with run_folder.locked(tmp_path):
        refusal = pytest.raises(ConfigError, match=r"is being trained; wait until that ends, or stop it")
        with refusal, run_folder.locked(tmp_path):
            pass
    with run_folder.locked(tmp_path):
        pass
    with pytest.raises(ConfigError, match="cannot be written"), run_folder.locked(tmp_path / "nowhere"):
        pass


def test_the_files_are_safetensors(checkpointed: Path) -> None:
    for path in (checkpointed / "checkpoints" / "400").glob("*.safetensors"):
        assert all(isinstance(tensor, torch.Tensor) for tensor in safetensors.torch.load_file(path).values())


def test_tasks_that_are_spelt_alike_have_folders_of_their_own() -> None:
    names = [folder_name(task) for task in ("a/b", "a b", "a-b", "é" * 300, "Aux", "aux.txt", "a.", "..", "c:d")]
    assert len(set(names)) == len(names)
    assert not any(mark in name for name in names for mark in "./\\: ")
    assert names[2] == "a-b"
    assert names[4] == "Aux-828f4a58"  # which is a device on Windows
    assert all(0 < len(name.encode()) <= 120 for name in names)
