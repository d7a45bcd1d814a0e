"""`crl evaluate`: what a run has learnt is played afterwards, and what it refuses."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from processes import crl as run_crl
from saved import normalizer_of, policy_of
from small_run import trained_run
from typer.testing import CliRunner, Result

from crl import storage
from crl.cli import app
from crl.config import load
from crl.learnt import agent_of
from crl.learnt import load as load_learnt

TINY = """
stream:
  steps_per_task: 40
  tasks:
    - cartpole
    - {id: cartpole, name: heavy, gravity: {uniform: [5, 15]}, variants: 3}
    - {id: cartpole, name: drifting, drift: {gravity: {kind: linear, start: 10.0, end: 40.0, steps: 40}}}
agent: {name: dqn, n_envs: 2, buffer_size: 100, learning_starts: 20, train_freq: 4, batch_size: 8, net_arch: [8]}
normalize: {obs: true}
evaluation: {every: 40, dense: 1, episodes: 3, tasks: 2, deterministic: false, share: 1, limit: 200}
checkpoint: {every: 80, keep: 2, visits: true}
seed: 3
device: cpu
threads: 1
"""
"""Five visits of 40 steps; of the three variants two are evaluated. Visits end with a rollout of 8 steps."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_run(tmp_path_factory.mktemp("trained"), TINY)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run [1]"))


def evaluate(run: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["evaluate", str(run), *words])


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_comes_to_the_numbers_of_the_run_and_touches_nothing_else(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    found = evaluate(run)
    assert (found.exit_code, found.stderr) == (0, "")
    assert found.stdout.splitlines()[-1] == f"written: {run / 'evaluation' / '200.csv'}"
    assert {path: path.read_bytes() for path in before} == before
    assert {path.name for path in run.rglob("*") if path.is_file() and path not in before} == {"200.csv"}
    expected = rows_of(run / "evaluations.csv")
    assert rows_of(run / "evaluation" / "200.csv") == [row for row in expected if row["step"] == "200"]
    assert len(expected) == 4 * (1 + 5 * 2)

    assert evaluate(run, "--checkpoint", "all").exit_code == 0
    ends = {str(step) for step in range(40, 201, 40)}
    assert rows_of(run / "evaluation" / "all.csv") == [row for row in expected if row["step"] in ends]


def test_one_task_other_episodes_and_an_earlier_step(run: Path) -> None:
    found = evaluate(run, "--task", "drifting", "--episodes", "5", "--checkpoint", "120")
    assert found.exit_code == 0
    (row,) = rows_of(run / "evaluation" / "120-drifting.csv")
    assert (row["step"], row["segment"], row["training"]) == ("120", "2", "heavy#1")
    assert (row["task"], row["episodes"]) == ("drifting", "5")
    assert evaluate(run, "--task", "heavy").exit_code == 0
    variants = rows_of(run / "evaluation" / "200-heavy.csv")
    assert len(variants) == 2
    assert {row["family"] for row in variants} == {"heavy"}
    every = {f"heavy#{number}" for number in range(3)}
    (other,) = every - {row["task"] for row in variants}
    assert evaluate(run, "--task", other).exit_code == 0  # which the run does not evaluate


def test_each_task_with_its_best(run: Path) -> None:
    found = evaluate(run, "--checkpoint", "best")
    assert found.exit_code == 0
    kept = {path.name: storage.Manifest.load(path).step for path in (run / "best").iterdir()}
    rows = rows_of(run / "evaluation" / "best.csv")
    assert {row["family"]: int(row["step"]) for row in rows} == {
        task: step for task, step in kept.items() if task in ("cartpole", "heavy", "drifting")
    }
    lacking = {"cartpole", "heavy", "drifting"} - kept.keys()
    assert found.stderr.splitlines() == [
        f"crl: warning: {task} has no best parameters, and is left out" for task in sorted(lacking)
    ]
    shutil.rmtree(run / "best")
    assert (
        "has no parameters of what is to be played; give a step, or all" in evaluate(run, "--checkpoint", "best").stderr
    )


def test_what_visits_ended_with_is_enough_to_play_and_to_begin_with(run: Path, tmp_path: Path) -> None:
    visit = run / "visits" / "160"
    _, model, env = agent_of(load(run / "config.yaml"))
    load_learnt(model, visit)
    kept = policy_of(run / "checkpoints" / "160")
    assert all((tensor == kept[name]).all() for name, tensor in model.policy.state_dict().items())
    normalizer, saved = model.get_vec_normalize_env(), normalizer_of(run / "checkpoints" / "160")
    assert normalizer is not None
    assert saved is not None
    assert (normalizer.obs_rms.mean == saved["obs_rms"][""]["mean"]).all()
    assert model.exploration_rate == 0.05  # type: ignore[attr-defined]
    env.close()
    sizes = [sum(path.stat().st_size for path in folder.rglob("*")) for folder in (visit, run / "checkpoints" / "200")]
    assert sizes[0] < sizes[1] / 2

    (tmp_path / "new.yaml").write_text(TINY.replace("visits: true", "visits: false"))
    again = run_crl("train", "new.yaml", f"from={visit}", "evaluation.every=null", cwd=tmp_path)
    assert again.wait() == 0, again.errors()
    assert "parameters and" in again.printed()
    assert not [*tmp_path.glob("runs/*/visits")]
    assert not [*tmp_path.glob("runs/*/evaluations.csv")]


REFUSALS = {
    "--task heave": "crl: --task \"heave\" is no task of this run; did you mean 'heavy'?",
    "--checkpoint 90": "where 80 is the nearest step; give that, best or all",
    "--checkpoint last": 'crl: --checkpoint "last" is none; give a step such as 100000, best, or all',
    "--checkpoint ../x": "is none; give a step",
    "--episodes 0": "crl: --episodes 0 is out of range; give a whole number from 1 to 1000000",
    "--video config.yaml": "cannot be a folder",
}


@pytest.mark.parametrize("words", REFUSALS)
def test_refusals(words: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parent)
    (run.parent / "config.yaml").touch()
    found = evaluate(run, *words.split())
    assert found.exit_code == 2
    (sentence,) = found.stderr.splitlines()
    assert REFUSALS[words] in sentence
    assert not (run / "evaluation").exists()


def test_folders_without_a_checkpoint_are_refused(tmp_path: Path, run: Path) -> None:
    assert "does not exist; give one that crl train has made" in evaluate(tmp_path / "none").stderr
    shutil.rmtree(run / "checkpoints")
    assert "has no checkpoint yet; give one that has come further" in evaluate(run).stderr
    assert evaluate(run, "--checkpoint", "best").exit_code == 0  # these lie elsewhere


def test_a_damaged_checkpoint_is_said(run: Path) -> None:
    path = run / "visits" / "40" / "learner.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    found = evaluate(run, "--checkpoint", "40")
    assert found.exit_code == 2
    assert "it is damaged, give another run" in found.stderr
    found = evaluate(run, "--checkpoint", "all", "--task", "cartpole")  # the other steps are not lost with it
    assert found.exit_code == 0
    assert "a step is left out: the checkpoint" in found.stderr
    assert "40" not in {row["step"] for row in rows_of(run / "evaluation" / "all-cartpole.csv")}


def test_checkpoints_with_strange_names_are_none(run: Path) -> None:
    shutil.rmtree(run / "visits")
    for path in list((run / "checkpoints").iterdir()):
        path.rename(path.with_name(f"0{path.name}"))
    for which in ("all", "80"):
        found = evaluate(run, "--checkpoint", which)
        assert found.exit_code == 2
        assert "has no checkpoint that is named after its step; give another run" in found.stderr
