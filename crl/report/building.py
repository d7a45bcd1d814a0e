"""A report from the folders of its runs: every file of it, as bytes."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from crl.ablation.tables import Finished, runs_table, visits_table
from crl.compare.groups import MEASURES
from crl.compare.places import places_of
from crl.compare.rows import Row, rows_of
from crl.compare.table import TASKS_SHOWN, legend
from crl.compare.table import as_csv as measures_csv
from crl.config.messages import printable
from crl.measures import PLASTICITY
from crl.report import PAGE, diagnoses, figures, tables, visits
from crl.report.arms import Compared, compared
from crl.report.reading import check_one_stream, notes_of, read
from crl.report.sections import Report, Section
from crl.report.tables import Table
from crl.shell import typed

MOST_LINES = 2000  # of a text that is shown


class Built(NamedTuple):
    """A whole report.

    Attributes:
        files: name -> content.
        notes: what is missing, a sentence each.
    """

    files: dict[str, bytes]
    notes: list[str]


def build(folders: Sequence[Path], words: Sequence[str], *, png: bool = True, live: bool = False) -> Built:
    """A report.

    Args:
        folders: of runs and of ablations.
        words: the command line that makes it.
        png: whether figures are wanted as PNG, too.
        live: whether the page looks for a newer one of itself.

    Raises:
        ConfigError: a folder is neither, something in one is a link, runs are of different streams, or two the same.
    """
    places, waiting = places_of(folders)
    runs = [read(place) for place in places]
    check_one_stream(runs)
    found = compared(runs)
    report = Report(png=png)
    _add_all(report, found, words)
    title = ", ".join(dict.fromkeys(printable(folder.resolve().name) for folder in folders[:3]))
    title += f" and {len(folders) - 3} more" if len(folders) > 3 else ""
    notes = [*notes_of(runs, waiting), *report.notes]
    report.files[PAGE] = page(title, notes, report.sections, tables.overview(found), live=live)
    return Built(report.files, notes)


def _add_all(report: Report, found: Compared, words: Sequence[str]) -> None:
    report.add(
        "learning_curves",
        Section(
            "Learning curves",
            "Mean return of the last 100 episodes over steps, empty after each switch (dotted); thick lines are means "
            "over runs, thin ones the runs. Below: hidden units reset so far.",
        ),
        lambda: figures.learning_curves(found),
    )
    rows = rows_of(found.groups, found.reference) if found.reference is not None else []
    _add_measures(report, found, rows)
    _add_visits(report, found)
    report.add(
        "evaluations",
        Section(
            "Every task over time",
            "The newest evaluation of each task, mean over runs: dark is the lowest and bright the highest return of "
            "the task in all arms. Outlined: the visits in which it was trained. "
            f"There are rows for {figures.MOST_TASKS} tasks at most.",
        ),
        lambda: figures.heat_maps(found),
    )
    _add_diagnoses(report, found)
    _add_plasticity(report, found)
    _add_spent(report, found)
    _add_differences(report, found)
    _add_commands(report, found, words)


def _add_measures(report: Report, found: Compared, rows: Sequence[Row]) -> None:
    if found.reference is None or not rows:
        return
    shown = {row.measure for row in rows}
    lines = [f"{each.name}: {each.meaning}" for each in MEASURES if each.name in shown]
    lines += [printable(line) for line in legend(found.groups, rows, found.reference)]
    tasks = len({row.task for row in rows})
    if tasks > TASKS_SHOWN:
        lines.append(f"of {tasks} tasks {TASKS_SHOWN} are shown; measures.csv has all")
    report.add(
        "measures",
        Section("Measures", "What crl compare says of the runs that have ended.", None, *tables.measures(rows), lines),
        data={"measures.csv": measures_csv(rows, found.reference)},
    )


def _add_visits(report: Report, found: Compared) -> None:
    ratios = visits.ratios_of(found)
    if not ratios:
        return
    oracle = found.oracle
    assert oracle is not None
    text = (
        f"What each visit comes to, over what {oracle.label}, a fresh agent in every visit, comes to with the same "
        "seed: 1 is as good as fresh. Means over runs, with 95% bootstrap intervals of five seeds or more; of fewer "
        "all runs are shown. There is no ratio where the oracle's value is not positive."
    )
    report.add(
        "plasticity_per_visit",
        Section("Plasticity per visit", text),
        lambda: visits.figure_of(found, ratios),
        {"plasticity_per_visit.csv": tables.ratios_csv(ratios)},
    )


def _add_diagnoses(report: Report, found: Compared) -> None:
    ill, missing = diagnoses.findings(found), diagnoses.undiagnosed(found)
    text = (
        "What keeps networks from learning, if anything does, by the newest crl diagnose of each run, which compares "
        "them with freshly drawn ones: strength is the share that is gone of what these have. Since when: the change "
        "that the logged curve of the network shows."
    )
    further = (
        diagnoses.trainability(found),
        diagnoses.settings(found),
        diagnoses.trials(found),
        diagnoses.continued(found),
    )
    shown = [ill, *(each for each in further if each.rows)] if ill.rows else []
    lines, texts = [missing] if missing else [], diagnoses.to_paste(found)
    section = Section("Diagnosis", text, None, shown, lines=lines, texts=texts)
    report.add("diagnosis", section, data={"diagnosis.csv": diagnoses.as_csv(found)} if ill.rows else None)


def _add_plasticity(report: Report, found: Compared) -> None:
    for number, category in enumerate(PLASTICITY):
        name = category.removeprefix("plasticity: ")
        report.add(
            f"plasticity_{number + 1}",
            Section(
                f"Plasticity of the networks: {name}",
                "Measured on a probe of the task that is trained; thick lines are means over runs, thin ones the runs.",
                folded=category != "plasticity: units",
            ),
            lambda category=category: figures.plasticity_curves(found, category),  # type: ignore[misc]
        )


def _add_spent(report: Report, found: Compared) -> None:
    finished = [
        Finished(run.folder.name, arm.name, run.seed, run.results)
        for arm in found.arms
        for run in arm.runs
        if run.results is not None
    ]
    report.add(
        "compute",
        Section(
            "Compute spent",
            "Means of the runs of each arm, of training with the evaluations in it; of memory the most.",
            tables=[tables.spent(found)],
        ),
        data={"runs.csv": runs_table(finished), "visits.csv": visits_table(finished)},
    )


def _add_differences(report: Report, found: Compared) -> None:
    differing, own = tables.differences(found)
    text = "Every key of the configs whose value is not the same in all arms, or in all runs of one (a | b)."
    more = {"Keys that only some arms have": [own]} if own.rows else {}
    data = {"differences.csv": tables.as_csv([differing, own])}
    report.add("differences", Section("Configs", text, None, [differing], more), data=data)


def _add_commands(report: Report, found: Compared, words: Sequence[str]) -> None:
    commands, versions = dict[str, list[str]](), dict[str, list[str]]()
    for run in found.runs:
        commands.setdefault(run.command, []).append(run.folder.name)
        processes = dict.fromkeys(run.versions.strip().split("\n\n"))  # a run may be gone on with elsewhere
        versions.setdefault("\nthen\n".join(processes), []).append(run.folder.name)
    texts = [("this report", typed(words))]
    count = len(found.runs)
    texts += [("its runs, each begun and gone on with by", _cut(_each(commands, count)))]
    texts += [("their versions", _cut(_each(versions, count)))]
    report.add("again", Section("Make it again", "", texts=texts))


def _each(texts: Mapping[str, Sequence[str]], count: int) -> str:
    """Every text, below the names of its runs, of which there are so many in all."""
    named = {text: "all runs" if len(names) == count else ", ".join(names) for text, names in texts.items()}
    return "\n\n".join(f"# {names}\n{text or 'not known'}" for text, names in named.items())


def _cut(text: str) -> str:
    lines = text.splitlines()
    more = [f"... and {len(lines) - MOST_LINES} lines more"] if len(lines) > MOST_LINES else []
    return "\n".join([*map(printable, lines[:MOST_LINES]), *more])


def page(
    title: str,
    notes: Sequence[str],
    sections: Sequence[Section] = (),
    arms: Table | None = None,
    *,
    live: bool = False,
) -> bytes:
    """The page: one file, which needs nothing else.

    Args:
        title: of it.
        notes: above all else.
        sections: of it.
        arms: those whose lines can be hidden, in the order of their numbers.
        live: whether it looks for a newer one of itself.
    """
    style, script = (files("crl.report").joinpath(name).read_text("utf-8") for name in ("page.css", "page.js"))
    template = Environment(
        loader=PackageLoader("crl.report", "."), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    ).get_template("page.html.jinja")  # fmt: skip
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = template.render(
        title=title, notes=notes, sections=sections, arms=arms, live=live, style=Markup(style),
        script=Markup(script), allowed=allowed,
    )  # fmt: skip
    content = text.encode("utf-8", "replace")
    return content.replace(b'data-live="1"', f'data-live="{hashlib.sha256(content).hexdigest()[:32]}"'.encode(), 1)
