"""`crl diagnose`: what it prints and writes, and what it refuses."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_checkpoints import steps_of, train

from agents.plasticity.diagnosis import Comparison, Diagnosis, Examination, Finding, Trial
from agents.plasticity.findings import best_of
from crl.config import ConfigError
from crl.diagnosis import diagnose, measuring
from crl.diagnosis.measuring import Examined
from crl.diagnosis.report import show, write_json
from crl.diagnosis.wording import number_of


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nine fresh networks, each trained for two steps."""
    monkeypatch.setattr(measuring, "Examination", partial(Examination, fresh=9, observations=16))
    monkeypatch.setattr(measuring, "STEPS", 2)


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
    table = out.partition("\n measure ")[2]
    assert sum(line.split()[:1] == ["actor/policy_trainability"] for line in table.splitlines()) == 1
    assert "actor/policy_trainability tells nothing: 2 steps at this learning rate" in out
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
    assert data["signs"]["actor/weight_size"]["earliest"] > 0
    assert (data["compared_with"]["run"], data["compared_with"]["steps"]) == (str(run), 1024)
    header = next(line for line in capsys.readouterr().out.splitlines() if "measure" in line)
    assert header.split() == ["measure", "run", "1", "run", "2", "fresh", "least", "most", "at", "200"]


