"""From which checkpoint a run is gone on with where its logs or its folders are not as they were."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from compared import assert_equal, checkpoints_of, results_of, rows_of, scalars_of

from agents import PPO
from crl import run
from crl.config import ConfigError, check_arguments, load

TINY = """
stream: {name: cchain/cartpole, steps_per_task: 80, cycles: 1}
agent: {name: ppo, n_envs: 2, n_steps: 20, batch_size: 20, n_epochs: 1, net_arch: {pi: [8], vf: [8]}}
checkpoint: {every: 100, keep: 4}
seed: 3
device: cpu
threads: 1
"""
"""Ten visits of two rollouts of 40 steps; checkpoints at 520, 600, 720 and 800 stay."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, which all tests share."""
    parent = tmp_path_factory.mktemp("trained")
    (parent / "tiny.yaml").write_text(TINY)
    checked = check_arguments(load(parent / "tiny.yaml", [f"runs={parent / 'runs'}"]))
    assert run.train(checked, ["crl"]) == 0
    (found,) = (parent / "runs").iterdir()
    return found


@pytest.fixture
def unended(trained: Path, tmp_path: Path) -> Path:
    """A copy of it that was killed after its last checkpoint."""
    found = Path(shutil.copytree(trained, tmp_path / "run"))
    (found / "results.json").unlink()
    return found


def events_of(found: Path) -> Path:
    (path,) = found.glob("events.out.tfevents.*")
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and ".claims" not in path.parts
    }


def refused(found: Path) -> str:
    """The sentence that refuses to go on; nothing is changed."""
    before = contents(found)
    with pytest.raises(ConfigError, match=r"^[^\n]*$") as caught:
        run.resume(found, ["crl"])
    assert contents(found) == before
    return str(caught.value).replace(str(found), "RUN")


# ---------------------------------------------------------------------- logs


def cut_last_row(found: Path) -> None:
    path = found / "progress.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))


def cut_events(found: Path) -> None:
    os.truncate(events_of(found), events_of(found).stat().st_size - 1)


@pytest.mark.parametrize("damage", [cut_last_row, cut_events])
def test_checkpoints_that_saw_longer_logs_are_passed_over(
    damage: Callable[[Path], None], trained: Path, unended: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(unended)
    assert run.resume(unended, ["crl"]) == 0
    said = capsys.readouterr()
    (warning,) = said.err.splitlines()
    assert warning.startswith("crl: warning: checkpoint 800 is passed over: ")
    assert "bytes; the checkpoint saw" in warning
    assert f"going on from {unended / 'checkpoints' / '720'}" in said.out.splitlines()
    assert_equal(unended, trained)
    assert len(list((unended / "checkpoints").glob("unused-800-*"))) == 1  # nothing is thrown away


def test_logs_that_fit_no_checkpoint_are_not_emptied(unended: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = unended / "progress.csv"
    path.write_bytes(path.read_bytes()[:50])
    sentence = refused(unended)
    assert sentence.startswith("'RUN' cannot be resumed: 'RUN/progress.csv' has 50 bytes; the checkpoint saw ")
    assert sentence.endswith("; put the file back as it was, or move it away to go on without its rows")
    assert capsys.readouterr() == ("", "")
    path.rename(unended / "mine.csv")
    assert run.resume(unended, ["crl"]) == 0
    assert (unended / "mine.csv").stat().st_size == 50


@pytest.mark.parametrize("name", ["progress.csv", "events"])
def test_a_log_that_is_missing_is_begun_anew(
    name: str, trained: Path, unended: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(unended / "checkpoints" / "800")
    gone = unended / "progress.csv" if name == "progress.csv" else events_of(unended)
    gone.unlink()
    assert run.resume(unended, ["crl"]) == 0
    said = capsys.readouterr()
    assert said.err.splitlines() == [f"crl: warning: {str(gone)!r} is missing: its rows before step 720 are lost"]
    assert f"going on from {unended / 'checkpoints' / '720'}" in said.out.splitlines()
    assert results_of(unended) == results_of(trained)
    rows, expected = rows_of(unended), rows_of(trained)
    scalars = scalars_of(unended)
    if name == "progress.csv":
        assert [row["time/total_timesteps"] for row in rows] == ["760", "800"]
        assert [row["task/segment"] for row in rows] == [row["task/segment"] for row in expected[-2:]]
        assert scalars == scalars_of(trained)
    else:
        assert rows == expected
        late = {tag: [pair for pair in pairs if pair[0] > 720] for tag, pairs in scalars_of(trained).items()}
        of_steps = {tag: pairs for tag, pairs in scalars.items() if not tag.startswith("Return_by_visit/")}
        assert of_steps == {tag: pairs for tag, pairs in late.items() if pairs}


@pytest.mark.parametrize("name", ["progress.csv", "events"])
def test_a_run_that_lost_a_log_can_fail_again(
    name: str, trained: Path, unended: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(unended / "checkpoints" / "800")
    (unended / "progress.csv" if name == "progress.csv" else events_of(unended)).unlink()
    with monkeypatch.context() as patched:
        patched.setattr(PPO, "train", lambda self: 1 / 0)
        assert run.resume(unended, ["crl"]) == 1
    assert run.resume(unended, ["crl"]) == 0  # from the same checkpoint, before any other was written
    assert f"going on from {unended / 'checkpoints' / '720'}" in capsys.readouterr().out.splitlines()
    assert results_of(unended) == results_of(trained)
    if name == "progress.csv":
        assert [row["time/total_timesteps"] for row in rows_of(unended)] == ["760", "800"]
    else:
        assert any(b"custom_scalars" in path.read_bytes() for path in unended.glob("events.out.tfevents.*"))


# ---------------------------------------------------------------------- files in the place of folders


@pytest.mark.parametrize("name", ["checkpoints", "best", "checkpoints/900", "best/level_9"])
def test_a_file_in_the_place_of_a_folder_is_refused_before_training(name: str, trained: Path, unended: Path) -> None:
    path = unended / name
    if path.exists():
        path.rename(unended / "elsewhere")
    path.write_text("mine")
    assert refused(unended) == (
        f"'RUN/{name}' is no folder, and a checkpoint is to lie there; move it away, then resume the run"
    )
    assert path.read_text() == "mine"
    path.unlink()
    if (unended / "elsewhere").exists():
        (unended / "elsewhere").rename(path)
    (unended / "best" / "notes.txt").write_text("of no consequence")
    assert run.resume(unended, ["crl"]) == 0
    assert checkpoints_of(unended) == checkpoints_of(trained)
    assert_equal(unended, trained)
