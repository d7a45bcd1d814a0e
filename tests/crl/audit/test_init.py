"""`crl audit` from the outside: what it prints and writes, and what it refuses."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from forged import forge_hash

from agents.plasticity.registry import CRITERIA
from agents.training_state import training_state
from crl import storage
from crl.audit import audit, measuring
from crl.config import ConfigError, RunConfig
from crl.learnt import newest_checkpoint
from crl.models import build
from crl.run_folder import write_config

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Trained = tuple[Path, object]

LAYERS = {"actor.0": 8, "critic.0": 8, "features.0": 16, "features.1": 128}
CORRELATIONS = ("absolute", "mean_loss", "outputs")


@pytest.fixture(scope="module")
def audited(
    trained: Trained, crl: Command, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[Path, bytes], subprocess.CompletedProcess[str]]:
    """A copy of a run's folder that was audited through the command line, its files before, and what was printed."""
    run = Path(shutil.copytree(trained[0], tmp_path_factory.mktemp("audited") / "run [1]"))
    (run / "audit").mkdir()
    (run / "audit" / "notes.txt").write_text("somebody's")
    before = contents(run)
    return run, before, crl("audit", "run [1]", cwd=run.parent)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure takes a second, and shows what the tables hold."""
    monkeypatch.setattr(measuring, "draw", lambda *_: None)


def contents(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_it_writes_three_files_and_touches_no_other(audited: Any) -> None:
    run, before, result = audited
    assert result.stderr == ""
    assert result.returncode == 0
    after = contents(run)
    assert {path.relative_to(run).as_posix() for path in after.keys() - before.keys()} == {
        "audit/audit.json", "audit/audit.csv", "audit/audit.png",
    }  # fmt: skip
    assert {path: after[path] for path in before} == before


def test_tables(audited: Any) -> None:
    lines = audited[2].stdout.splitlines()
    assert lines[0].startswith("asterix: 64 transitions played after 1,024 steps of training; mean |loss| ")
    assert max(map(len, lines)) <= 100
    for layer, units in LAYERS.items():
        assert sum(line.startswith(f"{layer}: {units} units; mean cost of one: zero ") for line in lines) == 1
    rows = [line.split() for line in lines if line.startswith(" contribution adaptable ")]
    assert len(rows) == 5  # each layer and the summary
    assert all(len(row) == 2 + 6 for row in rows)
    assert lines[-1].startswith("written: run [1]/audit/audit.json, audit.csv and audit.png, in ")


def test_json(audited: Any) -> None:
    data = json.loads((audited[0] / "audit" / "audit.json").read_text())
    assert (data["steps"], data["task"], data["seed"], data["samples"]) == (1024, "asterix", 3, 64)
    assert data["loss"].keys() == {"actor", "critic", "features"}
    assert data["criteria"]["gxd mean_abs to mean"] == {
        "criterion": {"name": "gxd", "reduction": "mean_abs"}, "reference": "mean", "signal": "loss",
    }  # fmt: skip
    assert {layer["layer"]: layer["units"] for layer in data["layers"]} == LAYERS
    for layer in data["layers"]:
        units = layer["units"]
        for replacement in ("zero", "mean"):
            costs = layer["costs"][replacement]
            assert all(len(costs[key]) == units for key in CORRELATIONS)
            assert all(a >= m >= 0 for a, m in zip(costs["absolute"], costs["mean_loss"], strict=True))
            assert max(costs["absolute"]) > 0
        for found in layer["criteria"].values():
            assert len(found["utilities"]) == units
            assert found["zero"]["lowest"] is None or found["zero"]["lowest"]["units"] == max(1, units // 10)
        # what a first order predicts of small changes
        assert layer["criteria"]["gxd"]["zero"]["spearman"]["absolute"] > 0.9
    assert data["summary"].keys() == data["criteria"].keys()


def test_csv(audited: Any) -> None:
    with (audited[0] / "audit" / "audit.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    data = json.loads((audited[0] / "audit" / "audit.json").read_text())
    assert len(rows) == len(LAYERS) * len(data["criteria"]) * 2
    places = {(row["layer"], row["criterion"], row["replacement"]): row for row in rows}
    assert len(places) == len(rows)
    for layer in data["layers"]:
        found = layer["criteria"]["redo"]["mean"]
        row = places[layer["layer"], "redo", "mean"]
        assert [float(row[f"spearman_{key}"]) for key in CORRELATIONS] == [found["spearman"][k] for k in CORRELATIONS]
        assert float(row["lowest_joint"]) == found["lowest"]["joint"]


def test_figure(audited: Any) -> None:
    image = (audited[0] / "audit" / "audit.png").read_bytes()
    assert image.startswith(b"\x89PNG")
    assert 20_000 < len(image) < 300_000


def test_again_it_overwrites_its_own_and_says_the_same(audited: Any, tmp_path: Path, undrawn: None) -> None:
    run = Path(shutil.copytree(audited[0], tmp_path / "run [1]"))
    before = contents(run)
    assert audit(run, samples=64, seed=3) == 0
    after = contents(run)
    assert after.keys() == before.keys()
    changed = {path.name for path in before if after[path] != before[path]}
    assert changed <= {"audit.json", "audit.csv"}
    assert after[run / "audit" / "audit.csv"] == before[run / "audit" / "audit.csv"]


def test_a_silent_criterion_says_so(
    trained: Trained, tmp_path: Path, undrawn: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(trained[0], tmp_path / "run"))
    (tmp_path / "mine.py").write_text(
        "import torch\nfrom agents.plasticity import criterion\n"
        "@criterion('equal')\ndef equal(a):\n    return torch.ones(a.shape[1])\n"
        "@criterion('option')\ndef option(a, *, power: float):\n    return a\n"
    )
    with_imports(run, "mine")
    known = dict(CRITERIA)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        patch.syspath_prepend(str(tmp_path))
        audit(run, task="breakout", samples=32)
    CRITERIA.clear()
    CRITERIA.update(known)
    out, err = capsys.readouterr()
    assert err == f"crl: imports.0 of the run's config runs '{tmp_path / 'mine.py'}'\n"
    assert out.startswith("breakout: 32 of 64 transitions played after 1,024 steps")
    assert "left out: option (criterion.power is missing, which 'option' needs; give it)" in out
    said = [line for line in out.splitlines() if line.startswith("no signal (")]
    assert len(said) == len(LAYERS)
    assert all("equal" in line for line in said)
    assert all(line.split()[1:] == ["-"] * 6 for line in out.splitlines() if line.startswith(" equal "))


def with_imports(run: Path, module: str) -> None:
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "imports": [module]}))
    forge_hash(run)


def test_agents_with_a_replay_buffer(
    replaying: tuple[str, Path, object], tmp_path: Path, undrawn: None, capsys: pytest.CaptureFixture[str]
) -> None:
    agent, source, _ = replaying
    run = Path(shutil.copytree(source, tmp_path / "run"))
    assert audit(run, samples=50) == 0
    steps = {
        "dqn": "asterix: 50 of 400 transitions played after 2,520",
        "sac": "long: 50 of 400 transitions played after 1,150",
    }
    assert capsys.readouterr().out.startswith(f"{steps[agent]} steps of training; mean |loss| ")
    data = json.loads((run / "audit" / "audit.json").read_text())
    assert {layer["layer"]: layer["units"] for layer in data["layers"]} == {
        "dqn": {"critic.0": 16, "critic.1": 128, "critic.2": 8},
        "sac": {"actor.0": 8, "critic.qf0.0": 8, "critic.qf1.0": 8},
    }[agent]
    assert data["loss"].keys() == {"dqn": {"critic"}, "sac": {"actor", "critic"}}[agent]
    for layer in data["layers"]:
        assert max(layer["costs"]["zero"]["absolute"]) > 0
        # what a first order predicts of small changes
        assert layer["criteria"]["gxd"]["zero"]["spearman"]["absolute"] > 0.8
    with pytest.raises(ConfigError) as refusal:
        audit(run, samples=401)
    assert str(refusal.value) == (
        "--samples 401 is not possible: the agent never learns from more than agent.buffer_size=400; give 2 to 400"
    )


# Folder -> the sentence.
FOLDERS = {
    "missing": "the run folder '{run}' does not exist; give one that crl train has made",
    "file": "the run folder '{run}' is no folder; give one that crl train has made",
    "empty": "'{run}' is no run folder: it has no config.yaml; give one that crl train has made",
    "failed": "the run folder '{run}' has no checkpoint yet; give one that has come further",
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_folders_that_are_no_ended_runs(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "runs"
    if kind == "file":
        folder.touch()
    elif kind != "missing":
        folder.mkdir()
    if kind == "failed":
        (folder / "config.yaml").touch()
        (folder / "checkpoints").mkdir()
    with pytest.raises(ConfigError) as refusal:
        audit(folder)
    assert str(refusal.value) == FOLDERS[kind].replace("{run}", str(folder))


# Arguments -> the sentence.
ARGUMENTS: dict[str, tuple[dict[str, Any], str]] = {
    "too many samples": (
        {"samples": 65},
        "--samples 65 is not possible: one rollout of agent.n_envs x agent.n_steps = 4 x 16 has 64 transitions; "
        "give 2 to 64",
    ),
    "too few samples": (
        {"samples": 1},
        "--samples 1 is not possible: at least 2 are needed to compare; give 2 to 64",
    ),
    "seed": ({"seed": -1}, "--seed -1 is out of range; give a whole number from 0 to 2147483647"),
    "task": ({"task": "brakeout"}, "--task \"brakeout\" is no task of this run; did you mean 'breakout'?"),
}


@pytest.mark.parametrize("case", ARGUMENTS)
def test_refusals_write_nothing(trained: Trained, case: str) -> None:
    run, (arguments, sentence) = trained[0], ARGUMENTS[case]
    before = contents(run)
    with pytest.raises(ConfigError) as refusal:
        audit(run, **arguments)
    assert str(refusal.value).startswith(sentence)
    assert contents(run) == before
    assert not (run / "audit").exists()


def test_a_file_in_the_way(trained: Trained, tmp_path: Path) -> None:
    run = Path(shutil.copytree(trained[0], tmp_path / "run"))
    (run / "audit").touch()
    with pytest.raises(ConfigError, match="is a file, where the results would go; move it away"):
        audit(run)


def test_the_newest_checkpoint_that_is_whole(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("960", "1024", "1088"):
        storage.write(tmp_path / "checkpoints" / name, {"learner": {}, "world": {}})
    for name in (".3000.tmp", "notes"):
        (tmp_path / "checkpoints" / name).mkdir()
    (tmp_path / "checkpoints" / "2000").touch()
    assert newest_checkpoint(tmp_path).name == "1088"
    assert capsys.readouterr().err == ""
    (tmp_path / "checkpoints" / "1088" / "world.json").unlink()
    assert newest_checkpoint(tmp_path).name == "1024"
    assert capsys.readouterr().err.startswith("crl: warning: checkpoint 1088 is passed over: ")
    for name in ("960", "1024"):
        (tmp_path / "checkpoints" / name / "manifest.json").unlink()
    with pytest.raises(ConfigError, match=r"has no checkpoint that is whole; give another run"):
        newest_checkpoint(tmp_path)


def test_light_refusals_load_nothing_heavy(trained: Trained, python: Command, tmp_path: Path) -> None:
    program = f"""
