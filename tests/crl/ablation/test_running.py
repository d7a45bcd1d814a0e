"""`crl ablate` at the command line: stopped, started again, and refused."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import forked_workers
import psutil
import pytest
from compared import assert_equal
from forked_workers import ABLATE
from processes import Process
from small_checkpoints import CHECKPOINTED

from crl import screen
from crl.ablation import hparams

Command = Callable[..., "subprocess.CompletedProcess[str]"]

GRID = "{base: tiny.yaml, overrides: {stream.steps_per_task: 80}, arms: {plain: {}}, seeds: [3, 4], folder: all}\n"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(CHECKPOINTED)
    (tmp_path / "grid.yaml").write_text(GRID)
    return tmp_path


def refused(crl: Command, place: Path, *options: str) -> str:
    result = crl("ablate", "grid.yaml", *options, cwd=place)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.count("\n") == 1
    return result.stderr.strip().removeprefix("crl: ")


def results_of(run: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((run / "results.json").read_text())
    return found


def ablate(place: Path, *words: str) -> Process:
    """A process of `crl ablate` whose workers are there at once."""
    code = ABLATE.format(words=["grid.yaml", *words])
    return Process(code=code, cwd=place, paths=(Path(forked_workers.__file__).parent,))


def test_a_run_in_a_process_of_its_own(place: Path, crl: Command) -> None:
    (place / "grid.yaml").write_text(GRID.replace("[3, 4]", "[3]").replace("80", "40"))
    result = crl("ablate", "grid.yaml", "--workers", "1", cwd=place)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "1 run in all, 1 at once; Ctrl-C saves them and stops",
        "plain__s3: running at step 0 of 200; 0 of 1 done, 1 running",
        "plain__s3: done; 1 of 1 done",
        "results: all/runs.csv and visits.csv beside it",
    ]
    assert "done: 200 steps" in (place / "all" / ".workers" / "plain__s3.txt").read_text()


def test_stopped_and_started_again_every_run_ends_as_if_alone(place: Path, checkpointed: Path) -> None:
    process = ablate(place, "--workers", "1")
    process.until(lambda: list(place.glob("all/plain__s3/checkpoints/*")))
    process.send(signal.SIGINT)
    assert process.wait() == 130, process.errors()
    lines = process.printed().splitlines()
    assert lines[0] == "2 runs in all, 1 at once; Ctrl-C saves them and stops"
    assert lines[1] == "plain__s3: running at step 0 of 400; 0 of 2 done, 1 running"
    assert "stopped; to go on: crl ablate grid.yaml --workers 1" in lines
    process = ablate(place)
    assert process.wait() == 0, process.errors()
    assert_equal(place / "all" / "plain__s3", checkpointed)
    assert all((place / "all" / f"plain__s{seed}" / hparams.FILE).is_file() for seed in (3, 4))
    command = (place / "all" / "plain__s3" / "command.txt").read_text()
    assert set(command.splitlines()) == {"crl ablate grid.yaml"}
    with (place / "all" / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["run"], row["arm"], row["seed"], row["steps"]) for row in rows] == [
        ("plain__s3", "plain", "3", "400"), ("plain__s4", "plain", "4", "400"),
    ]  # fmt: skip
    with (place / "all" / "visits.csv").open(newline="") as file:
        visits = list(csv.DictReader(file))
    assert [row["task"] for row in visits] == [f"level_{level}" for level in range(5)] * 2
    found = results_of(place / "all" / "plain__s4")["visits"]
    assert isinstance(found, list)
    assert [float(row["mean_return"]) for row in visits[5:]] == [visit["mean_return"] for visit in found]
    before = {path: path.stat().st_mtime_ns for path in place.glob("all/plain*/**/*")}
    assert ablate(place).wait() == 0  # nothing is run again
    assert {path: path.stat().st_mtime_ns for path in place.glob("all/plain*/**/*")} == before


def test_a_run_that_fails_is_told(place: Path) -> None:
    (place / "grid.yaml").write_text(GRID.replace("80", "80, agent.learning_rate: 1.0e+30").replace("[3, 4]", "[3]"))
    process = ablate(place)
    assert process.wait() == 1, process.errors()
    (line,) = [line for line in process.printed().splitlines() if ": failed at" in line]
    assert "lower agent.learning_rate" in line
    assert "0 of 1 done, 1 failed" in line


def test_a_plan_is_shown_and_nothing_is_begun(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from crl.ablation import grid, running, trial

    monkeypatch.chdir(place)
    monkeypatch.setattr(trial, "_speed", lambda *_: 4.0)
    monkeypatch.setattr(running, "available_cores", lambda: 2)
    assert running.ablate(grid.read(Path("grid.yaml")), dry_run=True) == 0
    text = capsys.readouterr().out
    (row,) = [line.split("│")[1:-1] for line in text.splitlines() if "plain" in line]
    assert [cell.strip() for cell in row[:5]] == ["plain", "3, 4", "0", "400", "4"]
    assert row[-1].strip() == "0:03:20"
    assert text.splitlines()[-1] == (
        "2 of 2 runs to do in all, 2 at once: about 0:01:40, if each is as fast then as alone"
    )
    assert sorted(path.name for path in place.iterdir()) == ["grid.yaml", "tiny.yaml"]


def test_long_names_of_arms_are_shown_whole(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from crl.ablation import grid, running, trial

    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(trial, "_speed", lambda *_: 4.0)
    names = [f"an_arm_of_many_axes_that_differs_in_the_last_of_them_alone={number}" for number in (1, 2)]
    text = GRID.replace("plain: {}", ", ".join(f'"{name}": {{}}' for name in names))
    (place / "grid.yaml").write_text(text)
    assert running.ablate(grid.read(Path("grid.yaml")), dry_run=True) == 0
    column = [line.split("│")[1].strip() for line in capsys.readouterr().out.splitlines() if "│" in line]
    assert "".join(column) == "".join(names)


def test_what_all_arms_warn_of_is_told_once(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from crl.ablation import grid, plan, trial

    def warning(run: plan.Planned, _: float) -> float:
        screen.warn("of all")
        screen.warn(f"of {run.cell.arm}")
        return 1.0

    monkeypatch.chdir(place)
    monkeypatch.setattr(trial, "_speed", warning)
    Path("grid.yaml").write_text(GRID.replace("{plain: {}}", "{plain: {}, other: {}}"))
    trial.speeds(plan.planned(grid.read(Path("grid.yaml"))).values())
    screen.warn("of all")
    lines = ["of all", "of plain", "of other", "of all"]
    assert capsys.readouterr().err.splitlines() == [f"crl: warning: {line}" for line in lines]


def test_a_trial_measures_behind_the_first_update(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from crl.ablation import grid
    from crl.ablation.plan import planned
    from crl.ablation.trial import speeds

    monkeypatch.chdir(place)
    runs = planned(grid.read(Path("grid.yaml")))
    found = speeds(runs.values(), seconds=0.01)
    assert [*found] == ["plain"]
    assert 1 < found["plain"] < 1e6
    assert sorted(path.name for path in place.iterdir()) == ["grid.yaml", "tiny.yaml"]


def test_a_trial_leaves_its_longest_update_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from crl.ablation import trial
    from crl.ending import Interrupt

    learner = SimpleNamespace(num_timesteps=0, optimizer_steps=0)
    made = trial.Trial(Interrupt(exits=False), seconds=3.0)
    monkeypatch.setattr(trial.Trial, "learner", learner)
    seen = []
    for now in (0.0, 10.0, 11.0, 51.0, 52.0, 53.0):  # the first is before learning, and the first look takes 40 s
        monkeypatch.setattr(trial.time, "perf_counter", lambda now=now: now)
        made.update_ended()
        seen.append((made.speed, made.enough))
        learner.num_timesteps, learner.optimizer_steps = learner.num_timesteps + 16, learner.optimizer_steps + 1
    assert seen == [(0.0, False)] * 3 + [(16.0, False)] * 2 + [(16.0, True)]


SHIPPED = sorted((Path(__file__).parents[3] / "configs" / "ablations").glob("*.yaml"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_all_runs_of_the_ablations_that_come_with_crl_are_taken(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from crl.ablation import grid
    from crl.ablation.plan import planned

    monkeypatch.chdir(tmp_path)
    assert file.read_text(encoding="utf-8").startswith("# ")
    found = grid.read(file)
    assert {run.config.threads for run in planned(found).values()} == {1}


REFUSALS = {
    "agent.n_env: 4": "run plain__s3: agent.n_env=4 is not a known key; did you mean 'n_envs'?",
    "agent.batch_size: 41": "run plain__s3: agent.batch_size=41 is larger than a rollout",
    "interventions: [{name: gxd, rat: 1}]": "run plain__s3: interventions.0.rat=1 is not a known key",
    "agent.features: nature_cnn": "run plain__s3: agent.features=nature_cnn",
    "from: nowhere": "run plain__s3: from='nowhere' does not exist",
}


@pytest.mark.parametrize("key", REFUSALS, ids=lambda key: key.partition(":")[0])
def test_every_config_is_looked_at_before_any_run_begins(key: str, place: Path, crl: Command) -> None:
    (place / "grid.yaml").write_text(GRID.replace("80", f"80, {key}"))
    assert refused(crl, place).startswith(REFUSALS[key])
    assert sorted(path.name for path in place.iterdir()) == ["grid.yaml", "tiny.yaml"]


def test_two_ablations_in_one_folder_are_refused(place: Path, crl: Command) -> None:
    (place / "all").mkdir()
    (place / "all" / "ablation.json").write_text('{"common": {"seed": 1}, "runs": {}}')
    assert refused(crl, place).startswith("'all' holds another ablation: ")


def test_a_folder_that_cannot_be_read_to_an_end_is_refused(place: Path, crl: Command) -> None:
    (place / "all").mkdir()
    os.mkfifo(place / "all" / "ablation.json")
    assert refused(crl, place) == "'all/ablation.json' is neither a file nor a folder; remove it"


def test_more_workers_than_memory_are_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from crl.ablation.plan import workers_that_fit
    from crl.config import ConfigError
    from crl.models import memory

    monkeypatch.setattr("crl.ablation.plan.available_bytes", lambda: 1_900_000_000)
    assert workers_that_fit(None, 8, 500_000_000) == 3
    assert workers_that_fit(None, 2, 500_000_000) == 2
    assert workers_that_fit(3, 2, 500_000_000) == 3
    with pytest.raises(ConfigError) as caught:
        workers_that_fit(4, 8, 500_000_000)
    assert str(caught.value) == (
        "workers=4 runs at once take about 2.0 GB, but only 1.9 GB of memory are there; give --workers 3"
    )
    with pytest.raises(ConfigError, match=r"a run takes about 2\.0 GB, but only 1\.9 GB .*; lower agent\.n_envs"):
        workers_that_fit(None, 8, 2_000_000_000)
    assert memory.available_bytes() > 0


def test_what_a_run_takes_is_known_from_those_that_are_finished(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from crl.ablation import grid
    from crl.ablation.plan import memory_needed, planned

    monkeypatch.chdir(place)
    runs = planned(grid.read(Path("grid.yaml")))
    needed = memory_needed(list(runs.values()))
    assert needed["plain"] > psutil.Process().memory_info().rss


def test_seeds_are_trained_together(place: Path, crl: Command) -> None:
    (place / "grid.yaml").write_text(GRID.replace("folder", "vectorize: seeds, folder").replace("80", "40"))
    result = crl("ablate", "grid.yaml", "--workers", "1", cwd=place)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert lines[:3] == [
        "2 runs, 2 of them in 1 team, in all, 1 at once; Ctrl-C saves them and stops",
        "plain__s3: running at step 0 of 200; 0 of 2 done, 1 running",
        "plain__s4: running at step 0 of 200; 0 of 2 done, 2 running",
    ]
    assert lines[-1] == "results: all/runs.csv and visits.csv beside it"
    for name in ("plain__s3", "plain__s4"):
        assert results_of(place / "all" / name)["status"] == "done"
        assert "done: 200 steps" in (place / "all" / ".workers" / f"{name}.txt").read_text()
    outputs = sorted(path.name for path in (place / "all" / ".workers").iterdir())
    assert outputs == ["plain__s3-s4.txt", "plain__s3.txt", "plain__s4.txt"]


def test_seeds_that_cannot_be_trained_together_are_told_and_trained_alone(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from crl.ablation import grid, running, trial

    monkeypatch.chdir(place)
    monkeypatch.setattr(trial, "_speed", lambda *_: 4.0)
    arms = "{plain: {}, early: {agent.target_kl: 0.1}, soon: {agent.target_kl: 0.2}}"
    text = GRID.replace("folder", "vectorize: seeds, folder").replace("{plain: {}}", arms).replace("[3, 4]", "5")
    (place / "grid.yaml").write_text(text)
    assert running.ablate(grid.read(Path("grid.yaml")), workers=2, dry_run=True) == 0
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        "crl: warning: vectorize=seeds trains the seeds of early and soon one by one: target_kl may end an update early"
    ]
    rows = [line.split("│")[1:-1] for line in out.splitlines() if "│" in line]
    found = {row[0].strip(): row[2].strip() for row in rows if row[0].strip()}
    assert found == {"plain": "5", "early": "-", "soon": "-"}
    assert "less by what training seeds together saves" in out.replace("\n", " ")


def test_teams_share_out_the_workers_and_are_not_too_large(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from crl.ablation import grid, plan, teams

    monkeypatch.chdir(place)

    def sizes(seeds: int, workers: int, apart: tuple[str, ...] = ()) -> dict[str, int]:
        text = GRID.replace("{plain: {}}", "{a: {}, b: {}}").replace("[3, 4]", str(seeds))
        (place / "grid.yaml").write_text(text)
        runs = list(plan.planned(grid.read(Path("grid.yaml"))).values())
        formed = teams.formed(runs, dict.fromkeys(apart, "no"), workers)
        assert sum(map(len, formed.values())) <= len(runs)
        return {name: len(members) for name, members in formed.items()}

    assert sizes(5, 2) == {"a__s1-s5": 5, "b__s1-s5": 5}
    assert sizes(5, 4) == {"a__s1-s2": 2, "a__s3-s5": 3, "b__s1-s2": 2, "b__s3-s5": 3}
    assert sizes(5, 4, apart=("a",)) == {"b__s1-s2": 2, "b__s3-s5": 3}
    assert sizes(18, 1) == {"a__s1-s9": 9, "a__s10-s18": 9, "b__s1-s9": 9, "b__s10-s18": 9}
    assert sizes(1, 1) == {}
    assert plan.memory_together(10**12, 3) > 2 * 10**12
    assert plan.memory_together(10, 3) == 10
