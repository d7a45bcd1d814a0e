"""The page of `crl report`, as the command line writes it and as a browser parses it."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import math
import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from matplotlib.backends.backend_agg import FigureCanvasAgg
from reported_runs import reported_run

from agents.plasticity.diagnosis import Comparison, Diagnosis, Finding, Trial
from crl.cells import inert
from crl.compare import compare
from crl.compare.places import Place
from crl.config import ConfigError
from crl.diagnosis.continuation import Continuation, Continued
from crl.diagnosis.measuring import Examined
from crl.diagnosis.report import write_json
from crl.diagnosis.source import Origin, Source
from crl.report import figures, report
from crl.report.arms import compared
from crl.report.reading import read
from crl.statistics.changes import Change

Command = Callable[..., "subprocess.CompletedProcess[str]"]

NASTY = '<script>alert(1)</script> & "x" $y_1$ ü'
VOID = ("meta", "link", "input", "br")


class Page(HTMLParser):
    """What a browser sees.

    Attributes:
        tags: name and attributes of each tag.
        texts: name of a tag -> the texts in it.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        for tag in self._open:
            self.texts[tag][-1] += data


def rows_of(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


TASKS = ("a", NASTY, "a")


def three_arms(parent: Path) -> list[Path]:
    """Five seeds of plain, and an oracle and ReDo of which two are there; the last one of these has not ended."""
    runs = []
    for seed in range(1, 6):
        evaluations = {"a": [0.0, 4.0, 2.0, 2.0], NASTY: [1.0, 1.0, 1.0, 1.0]}
        runs.append(reported_run(parent, seed, tasks=TASKS, returns=(4.0, 6.0, 1.0 * seed), evaluations=evaluations))
    for seed in (1, 2):
        evaluations = {"a": [0.0, 4.0, 0.0, 4.0], NASTY: [0.0, 0.0, 2.0, 2.0]}
        runs.append(reported_run(parent, seed, "oracle", tasks=TASKS, returns=(4.0, 3.0, 2.0), evaluations=evaluations))
    runs.append(reported_run(parent, 1, "redo", tasks=TASKS, returns=(2.0, 3.0, 2.0)))
    runs.append(reported_run(parent, 2, "redo", tasks=TASKS, returns=(2.0, 3.0, 2.0), rows=3))
    (runs[-1] / "results.json").unlink()
    return runs


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory, crl: Command) -> tuple[Path, list[Path], str]:
    """The folder of a report of `three_arms`, these, and what was printed."""
    parent = tmp_path_factory.mktemp("report")
    runs = three_arms(parent)
    result = crl("report", *(run.name for run in runs), "--out", "out", cwd=parent)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"report: {Path('out', 'index.html')}\n"
    return parent / "out", runs, result.stderr


@pytest.fixture(scope="module")
def page(written: tuple[Path, list[Path], str]) -> Page:
    return Page((written[0] / "index.html").read_text(encoding="utf-8"))


def test_all_of_it_is_there(page: Page, written: tuple[Path, list[Path], str]) -> None:
    assert page.texts["h2"] == [
        "Learning curves", "Measures", "Plasticity per visit", "Every task over time", "Diagnosis",
        "Plasticity of the networks: units", "Compute spent", "Configs", "Make it again",
    ]  # fmt: skip
    assert len(page.texts["svg"]) == 4
    assert {path.name for path in written[0].iterdir()} == {
        ".lock", "index.html", *(f"{name}.{kind}" for name in ("learning_curves", "plasticity_per_visit", "evaluations",
                                                      "plasticity_2") for kind in ("svg", "png")),
        "plasticity_per_visit.csv", "measures.csv", "measures.tex", "compute.tex", "runs.csv", "visits.csv",
        "differences.csv", "differences.tex",
    }  # fmt: skip
    assert (written[0] / "evaluations.png").read_bytes().startswith(b"\x89PNG")
    words = " ".join(run.name for run in written[1])
    commands = page.texts["pre"]
    assert commands[0] == f"crl report {words} --out out"
    assert "# redo1\ncrl train redo.yaml seed=1\n" in commands[1]
    assert commands[2] == "# all runs\npython 3"


