"""Run folders: names, exclusive creation, and what is written into versions.txt."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import pytest

from crl import claims, run_folder
from crl.config import ConfigError, RunConfig, load
from crl.versions import versions

CONFIG = Path(__file__).parents[2] / "configs" / "minatar3_ppo_gxd.yaml"


class _Stopped(datetime):
    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return datetime(2026, 11, 22, 5, 15, 0)


def config(tmp_path: Path, *overrides: str) -> RunConfig:
    return load(CONFIG, [f"runs={tmp_path / 'my runs' / 'deep'}", *overrides])


def test_runs_of_one_second_get_suffixes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_folder, "datetime", _Stopped)
    made = [run_folder.create(config(tmp_path)) for _ in range(3)]
    name = "minatar3__ppo__gxd__s1__20261122T051500Z"
    assert [path.name for path in made] == [name, f"{name}-2", f"{name}-3"]
    assert all(path.is_dir() and path.parent == tmp_path / "my runs" / "deep" for path in made)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["interventions=[]", "seed=12"], "minatar3__ppo__plain__s12"),
        (["interventions=[{name: gxd}, {name: redo}]"], "minatar3__ppo__gxd+redo__s1"),
        (["stream={name: null, tasks: [breakout, asterix]}"], "minatar3_ppo_gxd__ppo__gxd__s1"),
        (["stream={name: null, tasks: [breakout], label: two games/now}"], "two games-now__ppo__gxd__s1"),
        (["stream.label=mine"], "mine__ppo__gxd__s1"),
        (["stream.name=MinAtar/Breakout-v1"], "MinAtar-Breakout-v1__ppo__gxd__s1"),
        (["stream.name=my_pkg.worlds:Mine-v1"], "my_pkg-worlds-Mine-v1__ppo__gxd__s1"),
        ([f"interventions=[{', '.join(['{name: redo}'] * 30)}]"], "minatar3__ppo__" + ("redo+" * 17) + "__s1"),
    ],
)
def test_names(tmp_path: Path, overrides: list[str], expected: str) -> None:
    assert run_folder.run_name(config(tmp_path, *overrides)) == expected


def test_check_makes_nothing(tmp_path: Path) -> None:
    run_folder.check_writable(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("file/x", "dangling/x"):
        with pytest.raises(ConfigError, match="cannot be a folder"):
            run_folder.check_writable(tmp_path / name)


def test_a_drive_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "lexists", lambda _path: False)  # not even its root, as of Windows' drives
    with pytest.raises(ConfigError, match="is on a drive that is not there; give another folder"):
        run_folder.check_writable(tmp_path / "runs")


def test_a_folder_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    name = tmp_path / "a" / "b" / ("x" * 300)
    with pytest.raises(ConfigError, match="cannot be written"):
        run_folder.create(load(CONFIG, [f"runs={name}"]))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(getattr(os, "geteuid", int)() == 0, reason="root may write everywhere")
def test_folder_without_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match=f"cannot be written: {str(tmp_path)!r} is read-only; give another folder"):
        run_folder.check_writable(tmp_path / "x")


@pytest.mark.parametrize(
    ("allowed", "why"), [(os.R_OK | os.X_OK, "{folder!r} is read-only"), (0, "no permission in {folder!r}")]
)
def test_a_read_only_place_is_said_to_be_read_only(
    allowed: int, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda _path, mode: mode & ~allowed == 0)
    expected = why.format(folder=str(tmp_path))
    with pytest.raises(ConfigError) as refusal:
        run_folder.check_writable(tmp_path / "x")
    assert str(refusal.value) == f"runs={str(tmp_path / 'x')!r} cannot be written: {expected}; give another folder"
    (tmp_path / claims.FOLDER).touch()  # so that nobody, not even root, can claim it
    with pytest.raises(ConfigError) as refusal, run_folder.locked(tmp_path):
        pass
    assert str(refusal.value) == f"{expected}, and a run goes on in its folder; copy it to a place that can be written"


def test_versions() -> None:
    lines = dict(line.split(" ", 1) for line in versions(3, "cuda:1").splitlines())
    assert [*lines] == [
        "python", "torch", "stable-baselines3", "gymnasium", "minatar", "mujoco", "envpool", "numpy", "numba", "crl",
        "platform", "cpus", "threads", "device",
    ]  # fmt: skip
    assert (lines["threads"], lines["device"], lines["cpus"]) == ("3", "cuda:1", str(os.cpu_count()))
    assert all(lines.values())
