"""Since when a network ails: curves of logs that nobody has trained."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.plasticity.diagnosis import Comparison, Diagnosis, Finding
from crl.diagnosis.source import Origin, origin_of
from crl.diagnosis.wording import lines_of

ROWS = 10  # of a visit
TASKS = ("a", "b", "c")


def logged(folder: Path, measure: str, values: list[float], tasks: tuple[str, ...] = TASKS) -> Path:
    """A run of visits of ten rows, a hundred steps each; nothing was measured where a value is negative."""
    names = list(dict.fromkeys(tasks))
    lines = [",".join(["time/total_timesteps", "task/segment", *(f"Return/{name}" for name in names), measure])]
    for row, value in enumerate(values):
        visit = row // ROWS
        returns = ["1" if name == tasks[visit] else "" for name in names]
        lines.append(",".join([f"{100 * (row + 1)}", f"{visit}", *returns, "" if value < 0 else f"{value}"]))
    (folder / "config.yaml").write_text("{}")
    (folder / "progress.csv").write_text("\n".join(lines) + "\n")
    return folder


def found(folder: Path, *mechanisms: str, steps: int = 10**6, **given: Any) -> Origin:
    agent = SimpleNamespace(activation="relu", norm="layer", optimizer=SimpleNamespace(name="adam"))
    group = {"lr": 1e-3, "params": ["w"]}
    model = SimpleNamespace(
        networks={name: SimpleNamespace(parameters=["w"]) for name in ("actor", "critic")},
        optimizers=[SimpleNamespace(param_groups=[group])], batch_size=64,
    )  # fmt: skip
    findings = tuple(Finding(mechanism, "actor", "actor.1", 0.9, 0.9) for mechanism in mechanisms)
    diagnosis = Diagnosis(findings, {}, given.pop("scores", {}), {}, given)
    return origin_of(folder, SimpleNamespace(agent=agent), steps, model, diagnosis)  # type: ignore[arg-type]


DORMANT = "plasticity/actor/dormant_ratio"


def test_a_jump_at_a_switch(tmp_path: Path) -> None:
    values = [0.1, 0.11] * 10 + [0.7, 0.72] * 5
    origin = found(logged(tmp_path, DORMANT, values), "dead units")
    (source,) = origin.sources
    assert source.change is not None
    assert (source.change.kind, source.change.begin, source.change.end) == ("sudden", 2000, 2100)
    assert (source.visit, source.task, source.points) == (3, "c", 30)
    assert [*lines_of(origin)] == [
        "dormant_ratio of actor went from 0.105 to 0.71, by step 2,100, at once at the switch to c (visit 3); between "
        "2,000 and 2,100 by 95% (support 1.00)",
        "actor has learning rate 0.001, batch size 64, activation relu, norm layer, optimizer adam",
    ]


def test_a_jump_within_a_visit_and_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    values = [0.1, 0.11] * 7 + [0.7, 0.72] * 3 + [0.0] * 10
    (source,) = found(logged(tmp_path, DORMANT, values), "dead units", steps=2000).sources
    assert source.change is not None
    assert (source.change.kind, source.change.begin, source.visit) == ("sudden", 1400, None)
    assert source.points == 20


def test_by_factors_and_little_by_little(tmp_path: Path) -> None:
    values = [1.0] * 10 + [2.0 ** (row / 5) for row in range(1, 11)] + [4.0] * 10
    origin = found(logged(tmp_path, "plasticity/actor/weight_norm", values), "norm growth")
    (source,) = origin.sources
    assert source.change is not None
    assert (source.change.kind, source.change.begin, source.change.end) == ("gradual", 1000, 2000)
    assert (source.change.before, source.change.after) == (pytest.approx(1), pytest.approx(4))
    assert next(lines_of(origin)).startswith(
        "weight_norm of actor went from 1 to 4, little by little from step 1,000 to 2,000; beginning between "
    )


def test_tasks_that_come_again_have_levels_of_their_own(tmp_path: Path) -> None:
    level = {"a": 0.1, "b": 0.6}
    tasks = ("a", "b", "a", "b")
    values = [level[tasks[row // ROWS]] + 0.3 * (row >= 25) for row in range(40)]
    (source,) = found(logged(tmp_path, DORMANT, values, tasks), "dead units").sources
    assert source.change is not None
    assert (source.change.kind, source.change.begin, source.change.end) == ("sudden", 2500, 2600)


def test_one_point_per_visit_tells_no_switch_from_what_is_between(tmp_path: Path) -> None:
    values = [0.1 if row % ROWS == 0 and row < 60 else 0.9 if row % ROWS == 0 else -1 for row in range(130)]
    (source,) = found(logged(tmp_path, DORMANT, values, ("a",) * 13), "dead units").sources
    assert source.change is not None
    assert (source.change.kind, source.points, source.visit) == ("sudden", 13, None)


def test_what_cannot_be_told(tmp_path: Path) -> None:
    folder = logged(tmp_path, DORMANT, [0.5] * 11)
    few = next(lines_of(found(folder, "dead units")))
    assert few == "dormant_ratio of actor has 11 points, of which nothing can be told; 12 are needed, so train longer"
    none = next(lines_of(found(folder, "saturated units")))
    assert none.endswith("has 0 points, of which nothing can be told; no row of the run's log has it")
    logged(tmp_path, DORMANT, [0.5] * 20)
    assert "shows no change for good in 20 points" in next(lines_of(found(folder, "dead units")))
    assert [*lines_of(found(folder))] == []
    scores = {"critic/trainability": Comparison(0.1, (0.5,) * 9)}
    assert "it is measured once per visit" in next(lines_of(found(folder, scores=scores)))
    (folder / "progress.csv").unlink()
    no_log, none, _ = lines_of(found(folder, "dead units"))
    assert no_log.endswith("give a run that has written a row of logs")
    assert none.endswith("it needs the run's logs")


def test_values_of_parameters_that_were_kept(tmp_path: Path) -> None:
    sizes = {100 * n: 3.0 ** max(n - 5, 0) for n in range(15)}
    origin = found(logged(tmp_path, DORMANT, [0.5]), "value divergence", actor=sizes)
    (source,) = origin.sources
    assert (source.measure, source.points) == ("value size", 15)
    assert source.change is not None
    assert (source.change.kind, source.change.begin, source.change.end) == ("gradual", 500, 1400)
    few = found(tmp_path, "value divergence", actor={step: sizes[step] for step in (0, 100, 200, 300, 400)})
    assert "train with checkpoint.visits=true" in next(lines_of(few))


def test_of_more_visits_than_points_each_point_is_several(tmp_path: Path) -> None:
    tasks = tuple(f"t{n}" for n in range(400))
    values = [0.1 if row < 2000 else 0.8 for row in range(4000)]
    (source,) = found(logged(tmp_path, DORMANT, values, tasks), "dead units").sources
    assert source.change is not None
    assert source.change.kind == "sudden"
    assert source.change.begin <= 200_000 <= source.change.end
    assert (source.visit, source.points <= 80) == (None, True)