def test_it_needs_nothing_else_and_runs_nothing_of_a_run(page: Page) -> None:
    places = ("src", "href", "xlink:href")
    addresses = [value or "" for _, of in page.tags for name, value in of.items() if name in places]
    assert all(re.match(r"#|data:[,i]|[a-z_0-9]+\.(svg|png|csv|tex)$", address) for address in addresses)
    scripts = [of for tag, of in page.tags if tag == "script"]
    assert scripts == [{}]  # the page's own
    (policy,) = [of["content"] for tag, of in page.tags if of.get("http-equiv") == "Content-Security-Policy"]
    (script,) = page.texts["script"]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'" in str(policy)
    names = [of["id"] for _, of in page.tags if of.get("id")]
    assert len(names) == len({*names})
    assert not any(name.startswith("on") for _, of in page.tags for name in of)


def test_names_are_shown_as_they_are(page: Page, written: tuple[Path, list[Path], str]) -> None:
    assert any(NASTY in text for text in page.texts["h3"])  # of a table
    assert any(NASTY in text for text in page.texts["text"])  # of a figure
    latex = (written[0] / "measures.tex").read_text(encoding="utf-8")
    assert "\\begin{tabular}{lrrrr" in latex
    assert not re.search(r"^[^%\n]*<script", latex, re.MULTILINE)


def test_what_is_missing_is_said(page: Page, written: tuple[Path, list[Path], str]) -> None:
    sentences = [
        "'redo2' of 9 runs has not ended, and is drawn as far as that goes, and in no measure",
        "'redo1' of 9 runs was not evaluated, so that measures of evaluations are without; train with evaluation.every",
    ]
    assert page.texts["li"] == sentences
    assert written[2] == "".join(f"crl: warning: {sentence}\n" for sentence in sentences)


def test_measures_are_those_of_compare(written: tuple[Path, list[Path], str], tmp_path: Path) -> None:
    compare(written[1][:8], tmp_path / "compared.csv")
    assert (written[0] / "measures.csv").read_bytes() == (tmp_path / "compared.csv").read_bytes()


def test_each_measure_that_is_shown_is_explained(page: Page, written: tuple[Path, list[Path], str]) -> None:
    shown = list(dict.fromkeys(row["measure"] for row in rows_of(written[0] / "measures.csv")))
    assert len(shown) == 6
    explained = [text.partition(": ")[0] for text in page.texts["p"] if text.partition(": ")[0] in shown]
    assert explained == shown


def test_plasticity_of_each_visit(written: tuple[Path, list[Path], str]) -> None:
    found = {
        (row["arm"], row["seed"], row["of"], row["visit"]): float(row["over_oracle"])
        for row in rows_of(written[0] / "plasticity_per_visit.csv")
    }
    returns, areas = "return at the end of the visit", "area under the curve of evaluations"
    assert [found["plain", "2", returns, visit] for visit in "123"] == [1.0, 2.0, 1.0]
    # Areas of a: (0 + 4) / 2 in the first visit, (2 + 2) / 2 over (0 + 4) / 2 in the third; of the other 1 over 1.
    assert [found["plain", "2", areas, visit] for visit in "123"] == [1.0, 1.0, 1.0]
    assert [found["redo", "1", returns, visit] for visit in "123"] == [0.5, 1.0, 1.0]
    assert {(arm, seed) for arm, seed, *_ in found} == {("plain", "1"), ("plain", "2"), ("redo", "1")}


