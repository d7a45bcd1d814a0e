"""When a run writes checkpoints, which of them stay, and what keeps it from writing one."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import zlib
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from compared import assert_equal
from forged import forge_manifest
from saved import learner_of, leaves, state_of

from agents import PPO
from crl import run, run_folder, storage
from crl.audit import audit
from crl.best import folder_name
from crl.config import ConfigError, check_interventions, load
from crl.machine import machine

TINY = """
stream: {name: cchain/cartpole, steps_per_task: 80, cycles: 1}
agent: {name: ppo, n_envs: 2, n_steps: 20, batch_size: 20, n_epochs: 1, net_arch: {pi: [8], vf: [8]}}
normalize: {obs: true}
checkpoint: {every: 100, keep: 4}
seed: 3
device: cpu
threads: 1
"""
"""Ten visits of two rollouts of 40 steps."""


def train(parent: Path, *overrides: str, code: int = 0, config: str = TINY) -> Path:
    (parent / "tiny.yaml").write_text(config)
    checked = check_interventions(load(parent / "tiny.yaml", [f"runs={parent / 'runs'}", *overrides]))
    assert run.train(checked, ["crl"]) == code
    (found,) = (parent / "runs").iterdir()
    return found


def steps_of(found: Path) -> list[int]:
    place = found / "checkpoints"
    return sorted(int(path.name) for path in place.iterdir()) if place.exists() else []


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, which all tests share."""
    return train(tmp_path_factory.mktemp("trained"))


def test_at_the_end_of_the_first_update_after_every_n_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    write = storage.write

    def spy(path: Path, *args: Any, **kwargs: Any) -> None:
        if path.parent.name == "checkpoints":
            written.append(int(path.name))
        write(path, *args, **kwargs)

    monkeypatch.setattr(storage, "write", spy)
    found = train(tmp_path)
    assert written == [120, 200, 320, 400, 520, 600, 720, 800, 800]
    assert steps_of(found) == [520, 600, 720, 800]
    assert learner_of(found / "checkpoints" / "520")["counters"]["_n_updates"] == 13


def test_one_is_there_at_the_end_whatever_the_step(tmp_path: Path) -> None:
    assert steps_of(train(tmp_path, "checkpoint={every: 1_000_000, keep: 1}")) == [800]


def test_only_the_newest_two_keep_their_replay(tmp_path: Path) -> None:
    lines = TINY.splitlines()
    lines[2] = (
        "agent: {name: dqn, n_envs: 2, buffer_size: 200, learning_starts: 20, train_freq: 4, batch_size: 8, "
        "net_arch: [8]}"
    )
    (tmp_path / "dqn.yaml").write_text("\n".join(lines))
    assert run.train(check_interventions(load(tmp_path / "dqn.yaml", [f"runs={tmp_path / 'runs'}"])), ["crl"]) == 0
    (found,) = (tmp_path / "runs").iterdir()
    kept = [(found / "checkpoints" / str(step) / "replay.safetensors").exists() for step in steps_of(found)]
    assert kept == [False, False, True, True]


def test_what_a_checkpoint_holds(trained: Path) -> None:
    checkpoint = trained / "checkpoints" / "800"
    names = {"config.yaml", "manifest.json"}
    for part in ("learner", "world", "random", "run"):
        names |= {f"{part}.json", f"{part}.safetensors"}
    assert {path.name for path in checkpoint.iterdir()} == names
    state = storage.read(checkpoint)
    log = (trained / "progress.csv").read_bytes()
    size, columns = len(log), log.splitlines()[0].count(b",") + 1
    assert state["learner"]["counters"]["num_timesteps"] == 800
    assert [*state["run"]["parts"]] == [
        "checkpoints", "usage", "logger", "tasks", "plasticity", "rows", "progress", "best",
    ]  # fmt: skip
    assert state["run"]["threads"] == 1
    assert state["run"]["machine"]["torch"] == torch.__version__
    assert state["run"]["logs"]["progress.csv"] == [size, columns]
    assert len(state["world"]["wrappers"]) == 2
    assert len(state_of(checkpoint)) > 100


def test_the_best_of_each_task(trained: Path) -> None:
    best = storage.read(trained / "checkpoints" / "800", ["run"])["run"]["parts"]["best"]
    assert {path.name for path in (trained / "best").iterdir()} == set(best)
    assert len(best) > 3
    for task, found in best.items():
        place = trained / "best" / task
        assert float((place / "return.txt").read_text()) == found
        assert set(storage.read(place)) == {"learner", "world"}
        step = storage.Manifest.load(place).step
        assert step is not None
        assert 80 * int(task.removeprefix("level_")) < step <= 80 * (1 + int(task.removeprefix("level_")))


