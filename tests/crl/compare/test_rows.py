"""What groups of runs are worth by each measure, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from compared_runs import compared_run

from crl.compare.groups import grouped, reference_of
from crl.compare.reading import Run, read_all
from crl.compare.rows import ALL, Row, rows_of
from crl.compare.table import title_of

TASKS = ("a", "b", "a")


def rows(runs: list[Run]) -> dict[tuple[str, str, str], Row]:
    groups = grouped(runs)
    found = rows_of(groups, reference_of(groups))
    return {(row.measure.partition(" ")[0], row.task, row.group): row for row in found}


def two_tasks(parent: Path, seed: int, method: str, a: list[float], b: list[float]) -> Path:
    """A run whose visits end with these evaluations; its returns there are the same."""
    return compared_run(parent, seed, method, [a[1], b[2], a[3]], TASKS, {"a": a, "b": b})


def test_measures_of_a_run(tmp_path: Path) -> None:
    run = two_tasks(tmp_path, 1, "plain", [0, 8, 2, 10], [1, 2, 10, 4])
    found = rows(read_all([run]))
    assert {key[:2]: row.points for key, row in found.items()} == {
        ("return", "a"): {1: (8 + 10) / 2}, ("return", "b"): {1: 10},
        ("average", "a"): {1: (4 + 6) / 2}, ("average", "b"): {1: (2 + 10) / 2},
        ("final", "a"): {1: 10}, ("final", "b"): {1: 4},
        ("forgetting", "a"): {1: 10 - 10}, ("forgetting", "b"): {1: 10 - 4},
        ("worst", "b"): {1: 4},
    }  # fmt: skip


def test_a_table_names_its_task_unless_there_is_but_one(tmp_path: Path) -> None:
    """Of the last task there is no worst score since, so that this measure has the other one's alone."""
    runs = read_all([two_tasks(tmp_path, 1, "plain", [0, 8, 2, 10], [1, 2, 10, 4])])
    both = [*rows(runs).values()]
    assert [title_of(row.measure, row.task, both) for row in both if row.measure.startswith("worst")] == [
        "worst since trained (min-ACC): b"
    ]
    assert title_of("final performance", "b", [row for row in both if row.task == "b"]) == "final performance"


def test_the_oracle_is_what_plasticity_is_relative_to(tmp_path: Path) -> None:
    runs = [two_tasks(tmp_path, seed, "plain", [0, 8, 2, 10], [1, 2, 10, 4]) for seed in (1, 2)]
    runs.append(two_tasks(tmp_path, 1, "oracle", [0, 8, 2, 2], [1, 2, 4, 4]))
    found = rows(read_all(runs))
    assert found["plasticity", "a", "plain"].points == {1: (4 / 4 + 6 / 2) / 2}  # seed 2 has no oracle
    assert found["plasticity", "b", "plain"].points == {1: 6 / 3}
    assert found["plasticity", "a", "oracle"].points == {1: 1}
    everything = found["final", ALL, "plain"]
    assert everything.points == {1: (10 / 2 + 4 / 4) / 2, 2: (10 / 2 + 4 / 4) / 2}
    assert everything.estimates["optimality_gap"].value == 0
    assert found["final", ALL, "oracle"].points == {1: 1}
    assert ("forgetting", ALL, "plain") not in found
    assert "optimality_gap" not in found["final", "a", "plain"].estimates


def test_of_costs_the_oracles_are_put_over_a_runs(tmp_path: Path) -> None:
    runs = [two_tasks(tmp_path, 1, "plain", [-9, -8, -8, -10], [-4, -4, -4, -8])]
    runs.append(two_tasks(tmp_path, 1, "oracle", [-9, -8, -8, -5], [-4, -4, -4, -2]))
    found = rows(read_all(runs))
    assert found["final", ALL, "plain"].points == {1: (5 / 10 + 2 / 8) / 2}
    assert found["final", ALL, "plain"].estimates["optimality_gap"].value == 1 - (5 / 10 + 2 / 8) / 2
    assert found["final", ALL, "oracle"].points == {1: 1}