def test_visits_are_of_the_tasks_that_a_seed_has_played(tmp_path: Path) -> None:
    """Of a stream whose seeds have orders of their own, and of records that are not of equal length."""
    orders = {1: ("a", "b"), 2: ("b", "a", "b")}
    runs = [
        reported_run(tmp_path, seed, method, tasks=tasks, returns=[1.0] * len(tasks))
        for seed, tasks in orders.items()
        for method in ("plain", "oracle")
    ]
    report(runs, tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "plasticity_per_visit.csv")
    assert [(row["seed"], row["visit"], row["task"]) for row in rows] == [
        ("1", "1", "a"), ("1", "2", "b"), ("2", "1", "b"), ("2", "2", "a"), ("2", "3", "b"),
    ]  # fmt: skip


def test_compute_and_runs(page: Page, written: tuple[Path, list[Path], str]) -> None:
    rows = rows_of(written[0] / "runs.csv")
    assert [(row["run"], row["arm"], row["seed"], row["gradient_steps"]) for row in rows][-1] == (
        "redo1", "redo", "1", "1000",
    )  # fmt: skip
    latex = (written[0] / "compute.tex").read_text()
    assert r"plain & 5 & 1,234,567 & 1,000 & 12 & 10 & 123,457 & 0.55 GB &  \\" in latex


def test_what_differs(written: tuple[Path, list[Path], str]) -> None:
    assert rows_of(written[0] / "differences.csv") == [
        {"key": "method", "plain": "plain", "oracle": "oracle", "redo": "redo"}
    ]


def test_a_report_is_made_again_of_one_run_and_one_seed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = reported_run(tmp_path, 7)
    for _ in range(2):
        assert report([run]) == Path("reports", "plain7", "index.html")
    page = Page(Path("reports", "plain7", "index.html").read_text(encoding="utf-8"))
    assert "Plasticity per visit" not in page.texts["h2"]  # there is no oracle
    assert any("of one seed all scores are shown" in text for text in page.texts["p"])
    assert not (tmp_path / "plain7" / "report").exists()


def test_versions_of_all_processes_of_a_run_are_shown_where_they_differ(tmp_path: Path) -> None:
    for seed, texts in ((1, ["a 1\n", "a 1\n"]), (2, ["a 1\n", "a 2\n", "a 2\n"])):
        (reported_run(tmp_path, seed) / "versions.txt").write_text("\n".join(texts))
    page = Page(report([tmp_path / "plain1", tmp_path / "plain2"], tmp_path / "out").read_text(encoding="utf-8"))
    assert "# plain1\na 1\n\n# plain2\na 1\nthen\na 2" in page.texts["pre"]


def test_names_that_look_like_a_figures_own_text(tmp_path: Path) -> None:
    for method, name in (("plain", "_a__s1"), ("redo", "_b__s1")):
        task = 'font: 10px x id="y" d="1.23" fill: #24292f'
        reported_run(tmp_path, 1, method, tasks=(task, "b"), returns=(1.0, 2.0)).rename(tmp_path / name)
    (tmp_path / "ablation.json").write_text('{"common": {}, "runs": {"_a__s1": {}, "_b__s1": {}}}')
    page = Page(report([tmp_path], tmp_path / "out").read_text(encoding="utf-8"))  # whose tags are closed
    shown = {text.strip() for text in page.texts["text"]}
    assert {task, "_a", "_b"} <= shown  # matplotlib's legends pass over an underscore


@pytest.mark.parametrize("tasks", [("a",), ("a", "b", "c")])
def test_what_the_colors_of_a_map_mean_fits_beside_it(tmp_path: Path, tasks: tuple[str, ...]) -> None:
    evaluations = {task: [0.0, *(2.0 for _ in tasks)] for task in tasks}
    run = reported_run(tmp_path, 1, tasks=tasks, returns=[1.0] * len(tasks), evaluations=evaluations)
    figure = figures.heat_maps(compared([read(Place(run))]))
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    label = figure.axes[-1].yaxis.label
    box = label.get_window_extent(renderer)
    assert 0 <= box.y0 < box.y1 <= figure.bbox.height
    assert box.x1 <= figure.bbox.width


