"""An evaluation as a part of a run, outside the packages: training does not notice it, and it survives a kill."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

from compared import assert_equal
from processes import Process, crl
from saved import state_of

EVALUATIONS = Path(__file__).resolve().parents[2] / "examples" / "evaluation_part.py"
PART = "imports: [evaluation_part]\nparts: [{name: evaluations, every: 100, limit: 60}]\n"
WORLD = """
stream: {name: cchain/cartpole, steps_per_task: 40, cycles: 1}
agent: {name: ppo, n_envs: 2, n_steps: 20, batch_size: 20, n_epochs: 2, net_arch: {pi: [8], vf: [8]}}
normalize: {obs: true, reward: true}
checkpoint: {every: 80, keep: 3}
"""
"""Of 400 steps."""


def began(folder: Path, config: str) -> Process:
    folder.mkdir()
    shutil.copy(EVALUATIONS, folder)
    (folder / "config.yaml").write_text(f"{config}seed: 3\ndevice: cpu\nthreads: 1\n")
    return Process("train", "config.yaml", cwd=folder)


def ended(folder: Path, process: Process) -> Path:
    assert process.wait() == 0, process.errors()
    (run,) = (folder / "runs").iterdir()
    return run


def test_evaluations_are_not_noticed_and_survive_a_kill(tmp_path: Path) -> None:
    without = ended(tmp_path / "without", began(tmp_path / "without", WORLD))
    whole = ended(tmp_path / "whole", began(tmp_path / "whole", WORLD + PART))
    one, other = (state_of(run / "checkpoints" / "400") for run in (without, whole))
    alike = {place for place in one if not place.startswith(("/run/hash", "/run/parts/evaluations"))}
    assert len(alike) > 50
    assert {place: one[place] for place in alike} == {place: other[place] for place in alike}
    with (whole / "played.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["task"] for row in rows] == [f"level_{number}" for number in range(10)] * 4
    assert [int(row["step"]) // 100 for row in rows] == [hundred for hundred in range(1, 5) for _ in range(10)]
    assert len({row["return"] for row in rows}) > 2

    folder = tmp_path / "killed"
    process = began(folder, WORLD + PART)
    process.until(lambda: len(list(folder.glob("runs/*/checkpoints/[0-9]*"))) >= 2)
    process.kill()
    (run,) = (folder / "runs").iterdir()
    assert not (run / "results.json").exists()
    again = crl("resume", str(run), cwd=folder, name="resume")
    assert again.wait() == 0, again.errors()
    assert (run / "played.csv").read_bytes() == (whole / "played.csv").read_bytes()
    assert_equal(run, whole)
