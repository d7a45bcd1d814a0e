"""What is read of a run's folder, whoever made it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from compared_runs import compared_run

from crl.compare import reading
from crl.compare.groups import grouped
from crl.compare.reading import read, read_all
from crl.config import ConfigError


def test_a_run(tmp_path: Path) -> None:
    run = read(compared_run(tmp_path, 3, "gxd", [1, 2], ["a", "b"], {"a": [0, 1, 2], "b": [3, 4, 5]}))
    assert run is not None
    assert run.scores is not None
    assert (run.seed, run.segments) == (3, [("a", 0, 100), ("b", 100, 200)])
    assert run.scores.steps.tolist() == [0, 100, 200]
    assert run.scores.of("b")[1].tolist() == [3, 4, 5]
    bare = read(compared_run(tmp_path, 4))
    assert bare is not None
    assert bare.scores is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("step,task\n1,a\n", "it has no column 'return_mean'"),
        ("step,task,return_mean\n1,a\n", "float"),
        ("step,task,return_mean\nx,a,1\n", "invalid literal"),
        ("step,task,return_mean\n1,a,inf\n", "a return of inf"),
        ("step,task,return_mean\n" + "9" * 400 + ",a,1\n", "too large"),
        ("step,task,return_mean\n" + "".join(f"{n},{n},1\n" for n in range(5)), "5 evaluations of 5 tasks"),
        ('step,task,return_mean\n1,"' + "a" * 3_000_000 + "\n", ""),
        ("step,task,return_mean\n1,a,45.0\n2,a,4", "its last row is not whole"),
    ],
    ids=["column", "cell", "step", "infinite", "large", "sparse", "long", "cut"],
)
def test_evaluations_that_are_refused(
    content: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_SCORES", 24)
    run = compared_run(tmp_path, 1)
    (run / "evaluations.csv").write_text(content)
    with pytest.raises(ConfigError, match=r"evaluations.csv' is no log of evaluations") as caught:
        read(run)
    assert problem in str(caught.value)


def test_evaluations_without_rows_are_none(tmp_path: Path) -> None:
    run = compared_run(tmp_path, 1)
    (run / "evaluations.csv").write_text("")
    found = read(run)
    assert found is not None
    assert found.scores is None


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"visits": []}, "a stream has at least one segment"),
        ({"steps": 0}, "has no length"),
        ({"start": -1}, "visits.0.start"),
        ({"steps": 10**30}, "steps"),
        ({"family": 3}, "visits.0.family"),
    ],
    ids=["none", "empty", "negative", "endless", "number"],
)
def test_results_that_are_refused(change: dict[str, Any], problem: str, tmp_path: Path) -> None:
    path = compared_run(tmp_path, 1) / "results.json"
    found = json.loads(path.read_text())
    if "visits" in change:
        found |= change
    else:
        found["visits"][0] |= change
    path.write_text(json.dumps(found))
    with pytest.raises(ConfigError, match=r"results.json' is no record of a run") as caught:
        read(path.parent)
    assert problem in str(caught.value)


def test_runs_without_a_return_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tasks = ["a", "b:1", "b:2"]
    whole = compared_run(tmp_path, 1, "plain", [1.0, 2.0, None], tasks)
    read_all([whole])
    assert capsys.readouterr().err == ""
    read_all([whole, compared_run(tmp_path, 2, "plain", [None] * 3, tasks)])
    assert capsys.readouterr().err == (
        f"crl: warning: no episode of a has ended in {str(tmp_path / 'plain2')!r}, which is left out of its returns "
        "(1 more such tasks of runs)\n"
    )


def test_interventions_that_are_no_list_are_none(tmp_path: Path) -> None:
    path = compared_run(tmp_path, 1)
    (path / "config.yaml").write_text("{seed: 1, stream: 5, interventions: 5}")
    run = read(path)
    assert run is not None
    (group,) = grouped([run])
    assert (group.methods, run.stream) == ((), {})


def test_folders_that_are_refused(tmp_path: Path) -> None:
    run = compared_run(tmp_path, 1)
    (run / "config.yaml").write_text("[1]")
    with pytest.raises(ConfigError, match="has no seed; give a folder that crl train has made"):
        read(run)
    (run / "config.yaml").write_text("seed: 1")
    (run / "linked").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="is a link, and a run's folder has none"):
        read(run)


def test_variants_that_are_other_worlds_are_refused(tmp_path: Path) -> None:
    for method, gravity in (("plain", 5.0), ("gxd", 6.0)):
        path = compared_run(tmp_path, 1, method) / "results.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"tasks": {"a": {"gravity": gravity}}}))
    with pytest.raises(ConfigError, match=r"a is another world in .*plain1' than in .*gxd1', which has the same seed"):
        read_all([tmp_path / "plain1", tmp_path / "gxd1"])


def evaluated(parent: Path, seed: int, evaluation: str, evaluations: int = 1) -> Path:
    run = compared_run(parent, seed, returns=[1.0] * evaluations, tasks=["a"] * evaluations, evaluations={
        "a": [1.0] * (evaluations + 1)
    })  # fmt: skip
    with (run / "config.yaml").open("a") as file:
        file.write(f"evaluation: {{{evaluation}}}\n")
    return run


def test_runs_that_were_evaluated_differently_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [
        evaluated(tmp_path, 1, "deterministic: true, share: 0.1"),
        evaluated(tmp_path, 2, "deterministic: true, share: 1"),
        evaluated(tmp_path, 3, "deterministic: false, share: 1"),
        evaluated(tmp_path, 4, "deterministic: true", 2),
    ]
    read_all([*runs[:2], compared_run(tmp_path, 5)])  # a run without evaluations is nothing of theirs
    assert capsys.readouterr().err == ""
    read_all(runs[:3])
    assert "were evaluated in different ways (evaluation.deterministic is true and false)" in capsys.readouterr().err
    read_all([runs[0], runs[3]])
    assert re.search(r"plain1' was evaluated 2 times, and '.*plain4' 3 times", capsys.readouterr().err)
