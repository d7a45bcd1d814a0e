"""What is kept of an ablation is enough to go on with it on another machine."""

import json
from pathlib import Path

import pytest

from benchmarks import ablations
from crl.ablation import grid, plan
from crl.ablation.tables import RUNS

GRID = """
base: base.yaml
arms: {none: {}, l2_init: {interventions: [l2_init]}}
seeds: 1
"""
BASE = """
stream: {name: cchain/cartpole, steps_per_task: 400}
agent: {name: ppo, n_envs: 2, n_steps: 10, batch_size: 10, features: flatten}
"""


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("configs", "kept/x", "runs"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "configs/x.yaml").write_text(GRID, "utf-8")
    (tmp_path / "configs/base.yaml").write_text(BASE, "utf-8")
    for name, folder in {"CONFIGS": "configs", "KEPT": "kept", "RUNS": "runs"}.items():
        monkeypatch.setattr(ablations, name, tmp_path / folder)
    return tmp_path


def test_finished_runs_are_put_back_and_others_left_to_train(places: Path) -> None:
    run = places / "runs/x/none__s1"
    run.mkdir(parents=True)
    for name in ("config.yaml", "evaluations.csv", "model.zip"):
        (run / name).write_text(f"of {name}\n", "utf-8")
    (run / "results.json").write_text(json.dumps({"status": "done"}), "utf-8")
    (places / "runs/x" / RUNS).write_text("run,arm,seed\nnone__s1,none,1\n", "utf-8")
    ablations.keep("x")
    (places / "runs").rename(places / "of_another_machine")

    ablations.put_back("x")
    read = grid.read(places / "configs/x.yaml")._replace(folder=places / "runs/x")
    assert {name: run.is_finished() for name, run in plan.planned(read).items()} == {
        "none__s1": True,
        "l2_init__s1": False,
    }
    assert {path.name for path in run.iterdir()} == {"config.yaml", "evaluations.csv", "results.json"}
    assert (run / "evaluations.csv").read_text("utf-8") == "of evaluations.csv\n"


def test_runs_that_are_there_are_left_as_they_are(places: Path) -> None:
    run = places / "runs/x/none__s1"
    run.mkdir(parents=True)
    (run / "config.yaml").write_text("kept\n", "utf-8")
    (places / "runs/x" / RUNS).write_text("run,arm,seed\nnone__s1,none,1\n", "utf-8")
    ablations.keep("x")
    for path in (places / "runs/x").glob("*.csv"):
        path.unlink()
    run.rename(places / "aside")
    ablations.put_back("x")
    (run / "config.yaml").write_text("newer\n", "utf-8")
    ablations.put_back("x")
    assert (run / "config.yaml").read_text("utf-8") == "newer\n"
