"""What is read of a run's folder, whoever made it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from logged_run import logged_run

from crl.config import ConfigError
from crl.plot import reading
from crl.plot.reading import Span, check_same_tasks, read


def test_rows_and_spans(tmp_path: Path) -> None:
    curves = read(logged_run(tmp_path / "run"))
    assert curves.steps.tolist() == [10, 20, 30, 40, 50, 60]
    assert curves.tasks.tolist() == ["a", "a", "b", "b", "a", "a"]
    assert np.nan_to_num(curves.returns, nan=-1).tolist() == [1, 2, 7, 8, 3, 4]
    assert {network: counts.tolist() for network, counts in curves.resets.items()} == {
        "actor": [0, 1, 1, 3, 3, 4], "critic": [1, 1, 1, 1, 1, 1],
    }  # fmt: skip
    assert curves.spans() == [Span("a", 0, 20, 1, 1), Span("b", 20, 40, 1, 1), Span("a", 40, 60, 2, 2)]


def test_visits_without_episodes_have_no_task_and_variants_one_span(tmp_path: Path) -> None:
    run = logged_run(tmp_path / "run", tasks=["a", "a", "", "b"], rows_per_visit=1)
    curves = read(run)
    assert curves.tasks.tolist() == ["a", "a", "", "b"]
    assert math.isnan(curves.returns[2])
    assert curves.spans() == [Span("a", 0, 20, 1, 2), Span("b", 30, 40, 1, 1)]


def test_a_row_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    run = logged_run(tmp_path / "run")
    log = run / "progress.csv"
    log.write_text(log.read_text() + "70,3,9")
    assert read(run).steps.tolist() == [10, 20, 30, 40, 50, 60]


def test_numbers_that_are_not_finite_are_gaps(tmp_path: Path) -> None:
    run = logged_run(tmp_path / "run")
    log = run / "progress.csv"
    log.write_text(log.read_text().replace("7.0", "nan").replace("8.0", "inf"))
    assert np.isnan(read(run).returns).tolist() == [False, False, True, True, False, False]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no row yet; wait until"),
        ("time/total_timesteps,task/segment\n", "has no row yet; wait until"),
        ("a,b\n1,2\n", "is no log of crl's (it has no columns time/total_timesteps and task/segment)"),
        ("time/total_timesteps,task/segment\n1\n", "a row has 1 cells in place of 2"),
        ("time/total_timesteps,task/segment\n1,\n", "a row has no step or no segment"),
        ("time/total_timesteps,task/segment\n1,x\n", "could not convert string to float: 'x'"),
    ],
)
def test_logs_that_are_refused(content: str, message: str, tmp_path: Path) -> None:
    run = logged_run(tmp_path / "run")
    (run / "progress.csv").write_text(content)
    with pytest.raises(ConfigError) as caught:
        read(run)
    assert message in str(caught.value)


def test_folders_that_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = logged_run(tmp_path / "run")
    (run / "link").symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="is a link"):
        read(run)
    (run / "link").unlink()
    monkeypatch.setattr(reading, "MAX_LOG", 10)
    with pytest.raises(ConfigError, match="has more than the 10 bytes"):
        read(run)
    (run / "progress.csv").unlink()
    with pytest.raises(ConfigError, match="is missing; give a run that has written a row of logs"):
        read(run)
    (run / "config.yaml").write_text("!!python/object/apply:os.getcwd []")
    with pytest.raises(ConfigError, match="config"):
        read(run)


def test_runs_of_different_tasks(tmp_path: Path) -> None:
    one, longer = logged_run(tmp_path / "one"), logged_run(tmp_path / "two", tasks=["a", "b", "a", "b"])
    check_same_tasks([read(one), read(longer)])
    other = logged_run(tmp_path / "other", tasks=["a", "c", "a"])
    with pytest.raises(ConfigError, match=r"visit 2 is of b in .*one.* and of c in .*other.*draw .* apart"):
        check_same_tasks([read(one), read(other)])
    short = logged_run(tmp_path / "short", tasks=["a"])
    with pytest.raises(ConfigError, match="visit 2 is of b"):
        check_same_tasks([read(one), read(short), read(other)])
