"""What an ablation's folder says of itself: arms and seeds may be added, other ablations are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from crl.ablation import record
from crl.ablation.grid import Cell, Grid
from crl.ablation.settings import RayConfig, SlurmConfig
from crl.config import ConfigError


def grid(folder: Path, runs: dict[str, dict[str, Any]], **common: Any) -> Grid:
    cells = [Cell(name, name, 1, raw, {}) for name, raw in runs.items()]
    return Grid(Path("grid.yaml"), Path("base.yaml"), folder / "runs", common, cells, RayConfig(), SlurmConfig())


def refused(found: Grid) -> str:
    before = {path: path.read_bytes() for path in found.folder.iterdir() if path.name != record.LOCK}
    with pytest.raises(ConfigError) as caught:
        record.keep(found)
    assert {path: path.read_bytes() for path in found.folder.iterdir() if path.name != record.LOCK} == before
    return str(caught.value).replace(repr(str(found.folder)), "FOLDER")


def test_runs_may_be_added_and_left_out(tmp_path: Path) -> None:
    record.keep(grid(tmp_path, {"a": {"x": 1}}, y={"z": 2}))
    record.keep(grid(tmp_path, {"b": {"x": [2.5, None]}}, y={"z": 2}))
    found = grid(tmp_path, {"a": {"x": 1}}, y={"z": 2})
    record.keep(found)
    assert record.read(found.folder) == {"common": {"y": {"z": 2}}, "runs": {"a": {"x": 1}, "b": {"x": [2.5, None]}}}


def test_two_ablations_in_one_folder_are_refused(tmp_path: Path) -> None:
    record.keep(grid(tmp_path, {"a": {"x": {"k": 1}}}, y=2))
    remedy = "give another folder, or change it back"
    assert refused(grid(tmp_path, {"c": {}}, y=3)) == (
        f"FOLDER holds another ablation: y of the base config is 2 there and 3 in 'grid.yaml'; {remedy}"
    )
    assert refused(grid(tmp_path, {"a": {"x": {"k": "1"}}}, y=2)) == (
        f"FOLDER holds another ablation: x.k of the run a is 1 there and \"1\" in 'grid.yaml'; {remedy}"
    )


def test_a_folder_with_something_else_is_refused(tmp_path: Path) -> None:
    found = grid(tmp_path, {"a": {}})
    found.folder.mkdir()
    (found.folder / "thesis.txt").touch()
    assert refused(found) == "FOLDER holds something else than an ablation; give another folder in 'grid.yaml'"


def test_a_place_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    with pytest.raises(ConfigError, match=r"cannot be written \(File exists\); give another folder in 'grid.yaml'"):
        record.keep(grid(tmp_path, {"a": {}}))


@pytest.mark.parametrize("content", ["", "[]", '{"common": {}}', '{"common": {}, "runs": {"a": 3}}', "[" * 100_000])
def test_what_others_have_written_is_refused(content: str, tmp_path: Path) -> None:
    found = grid(tmp_path, {"a": {}})
    found.folder.mkdir()
    (found.folder / record.FILE).write_text(content)
    assert "is not what crl ablate has written; put it back as it was" in refused(found)


def test_a_run_of_a_folder_without_a_record(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is missing; give the folder of an ablation"):
        record.read(tmp_path)


def test_the_record_is_json(tmp_path: Path) -> None:
    found = grid(tmp_path, {"a": {"x": 1}})
    record.keep(found)
    assert json.loads((found.folder / "ablation.json").read_text()) == {"common": {}, "runs": {"a": {"x": 1}}}


def test_a_start_that_was_killed_while_it_wrote_keeps_nobody_from_the_folder(tmp_path: Path) -> None:
    found = grid(tmp_path, {"a": {}})
    found.folder.mkdir()
    (found.folder / record.LOCK).touch()
    (found.folder / ".ablation.json.tmp").write_text('{"comm')
    (found.folder / ".DS_Store").touch()  # by macOS, once somebody has looked
    record.keep(found)
    assert record.read(found.folder)["runs"] == {"a": {}}
