"""`crl compare` at the command line."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from compared_runs import compared_run

from crl.compare import compare
from crl.config import ConfigError

Command = Callable[..., "subprocess.CompletedProcess[str]"]

PLAIN, GXD = (1.0, 2.0, 3.0, 4.0, 5.0), (3.0, 4.0, 6.0, 7.0, 10.0)


def ten(parent: Path) -> list[str]:
    """Five runs of each of two methods, whose returns differ by 2, 2, 3, 3 and 5."""
    runs = [compared_run(parent, seed, "gxd", [value]) for seed, value in enumerate(GXD)]
    runs += [compared_run(parent, seed, "plain", [value]) for seed, value in enumerate(PLAIN)]
    return [run.name for run in runs]


def written(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text())))


def test_five_seeds_of_two_methods(tmp_path: Path, crl: Command) -> None:
    runs = ten(tmp_path)
    result = crl("compare", *runs, "--csv", "table.csv", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert lines[0] == "return at the ends of visits"
    assert [line.split() for line in lines if line.strip().startswith(("group", "gxd", "plain"))] == [
        ["group", "seeds", "IQM", "mean", "median", "difference", "p", "better"],
        ["gxd", "5", "5.67", "6", "6", "3", "0.005", "0.84"],  # the mean of 4, 6 and 7
        ["plain", "5", "3", "3", "3"],
    ]
    assert any("[1.48, 4.52]" in line for line in lines)
    assert "difference: from plain, over the seeds that both have" in result.stdout
    gxd, plain = written(tmp_path / "table.csv")
    assert (gxd["measure"], gxd["task"], gxd["group"]) == ("return at the ends of visits", "a", "gxd")
    assert (gxd["seeds"], gxd["scores"]) == ("5", "0:3.0 1:4.0 2:6.0 3:7.0 4:10.0")
    assert float(gxd["better"]) == pytest.approx((2.5 + 3.5 + 5 + 5 + 5) / 25)  # 3 is above two and equal to one
    assert (gxd["compared_with"], gxd["pairs"], gxd["difference"], gxd["p"]) == ("plain", "5", "3.0", gxd["p_holm"])
    assert float(gxd["difference_low"]) == pytest.approx(3 - 1.5207, abs=1e-4)
    assert float(gxd["iqm_low"]) < 17 / 3 < float(gxd["iqm_high"])
    assert (plain["difference"], plain["p_holm"], plain["optimality_gap"]) == ("", "", "")
    compare([tmp_path / run for run in reversed(runs)], tmp_path / "again.csv")  # plain is what all are compared with
    assert written(tmp_path / "again.csv") == [plain, gxd]


def test_few_seeds_show_all_scores_and_claim_nothing(tmp_path: Path, crl: Command) -> None:
    runs = [compared_run(tmp_path, seed, "plain", [value]).name for seed, value in enumerate((1.0, 2.0, 6.0))]
    runs.append(compared_run(tmp_path, 7, "gxd", [5.0]).name)
    result = crl("compare", *runs, "--csv", "table.csv", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["plain", "3", "1", "2", "6", "3", "2"] in lines  # scores, mean and median
    assert ["gxd", "1", "5", "5", "5"] in lines
    assert "of fewer than 5 seeds all scores are shown in place of an IQM, and nothing is claimed" in result.stdout
    claims = ("iqm_low", "mean_low", "median_high", "difference", "p", "p_holm", "better", "compared_with")
    assert {row[key] for row in written(tmp_path / "table.csv") for key in claims} == {""}
    alone = crl("compare", "gxd7", cwd=tmp_path)
    assert (alone.returncode, alone.stderr) == (0, "")
    assert "of one seed all scores are shown" in alone.stdout
    assert not {"IQM", "difference", "better"} & {*alone.stdout.replace("an IQM,", "").split()}


def test_an_ablation_stands_for_its_runs_and_names_their_groups(tmp_path: Path, crl: Command) -> None:
    folder = tmp_path / "grid"
    folder.mkdir()
    for seed in (1, 2):
        compared_run(folder, seed, returns=[5.0]).rename(folder / f"bare__s{seed}")
        compared_run(folder, seed, "gxd", [6.0]).rename(folder / f"often,rate=1__s{seed}")
    names = [f"{arm}__s{seed}" for arm in ("often,rate=1", "bare") for seed in (1, 2, 3)]
    (folder / "ablation.json").write_text(json.dumps({"common": {}, "runs": {name: {} for name in names}}))
    result = crl("compare", "grid", "grid/bare__s1", "--csv", "table.csv", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "crl: warning: 2 of 6 runs have not begun\n")
    assert [(row["group"], row["scores"]) for row in written(tmp_path / "table.csv")] == [
        ("often,rate=1", "1:6.0 2:6.0"), ("bare", "1:5.0 2:5.0"),
    ]  # fmt: skip


def test_an_unfinished_run_is_left_out(tmp_path: Path, crl: Command) -> None:
    runs = [compared_run(tmp_path, seed, "plain") for seed in range(3)]
    (runs[0] / "results.json").unlink()
    results = runs[1] / "results.json"
    results.write_text(results.read_text().replace('"done"', '"interrupted"'))
    result = crl("compare", "plain0", "plain2", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "crl: warning: 'plain0' has not ended, and is left out\n")
    result = crl("compare", "plain0", "plain1", "plain2", cwd=tmp_path)
    assert result.stderr == "crl: warning: 'plain0' and 1 more have not ended, and are left out\n"
    result = crl("compare", "plain1", cwd=tmp_path)
    expected = "'plain1' has not ended, and there is nothing to compare; end a run by crl resume, or wait until one has"
    assert (result.returncode, result.stdout, result.stderr) == (2, "", f"crl: {expected}\n")


def test_other_streams_are_refused(tmp_path: Path) -> None:
    one, other = compared_run(tmp_path, 1), compared_run(tmp_path, 2, stream="name: y, boundary: revealed")
    with pytest.raises(
        ConfigError, match=r'are runs of different streams \(stream.name is "x" and "y"\); compare runs of'
    ):
        compare([one, other])
    another = compared_run(tmp_path, 1, "gxd", [1, 1], ["a", "b"])
    with pytest.raises(
        ConfigError, match=r"visit 2 is of None in .*plain1' and of b in .*gxd1', which has the same seed"
    ):
        compare([one, another])
    revealed = compared_run(tmp_path, 3, "oracle", stream="name: x, boundary: revealed, label: y")
    compare([one, revealed])


def test_what_is_refused(tmp_path: Path) -> None:
    run = compared_run(tmp_path, 1)
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match="are the same run, of one config and seed; leave one out"):
        compare([run, compared_run(tmp_path / "other", 1)])
    with pytest.raises(
        ConfigError,
        match=r"nothing' is neither a run nor an ablation: it has no config.yaml and no ablation.json",
    ):
        compare([run, tmp_path / "nothing"])
    with pytest.raises(ConfigError, match=r"it holds such folders, give one or several, such as \S*plain1'?$"):
        compare([tmp_path])
    with pytest.raises(ConfigError, match="its folder does not exist; make it, or give another"):
        compare([run], tmp_path / "nowhere" / "table.csv")
    (tmp_path / "table.csv").mkdir()
    with pytest.raises(ConfigError, match=r"table.csv' cannot be written .*; give another file by --csv"):
        compare([run], tmp_path / "table.csv")


def test_without_a_return_there_is_nothing_to_compare(tmp_path: Path) -> None:
    run = compared_run(tmp_path, 1, returns=[None])
    with pytest.raises(ConfigError, match="no episode has ended in these runs, and there is nothing to compare"):
        compare([run], tmp_path / "table.csv")
    assert not (tmp_path / "table.csv").exists()


def test_methods_of_other_seeds_are_not_compared_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [compared_run(tmp_path, seed) for seed in range(5)]
    runs += [compared_run(tmp_path, seed, "gxd") for seed in range(4, 9)]
    compare(runs)
    shown = capsys.readouterr().out
    assert "nothing is compared with plain, as no other group has 5 of its seeds; run the same seeds" in shown
    assert "better" not in shown
    compare(runs[:5])
    assert "nothing is compared" not in capsys.readouterr().out


def test_of_many_tasks_some_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [f"t{number}\x1b" for number in range(23)]
    compare([compared_run(tmp_path, 1, "plain", [1.0] * 23, names)], tmp_path / "table.csv")
    shown = capsys.readouterr().out
    assert shown.count("return at the ends of visits: t") == 20
    assert "of 23 tables 20 are shown; give --csv FILE for all numbers" in shown
    assert "\x1b" not in shown
    assert len(written(tmp_path / "table.csv")) == 23


def test_torch_is_not_needed(tmp_path: Path) -> None:
    run = compared_run(tmp_path, 1, evaluations={"a": [0, 1]})
    code = f"import sys; from pathlib import Path; from crl.compare import compare; compare([Path({str(run)!r})])\n"
    code += "print(sorted({'torch', 'stable_baselines3', 'numba', 'minatar', 'tensorboard'} & {*sys.modules}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
