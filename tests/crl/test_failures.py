"""Failures of a run: what is on the disk afterwards, what is said, and that the resumed run ends as any other."""

from __future__ import annotations

import errno
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import walk_world
from compared import assert_equal, checkpoints_of
from tensorboard.summary.writer.record_writer import RecordWriter

import envs
from agents import DQN, PPO, SAC
from agents.learner import LearnerMixin
from crl import run, storage
from crl.config import check_arguments, load
from crl.logs import CsvWriter

CONFIGS = {
    "ppo": """
stream: {name: cchain/cartpole, steps_per_task: 40, cycles: 1}
agent: {name: ppo, n_envs: 2, n_steps: 20, batch_size: 20, n_epochs: 1, net_arch: {pi: [8], vf: [8]}}
normalize: {obs: true}
checkpoint: {every: 100, keep: 3}
""",
    "dqn": """
stream: {name: cchain/cartpole, steps_per_task: 40, cycles: 1}
agent: {name: dqn, n_envs: 2, buffer_size: 300, learning_starts: 60, train_freq: 2, batch_size: 8, net_arch: [8]}
checkpoint: {every: 100, keep: 3}
""",
    "sac": """
stream: {name: pendulum5, steps_per_task: 80}
agent: {name: sac, buffer_size: 300, learning_starts: 60, train_freq: 5, batch_size: 8, net_arch: {pi: [8], qf: [8]}}
checkpoint: {every: 100, keep: 3}
""",
    "walk": """
imports: [walk_world]
stream: {tasks: [Walk-v0], steps_per_task: 400}
agent: {name: ppo, n_envs: 2, n_steps: 20, batch_size: 20, n_epochs: 1, net_arch: {pi: [8], vf: [8]}}
checkpoint: {every: 100, keep: 3}
""",
}
"""All of 400 steps; PPO's rollouts have 40."""
AGENTS: dict[str, type[Any]] = {"ppo": PPO, "dqn": DQN, "sac": SAC, "walk": PPO}
FULL = "OSError: [Errno 28] No space left on device; free some disk space, then resume the run"
Fault = Callable[[pytest.MonkeyPatch], None]


def train(parent: Path, kind: str = "ppo", code: int = 0, runs: Path | None = None) -> Path:
    runs = runs or parent / "runs"
    (parent / "config.yaml").write_text(f"{CONFIGS[kind]}seed: 3\ndevice: cpu\nthreads: 1\n")
    assert run.train(check_arguments(load(parent / "config.yaml", [f"runs={runs}"])), ["crl"]) == code
    (found,) = runs.iterdir()
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Kind -> the folder of a run that did not fail, which all tests share."""
    found: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in found:
            found[kind] = train(tmp_path_factory.mktemp(kind), kind)
        return found[kind]

    return get


def at(step: int, act: Callable[[LearnerMixin], None], agent: type[Any] = PPO) -> Fault:
    """Something that happens at the beginning of the update after so many steps."""

    def plant(patch: pytest.MonkeyPatch) -> None:
        real = agent.train

        def update(model: Any, *args: Any, **kwargs: Any) -> None:
            if model.num_timesteps == step:
                act(model)
            real(model, *args, **kwargs)

        patch.setattr(agent, "train", update)

    return plant


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What was said, but for the tasks of a short visit that best/ will lack."""
    *warnings, sentence = capsys.readouterr().err.splitlines()
    assert all("so that best/ will have no parameters" in warning for warning in warnings)
    return sentence


