"""Evaluation as a part of a run: training does not notice, it survives kills, and keeps to its share of the time."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from compared import assert_equal, rows_of, scalars_of
from processes import Process, crl
from saved import policy_of, state_of
from stable_baselines3.common.logger import Logger

from crl.claims import ClaimLostError
from crl.config import RunConfig, checked
from crl.evaluation import part as parts
from crl.evaluation.part import EvaluationPart
from envs import TaskStream
from envs.entries import task_from

WORLDS = {
    "ppo": """
stream: {name: cchain/cartpole, steps_per_task: 40, cycles: 1}
agent: {name: ppo, n_envs: 2, n_steps: 20, batch_size: 20, n_epochs: 2, net_arch: {pi: [8], vf: [8]}}
normalize: {obs: true, reward: true}
""",
    "sac": """
stream: {name: pendulum5, steps_per_task: 60, boundary: revealed}
agent: {name: sac, n_envs: 2, buffer_size: 300, learning_starts: 60, train_freq: 5, batch_size: 8, net_arch: [8]}
at_switch: {optimizer: reset}
""",
}
EVALUATION = "evaluation: {every: 20, dense: 1, episodes: 2, share: 1, deterministic: false, limit: 30}\n"
STEPS = {
    "ppo": list(range(0, 401, 40)),  # a rollout is a visit
    "sac": [0, *(start + due for start in range(0, 300, 60) for due in (10, 20, 40, 60))],
}
TASKS = {"ppo": [f"level_{number}" for number in range(10)], "sac": ["earth", "moon", "short", "mars", "long"]}
COLUMNS = [
    "step", "segment", "training", "task", "family", "episodes", "return_mean", "return_std", "return_min",
    "return_max", "length_mean", "cut",
]  # fmt: skip


def began(folder: Path, config: str) -> Process:
    folder.mkdir()
    common = "checkpoint: {every: 80, visits: true}\nseed: 3\ndevice: cpu\nthreads: 1\n"
    (folder / "config.yaml").write_text(f"{config}{common}")
    return Process("train", "config.yaml", cwd=folder)


def ended(folder: Path, process: Process) -> Path:
    assert process.wait() == 0, process.errors()
    (run,) = (folder / "runs").iterdir()
    return run


def evaluations_of(run: Path) -> list[dict[str, str]]:
    with (run / "evaluations.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", WORLDS)
def test_training_does_not_notice_and_a_kill_in_the_middle_costs_nothing(kind: str, tmp_path: Path) -> None:
    without = ended(tmp_path / "without", began(tmp_path / "without", WORLDS[kind]))
    whole = ended(tmp_path / "whole", began(tmp_path / "whole", WORLDS[kind] + EVALUATION))
    last = str(STEPS[kind][-1])
    one, other = (state_of(run / "checkpoints" / last) for run in (without, whole))
    alike = {place for place in one if not place.startswith("/run/hash")}
    assert len(alike) > 50
    assert {place: one[place] for place in alike} == {place: other[place] for place in alike}
    assert rows_of(without) == [{k: v for k, v in row.items() if k != "time/evaluation"} for row in rows_of(whole)]

    rows = evaluations_of(whole)
    assert [*rows[0]] == COLUMNS
    assert [int(row["step"]) for row in rows] == [step for step in STEPS[kind] for _ in TASKS[kind]]
    assert [row["task"] for row in rows] == TASKS[kind] * len(STEPS[kind])
    assert all(row["episodes"] == "2" and row["family"] == row["task"] for row in rows)
    visit = int(last) // len(TASKS[kind])
    assert [int(row["segment"]) for row in rows] == [max(int(row["step"]) - 1, 0) // visit for row in rows]
    assert [row["training"] for row in rows] == [TASKS[kind][int(row["segment"])] for row in rows]
    scalars = scalars_of(whole)
    for task in TASKS[kind]:
        drawn = [(int(row["step"]), float(row["return_mean"])) for row in rows if row["task"] == task]
        found = [(step, float(value)) for step, value in scalars[f"eval/{task}/mean_reward"]]
        assert found == [(step, pytest.approx(value)) for step, value in drawn]
    assert sorted(int(path.name) for path in (whole / "visits").iterdir()) == [
        visit * (segment + 1) for segment in range(len(TASKS[kind]))
    ]
    for name, tensor in policy_of(whole / "visits" / last).items():
        assert torch.equal(tensor, policy_of(whole / "checkpoints" / last)[name])

    folder = tmp_path / "killed"
    process = began(folder, WORLDS[kind] + EVALUATION)
    process.until(lambda: any(half_done(run, len(TASKS[kind]), int(last) // 2) for run in folder.glob("runs/*")))
    process.kill()
    (run,) = (folder / "runs").iterdir()
    assert not (run / "results.json").exists()
    again = crl("resume", str(run), cwd=folder, name="resume")
    assert again.wait() == 0, again.errors()
    assert (run / "evaluations.csv").read_bytes() == (whole / "evaluations.csv").read_bytes()
    assert_equal(run, whole)


def half_done(run: Path, tasks: int, after: int) -> bool:
    """Whether an evaluation later than some step is being made, some of whose rows are there."""
    path = run / "evaluations.csv"
    rows = path.read_text().splitlines()[1:] if path.exists() else []
    return len(rows) % tasks > 0 and int(rows[-1].split(",")[0]) > after


def test_charts_of_evaluations(tmp_path: Path) -> None:
    from crl.monitoring.dashboard import MOST_TASKS, layout

    few = layout(["a", "b"], [], [], [], evaluates=True)
    assert few["evaluation: return"] == {"a": ["eval/a/mean_reward$"], "b": ["eval/b/mean_reward$"]}
    many = layout([f"t{number}" for number in range(MOST_TASKS + 1)], [], [], [], evaluates=True)
    assert many["evaluation: return"] == {"all 13 tasks": ["eval/.*/mean_reward$"]}
    assert "evaluation: return" not in layout(["a"], [], [], [])


# ------------------------------------------------------------------ time


class Played:
    """A run that is played by a clock: a second for each step, and for each evaluation what `cost` says.

    Ten visits of 100 steps, of which only the ends are evaluated.
    """

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **evaluation: Any) -> None:
        self.made: list[int] = []
        self.cost = 5.0
        self.lost = False
        self._clock = 0.0
        self._folder = tmp_path
        monkeypatch.setattr(parts, "rows", self._rows)
        self.config = config(**evaluation)
        self.part = self.begun()

    def begun(self) -> EvaluationPart:
        stream = TaskStream.build([task_from("cartpole")], steps_per_task=100, cycles=10)
        usage: Any = SimpleNamespace(seconds=lambda: self._clock)
        part = EvaluationPart(self.config, stream, usage)
        logger = Logger(None, [])
        policy = torch.nn.Linear(1, 1)
        part.model = SimpleNamespace(num_timesteps=0, optimizer_steps=1, policy=policy, logger=logger)  # type: ignore[assignment]
        part.run = SimpleNamespace(folder=self._folder, claim=SimpleNamespace(check_again=self._check))  # type: ignore[assignment]
        return part

    def _check(self) -> None:
        if self.lost:
            raise ClaimLostError

    def _rows(self, _learner: Any, _config: Any, _stream: Any, _places: Any, step: int) -> Any:
        self._clock += self.cost
        self.made.append(step)
        yield {"step": step, "family": "cartpole", "return_mean": 1.0, "length_mean": 1.0}

    def train(self, *steps: int, learns: bool = True) -> None:
        for step in steps:
            self._clock += step - self.part.learner.num_timesteps
            self.part.learner.num_timesteps = step
            self.part.learner.optimizer_steps = int(learns)
            self.part.update_ended()


def config(**evaluation: Any) -> RunConfig:
    return checked({
        "stream": {"name": "cartpole", "steps_per_task": 1000}, "agent": {"name": "ppo"},
        "evaluation": {"every": 100, "dense": 0, **evaluation},
    })  # fmt: skip


def test_a_run_that_is_lost_while_it_is_evaluated_writes_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Played(tmp_path, monkeypatch)
    run.part._on_training_start()
    before = (tmp_path / "evaluations.csv").read_text()
    run.lost = True
    with pytest.raises(ClaimLostError):
        run.train(100)
    assert (tmp_path / "evaluations.csv").read_text() == before != ""
    run.part.close()


def test_what_is_cheap_is_made_as_it_was_wished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Played(tmp_path, monkeypatch)
    run.part._on_training_start()
    run.train(*range(50, 1001, 50))
    run.part.close()
    assert run.made == [*range(0, 1001, 100)]
    assert capsys.readouterr().err == ""
    run.part.record()
    assert run.part.logger.name_to_value["time/evaluation"] == 55


def test_what_costs_more_is_made_less_often_once_and_then_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Played(tmp_path, monkeypatch)
    run.part._on_training_start()
    run.train(100, 200)
    run.cost = 30  # episodes have become longer
    run.train(300)
    assert run.made == [0, 100, 200, 300]
    # 45 s are spent; seven more would make 255 s beside 1,000 s of training, of which a ninth is allowed: 111.1 s, so
    # 66.1 s, which is 2.2 of 30 s in seven tenths of the stream: 3.1 in all of it. One visit in four has an end then.
    run.train(350)
    assert capsys.readouterr().err == ""  # nothing is due
    run.train(400)
    assert capsys.readouterr().err == (
        "crl: warning: evaluations would take 20% of the run's time, beyond evaluation.share=0.1: from step 400 on "
        "they are made at the end of one visit in 4 alone; a whole stream has 3 so, not 10\n"
    )
    assert run.made[4:] == [400]  # 75 s
    state = run.part.state()
    run.part.close()
    run.part = run.begun()  # a run that was killed goes on
    run.part.restore(state)
    run.part.model.num_timesteps = 400
    run.part._on_training_start()
    run.train(500, 600, 700, 800, 900)
    assert run.made[5:] == []  # 105 s are more than a ninth of 900 s, and the one that was due at 800 waits
    run.train(1000)
    assert run.made[5:] == [1000]
    assert capsys.readouterr().err == ""
    assert run.part.state()["visits"] == 4
    run.part.close()


@pytest.mark.parametrize("trained_before", [False, True])
def test_steps_before_learning_begins_are_no_measure(
    trained_before: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Played(tmp_path, monkeypatch, share=0.5)
    run.part.model.learning_starts = 100  # type: ignore[attr-defined]
    run.part._on_training_start()
    run.cost = 300.0
    run._clock -= 99.0  # the first hundred steps took one second
    run.train(100, learns=trained_before)
    assert run.made == [0, 100]
    run.train(200)
    assert "from step 200 on" in capsys.readouterr().err
    assert run.part.state()["learning_since"] == 100
    run.part.close()


def test_any_share_may_be_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Played(tmp_path, monkeypatch, share=1)
    run.cost = 1e6
    run.part._on_training_start()
    run.train(*range(100, 1001, 100))
    assert run.made == [*range(0, 1001, 100)]
    run.part.close()


def test_parameters_that_are_not_finite_are_not_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from crl.ending import LossError

    run = Played(tmp_path, monkeypatch)
    run.part._on_training_start()
    run.part.learner.policy.weight.data[:] = torch.nan  # type: ignore[union-attr,operator,index]
    with pytest.raises(LossError, match="the parameter weight is not finite after 100 steps"):
        run.train(100)
    run.part.close()


STATES: dict[str, dict[str, Any]] = {
    "no step": {"last": -1}, "text": {"every": "100"}, "no interval": {"every": 0}, "true": {"visits": True},
    "no time": {"seconds": {"spent": -1.0, "cost": 0.0, "idle": 0.0}},
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_states_of_strangers_are_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Played(tmp_path, monkeypatch)
    run.part._on_training_start()
    with pytest.raises(ValueError, match="it is of"):
        run.begun().restore({**run.part.state(), **STATES[name]})
    run.part.close()