def test_a_figure_that_cannot_be_drawn_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(_: object) -> None:
        raise ValueError("arange: cannot compute length")  # matplotlib's, of returns of 1e308 and -1e308

    monkeypatch.setattr(figures, "learning_curves", failing)
    page = Page(report([reported_run(tmp_path, 1)], tmp_path / "out").read_text(encoding="utf-8"))
    said = "crl: warning: the figure 'Learning curves' cannot be drawn (arange: cannot compute length)"
    assert said in capsys.readouterr().err
    assert "Measures" in page.texts["h2"]
    assert "Learning curves" not in page.texts["h2"]


def test_no_name_is_a_formula_in_a_spreadsheet(tmp_path: Path) -> None:
    formula = '=HYPERLINK("example.org")'
    report([reported_run(tmp_path, 1, tasks=(formula,), returns=(-1.0,))], tmp_path / "out")
    (row,) = rows_of(tmp_path / "out" / "visits.csv")
    assert (row["task"], row["mean_return"]) == (f"'{formula}", "-1.0")
    assert f"'{formula}" in {row["task"] for row in rows_of(tmp_path / "out" / "measures.csv")}
    assert [inert(cell) for cell in ("-", "- | 2", "-1e-3", "+1+1", "a=b", -2.0)] == [
        "-", "- | 2", "-1e-3", "'+1+1", "a=b", -2.0,
    ]  # fmt: skip


def test_a_report_takes_the_place_of_nothing_but_a_report(tmp_path: Path) -> None:
    runs = [reported_run(tmp_path, 1, method) for method in ("plain", "oracle")]
    for name in ("ablation.json", "index.html"):
        home = tmp_path / f"home of {name}"
        home.mkdir()
        (home / name).write_text("<title>mine</title>")
        with pytest.raises(ConfigError, match=f"has a {name} that is no report's; give another folder by --out"):
            report(runs, home)
        assert [path.name for path in home.iterdir()] == [name]
    with pytest.raises(ConfigError, match=r"has a config\.yaml that is no report's"):
        report(runs, runs[0])
    out = tmp_path / "out"
    report(runs, out)
    (out / "notes.tex").write_text("mine")
    assert (out / "plasticity_per_visit.csv").exists()
    report(runs[:1], out)  # without an oracle
    assert not [*out.glob("plasticity_per_visit.*")]
    assert (out / "notes.tex").read_text() == "mine"


def test_a_damaged_log_is_left_out_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, torn, evaluated = reported_run(tmp_path, 1), reported_run(tmp_path, 2), reported_run(tmp_path, 3)
    (torn / "progress.csv").write_text("time/total_timesteps,task/segment\n1\n")
    (evaluated / "evaluations.csv").write_text("step,task\n1,a\n")
    report([good, torn, evaluated], tmp_path / "out")
    said = capsys.readouterr().err
    assert "progress.csv' is no log of crl's (a row has 1 cells in place of 2); put it back as it was; its" in said
    assert "evaluations.csv' is no log of evaluations (it has no column 'return_mean'); put it back" in said
    assert {row["seeds"] for row in rows_of(tmp_path / "out" / "measures.csv")} == {"2"}
    assert read(Place(torn)).ended is not None
    assert read(Place(evaluated)).curves is not None