def failed(parent: Path, kind: str, fault: Fault, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    """The folder of a run that has failed, and what was said."""
    with pytest.MonkeyPatch.context() as patch:
        fault(patch)
        found = train(parent, kind, code=1)
    return found, last_line(capsys)


def assert_left(found: Path, steps: list[int], at_step: int, sentence: str, problem: str) -> None:
    """The last good checkpoints are there and whole, a report is beside them, and one sentence says what to do."""
    report = found / f"crash-{at_step}.txt"
    assert sentence == f"crl: the run failed at step {at_step} with {problem} (the report is in {report})"
    assert "Traceback" in report.read_text()
    assert report.read_text().endswith((found / "config.yaml").read_text())
    assert checkpoints_of(found) == steps
    for step in steps:
        storage.verify(found / "checkpoints" / str(step))
    assert not (found / "results.json").exists()
    assert not list(found.glob("*/.*"))  # nothing half written


def no_space(*_: Any, **__: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


# ---------------------------------------------------------------------- a full disk


def full_for_checkpoints(patch: pytest.MonkeyPatch) -> None:
    """The third checkpoint's second part does not fit."""
    real = storage.states.put

    def put(path: Path, *pieces: Any) -> Any:
        if path.name == "world.safetensors" and path.parent.name == ".320.tmp":
            path.write_bytes(b"half")
            no_space()
        return real(path, *pieces)

    patch.setattr(storage.states, "put", put)


def full_for_fsync(patch: pytest.MonkeyPatch) -> None:
    """The file system has no room for what it has promised."""
    real = storage.states.sync

    def sync(folder: Path) -> None:
        if folder.name == ".320.tmp":
            no_space()
        real(folder)

    patch.setattr(storage.states, "sync", sync)


def full_for_csv(patch: pytest.MonkeyPatch) -> None:
    """Half a row fits."""
    real = CsvWriter.write

    def write(writer: Any, values: Any, excluded: Any, step: int = 0) -> None:
        if step == 320:
            writer.log._file.write("0.5,1")
            writer.log._file.flush()
            no_space()
        real(writer, values, excluded, step)

    patch.setattr(CsvWriter, "write", write)


def full_for_events(patch: pytest.MonkeyPatch) -> None:
    """TensorBoard's thread meets it."""
    real, full = RecordWriter.write, []
    at(280, lambda model: full.append(model))(patch)

    def write(writer: Any, data: bytes) -> None:
        if full:
            no_space()
        real(writer, data)

    patch.setattr(RecordWriter, "write", write)


FULL_DISKS = {
    "part": full_for_checkpoints,
    "fsync": full_for_fsync,
    "csv": full_for_csv,
    "events": full_for_events,
}


@pytest.mark.parametrize("kind", FULL_DISKS)
def test_a_full_disk(kind: str, tmp_path: Path, undisturbed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found, sentence = failed(tmp_path, "ppo", FULL_DISKS[kind], capsys)
    assert_left(found, [120, 200], 320, sentence, FULL)
    assert run.resume(found, ["crl"]) == 0
    assert_equal(found, undisturbed("ppo"))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if not shutil.which("mount"):
        pytest.skip("there is no mount")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("left", [0, 120_000])
def test_a_disk_that_is_really_full(
    left: int, disk: Path, tmp_path: Path, undisturbed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def fill(_model: LearnerMixin) -> None:
        with (disk / "other").open("wb") as file:
            free = shutil.disk_usage(disk).free - left
            file.write(bytes(max(free, 0)))

    with pytest.MonkeyPatch.context() as patch:
        at(280, fill)(patch)
        found = train(tmp_path, code=1, runs=disk / "runs")
    sentence = last_line(capsys)
    assert FULL in sentence
    steps = checkpoints_of(found)
    assert steps[:2] == [120, 200]
    assert len(steps) < 6
    for step in steps:
        storage.verify(found / "checkpoints" / str(step))
    assert not (found / "results.json").exists()
    (disk / "other").unlink()
    assert run.resume(found, ["crl"]) == 0
    assert_equal(found, undisturbed("ppo"))


def test_a_disk_that_is_full_at_the_end(tmp_path: Path, undisturbed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found, sentence = failed(tmp_path, "ppo", lambda patch: patch.setattr(PPO, "save", no_space), capsys)
    assert_left(found, [200, 320, 400], 400, sentence, FULL)
    assert run.resume(found, ["crl"]) == 0
    assert_equal(found, undisturbed("ppo"))
    assert (found / "model.zip").exists()


def test_a_disk_that_is_full_at_the_beginning(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found, sentence = failed(tmp_path, "ppo", lambda patch: patch.setattr(storage, "replace_file", no_space), capsys)
    report = found / "crash-0.txt"
    assert sentence == f"crl: the run failed at step 0 with {FULL} (the report is in {report})"
    assert {path.name for path in found.iterdir()} == {".claims", report.name}


# ---------------------------------------------------------------------- other failures


@pytest.mark.parametrize("kind", ["ppo", "sac"])  # one optimizer, and several
def test_a_device_out_of_memory(
    kind: str, tmp_path: Path, undisturbed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    def exhausted(model: LearnerMixin) -> None:
        def step(*_: Any, **__: Any) -> None:
            raise torch.OutOfMemoryError("CUDA out of memory.")

        # In the middle of an update: gradients are there, and the first parameters may have moved.
        next(model.policy.parameters()).data.add_(1.0)
        model._optimize = step  # type: ignore[method-assign]

    found, sentence = failed(tmp_path, kind, at(360, exhausted, AGENTS[kind]), capsys)
    problem = (
        "OutOfMemoryError: CUDA out of memory.; lower agent.batch_size or agent.n_envs, or give device=cpu; then train "
        "anew"
    )
    steps = {"ppo": [120, 200, 320], "sac": [100, 200, 300]}[kind]
    assert_left(found, steps, 360, sentence, problem)
    assert run.resume(found, ["crl"]) == 0
    assert_equal(found, undisturbed(kind))


@pytest.mark.parametrize(
    ("raised", "said"),
    [
        (RuntimeError("the world\nhas ended"), "RuntimeError: the world has ended"),
        (SystemExit(0), "SystemExit: 0"),
    ],
)
def test_an_environment_that_raises(
    raised: BaseException, said: str, tmp_path: Path, undisturbed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    real, steps = walk_world.Walk.step, [0]

    def step(walk: Any, action: Any) -> Any:
        steps[0] += 1
        if steps[0] > 333:
            raise raised
        return real(walk, action)

    found, sentence = failed(tmp_path, "walk", lambda patch: patch.setattr(walk_world.Walk, "step", step), capsys)
    problem = f"{said}; correct the environment, then resume the run"
    assert_left(found, [120, 200, 320], 332, sentence, problem)
    assert run.resume(found, ["crl"]) == 0
    assert_equal(found, undisturbed("walk"))


def test_observations_that_are_not_finite(tmp_path: Path, undisturbed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    real, steps = walk_world.Walk.step, [0]

    def step(walk: Any, action: Any) -> Any:
        steps[0] += 1
        observation, *rest = real(walk, action)
        return (np.full(2, np.nan, np.float32) if steps[0] > 333 else observation, *rest)

    found, sentence = failed(tmp_path, "walk", lambda patch: patch.setattr(walk_world.Walk, "step", step), capsys)
    problem = (
        "ObservationError: an observation of task 'Walk-v0' is not finite; correct the environment, whose observations "
        "have to be finite numbers, then resume the run"
    )
    assert_left(found, [120, 200, 320], 334, sentence, problem)
    assert run.resume(found, ["crl"]) == 0
    assert_equal(found, undisturbed("walk"))


@pytest.mark.parametrize("raised", [OSError("two\nlines"), SystemExit(3)])
def test_an_environment_that_cannot_be_closed_costs_nothing(
    raised: BaseException,
    tmp_path: Path,
    undisturbed: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def close(_env: Any) -> None:
        raise raised

    monkeypatch.setattr(envs.StreamVectorEnv, "close", close)
    found = train(tmp_path, "walk")
    said = capsys.readouterr()
    problem = {OSError: "OSError: two lines", SystemExit: "SystemExit: 3"}[type(raised)]
    assert said.err.splitlines() == [f"crl: warning: the environment could not be closed ({problem})"]
    assert f"run folder: {found}" in said.out.splitlines()
    assert_equal(found, undisturbed("walk"))


def test_a_failure_is_told_where_the_environment_cannot_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(walk_world.Walk, "step", broken)
    monkeypatch.setattr(envs.StreamVectorEnv, "close", broken)
    train(tmp_path, "walk", code=1)
    warning, failure = capsys.readouterr().err.splitlines()
    assert failure.startswith("crl: the run failed at step 0 with RuntimeError: broken; correct the environment")
    assert warning == "crl: warning: the environment could not be closed (RuntimeError: broken)"


@pytest.mark.parametrize("step", [280, 320])
def test_a_folder_that_vanishes(
    step: int, tmp_path: Path, undisturbed: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is moved away in the middle of a rollout, or where a checkpoint falls due; put back, it can be resumed."""
    away = tmp_path / "away"

    def vanish(_model: LearnerMixin) -> None:
        (gone,) = (tmp_path / "runs").iterdir()
        gone.rename(away)

    with pytest.MonkeyPatch.context() as patch:
        at(step, vanish)(patch)
        (tmp_path / "config.yaml").write_text(f"{CONFIGS['ppo']}seed: 3\ndevice: cpu\nthreads: 1\n")
        config = check_arguments(load(tmp_path / "config.yaml", [f"runs={tmp_path / 'runs'}"]))
        assert run.train(config, ["crl"]) == 1
    sentence = last_line(capsys)
    # At the next row or checkpoint, or before that where a sign of life falls due.
    failed = re.match(r"crl: the run failed at step (\d+) with FileNotFoundError: ", sentence)
    assert failed is not None
    assert step <= int(failed[1]) <= 320
    assert sentence.endswith("put it back, then resume the run (no report could be written)")
    assert list((tmp_path / "runs").iterdir()) == []
    assert checkpoints_of(away) == [120, 200]
    found = away.rename(tmp_path / "runs" / "back")
    assert run.resume(found, ["crl"]) == 0
    assert_equal(found, undisturbed("ppo"))


def test_what_another_thread_raises_is_still_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the failure that TensorBoard's thread keeps for the next row is not printed twice."""
    import threading

    seen: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda failed: seen.append(str(failed.exc_value)))

    def stray(_model: LearnerMixin) -> None:
        def fail() -> None:
            raise ValueError("of a user's thread")

        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()

    at(280, stray)(monkeypatch)
    train(tmp_path)
    assert seen == ["of a user's thread"]
