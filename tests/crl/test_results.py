"""The record of a run: it comes back as it was written, and nothing else is taken for one."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from small_results import record, visit

from crl.results import RunResults
from crl.storage import DamagedError

RECORD = record(visit("loud", 1, 2.5, 3), visit("silent", 2, None, 0))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    RECORD.write(tmp_path)
    assert RunResults.read(tmp_path) == RECORD
    found = json.loads((tmp_path / "results.json").read_text())
    assert (found["status"], found["steps"], found["peak_memory"]["process"]) == ("done", 1_234_567, 545_000_000)
    assert found["visits"][0] == {
        "task": "loud", "family": "loud", "visit": 1, "segment": 0, "start": 0, "steps": 100, "mean_return": 2.5,
        "episodes": 3, "over": "last tenth",
    }  # fmt: skip


CHANGES: dict[str, tuple[Callable[[Any], object], str]] = {
    "no key": (lambda found: found.pop("steps"), "steps: Field required"),
    "another key": (lambda found: found.update(scores=[1]), "scores: Extra inputs are not permitted"),
    "another status": (lambda found: found.update(status="great"), "status: Input should be 'done' or 'interrupted'"),
    "no number": (
        lambda found: found["visits"][0].update(mean_return=math.nan),
        "visits.0.mean_return: Input should be a finite number",
    ),
    "another visit": (lambda found: found["visits"][1].update(episodes="many"), "visits.1.episodes: Input should be"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_a_record_of_another_kind_is_refused_by_one_sentence(kind: str, tmp_path: Path) -> None:
    change, problem = CHANGES[kind]
    found = RECORD.model_dump(mode="json")
    change(found)
    (tmp_path / "results.json").write_text(json.dumps(found))
    with pytest.raises(
        DamagedError, match=r"^[^\n]*; it was changed, or written by another version of crl\)$"
    ) as error:
        RunResults.read(tmp_path)
    assert f"results.json' is no record of a run ({problem}" in str(error.value)


@pytest.mark.parametrize("content", [b"", b"[", b"\xff", b"[1]", b"[" * 100_000, b"[" + b"{}," * 3_000_000])
def test_what_is_no_json_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "results.json").write_bytes(content)
    with pytest.raises(DamagedError, match=r"^[^\n]*results\.json' is no record of a run"):
        RunResults.read(tmp_path)


def test_a_record_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="is missing"):
        RunResults.read(tmp_path)