import sys
from crl.cli import app
from typer.testing import CliRunner
for line in (["missing"], [{str(trained[0])!r}, "--samples", "65"], [{str(trained[0])!r}, "--seed", "-1"]):
    result = CliRunner().invoke(app, ["audit", *line])
    assert result.exit_code == 2, result.output
    print(result.stderr, end="")
assert not {{"torch", "stable_baselines3", "minatar", "numba", "matplotlib", "scipy"}} & set(sys.modules)
"""
    result = python("-c", program, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[0] == "crl: the run folder 'missing' does not exist; give one that crl train has made"
    assert len(lines) == 3
    assert all(line.startswith("crl: ") for line in lines)


def test_an_agent_without_hidden_units(tmp_path: Path) -> None:
    config = RunConfig.model_validate({
        "stream": {"tasks": ["cartpole"], "steps_per_task": 32},
        "agent": {
            "name": "ppo", "n_envs": 2, "n_steps": 16, "batch_size": 16, "features": "flatten",
            "net_arch": {"pi": [], "vf": []},
        },
        "device": "cpu",
    }).resolved()  # fmt: skip
    config, model, env = build(config)
    env.reset()
    state = training_state(model)
    storage.write(tmp_path / "checkpoints" / "32", {part: state[part] for part in ("learner", "world")})
    env.close()
    write_config(tmp_path, config)
    before = contents(tmp_path)
    with pytest.raises(ConfigError) as refusal:
        audit(tmp_path)
    assert str(refusal.value) == (
        f"the agent of {str(tmp_path)!r} has no hidden units to replace; audit one with hidden layers, such as "
        "agent.net_arch={pi: [64], vf: [64]}"
    )
    assert contents(tmp_path) == before