def test_the_best_of_all_variants_together(tmp_path: Path) -> None:
    """Thousands of variants would fill a disk with one checkpoint each."""
    tasks = "[{id: cartpole, shifts: [pixel_permutation], variants: 5}, {id: cartpole, name: plain}]"
    found = train(tmp_path, "stream.name=null", f"stream.tasks={tasks}")
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
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"crl: the run failed at step {step} with LossError: {sentence}; lower agent.learning_rate, or look at the "
        f"rewards and observations of the task (the report is in {found / f'crash-{step}.txt'})"
    )
    monkeypatch.undo()
    assert run.resume(found, ["crl"]) == 0
    assert steps_of(found)[-1] == 800


def test_a_vanished_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    real = PPO.train

    def vanishing(model: Any) -> None:
        if model.num_timesteps == 200:
            (gone,) = (tmp_path / "runs").iterdir()
            shutil.rmtree(gone)
        real(model)

    monkeypatch.setattr(PPO, "train", vanishing)
    (tmp_path / "tiny.yaml").write_text(TINY)
    config = check_interventions(load(tmp_path / "tiny.yaml", [f"runs={tmp_path / 'runs'}"]))
    assert run.train(config, ["crl"]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert "put it back, then resume the run" in errors[-1]


# ---------------------------------------------------------------------- asked to stop

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
def test_stopping_does_not_change_what_is_best(step: int, trained: Path, tmp_path: Path) -> None:
    """At step 200 a checkpoint is due, at 160 it is written for the sake of stopping alone."""
    found = interrupted(tmp_path, step, TINY)
    assert steps_of(found)[-1] == step
    tasks = {160: {"level_0", "level_1"}, 200: {"level_0", "level_1", "level_2"}}[step]
    best = {path.name: storage.Manifest.load(path).step for path in (found / "best").iterdir()}
    assert set(best) <= tasks
    assert 160 not in best.values()
    assert run.resume(found, ["crl"]) == 0
    assert_equal(found, trained)
    for path in (trained / "best").iterdir():
        assert dict(leaves(storage.read(found / "best" / path.name))) == dict(leaves(storage.read(path)))


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
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    real = PPO.save

    def save(model: Any, *args: Any, **kwargs: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        real(model, *args, **kwargs)

    monkeypatch.setattr(PPO, "save", save)
    found = train(tmp_path)
    assert capfd.readouterr().err == "\nthe run is finished and being saved; Ctrl-C again exits at once\n"
    assert (found / "model.zip").exists()
    assert_equal(found, trained)


def test_what_a_run_cannot_go_on_from_is_set_aside_in_neutral_words(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Path(shutil.copytree(trained, tmp_path / "run"))
    (found / "results.json").unlink()
    for path in (found / "checkpoints").iterdir():  # whole, but without a part that is needed
        state = storage.read(path)
        del state["world"]
        storage.write(path, state, {"config.yaml": (path / "config.yaml").read_text()})
    assert run.resume(found, ["crl"]) == 0
    said = capsys.readouterr()
    assert "starting again: no checkpoint can be gone on from" in said.out.splitlines()
    assert said.err.count("has no part 'world': it was never written") == 4
    set_aside = [path.name for path in (found / "checkpoints").iterdir() if not path.name.isdecimal()]
    assert sorted(name.rpartition("-")[0] for name in set_aside) == [f"unused-{step}" for step in (520, 600, 720, 800)]


def test_a_locked_folder_refuses_others(tmp_path: Path) -> None:
    with run_folder.locked(tmp_path):
        refusal = pytest.raises(ConfigError, match=r"is being trained; wait until that ends, or stop it")
        with refusal, run_folder.locked(tmp_path):
            pass
    with run_folder.locked(tmp_path):
        pass
    with pytest.raises(ConfigError, match="cannot be written"), run_folder.locked(tmp_path / "nowhere"):
        pass


# ---------------------------------------------------------------------- malice


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


PLANTED = (
    "model.zip", "vecnormalize.pkl", "checkpoints/*/*.safetensors", "checkpoints/*/*.json", "checkpoints/*/config.yaml",
    "best/*/*", "results.json", "versions.txt", "events.out.tfevents.*",
)  # fmt: skip
"""What a run goes on without, as it is or from its start."""


@pytest.mark.parametrize("checksums", ["old", "forged"])
@pytest.mark.parametrize("pattern", PLANTED)
def test_a_planted_pickle_is_never_executed(pattern: str, checksums: str, trained: Path, tmp_path: Path) -> None:
    found = Path(shutil.copytree(trained, tmp_path / "run"))
    (found / "results.json").unlink()
    if pattern == "results.json":
        (found / "results.json").touch()
    exploded = tmp_path / "exploded"
    bomb = pickle.dumps(Bomb(exploded))
    pickle.loads(bomb)
    assert exploded.exists()  # it works
    exploded.unlink()
    planted = list(found.glob(pattern))
    assert planted
    for path in planted:
        path.write_bytes(bomb)
    if checksums == "forged":
        for checkpoint in (found / "checkpoints").iterdir():
            forge_manifest(checkpoint)
    damaged = pattern.startswith("checkpoints") and (checksums == "old" or pattern.endswith((".safetensors", ".json")))
    if damaged:
        with pytest.raises(ConfigError, match=r"no checkpoint that is whole|cannot be read"):
            audit(found)
    else:
        assert audit(found) == 0
    try:
        code = run.resume(found, ["crl"])
    except ConfigError:
        code = 2
    # Without a checkpoint that is whole the run starts again; events are shorter than the checkpoint saw them.
    refused = (damaged and checksums == "forged" and pattern.endswith("safetensors")) or "events" in pattern
    assert code == (2 if refused else 0)
    assert not exploded.exists()


BOMBS = {
    "pickle": lambda path: pickle.dumps(Bomb(path)),
    "yaml": lambda path: (
        f"seed: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{path}]]".encode()
    ),
}


@pytest.mark.parametrize("kind", BOMBS)
@pytest.mark.parametrize("name", ["config.yaml", ".config_hash", "progress.csv"])
def test_what_every_verb_reads_is_refused(kind: str, name: str, trained: Path, tmp_path: Path) -> None:
    found = Path(shutil.copytree(trained, tmp_path / "run"))
    (found / "results.json").unlink()
    exploded = tmp_path / "exploded"
    (found / name).write_bytes(BOMBS[kind](exploded))
    before = contents(found)
    with pytest.raises(ConfigError, match=r"^[^\n]*$"):
        run.resume(found, ["crl"])
    assert contents(found) == before
    if name == "config.yaml":
        for act in (audit, lambda folder: load(folder / name, [])):
            with pytest.raises(ConfigError, match=r"^[^\n]*$"):
                act(found)
    assert not exploded.exists()


def contents(folder: Path) -> dict[str, bytes]:
    """Everything in a folder but the lock, which is free."""
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def _rewritten(checkpoint: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Give a checkpoint other content, with the checksums of that."""
    state = storage.read(checkpoint)
    change(state)
    storage.write(checkpoint, state, {"config.yaml": (checkpoint / "config.yaml").read_text()})


FORGERIES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "another attribute": (
        lambda state: state["learner"]["counters"].update(train="x"),
        "ValueError: the saved state is of another kind of learner: train",
    ),
    "no counter": (
        lambda state: state["learner"]["counters"].pop("num_timesteps"),
        "ValueError: the saved state is of another kind of learner: num_timesteps",
    ),
    "another observation": (
        lambda state: state["learner"]["observed"].update(env=1),
        "ValueError: the saved state is of another kind of learner: env",
    ),
    "another policy": (
        lambda state: state["learner"]["modules"]["policy"].popitem(),
        "RuntimeError: Error(s) in loading",
    ),
    "no optimizer": (lambda state: state["learner"]["modules"].update({"policy.optimizer": 3}), "TypeError: "),
    "no wrappers": (lambda state: state["world"].update(wrappers=[]), "ValueError: zip() argument 2 is shorter"),
    "no monitor": (lambda state: state["world"]["wrappers"][1].pop("episode_count"), "KeyError: 'episode_count'"),
    "no generator": (lambda state: state["random"].update(torch=1), "TypeError: "),
    "no pending rows": (lambda state: state["run"]["parts"].update(logger=None), "TypeError: "),
    "no lengths": (
        lambda state: state["run"].update(logs={"progress.csv": "x"}),
        "ValueError: it saw 'x' of 'progress.csv'",
    ),
    "another config": (lambda state: state["run"].update(hash="x"), "ValueError: it is of another config"),
    "no threads": (lambda state: state["run"].update(threads="x"), "ValueError: it is of "),
    "no run": (lambda state: state.update(run={}), "KeyError: 'hash'"),
}


@pytest.mark.parametrize("kind", FORGERIES)
def test_what_does_not_fit_is_refused_and_nothing_is_lost(kind: str, trained: Path, tmp_path: Path) -> None:
    found = Path(shutil.copytree(trained, tmp_path / "run"))
    (found / "results.json").unlink()
    with (found / "progress.csv").open("a") as file:
        file.write("written after the checkpoint\n")
    newest = found / "checkpoints" / "800"
    change, problem = FORGERIES[kind]
    _rewritten(newest, change)
    before = contents(found)
    with pytest.raises(ConfigError) as caught:
        run.resume(found, ["crl"])
    sentence = str(caught.value)
    assert sentence.startswith(f"the run cannot go on from {str(newest)!r} ({problem}")
    assert sentence.endswith("of crl or of the environment; remove it to go on from the one before")
    assert "\n" not in sentence
    assert contents(found) == before
    if kind == "no pending rows":
        shutil.rmtree(newest)
        assert run.resume(found, ["crl"]) == 0
        assert_equal(found, trained)


def test_another_machine_is_no_obstacle(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = Path(shutil.copytree(trained, tmp_path / "run"))
    (found / "results.json").unlink()
    shutil.rmtree(found / "checkpoints" / "800")
    here = machine(torch.device("cpu"))
    there = {**here, "torch": "2.0.1", "numpy": "1.0", "minatar": "not installed", "mujoco": "2.0", "cpu": "an abacus"}
    there["device"] = "cuda (NVIDIA H100)"
    elsewhere = {"machine": there, "threads": 7}
    _rewritten(found / "checkpoints" / "720", lambda state: state["run"].update(elsewhere))
    assert run.resume(found, ["crl"]) == 0
    end = "it goes on, but not bit-identically"
    perhaps = "it goes on, but perhaps not bit-identically"
    assert capsys.readouterr().err.splitlines() == [
        f"crl: warning: the run was trained with torch 2.0.1, and here it is {here['torch']}: {end}",
        f"crl: warning: the run was trained with mujoco 2.0, and here it is {here['mujoco']}: {perhaps}",
        f"crl: warning: the run was trained with numpy 1.0, and here it is {here['numpy']}: {perhaps}",
        f"crl: warning: the run was trained with cpu an abacus, and here it is {here['cpu']}: {end}",
        f"crl: warning: the run was trained with device cuda (NVIDIA H100), and here it is cpu: {end}",
        f"crl: warning: the run was trained with threads 7, and here it is 1: {end}",
    ]
    assert_equal(found, trained)  # in truth it is the same machine


def test_a_checkpoint_that_records_less_of_its_machine(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Path(shutil.copytree(trained, tmp_path / "run"))
    (found / "results.json").unlink()
    here = machine(torch.device("cpu"))
    less = {"machine": {"torch": here["torch"], "cpu": here["cpu"]}}
    _rewritten(found / "checkpoints" / "800", lambda state: state["run"].update(less))
    assert run.resume(found, ["crl"]) == 0
    assert capsys.readouterr().err == ""


def test_versions_of_each_start_are_kept(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Path(shutil.copytree(trained, tmp_path / "run"))
    (found / "results.json").unlink()
    before = (found / "versions.txt").read_text()
    monkeypatch.setattr(run_folder.platform, "python_version", lambda: "3.99")
    assert run.resume(found, ["crl"]) == 0
    first, second = (found / "versions.txt").read_text().split("\n\n")
    assert f"{first}\n" == before
    assert second.splitlines() == ["python 3.99", *first.splitlines()[1:]]


def test_the_files_are_safetensors(trained: Path) -> None:
    for path in (trained / "checkpoints" / "800").glob("*.safetensors"):
        assert all(isinstance(tensor, torch.Tensor) for tensor in safetensors.torch.load_file(path).values())


def test_machine_names_what_bits_depend_on() -> None:
    found = machine(torch.device("cpu"))
    packages = ["torch", "stable-baselines3", "gymnasium", "minatar", "mujoco", "numpy", "numba"]
    assert [*found] == [*packages, "cpu", "device"]
    assert [found[package] for package in packages] == [version(package) for package in packages]
    assert found["device"] == "cpu"
    assert found["cpu"]


def test_tasks_that_are_spelt_alike_have_folders_of_their_own() -> None:
    names = [folder_name(task) for task in ("a/b", "a b", "a-b", "é" * 300, "Aux")]
    assert len(set(names)) == len(names)
    assert names[2] == "a-b"
    assert names[4] == "Aux-828f4a58"  # which is a device on Windows
    assert all(0 < len(name.encode()) <= 120 for name in names)
