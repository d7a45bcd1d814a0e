"""`crl plot` at the command line."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from logged_run import logged_run

from crl.config import ConfigError
from crl.plot import plot

PNG = b"\x89PNG\r\n\x1a\n"


def test_a_run_is_drawn_into_its_folder_and_elsewhere(
    tmp_path: Path, crl: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    one, two = (logged_run(tmp_path / name, f"{{seed: {seed}}}") for seed, name in enumerate(("run 1", "run 2")))
    before = {path.name: path.read_bytes() for path in one.iterdir()}
    result = crl("plot", "run 1", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "figure: run 1/returns.png\n", "")
    drawn = (one / "returns.png").read_bytes()
    assert drawn.startswith(PNG)
    assert {path.name: path.read_bytes() for path in one.iterdir()} == before | {"returns.png": drawn}
    result = crl("plot", "run 1", "run 2", "--out", "both.svg", cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "figure: both.svg\n", "")
    assert b"<svg" in (tmp_path / "both.svg").read_bytes()
    assert not (two / "returns.png").exists()
    result = crl("plot", "run 1", "run 3", cwd=tmp_path)
    expected = "crl: 'run 3' is no run: it has no config.yaml; give a folder that crl train has made\n"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", expected)


def test_files_that_are_refused(tmp_path: Path) -> None:
    run = logged_run(tmp_path / "run")
    with pytest.raises(
        ConfigError, match=r"'x.jpg' is neither a PNG nor an SVG; give a name that ends in .png or .svg"
    ):
        plot([run], Path("x.jpg"))
    with pytest.raises(ConfigError, match="its folder does not exist; make it, or give another"):
        plot([run], tmp_path / "nowhere" / "x.png")
    (tmp_path / "x.png").mkdir()
    with pytest.raises(ConfigError, match=r"cannot be written .*; give another file by --out"):
        plot([run], tmp_path / "x.png")
