"""Which runs a report is of, what they are called, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from reported_runs import reported_run, still_going_on

from crl.compare.places import Place, names_of, places_of
from crl.config import ConfigError
from crl.labels import short_labels
from crl.metrics import Scores
from crl.plot.reading import read as read_curves
from crl.plot.thinning import bounded, thinned
from crl.report import report
from crl.report.arms import compared
from crl.report.figures import CELLS, _map
from crl.report.reading import check_one_stream, notes_of, read
from crl.report.tables import Table, as_latex, differences, escaped
from crl.report.visits import by_part


def ablation(parent: Path, runs: dict[str, str]) -> Path:
    """An ablation of some runs, name -> method; one has not begun."""
    for name, method in runs.items():
        seed = int(name.rpartition("__s")[2])
        reported_run(parent, seed, method).rename(parent / name)
    (parent / "ablation.json").write_text(json.dumps({"common": {}, "runs": {name: {} for name in (*runs, "b__s9")}}))
    return parent


def test_an_ablation_stands_for_its_runs_and_names_their_arms(tmp_path: Path) -> None:
    folder = ablation(tmp_path, {"a__s1": "plain", "b,rate=1__s1": "redo", "a__s2": "plain"})
    reported_run(folder, 5, "cbp")  # none of its runs
    places, waiting = places_of([folder, folder / "a__s1"])
    assert [(place.folder.name, place.arm) for place in places] == [
        ("a__s1", "a"), ("b,rate=1__s1", "b,rate=1"), ("a__s2", "a"),
    ]  # fmt: skip
    assert waiting == 1
    runs = [read(place) for place in places]
    assert [arm.name for arm in compared(runs).arms] == ["a", "b,rate=1"]
    assert next(notes_of(runs, waiting)) == "1 of 4 runs has not begun"


def test_arms_of_one_name_stay_apart(tmp_path: Path) -> None:
    runs = [read(Place(reported_run(tmp_path, 1), "x")), read(Place(reported_run(tmp_path, 1, "redo"), "x"))]
    runs.append(read(Place(reported_run(tmp_path, 2, "redo"))))
    assert names_of([(run.arm, run.config) for run in runs]) == ["x (plain)", "x (redo)", "redo"]


def test_short_labels_tell_methods_apart_and_what_differs_in_one() -> None:
    redo = [{"agent": {"name": "ppo"}, "interventions": [{"name": "redo", "tau": tau}]} for tau in (0.1, 0.2)]
    plain = {"agent": {"name": "ppo"}, "stream": {"boundary": "revealed"}}
    assert short_labels([*redo, plain]) == ["redo, redo.tau=0.1", "redo, redo.tau=0.2", "plain"]
    assert short_labels([plain, {"agent": {"name": "dqn"}}]) == ["ppo, plain", "dqn, plain"]


def test_every_difference_is_listed(tmp_path: Path) -> None:
    plain = [reported_run(tmp_path, seed) for seed in (1, 2)]
    redo = reported_run(tmp_path, 1, "redo")
    (plain[1] / "config.yaml").write_text(
        "stream: {name: x}\nagent: {name: ppo}\ninterventions: []\nseed: 2\nthreads: 2\n"
    )
    (redo / "config.yaml").write_text(
        "stream: {name: x}\nagent: {name: ppo}\nseed: 1\nthreads: 1\n"
        "interventions: [{name: redo, tau: 0.1, criterion: {name: <b>}}, {name: redo, tau: 0.2}]\n"
    )
    every, own = differences(compared([read(Place(run)) for run in (*plain, redo)]))
    assert every.headings == ["key", "plain", "redo + redo"]
    assert every.rows == [["method", "plain", "redo + redo"], ["threads", "- | 2", "1"]]
    assert own.rows == [["redo.tau", "", "0.1"], ["redo.criterion.name", "", "<b>"], ["redo_2.tau", "", "0.2"]]


def test_a_run_that_goes_on_is_read_as_far_as_it_is(tmp_path: Path) -> None:
    run = still_going_on(reported_run(tmp_path, 1, evaluations={"a": [1.0, 2.0]}))
    with (run / "evaluations.csv").open("a") as file:
        file.write("200,0,x,a,x,1")  # torn
    found = read(Place(run))
    assert (found.ended, found.results, found.problems) == (None, None, ())
    assert found.scores is not None
    assert found.scores.of("a")[1].tolist() == [1.0, 2.0]
    (run / "progress.csv").write_text("")
    assert read(Place(run)).curves is None


@pytest.mark.parametrize(
    ("runs", "sentence"),
    [
        ("nowhere", "'nowhere' does not exist; give a folder that crl train or crl ablate has made"),
        ("empty", "'empty' is neither a run nor an ablation: it has no config.yaml and no ablation.json"),
        ("plain1 other2", "'plain1' and 'other2' are runs of different streams (stream.name is \"x\" and \"y\")"),
        ("linked3", f"{str(Path('linked3', 'link'))!r} is a link, and a run's folder has none; remove it"),
        ("plain1 again", "'plain1' and 'again' are the same run, of one config and seed; leave one out"),
    ],
)
def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, runs: str, sentence: str) -> None:
    monkeypatch.chdir(tmp_path)
    reported_run(tmp_path, 1).rename(tmp_path / "again")
    reported_run(tmp_path, 1)
    reported_run(tmp_path, 2, "other", stream="name: y")
    (reported_run(tmp_path, 3, "linked") / "link").symlink_to("/etc")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError) as caught:
        report([*map(Path, runs.split())])
    assert str(caught.value).startswith(sentence)
    assert not (tmp_path / "reports").exists()


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    run = reported_run(tmp_path, 1)
    with pytest.raises(ConfigError, match=r"^--out .* cannot be a folder"):
        report([run], run / "config.yaml")


def test_runs_that_go_on_are_of_one_stream_too(tmp_path: Path) -> None:
    runs = [reported_run(tmp_path, 1), still_going_on(reported_run(tmp_path, 2, stream="name: y"))]
    with pytest.raises(ConfigError, match="different streams"):
        check_one_stream([read(Place(run)) for run in runs])


def test_nothing_is_lost_where_a_report_is_refused(tmp_path: Path) -> None:
    run = reported_run(tmp_path, 1)
    kept = report([run], tmp_path / "out").read_bytes()
    (run / "config.yaml").write_text("seed: [")
    with pytest.raises(ConfigError, match="is refused: line 1"):
        report([run], tmp_path / "out")
    assert (tmp_path / "out" / "index.html").read_bytes() == kept


def test_thinned_curves(tmp_path: Path) -> None:
    run = reported_run(tmp_path, 1, tasks=("a", "b"), returns=(2.0, 6.0))
    curves = read_curves(run, plasticity=True)
    assert thinned([curves], 4) == [curves]
    (thin,) = thinned([curves], 3)  # two rows together
    assert (thin.steps.tolist(), thin.segments.tolist(), thin.tasks.tolist()) == ([100, 200], [0, 1], ["a", "b"])
    assert (thin.returns.tolist(), thin.resets["actor"].tolist()) == ([2.0, 6.0], [2, 4])
    assert thin.plasticity["actor/dormant_ratio"].tolist() == pytest.approx([0.015, 0.035])
    assert bounded(curves, 4) == curves
    assert bounded(curves, 1).steps.tolist() == [100, 200]  # visits stay apart


def test_a_heat_map_holds_the_newest_evaluation() -> None:
    long, short = Scores([0, 100], {"a": [1.0, 3.0]}), Scores([0, 50], {"a": [3.0, 5.0]})
    (row,) = _map([long, short], ["a"], 100.0)
    assert len(row) == CELLS
    assert row[[0, CELLS // 2 - 1, CELLS // 2, -1]].tolist() == [2.0, 2.0, 1.0, 1.0]  # the short one has come to 50
    assert np.isnan(_map([long], ["b"], 100.0)).all()


def test_many_visits_are_put_together() -> None:
    assert by_part([1.0, float("nan"), 3.0]) == pytest.approx([1.0, float("nan"), 3.0], nan_ok=True)
    assert by_part([*map(float, range(120))]) == [0.5 + 2 * part for part in range(60)]


def test_latex_takes_any_name() -> None:
    assert escaped("a\nb\x07") == r"a b\textbackslash{}x07"
    lines = as_latex([Table("", ["x", "y"], [["[1] a", "[2]"]])]).decode().splitlines()
    assert r"{}[1] a & [2] \\" in lines
    assert escaped(r"a_b{c}\d $1% & #~^<x>") == (
        r"a\_b\{c\}\textbackslash{}d \$1\% \& \#\textasciitilde{}\textasciicircum{}\textless{}x\textgreater{}"
    )


def test_neither_reports_nor_watching_need_torch() -> None:
    code = "import sys, crl.report.building, crl.report.watching\n"
    code += "print(sorted({'torch', 'stable_baselines3'} & {*sys.modules}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["[]"]
