"""The tab HPARAMS of an ablation: what TensorBoard itself reads of the file that a finished run gets."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import pytest
from compared_runs import LENGTH, compared_run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata

from crl.ablation import hparams
from crl.ablation.grid import Cell
from crl.ablation.plan import Planned
from crl.config import RunConfig

CELLS = [
    Cell("plain__s1", "plain", 1, {}, {"arm": "plain"}),
    Cell("ä,rate=0.1__s1", "ä,rate=0.1", 1, {}, {"arm": "ä <b>", "interventions.0.rate": 0.1}),
    Cell("ä,rate=null__s2", "ä,rate=null", 2, {}, {"arm": "ä <b>", "interventions.0.rate": None}),
]


def written(folder: Path, cell: Cell, cells: list[Cell]) -> EventAccumulator:
    """What TensorBoard knows of a run whose row was written."""
    hparams.write(Planned(cell, cast(RunConfig, None), folder), hparams.columns(cells))
    return EventAccumulator(str(folder)).Reload()


def content(events: EventAccumulator, tag: str) -> bytes:
    found: bytes = events.SummaryMetadata(tag).plugin_data.content
    return found


def given(events: EventAccumulator) -> dict[str, Any]:
    start = metadata.parse_session_start_info_plugin_data(content(events, metadata.SESSION_START_INFO_TAG))
    kinds = {name: value.WhichOneof("kind") for name, value in start.hparams.items()}
    return {name: getattr(value, kinds[name]) for name, value in start.hparams.items()}


def test_each_run_has_a_value_in_each_column(tmp_path: Path) -> None:
    run = compared_run(tmp_path, 1, "gxd", returns=(3.0, 5.0), tasks=("a", "b"))
    events = written(run, CELLS[1], CELLS)
    assert given(events) == {"arm": "ä <b>", "interventions.0.rate": "0.1", "seed": 1.0}
    assert given(written(run, CELLS[0], CELLS)) == {"arm": "plain", "interventions.0.rate": "-", "seed": 1.0}
    assert given(written(run, CELLS[2], CELLS))["interventions.0.rate"] == "null"
    experiment = metadata.parse_experiment_plugin_data(content(events, metadata.EXPERIMENT_TAG))
    shown = {info.name: (info.display_name, info.type, info.differs) for info in experiment.hparam_infos}
    assert shown == {
        "arm": ("arm", api_pb2.DATA_TYPE_STRING, True),
        "interventions.0.rate": ("rate", api_pb2.DATA_TYPE_STRING, True),
        "seed": ("seed", api_pb2.DATA_TYPE_FLOAT64, True),
    }
    domains = {info.name: [*info.domain_discrete] for info in experiment.hparam_infos}
    assert domains == {"arm": ["plain", "ä <b>"], "interventions.0.rate": ["-", "0.1", "null"], "seed": []}
    end = metadata.parse_session_end_info_plugin_data(content(events, metadata.SESSION_END_INFO_TAG))
    assert end.status == api_pb2.STATUS_SUCCESS


def test_numbers_are_a_column_of_numbers_and_keys_that_end_alike_are_told_apart() -> None:
    rates = [(0.1, 1.0), (0.2, math.inf), (2, 1.0)]
    cells = [
        Cell(str(i), "", i, {}, {"interventions.0.rate": one, "interventions.1.rate": other})
        for i, (one, other) in enumerate(rates)
    ]
    found = hparams.columns(cells)
    first, second = found["interventions.0.rate"], found["interventions.1.rate"]
    assert (first.display_name, first.domain_interval.min_value, first.domain_interval.max_value) == (
        "interventions.0.rate", 0.1, 2.0,
    )  # fmt: skip
    assert (second.type, [*second.domain_discrete]) == (
        api_pb2.DATA_TYPE_STRING, ["1", "inf"],
    )  # fmt: skip


def test_what_no_column_of_numbers_and_no_text_can_hold_is_written_out() -> None:
    found = hparams.columns([Cell("x", "", 1, {}, {"arm": "\ud800", "n": 10**400})])
    assert [*found["arm"].domain_discrete] == ["\\ud800"]
    assert [*found["n"].domain_discrete] == [str(10**400)]


def test_results_are_metrics_means_over_tasks_at_the_last_step(tmp_path: Path) -> None:
    run = compared_run(tmp_path, 1, returns=(3.0, 5.0), tasks=("a", "b"), evaluations={"a": (0, 4, 2), "b": (0, 0, 6)})
    events = written(run, CELLS[0], CELLS)
    points = {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
    step = 1_234_567  # as the run's record says
    # Over life: a visit's area is the mean of its ends, (0 + 4) / 2 and (0 + 6) / 2.
    assert points == {
        "results/return at the ends of visits": [(step, 4.0)],
        "results/average performance over life": [(step, 2.5)],
        "results/final performance": [(step, 4.0)],
        "results/forgetting (lower is better)": [(step, 1.0)],
        "results/worst since trained (min-ACC)": [(step, pytest.approx(2.0))],
    }
    experiment = metadata.parse_experiment_plugin_data(content(events, metadata.EXPERIMENT_TAG))
    infos = {info.name.tag: (info.display_name, info.description) for info in experiment.metric_infos}
    assert infos["results/forgetting (lower is better)"] == ("forgetting", "mean of 2 tasks")
    assert list(infos)[-2:] == ["plasticity/actor/dormant_ratio", "plasticity/critic/dormant_ratio"]


def test_what_a_run_has_not_is_left_out(tmp_path: Path) -> None:
    run = compared_run(tmp_path, 1, returns=(None,))
    events = written(run, CELLS[0], CELLS)
    assert events.Tags()["scalars"] == []
    experiment = metadata.parse_experiment_plugin_data(content(events, metadata.EXPERIMENT_TAG))
    assert experiment.metric_infos[0].name.tag == "results/return at the ends of visits"  # which other runs have


def test_written_again_the_file_stays_and_a_new_arm_changes_it(tmp_path: Path) -> None:
    run = compared_run(tmp_path, 1)
    written(run, CELLS[0], CELLS[:1])
    path = run / hparams.FILE
    first, before = path.read_bytes(), path.stat().st_mtime_ns
    written(run, CELLS[0], CELLS[:1])
    assert path.stat().st_mtime_ns == before
    assert len([*run.glob("events*")]) == 1
    written(run, CELLS[0], CELLS)
    assert path.read_bytes() != first


def test_a_damaged_run_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = compared_run(tmp_path, 1, evaluations={"a": (0, LENGTH)})
    (run / "evaluations.csv").write_text("step\nmany\n")
    hparams.write(Planned(CELLS[0], cast(RunConfig, None), run), hparams.columns(CELLS))
    assert not (run / hparams.FILE).exists()
    error = capsys.readouterr().err
    assert error.startswith("crl: warning: TensorBoard's tab HPARAMS lacks a run: ")
    assert error.count("\n") == 1
