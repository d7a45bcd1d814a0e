"""The process that sends: each number once, and what fails is told once and tried again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from crl.mirroring import sender, services
from crl.mirroring.memory import FOLDER, MAX_BYTES, Memory
from crl.mirroring.sender import Sender
from crl.mirroring.services import BY_VISIT, flat, metric_name
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
    assert json.loads((folder / FOLDER / "wandb.json").read_text()) == {
        "id": "first", "last": {"a": 30, "b": 10, "visit": 1, "c": 20},
    }  # fmt: skip


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
