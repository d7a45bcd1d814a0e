"""Checkpoints of other machines and versions."""

from __future__ import annotations

import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from compared import assert_equal
from small_checkpoints import rewritten

from crl import run, storage, versions
from crl.machine import machine


def test_what_a_run_cannot_go_on_from_is_set_aside_in_neutral_words(
    checkpointed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Path(shutil.copytree(checkpointed, tmp_path / "run"))
    (found / "results.json").unlink()
    for path in (found / "checkpoints").iterdir():  # whole, but without a part that is needed
        state = storage.read(path)
        del state["world"]
        storage.write(path, state, {"config.yaml": (path / "config.yaml").read_text()})
    assert run.resume(found, ["crl"]) == 0
    said = capsys.readouterr()
    assert "starting again: no checkpoint can be gone on from" in said.out.splitlines()
    assert said.err.count("has no part 'world': it was never written") == 3
    set_aside = [path.name for path in (found / "checkpoints").iterdir() if not path.name.isdecimal()]
    assert sorted(name.rpartition("-")[0] for name in set_aside) == [f"unused-{step}" for step in (200, 320, 400)]


def test_another_machine_is_no_obstacle(checkpointed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = Path(shutil.copytree(checkpointed, tmp_path / "run"))
    (found / "results.json").unlink()
    shutil.rmtree(found / "checkpoints" / "400")
    here = machine(torch.device("cpu"))
    there = {**here, "torch": "2.0.1", "numpy": "1.0", "minatar": "not installed", "mujoco": "2.0", "cpu": "an abacus"}
    there["envpool"] = "0.8"
    there |= {"crl": "0.0.9 (code 0123456789ab)", "device": "cuda (NVIDIA H100)"}
    elsewhere = {"machine": there, "threads": 7}
    rewritten(found / "checkpoints" / "320", lambda state: state["run"].update(elsewhere))
    assert run.resume(found, ["crl"]) == 0
    end = "it goes on, but not bit-identically"
    perhaps = "it goes on, but perhaps not bit-identically"
    assert capsys.readouterr().err.splitlines() == [
        f"crl: warning: the run was trained with torch 2.0.1, and here it is {here['torch']}: {end}",
        f"crl: warning: the run was trained with mujoco 2.0, and here it is {here['mujoco']}: {perhaps}",
        f"crl: warning: the run was trained with envpool 0.8, and here it is {here['envpool']}: {perhaps}",
        f"crl: warning: the run was trained with numpy 1.0, and here it is {here['numpy']}: {perhaps}",
        f"crl: warning: the run was trained with crl {there['crl']}, and here it is {here['crl']}: {perhaps}",
        f"crl: warning: the run was trained with cpu an abacus, and here it is {here['cpu']}: {end}",
        f"crl: warning: the run was trained with device cuda (NVIDIA H100), and here it is cpu: {end}",
        f"crl: warning: the run was trained with threads 7, and here it is 1: {end}",
    ]
    assert_equal(found, checkpointed)  # in truth it is the same machine


def test_a_checkpoint_that_records_less_of_its_machine(
    checkpointed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = Path(shutil.copytree(checkpointed, tmp_path / "run"))
    (found / "results.json").unlink()
    here = machine(torch.device("cpu"))
    less = {"machine": {"torch": here["torch"], "cpu": here["cpu"]}}
    rewritten(found / "checkpoints" / "400", lambda state: state["run"].update(less))
    assert run.resume(found, ["crl"]) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"crl: warning: the run was trained with crl (code unknown), and here it is {here['crl']}: it goes on, but "
        "perhaps not bit-identically"
    ]


def test_versions_of_each_start_are_kept(checkpointed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Path(shutil.copytree(checkpointed, tmp_path / "run"))
    (found / "results.json").unlink()
    before = (found / "versions.txt").read_text()
    monkeypatch.setattr(versions.platform, "python_version", lambda: "3.99")
    assert run.resume(found, ["crl"]) == 0
    first, second = (found / "versions.txt").read_text().split("\n\n")
    assert f"{first}\n" == before
    assert second.splitlines() == ["python 3.99", *first.splitlines()[1:]]


def test_machine_names_what_bits_depend_on() -> None:
    found = machine(torch.device("cpu"))
    packages = ["torch", "stable-baselines3", "gymnasium", "minatar", "mujoco", "envpool", "numpy", "numba"]
    assert [*found] == [*packages, "crl", "cpu", "device"]
    # What was installed of torch may name its build otherwise than torch does.
    known = {"torch": torch.__version__} | ({"envpool": versions.ABSENT} if find_spec("envpool") is None else {})
    assert {package: found[package] for package in packages} == {
        package: known.get(package) or version(package) for package in packages
    }
    assert found["device"] == "cpu"
    assert found["cpu"]


def test_crl_is_told_apart_by_its_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever works on a clone changes the code, and its version stays."""

    def with_files(files: dict[str, bytes]) -> str:
        root = tmp_path / str(len(list(tmp_path.iterdir())))
        for name, code in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(code)
        monkeypatch.setattr(versions, "__file__", str(root / "crl" / "versions.py"))
        return versions.crl_version.__wrapped__()

    code = {"agents/deep/x.py": b"a = 1\n", "envs/y.py": b"b = 1\n"}
    first = with_files(code)
    assert first.startswith(f"{version('crl')} (code ")
    assert with_files({**code, "envs/y.py": b"b = 1\r\n", "crl/._z.py": b"", "other/z.py": b""}) == first
    assert with_files({**code, "envs/y.py": b"b = 2\n"}) != first
    assert with_files({"agents/x.py": b"a = 1\n", "envs/y.py": b"b = 1\n"}) != first
    assert with_files({"crl.zip": b""}) == f"{version('crl')} (code unknown)"


def test_code_that_cannot_be_read_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "crl" / "x.py").mkdir(parents=True)  # reading it fails
    monkeypatch.setattr(versions, "__file__", str(tmp_path / "crl" / "versions.py"))
    assert versions.crl_version.__wrapped__() == f"{version('crl')} (code unknown)"