def test_returns_of_both_signs_are_not_put_over_the_oracles(tmp_path: Path) -> None:
    runs = [two_tasks(tmp_path, 1, method, [-9, -8, -8, -8], [1, 2, 2, 2]) for method in ("plain", "oracle")]
    found = rows(read_all(runs))
    assert ("final", "a", "plain") in found
    assert ("plasticity", "a", "plain") not in found
    assert found["plasticity", "b", "plain"].points == {1: 1}
    assert not [key for key in found if key[1] == ALL]


def test_variants_are_one_task_and_visits_without_episodes_none(tmp_path: Path) -> None:
    tasks = ["a:1", "a:2", "a:3"]
    run = compared_run(tmp_path, 1, "plain", [1, None, 4], tasks, {"a:1": [0, 2, 1, 1], "a:3": [0, 0, 0, 4]})
    found = rows(read_all([run]))
    assert found["return", "a", "ppo, plain"].points == {1: 2.5}
    assert found["average", "a", "ppo, plain"].points == {1: (1 + 2) / 2}
    assert found["final", "a", "ppo, plain"].points == {1: (1 + 4) / 2}


def test_forgetting_is_from_the_end_of_a_visit_however_dense_its_evaluations_are(tmp_path: Path) -> None:
    run = compared_run(tmp_path, 1, tasks=["a", "b"], returns=[1, 1])
    steps = {2: 0, 5: 0, 10: 0, 50: 5, 100: 10, 102: 7, 105: 6, 110: 6, 150: 5, 200: 4}
    lines = [f"{step},{task},{value}" for step, value in steps.items() for task in ("a", "b")]
    (run / "evaluations.csv").write_text("\n".join(["step,task,return_mean", *lines]) + "\n")
    found = rows(read_all([run]))
    assert found["forgetting", "a", "ppo, plain"].points == {1: 10 - 4}
    assert found["forgetting", "b", "ppo, plain"].points == {1: 0}


def test_all_comparisons_of_a_measure_are_corrected_together(tmp_path: Path) -> None:
    runs = []
    for seed in range(5):
        for method, more in (("plain", 0.0), ("gxd", 1 + 0.1 * seed), ("redo", 0.5 * (-1) ** seed)):
            runs.append(compared_run(tmp_path, seed, method, [seed + more]))
    found = rows(read_all(runs))
    gxd, redo = (found["return", "a", method] for method in ("gxd", "redo"))
    assert gxd.difference is not None
    assert redo.difference is not None
    assert (gxd.difference.value, redo.difference.value) == pytest.approx((1.2, 0.1))
    assert gxd.p == pytest.approx(2 * gxd.difference.p)
    assert redo.p == pytest.approx(redo.difference.p)
    assert found["return", "a", "plain"].difference is None


def test_all_tasks_together_are_one_question(tmp_path: Path) -> None:
    runs = [
        two_tasks(tmp_path, seed, method, [0, 8, 8, 8 + more * seed], [0, 0, 8 + more, 8])
        for seed in range(5)
        for method, more in (("plain", 0), ("oracle", 2))
    ]
    found = rows(read_all(runs))
    of = {task: found["return", task, "oracle"] for task in ("a", "b", ALL)}
    raw = {task: row.difference.p for task, row in of.items() if row.difference is not None}
    assert {task: row.p for task, row in of.items()} == pytest.approx(
        {"a": max(raw["a"], 2 * raw["b"]), "b": 2 * raw["b"], ALL: raw[ALL]}
    )
    assert raw["b"] < raw["a"] < 1


def test_less_forgetting_is_better(tmp_path: Path) -> None:
    runs = [
        two_tasks(tmp_path, seed, method, [0, 8, 8, 8], [0, 0, 8 + seed, kept])
        for seed in range(5)
        for method, kept in (("plain", 0), ("gxd", 2))
    ]
    found = rows(read_all(runs))["forgetting", "b", "gxd"]
    assert found.difference is not None
    assert found.difference.value == -2
    assert found.better is not None
    assert found.better.value == pytest.approx((5 + 5 + 4.5 + 3.5 + 2.5) / 25)  # 6 to 10 against 8 to 12
