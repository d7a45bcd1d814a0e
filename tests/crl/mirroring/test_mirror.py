"""What a run gives to a service, and that it neither waits for it nor is changed by it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_checkpoints
from compared import CLOCK, assert_equal, scalars_of
from processes import Process
from stable_baselines3.common.logger import Logger

from crl import mirroring
from crl.config import ConfigError, RunConfig, checked, config_hash, load, to_yaml
from crl.mirroring import check_installed, mirror, sender
from crl.mirroring.mirror import Mirror

RAW = {"stream": {"tasks": ["breakout"], "steps_per_task": 500}, "agent": {"name": "ppo"}}
COPY = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_bytes(sys.stdin.buffer.read())"


@pytest.fixture
def config() -> RunConfig:
    return checked(RAW)


@pytest.fixture
def as_sender(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have some code of Python send, which is told of the service's file in the run's folder."""

    def put(code: str) -> None:
        def command(service: str, folder: Path) -> list[str]:
            return [sys.executable, "-S", "-c", code, str(folder / f"{service}.sent")]

        monkeypatch.setattr(sender, "command", command)

    return put


def sent(folder: Path) -> list[Any]:
    return [json.loads(line) for line in (folder / "wandb.sent").read_text().splitlines()]


def test_numbers_are_passed_on_as_tensorboard_gets_them(
    tmp_path: Path, config: RunConfig, as_sender: Callable[[str], None]
) -> None:
    as_sender(COPY)
    found = Mirror("wandb", tmp_path, config)
    logger = Logger(None, [found])
    logger.record("a", np.float32(0.5))
    logger.record("flag", True)
    logger.record("gap", float("nan"))
    logger.record("text", "no number")
    logger.record("file", 1, exclude="csv")
    logger.record("hidden", 1, exclude="tensorboard")
    logger.dump(7)
    found.draw("Return_by_visit/x", 2.0, 1)
    found.finished = True
    found.close()
    about, row, drawn, end = sent(tmp_path)
    assert about == {"name": tmp_path.name, "group": tmp_path.parent.name, "config": config.model_dump(mode="json")}
    assert np.isnan(row["values"].pop("gap"))
    assert row == {"step": 7, "values": {"a": 0.5, "flag": 1.0, "file": 1.0}}
    assert drawn == {"step": 1, "values": {"Return_by_visit/x": 2.0}}
    assert end == {"end": True}


def test_a_service_that_takes_nothing_holds_nothing_up(
    tmp_path: Path,
    config: RunConfig,
    as_sender: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(mirror, "MOST", 3)
    monkeypatch.setattr(mirror, "HURRY", 0.2)
    as_sender("import time; time.sleep(60)")
    found = Mirror("wandb", tmp_path, config)
    begun = time.monotonic()
    for step in range(2000):  # far more than a pipe holds
        found.draw("x" * 1000, 1.0, step)
    found.close()
    assert time.monotonic() - begun < 10
    assert capsys.readouterr().err == (
        "crl: warning: wandb is too slow for the run: rows are lost there; the run goes on, and TensorBoard has all of "
        "it\n"
    )
    found._process.kill()
    found._process.wait()
    found._thread.join()


def test_a_sender_that_dies_is_told_once(
    tmp_path: Path, config: RunConfig, as_sender: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    as_sender("")
    found = Mirror("wandb", tmp_path, config)
    found._process.wait()
    for step in range(10):
        found.draw("a", 1.0, step)
    found.close()
    assert capsys.readouterr().err == (
        "crl: warning: wandb gets no more of the run, since the process that sends it has ended; the run goes on, and "
        "TensorBoard has all of it\n"
    )


@pytest.mark.parametrize(
    ("code", "told"), [(0, ""), (1, "crl: warning: wandb has not taken all of the run; TensorBoard has it\n")]
)
def test_a_sender_that_gives_up_at_the_end_is_told(
    tmp_path: Path,
    config: RunConfig,
    as_sender: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
    code: int,
    told: str,
) -> None:
    as_sender(f"import sys; sys.stdin.read(); sys.exit({code})")
    found = Mirror("wandb", tmp_path, config)
    found.finished = True
    found.close()
    assert capsys.readouterr().err == told


def test_a_run_is_mirrored_and_ends_as_one_that_is_not(
    tmp_path: Path, as_sender: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, checkpointed: Path
) -> None:
    as_sender(COPY)
    monkeypatch.setattr(mirroring, "find_spec", lambda _: sys.__spec__)
    run = small_checkpoints.train(tmp_path, "logger=wandb")
    assert_equal(run, checkpointed)
    _, *rows, end = sent(run)
    assert end == {"end": True}
    found: dict[str, list[tuple[int, str]]] = {}
    for row in rows:
        for tag, value in row["values"].items():
            found.setdefault(tag, []).append((row["step"], str(float(np.float32(value)))))
    assert {tag: points for tag, points in found.items() if tag not in CLOCK} == scalars_of(run)
    assert "Return_by_visit/level_0" in found
    assert {path.name for path in run.iterdir()} - {path.name for path in checkpointed.iterdir()} == {"wandb.sent"} | {
        path.name for path in run.glob("events*")
    }


@pytest.mark.parametrize(
    ("given", "services"),
    [
        ("tensorboard", ()), ("wandb", ("wandb",)), (["mlflow", "tensorboard", "wandb"], ("mlflow", "wandb")),
        (["wandb", "wandb"], ("wandb",)), ([], ()),
    ],
)  # fmt: skip
def test_loggers_are_one_or_several_and_change_no_run(given: Any, services: tuple[str, ...], tmp_path: Path) -> None:
    found = checked({**RAW, "logger": given})
    assert found.services == services
    assert config_hash(found) == config_hash(checked(RAW))
    (tmp_path / "config.yaml").write_text(to_yaml(found))
    assert load(tmp_path / "config.yaml").services == services


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("wanbd", "logger=\"wanbd\" is not known; did you mean 'wandb'?"),
        (["neptune"], "logger.0=\"neptune\" is not known; give 'tensorboard', 'wandb' or 'mlflow'"),
        (5, "logger=5 is not a list; write it in square brackets, such as [tensorboard, wandb]"),
    ],
)
def test_other_loggers_are_refused(given: Any, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked({**RAW, "logger": given})
    assert str(caught.value) == problem


def test_a_service_that_is_not_installed_is_refused_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = (
        "logger={0} needs {0}, which is not installed; run pip install -e '.[{0}]', or set logger: tensorboard in the "
        "config, also in that of a run that is gone on with"
    )
    monkeypatch.setattr(mirroring, "find_spec", lambda _: None)
    for service in ("wandb", "mlflow"):
        with pytest.raises(ConfigError) as caught:
            check_installed([service])
        assert str(caught.value) == problem.format(service)
    monkeypatch.undo()
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "folder_of_files").mkdir()  # as wandb leaves one
    with pytest.raises(ConfigError):
        check_installed(["folder_of_files"])
    (tmp_path / "tiny.yaml").write_text(json.dumps({**RAW, "logger": "wandb"}))
    code = (
        "import sys\nfrom crl import cli, mirroring\nmirroring.find_spec = lambda _: None\n"
        "sys.argv = ['crl', 'train', 'tiny.yaml']\ncli.main()"
    )
    process = Process(code=code, cwd=tmp_path)
    assert process.wait() == 2
    assert process.errors() == f"crl: {problem.format('wandb')}\n"
    assert not (tmp_path / "runs").exists()
