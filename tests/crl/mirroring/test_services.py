"""Weights & Biases without a network and MLflow in a folder, where they are installed: a run is killed and resumed."""

from __future__ import annotations

import csv
import json
import math
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from compared import CLOCK, scalars_of
from processes import PATIENCE, Process

Points = dict[str, list[tuple[int, float]]]

OVERRIDES = ["checkpoint.every=256", "evaluation={every: 250, episodes: 1, limit: 20, share: 1}"]
MLFLOW = {"MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_TRACKING_URI": "file:./mlruns", "MLFLOW_DISABLE_TELEMETRY": "true"}


def crl(cwd: Path, environment: dict[str, str], *words: str) -> Process:
    code = f"import os, sys\nos.environ |= {environment!r}\nfrom crl import cli\n"
    return Process(code=f"{code}sys.argv = {['crl', *words]!r}\ncli.main()", cwd=cwd)


def killed_and_resumed(folder: Path, service: str, environment: dict[str, str]) -> Path:
    """The run, killed behind its second checkpoint, so that what follows that is trained and given away twice."""
    process = crl(folder, environment, "train", "tiny.yaml", f"logger={service}", *OVERRIDES)
    process.until(lambda: steps_logged(folder) > 576)
    (run,) = (folder / "runs").iterdir()
    assert max(int(path.name) for path in (run / "checkpoints").glob("[0-9]*")) == 512
    process.kill()
    assert steps_logged(folder) < 1024
    process = crl(folder, environment, "resume", str(run))
    assert wait(process) == 0, process.errors()
    assert process.errors() == ""
    return run


def steps_logged(folder: Path) -> int:
    for path in folder.glob("runs/*/progress.csv"):
        rows = list(csv.DictReader(path.read_text().splitlines()))
        return int(rows[-1]["time/total_timesteps"] or 0) if rows else 0
    return 0


def wait(process: Process) -> int:
    """The end of a run waits for packages that take their time to import."""
    deadline = time.monotonic() + 3 * PATIENCE
    while not process.ended() and time.monotonic() < deadline:
        time.sleep(0.1)
    return process.wait()


def assert_as_tensorboard_has_it(found: Points, run: Path) -> None:
    points = {
        tag: [(step, str(struct.unpack("f", struct.pack("f", v))[0])) for step, v in of] for tag, of in found.items()
    }
    assert {tag: of for tag, of in points.items() if tag not in CLOCK} == scalars_of(run)
    assert "Return_by_visit/breakout" in found
    assert "eval/asterix/mean_reward" in found
    assert any(math.isnan(value) for _, value in found["Return/breakout"])


def test_mlflow(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    run = killed_and_resumed(tiny, "mlflow", MLFLOW)
    for name, value in {**MLFLOW, "MLFLOW_TRACKING_URI": (tiny / "mlruns").as_uri()}.items():
        monkeypatch.setenv(name, value)
    from mlflow.tracking import MlflowClient

    client = MlflowClient()
    experiment = client.get_experiment_by_name("crl")
    assert experiment is not None
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_name, found.info.status, found.data.tags["group"]) == (run.name, "FINISHED", "runs")
    assert found.data.params["agent.n_steps"] == "16"
    assert found.data.params["interventions.0.name"] == "gxd"
    assert json.loads((run / ".mirrors" / "mlflow.json").read_text())["id"] == found.info.run_id
    histories = {tag: client.get_metric_history(found.info.run_id, tag) for tag in found.data.metrics}
    assert_as_tensorboard_has_it(
        {tag: sorted((each.step, each.value) for each in history) for tag, history in histories.items()}, run
    )


def test_wandb(tiny: Path) -> None:
    pytest.importorskip("wandb")
    run = killed_and_resumed(tiny, "wandb", {"WANDB_MODE": "offline"})
    known = json.loads((run / ".mirrors" / "wandb.json").read_text())["id"]
    files = sorted((tiny / "wandb").glob(f"offline-run-*-{known}/run-{known}.wandb"))
    assert len(files) == 2  # one of each process, for the same run
    found: Points = {}
    for path in files:
        for record in records(path):
            if record.HasField("run"):
                assert (record.run.run_id, record.run.display_name, record.run.run_group) == (known, run.name, "runs")
                assert record.run.project == "crl"
            items = {
                (item.key or ".".join(item.nested_key)): json.loads(item.value_json) for item in record.history.item
            }
            step, visit = items.pop("_step", 0), items.pop("visit", None)
            for tag, value in items.items():
                if not tag.startswith("_"):
                    number = math.nan if value == "NaN" else float(value)
                    found.setdefault(tag, []).append((visit if tag.startswith("Return_by_visit/") else step, number))
    assert_as_tensorboard_has_it(found, run)
    assert not any(path.is_symlink() for path in run.rglob("*"))


def records(path: Path) -> Iterator[Any]:
    """What an offline run has written: a log of LevelDB's format behind a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    block, content = 1 << 15, path.read_bytes()
    place, whole = 7, b""
    while place + 7 <= len(content):
        if block - place % block < 7:  # too little for a header
            place += block - place % block
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # full, or the last part
            yield Record.FromString(whole)
            whole = b""


def test_nothing_of_the_environment_is_kept(tiny: Path) -> None:
    """A key that is refused, or a network that is away, is one warning, and the run ends as it does without it."""
    pytest.importorskip("wandb")
    secret = "0123456789" * 4
    environment = {"WANDB_API_KEY": secret, "WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_INIT_TIMEOUT": "3"}
    process = crl(tiny, environment, "train", "tiny.yaml", "logger=wandb")
    assert wait(process) == 0, process.errors()
    warnings = [line for line in process.errors().splitlines() if "wandb" in line]
    assert len(warnings) == 1, warnings
    (run,) = (tiny / "runs").iterdir()
    assert json.loads((run / "results.json").read_text())["status"] == "done"
    files = [path for path in run.rglob("*") if path.is_file()]
    assert not [path for path in files if secret.encode() in path.read_bytes()]