def diagnosed(run: Path, steps: int, *, ill: bool) -> Path:
    """The run, in which `crl diagnose` has left what it found after so many steps."""
    dead = Finding("dead units", "actor", "actor.1", 0.875, 0.95, {"dormant_units": 0.9}, 0.25)
    scores = {"actor/trainability": Comparison(0.125 if ill else 0.5, (0.5,) * 9)}
    jump = Change("sudden", 0.99, 50, 100, 50, 150, 0.1, 0.9)
    origin = Origin(
        (
            Source("dead units", "actor", "dormant_ratio", 20, jump, 2, NASTY),
            Source("", "critic", "trainability", 3, None),
        ),
        {"actor": {"learning_rate": 0.1, "norm": "none"}},
    )
    scores |= {"critic/trainability": Comparison(0.1, (0.5,) * 9)} if ill else {}
    scores |= {"actor/policy_trainability": Comparison(0.02, (0.05,) * 9)} if ill else {}  # of fresh ones, too, a tenth
    silent = () if ill else (replace(dead, trainability=1.5),)
    found = Diagnosis((dead,) if ill else (), {}, scores, {}, {}, unmissed=silent)
    before = {"actor/trainability": 0.25, "critic/trainability": 0.5}
    trials = (
        Trial({"name": NASTY, "rate": 0.5}, "", before, dict.fromkeys(before, 0.9), {"actor": 0.125}, at_switches=True),
        Trial({"name": "redo"}, "", before, before | {"actor/trainability": math.nan}),
        Trial({"name": "spectral"}, "it cannot be"),
    )
    went_on = Continuation(None, [1.5, math.nan], [4, 0]), Continuation({"name": "gxd"}, [2.0, 4.0], [1, 2])
    continued = Continued(NASTY, 1000, went_on) if ill else None
    examined = Examined(run, steps, 1, NASTY, 100, 1.0, found, origin, trials if ill else (), continued)
    write_json(run / "diagnosis" / f"{steps}.json", [examined])
    return run


def test_what_ails_networks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [reported_run(tmp_path, seed) for seed in (1, 2, 3)]
    diagnosed(diagnosed(runs[0], 50, ill=False), 100, ill=True)
    diagnosed(runs[1], 100, ill=False)
    (runs[1] / "diagnosis" / "900.json").write_text('{"steps": -1}')
    page = Page(report(runs, tmp_path / "out").read_text(encoding="utf-8"))
    assert "900.json' is no diagnosis (steps: " in capsys.readouterr().err
    (sentence,) = (text for text in page.texts["p"] if "been diagnosed" in text)
    assert sentence == f"1 of 3 runs has not been diagnosed; that is done by crl diagnose {runs[2]}"
    rows = rows_of(tmp_path / "out" / "diagnosis.csv")
    since = f"by step 100, at once at the switch to {NASTY} (visit 2); between 50 and 150 by 95%"
    assert [(row["seed"], row["steps"], row["found"], row["where"], row["since"]) for row in rows] == [
        ("1", "100", "dead units", "actor.1", since),
        ("1", "100", "learns less than fresh networks, by none of the mechanisms looked for", "critic", "not known"),
        ("1", "50", "none", "", ""),
        ("1", "50", "dead units, not missed", "actor.1", ""),
        ("2", "100", "none", "", ""),
        ("2", "100", "dead units, not missed", "actor.1", ""),
    ]
    assert rows[0]["strength"] == "0.88"
    cells = page.texts["td"]
    assert {"0.25", "0.20", "1.00", since} <= {*cells}  # trainability over fresh ones'
    assert cells.count("not known") == 2  # since when the critic is so, and what tells nothing of fresh ones either
    assert "0.40" not in cells
    assert [text for text in page.texts["h3"] if "Settings" in text] == ["Settings of these networks"]
    place = cells.index("nothing")
    tried = [text for text in cells[:place] if text in {f"{NASTY} (rate 0.5)", "redo", "spectral", "0.9", "0.12", "-"}]
    assert tried == [f"{NASTY} (rate 0.5)", "0.9", "0.12", "redo", "-", "-"]
    assert cells[place - 2 : place + 4] == [NASTY, "1,000", "nothing", "-", "1.5, -", "4"]
    assert cells[place + 7 : place + 11] == ["gxd", "3", "2, 4", "3"]
    (paste,) = (text for text in page.texts["pre"] if text.startswith("interventions:"))
    assert yaml.safe_load(paste) == {"interventions": [{"name": NASTY, "rate": 0.5}]}
    assert "# at revealed task switches" in paste
    (runs[0] / "diagnosis" / "100.json").write_text(
        (runs[0] / "diagnosis" / "100.json").read_text().replace('"name"', '"nam"')
    )
    report(runs, tmp_path / "out")
    assert "100.json' is no diagnosis (trials.0.candidate.name: " in capsys.readouterr().err
