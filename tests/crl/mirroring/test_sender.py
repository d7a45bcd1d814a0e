"""The process that sends: each number once, and what fails is told once and tried again."""

from __future__ import annotations

import json
import queue
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crl.mirroring import sender, services
from crl.mirroring.memory import FOLDER, MAX_BYTES, Memory
from crl.mirroring.sender import Sender
from crl.mirroring.services import BY_VISIT, Wandb, flat, metric_name
from crl.monitoring.tasks import RETURN_BY_VISIT

ABOUT = {"name": "x", "group": "y", "config": {"seed": 1}}


class Stub:
    """A service that keeps what it is sent, and fails as often as it shall."""

    failures = 0
    got: list[Any]

    def __init__(self, memory: Memory, **about: Any) -> None:
        self._fail()
        self.got.append(about)
        if memory.id is None:
            memory.name("first")

    def _fail(self) -> None:
        if Stub.failures:
            Stub.failures -= 1
            raise ConnectionError("no\nnetwork")

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._fail()
        self.got.append((step, dict(values)))

    def close(self, finished: bool) -> None:
        self.got.append(finished)


@pytest.fixture
def got(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the service has got."""
    Stub.failures, Stub.got = 0, []
    monkeypatch.setitem(services.SERVICES, "wandb", Stub)  # type: ignore[arg-type]
    return Stub.got


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / FOLDER).mkdir()
    return tmp_path


def send(folder: Path, rows: list[tuple[int, dict[str, float]]], *last: bytes) -> list[str]:
    """Send rows in a process of their own, as it were; the warnings."""
    told: list[str] = []
    found = Sender("wandb", Memory(folder, "wandb"), told.append)
    lines = [json.dumps(ABOUT), *(json.dumps({"step": step, "values": values}) for step, values in rows)]
    found.close(found.send([*(line.encode() for line in lines), *last]))
    return told


def test_what_is_trained_again_is_not_sent_again(folder: Path, got: list[Any]) -> None:
    assert send(folder, [(10, {"a": 1.0, "b": 2.0}), (20, {"a": 3.0}), (1, {"visit": 4.0})], b'{"step": 30, "val') == []
    assert got == [ABOUT, (10, {"a": 1.0, "b": 2.0}), (20, {"a": 3.0}), (1, {"visit": 4.0}), False]
    got.clear()
    rows = [(10, {"a": 1.0, "b": 2.0}), (20, {"a": 3.0, "c": 5.0}), (1, {"visit": 4.0}), (30, {"a": 6.0})]
    assert send(folder, rows, b'{"end": true}') == []
    assert got == [ABOUT, (20, {"c": 5.0}), (30, {"a": 6.0}), True]
    kept = json.loads((folder / FOLDER / "wandb.json").read_text())
    assert re.fullmatch("[0-9a-f]{64}", kept.pop("place"))
    assert kept == {"id": "first", "last": {"a": 30, "b": 10, "visit": 1, "c": 20}}


def test_a_copy_of_the_folder_begins_a_run_of_its_own(folder: Path, got: list[Any]) -> None:
    assert send(folder, [(10, {"a": 1.0})], b'{"end": false}') == []
    copy = folder.with_name(f"{folder.name}_copy")
    shutil.copytree(folder, copy)
    assert (Memory(copy, "wandb").id, Memory(copy, "wandb").new(10, {"a": 1.0})) == (None, {"a": 1.0})
    assert (Memory(folder, "wandb").id, Memory(folder, "wandb").new(10, {"a": 1.0})) == ("first", {})


def test_a_warning_holds_no_password(folder: Path, got: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Stub) -> None:
        raise ConnectionError("https://me:secret@host.org/api and postgresql+x://me:secret@host is away")

    monkeypatch.setattr(Stub, "_fail", refuse)
    (warning,) = send(folder, [(10, {"a": 1.0})])
    assert "(ConnectionError: https://host.org/api and postgresql+x://host is away)" in warning


def test_what_the_service_has_no_time_for_is_lost_and_the_end_is_not() -> None:
    lines: queue.Queue[bytes | None] = queue.Queue(2)
    happened: list[str] = []

    def ended() -> None:
        happened.append("ended")
        assert [lines.get(), lines.get()] == [b"1", b"2"]

    sender._read([b"1", b"2", b"3", b"4", b'{"end": true}'], lines, lambda: happened.append("lost"), ended)
    assert happened == ["lost", "ended"]
    assert [lines.get(), lines.get()] == [b'{"end": true}', None]


def test_a_service_that_hangs_does_not_outlive_the_run(folder: Path) -> None:
    code = """
import pathlib, sys, time
from crl.mirroring import sender, services
sender.PATIENCE = 0.1
services.SERVICES["wandb"] = lambda *_, **__: time.sleep(1000)
sender.main("wandb", pathlib.Path(sys.argv[1]))
"""
    # Its parent is killed: nothing tells of an end.
    lines = "".join(f"{json.dumps(line)}\n" for line in (ABOUT, {"step": 1, "values": {"a": 1.0}}))
    command = [sys.executable, "-c", code, str(folder)]
    assert subprocess.run(command, input=lines.encode(), timeout=60, check=False).returncode == 1


def test_each_visit_has_a_step_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Run(SimpleNamespace):
        step = 0

        def define_metric(self, *_: Any, **__: Any) -> None: ...

        def log(self, values: dict[str, float], step: int) -> None:
            logged.append((step, values))

    logged: list[tuple[int, dict[str, float]]] = []
    package = SimpleNamespace(init=lambda **_: Run(), Settings=lambda **_: None)
    monkeypatch.setitem(sys.modules, "wandb", package)  # type: ignore[arg-type]
    service = Wandb(Memory(folder, "wandb"), "x", "y", {})
    a, b = f"{BY_VISIT}a", f"{BY_VISIT}b"
    for step, tag in [(1000, "loss"), (1, a), (1, b), (2, a), (3, a), (2000, "loss"), (4, a)]:
        service.log({tag: 0.5}, step)
    assert logged == [
        (1000, {"loss": 0.5}), (1000, {a: 0.5, "visit": 1}), (1000, {b: 0.5, "visit": 1}),
        (1001, {a: 0.5, "visit": 2}), (1002, {a: 0.5, "visit": 3}),
        (2000, {"loss": 0.5}), (2000, {a: 0.5, "visit": 4}),
    ]  # fmt: skip


def test_a_failure_is_told_once_and_tried_again_later(
    folder: Path, got: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0

    def passing() -> float:
        nonlocal now
        now += sender.AGAIN / 4
        return now

    monkeypatch.setattr(sender.time, "monotonic", passing)
    Stub.failures = 2
    (warning,) = send(folder, [(step, {"a": 1.0}) for step in range(12)], b'{"end": true}')
    assert warning == (
        "wandb does not take the run's numbers (ConnectionError: no network); the run goes on, and it is tried again"
    )
    # A failure looks at the clock, too: the fourth look after it is a minute later.
    assert got == [ABOUT, *((step, {"a": 1.0}) for step in range(8, 12)), True]


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"null", b'{"id": "../x", "last": {}}', b'{"id": 5, "last": {}}',
        b'{"id": "x", "last": {"a": "b"}}',
        b'{"id": "x"}', b'{"id": "x", "last": []}', b" " * (MAX_BYTES + 1), b"[" * 100_000,
    ],
)  # fmt: skip
def test_a_damaged_memory_is_begun_anew(folder: Path, content: bytes) -> None:
    (folder / FOLDER / "wandb.json").write_bytes(content)
    memory = Memory(folder, "wandb")
    assert (memory.id, memory.new(0, {"a": 1.0})) == (None, {"a": 1.0})


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("Return/ä b:1", "Return/ä b:1"), ("Return/a(b;c)=<s>", "Return/a_b_c___s_"), ("a/../b", "a/__/b"),
        ("/a//b/.", "_/a/_/b/_"), ("plasticity/actor/dormant_ratio_0.1", "plasticity/actor/dormant_ratio_0.1"),
    ],
)  # fmt: skip
def test_a_tag_as_mlflow_takes_it(tag: str, name: str) -> None:
    assert metric_name(tag) == name


def test_a_config_as_parameters() -> None:
    config = {"stream": {"tasks": ["a", {"id": "b"}], "name": None}, "interventions": [], "seed": 1}
    assert dict(flat(config)) == {
        "stream.tasks.0": "a", "stream.tasks.1.id": "b", "stream.name": "None", "interventions": "[]", "seed": "1",
    }  # fmt: skip


def test_results_over_visits_have_the_tag_that_gets_an_axis_of_its_own() -> None:
    assert f"{RETURN_BY_VISIT}/" == BY_VISIT
