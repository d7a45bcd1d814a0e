"""`crl diagnose`: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from agents.plasticity.diagnosis import Comparison, Diagnosis, Examination, Finding
from crl.config import ConfigError
from crl.diagnosis import diagnose, measuring
from crl.diagnosis.measuring import Examined
from crl.diagnosis.report import show, write_json


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine fresh networks, each trained for two steps."""
    monkeypatch.setattr(measuring, "Examination", partial(Examination, fresh=9, steps=2, observations=16))


@pytest.fixture
def run(trained: tuple[Path, object], tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained[0], tmp_path / "run [1]"))


def contents(run: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}


def test_it_writes_one_file_and_prints_what_is_in_it(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = contents(run)
    assert diagnose(run) == 0
    written = run / "diagnosis" / "1024.json"
    after = contents(run)
    assert after.keys() - before.keys() == {written}
    assert {path: after[path] for path in before} == before
    data = json.loads(written.read_text())
    assert (data["steps"], data["task"]) == (1024, "asterix")
    networks = {"actor", "critic", "features"}
    assert data["trainability"].keys() == {f"{name}/trainability" for name in networks} | {"actor/policy_trainability"}
    assert all(len(each["fresh"]) == 9 for each in (data["trainability"] | data["signs"]).values())
    assert {"features.0/dormant_units", "actor.0/feature_rank", "critic/kernel_rank"} < data["signs"].keys()
    assert data["gradient_shares"].keys() == networks  # the optimizer's moments came from the checkpoint
    assert data["value_sizes"]["critic"].keys() == {"1024"}
    out, err = capsys.readouterr()
    assert err == ""
    assert out.startswith("run [1]: after 1,024 steps, in asterix, beside 9 fresh networks\n")
    assert sum(line.split()[:1] == ["actor/policy_trainability"] for line in out.splitlines()) == 1
    assert f"written: {written}, in " in out


def test_agents_with_a_replay_buffer(replaying: tuple[str, Path, object], tmp_path: Path) -> None:
    agent, source, _ = replaying
    run = Path(shutil.copytree(source, tmp_path / "run"))
    assert diagnose(run) == 0
    (written,) = (run / "diagnosis").iterdir()
    found = json.loads(written.read_text())["trainability"].keys()
    assert "critic/trainability" in found
    assert ("actor/policy_trainability" in found) == (agent == "sac")


def test_a_step_beside_another_run_and_its_start(
    checkpointed: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    several = Path(shutil.copytree(checkpointed, tmp_path / "several"))
    before = contents(run)
    assert diagnose(several, 320, run) == 0
    assert contents(run) == before
    data = json.loads((several / "diagnosis" / "320.json").read_text())
    assert data["value_sizes"]["critic"].keys() == {"200", "320"}
    assert data["signs"]["actor/weight_size"]["start"] > 0
    assert (data["compared_with"]["run"], data["compared_with"]["steps"]) == (str(run), 1024)
    header = next(line for line in capsys.readouterr().out.splitlines() if "measure" in line)
    assert header.split() == ["measure", "run", "1", "run", "2", "fresh", "least", "most", "start"]


REFUSALS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no such step": (lambda run: diagnose(run, 1000), r"--checkpoint 1000 is not in .* where 1024 is the nearest step"),
    "missing": (lambda run: diagnose(run / "no"), "does not exist; give one that crl train has made"),
    "other missing": (lambda run: diagnose(run, None, run / "no"), "does not exist; give one that crl train has made"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_refusals_write_nothing(trained: tuple[Path, object], case: str) -> None:
    before = contents(trained[0])
    call, sentence = REFUSALS[case]
    with pytest.raises(ConfigError, match=sentence):
        call(trained[0])
    assert contents(trained[0]) == before


def test_a_file_in_the_way_and_a_damaged_checkpoint(run: Path) -> None:
    (run / "visits" / "512").mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"512' cannot be read \(.*\); it is damaged, remove it"):
        diagnose(run)
    (run / "diagnosis").touch()
    with pytest.raises(ConfigError, match="is a file, where the results would go; move it away"):
        diagnose(run)


def test_findings_in_words_and_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compared = Comparison(0.9, (0.1,) * 9, 0.2)
    finding = Finding("dead units", "actor", "actor.1", 0.89, 0.9, {"dormant_units": 0.9}, 0.25)
    ill = Diagnosis((finding,), {"actor.1/dormant_units": compared}, {"actor/trainability": compared}, {}, {})
    unknown = Diagnosis((), {}, {"critic/trainability": Comparison(0.1, (0.5,) * 9)}, {}, {})
    well = Diagnosis((), {}, {"critic/trainability": Comparison(0.5, (0.5,) * 9)}, {}, {})
    runs = [Examined(tmp_path, 100, "pendulum", 1.0, each) for each in (ill, unknown, well)]
    show(runs)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == (
        "  found: dead units in actor (actor.1): strength 0.89, confidence 0.90 (dormant_units 0.9; trainability 0.25 "
        "of a fresh one's)"
    )
    assert lines[3] == "  critic learns less than fresh networks do, by none of the mechanisms that are looked for"
    assert lines[5] == "  found: none; the networks can be trained as fresh ones can"
    write_json(tmp_path / "diagnosis" / "100.json", runs[:1])
    data = json.loads((tmp_path / "diagnosis" / "100.json").read_text())
    assert data["findings"][0]["mechanism"] == "dead units"
    assert data["signs"]["actor.1/dormant_units"] == {"value": 0.9, "fresh": [0.1] * 9, "start": 0.2}