def test_two_steps_of_one_run(checkpointed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Path(shutil.copytree(checkpointed, tmp_path / "run"))
    assert diagnose(run, 200, run, steps=1, go_on=10) == 0
    assert "--continue: no network is known to learn less than fresh ones, so that nothing" in capsys.readouterr().out
    data = json.loads((run / "diagnosis" / "200.json").read_text())
    assert (data["steps"], data["compared_with"]["steps"]) == (200, steps_of(run)[-1])
    assert data["probe_steps"] == 1
    assert data["untold"] == list(data["trainability"])


def test_networks_at_a_visits_end_are_trained_at_the_rate_of_that_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(tmp_path, "agent.learning_rate={linear: [0.001, 0]}", "checkpoint.visits=true", "checkpoint.keep=1")
    visits = {int(path.name): path for path in (run / "visits").iterdir()}
    rates = []

    def examination(model: Any, **_: Any) -> Any:
        rates.extend(optimizer.param_groups[0]["lr"] for optimizer in model.optimizers)
        raise ConfigError("enough")

    monkeypatch.setattr(measuring, "Examination", examination)
    first = min(visits)
    with pytest.raises(ConfigError, match="enough"):
        diagnose(run, first)
    total = max(visits)
    assert rates == pytest.approx([1e-3 * (1 - first / total)])


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
    compared, harmed = Comparison(0.9, (0.1,) * 9, 0.2), Comparison(0.1, (0.5,) * 9)
    finding = Finding("dead units", "actor", "actor.1", 0.89, 0.9, {"dormant_units": 0.9}, 0.25)
    ill = Diagnosis((finding,), {"actor.1/dormant_units": compared}, {"actor/trainability": harmed}, {}, {})
    unknown = Diagnosis((), {}, {"critic/trainability": harmed}, {}, {})
    well = Diagnosis((), {}, {"critic/trainability": Comparison(0.5, (0.5,) * 9)}, {}, {})
    little = Comparison(0.5, (0.04,) * 9)
    some = Diagnosis((), {}, {"actor/trainability": Comparison(0.5, (0.5,) * 9), "critic/trainability": little}, {}, {})
    nothing = Diagnosis((), {}, {"critic/trainability": little}, {}, {})
    at_rest = Diagnosis((), {}, {"critic/trainability": Comparison(0.0, (0.0,) * 9)}, {}, {})
    silent = replace(well, unmissed=(replace(finding, trainability=1.2),))
    found = (ill, unknown, well, some, nothing, Diagnosis((), {}, {}, {}, {}), at_rest, silent)
    runs = [Examined(tmp_path, 100, 50, "pendulum", 100, 1.0, each) for each in found]
    show(runs)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == (
        "  found: dead units in actor (actor.1): strength 0.89, confidence 0.90 (dormant_units 0.9; trainability 0.25 "
        "of a fresh one's)"
    )
    assert lines[3] == "  critic learns less than fresh networks do, by none of the mechanisms that are looked for"
    assert lines[5] == "  found: none; the networks can be trained as fresh ones can"
    assert lines[7:9] == [lines[10], "  found: none"]
    assert lines[10:12] == [
        "  critic/trainability tells nothing: 100 steps at this learning rate remove only 0.04 of the error even of "
        "fresh networks, and nothing can be named below 0.1; give more, such as --steps 1000",
        unknown_to_all := "  found: none, but whether the networks can be trained is not known",
    ]
    assert lines[13] == unknown_to_all
    assert lines[15].endswith(
        "only 0 of the error even of fresh networks, and nothing can be named below 0.1; give an "
        "earlier --checkpoint, if one is kept"
    )
    assert lines[18:20] == [
        lines[5],
        "  not missed, but often cheap to revive: dead units in actor (actor.1): strength 0.89, confidence 0.90 "
        "(dormant_units 0.9; trainability 1.2 of a fresh one's)",
    ]
    write_json(tmp_path / "diagnosis" / "100.json", runs[:1])
    data = json.loads((tmp_path / "diagnosis" / "100.json").read_text())
    assert data["findings"][0]["mechanism"] == "dead units"
    assert data["signs"]["actor.1/dormant_units"] == {"value": 0.9, "fresh": [0.1] * 9, "earliest": 0.2}


def test_what_interventions_would_do_is_shown_and_can_be_pasted(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Ill(Examination):
        """Finds an illness, and knows three remedies."""

        def diagnose(self, *arguments: Any, **named: Any) -> Diagnosis:
            found, finding = (
                super().diagnose(*arguments, **named),
                Finding("rank collapse", "critic", "critic.0", 0.9, 0.9),
            )
            better = {key: replace(each, fresh=(0.9,) * 9) for key, each in found.trainability.items()}
            return replace(found, findings=(finding,), trainability=better)

        def match(self, diagnosis: Diagnosis, candidates: Any = None) -> Any:
            return super().match(diagnosis, ["full_reset", "spectral", "plasticity_injection"])

    monkeypatch.setattr(measuring, "Examination", partial(Ill, fresh=9, observations=16))
    assert diagnose(run) == 0
    data = json.loads((run / "diagnosis" / "1024.json").read_text())
    reset, spectral = sorted(data["trials"][:2], key=lambda trial: trial["candidate"]["name"])
    assert "  # at revealed task switches; with period: at every so many gradient steps" in reset["config"]
    assert yaml.safe_load(reset["config"]) == {"interventions": [{"name": "full_reset"}]}
    assert spectral["config"] == "interventions:\n- {name: spectral}"
    assert reset["changes"].keys() == {"actor", "critic"}
    assert reset["before"] != spectral["before"]  # which is held against a copy that was trained
    assert data["trials"][2]["hindrance"].startswith("the head of actor is not built for it")
    (usual,) = data["usual"]
    assert (usual["mechanism"], usual["usual"], usual["regained"] is None) == ("rank collapse", "spectral", False)
    assert {"agent.norm: layer", "agent.optimizer: trac"} < set(data["next_run"])
    out = " ".join(capsys.readouterr().out.split())
    assert "not tried: plasticity_injection: the head of actor is not built for it" in out
    assert "usually named for rank collapse in critic: spectral, which regains" in out
    assert "cannot be put into an agent that lives; for the next run: agent.norm: layer; " in out


def test_of_those_that_regain_as_much_the_one_that_changes_least_is_to_be_pasted() -> None:
    def trial(name: str, after: float, change: float) -> Trial:
        return Trial({"name": name}, "", {"a/trainability": 0.2}, {"a/trainability": after}, {"a": change})

    harsh, mild, weak = trial("harsh", 0.9, 2.0), trial("mild", 0.85, 0.1), trial("weak", 0.25, 0.0)
    assert best_of([harsh, mild, weak]) is mild
    assert best_of([weak]) is None
    assert best_of([mild, replace(mild, changes={})]) is mild  # the other one changes outputs by no finite number
    assert best_of([]) is None


def test_numbers_of_the_table() -> None:
    assert [number_of(value) for value in (math.nan, -0.0, -0.25, 1234.5)] == ["-", "0", "-0.25", "1.2e+03"]
