"""Films of what an agent plays."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import gymnasium
import imageio_ffmpeg
import pytest
from small_run import trained_run
from typer.testing import CliRunner
from walk_world import Walk

from crl.cli import app

TINY = """
stream: {tasks: [cartpole, {id: cartpole, name: "a/b", gravity: 20.0}], steps_per_task: 40}
agent: {name: ppo, n_envs: 2, n_steps: 20, batch_size: 20, n_epochs: 1, net_arch: {pi: [8], vf: [8]}}
evaluation: {every: 40, episodes: 2, share: 1}
seed: 3
device: cpu
threads: 1
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_run(tmp_path_factory.mktemp("trained"), TINY)


def test_a_film_of_each_task(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "films"
    found = CliRunner().invoke(app, ["evaluate", str(run), "--episodes", "1", "--video", str(folder)])
    assert found.exit_code == 0, found.output
    films = sorted(folder.iterdir())
    assert [path.suffix for path in films] == [".mp4", ".mp4"]
    assert films[1].name == "cartpole-80.mp4"
    assert [f"film: {path}" in found.stdout for path in films] == [True, True]
    rows = (run / "evaluation" / "80.csv").read_text().splitlines()[1:]
    frames, _ = imageio_ffmpeg.count_frames_and_secs(str(films[1]))
    assert frames == float(rows[0].split(",")[10])  # a picture of each step


def test_what_cannot_be_drawn_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Blind(Walk):
        metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012

        def __init__(self, render_mode: str | None = None) -> None:
            super().__init__()
            self.render_mode = render_mode

    monkeypatch.setitem(gymnasium.registry, "Blind-v0", gymnasium.envs.registration.EnvSpec("Blind-v0", Blind))
    config = TINY.replace('[cartpole, {id: cartpole, name: "a/b", gravity: 20.0}]', "[Walk-v0, Blind-v0]")
    run = trained_run(tmp_path, config)
    found = CliRunner().invoke(app, ["evaluate", str(run), "--video", str(tmp_path / "films")])
    assert found.exit_code == 0, found.output
    said = [line for line in found.stderr.splitlines() if line.startswith("crl: warning")]
    assert len(said) == 2
    assert said[0].startswith("crl: warning: Walk-v0 is not filmed: ")
    assert said[1].startswith("crl: warning: Blind-v0 is not filmed: ")
    assert (run / "evaluation" / "80.csv").exists()
    assert not [*tmp_path.glob("films/*")]


def test_without_what_writes_films_they_are_refused(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "imageio_ffmpeg" else find(name))
    found = CliRunner().invoke(app, ["evaluate", str(run), "--video", str(tmp_path)])
    assert found.exit_code == 2
    assert found.stderr == (
        "crl: --video needs imageio and ffmpeg, which are not installed; run pip install -e '.[video]'\n"
    )
