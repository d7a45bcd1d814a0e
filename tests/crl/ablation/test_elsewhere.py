"""What is sent to other machines, and storage that is not shared."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from crl.ablation import elsewhere
from crl.ablation.elsewhere import Errand, Errands
from crl.ablation.launching import last_words


@pytest.fixture
def errands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Errands:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(elsewhere, "PATIENCE", 0.0)
    (tmp_path / "all").mkdir()
    return Errands(Path("all"), lambda name: ["python of there", "-c", f"import os; print({name!r}, os.getcwd())"])


def test_a_worker_runs_in_the_same_folder_with_the_python_that_is_there(errands: Errands, tmp_path: Path) -> None:
    errands.begin()
    errand = errands.of("a <b>")
    assert errand.refusal() == ""
    process = errand.begin()
    assert process.wait(60) == 0
    assert process.args[0] == sys.executable  # type: ignore[index]
    assert last_words(tmp_path / "all", "a <b>") == f"a <b> {tmp_path}"
    errands.note("a <b>", "its job\x1b fell")
    assert last_words(tmp_path / "all", "a <b>") == "its job\\x1b fell"
    errands.end()
    assert [path.name for path in (tmp_path / "all" / ".workers").iterdir()] == ["a <b>.txt"]


def refusal(errand: Errand) -> str:
    return errand._replace(machine="login").refusal()


def test_storage_that_is_not_shared_is_told_in_one_sentence(
    errands: Errands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.node", lambda: "node7")
    errands.begin()
    errand = errands.of("a")
    remedy = "as login does; begin in a folder, and give one for the runs, on storage that all machines share"
    elsewhere_place = errand._replace(place=tmp_path / "not there")
    assert refusal(elsewhere_place) == f"node7 does not see '{tmp_path / 'not there'}' {remedy}"
    errands.end()  # as if the node had a folder of that name, or a copy, with what an earlier start has left
    (tmp_path / "all" / ".workers" / ".token-1").touch()
    assert refusal(errand) == f"node7 does not see '{tmp_path / 'all'}' {remedy}"


def test_storage_that_shows_others_what_is_old_is_waited_for(errands: Errands, monkeypatch: pytest.MonkeyPatch) -> None:
    errand = errands.of("a")._replace(patience=30.0)
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        errands.begin()

    monkeypatch.setattr("time.sleep", sleep)
    assert errand.refusal() == ""
    assert looks == [elsewhere.LOOK]
