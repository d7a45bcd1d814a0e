"""The tables of a report, for the page, for LaTeX, and with all their digits as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from crl.ablation.tables import table
from crl.compare.rows import ALL, Row
from crl.compare.table import TASKS_SHOWN, cells_of, title_of
from crl.config.messages import printable
from crl.labels import settings_of
from crl.report.arms import Arm, Compared
from crl.report.visits import Ratios
from crl.screen import GIGA

OF_THE_RUN = ("seed", "runs", "stream.seed", "stream.label")  # which of its arm a run is, and where
MOST_OPEN = 3  # tasks of a measure whose tables are not folded
LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "^": r"\textasciicircum{}",
    "_": r"\_", "~": r"\textasciitilde{}", "%": r"\%", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip


@dataclass(frozen=True)
class Table:
    """What is shown in rows.

    Attributes:
        title: above it; empty where it has none.
        headings: of the columns.
        rows: cells, the first of which names the row.
        numbers: whether all other columns are numbers.
    """

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: bool = True


def measures(rows: Sequence[Row]) -> tuple[list[Table], dict[str, list[Table]]]:
    """A table for each measure and task, of as many tasks as `crl compare` shows.

    Returns:
        What is shown at once, and title -> the tables of single tasks where a measure has many.
    """
    found, folded = list[Table](), dict[str, list[Table]]()
    for measure, of in groupby(rows, key=lambda row: row.measure):
        tasks = [(task, [*each]) for task, each in groupby(of, key=lambda row: row.task)]
        for place, (task, each) in enumerate(tasks):
            title = title_of(measure, task, rows)
            if task == ALL or len(tasks) <= MOST_OPEN:
                found.append(Table(title, *cells_of(each)))
            elif place < TASKS_SHOWN:
                folded.setdefault(f"{measure}, of each task", []).append(Table(title, *cells_of(each)))
    return found, folded


def overview(compared: Compared) -> Table:
    """The arms: their seeds, and how many have ended."""
    rows = []
    for arm in compared.arms:
        seeds = sorted(run.seed for run in arm.runs)
        ended = sum(run.ended is not None for run in arm.runs)
        rows.append([arm.name, f"{len(seeds)}", f"{ended}", _ranges(seeds)])
    return Table("", ["arm", "runs", "ended", "seeds"], rows)


def _ranges(seeds: Sequence[int]) -> str:
    """Such as ``1 to 5, 8``."""
    found = list[list[int]]()
    for seed in dict.fromkeys(seeds):
        if found and seed == found[-1][-1] + 1:
            found[-1].append(seed)
        else:
            found.append([seed])
    return ", ".join(str(each[0]) if len(each) == 1 else f"{each[0]} to {each[-1]}" for each in found)


def spent(compared: Compared) -> Table:
    """What the runs of each arm have taken on average, of those that have said it."""
    headings = [
        "arm",
        "runs",
        "steps",
        "gradient steps",
        "seconds",
        "of these training",
        "steps/s",
        "memory",
        "GPU memory",
    ]
    return Table("", headings, [row for arm in compared.arms if (row := _spent(arm)) is not None])


def _spent(arm: Arm) -> list[str] | None:
    found = [run.results for run in arm.runs if run.results is not None]
    if not found:
        return None
    devices = [each.peak_memory.device for each in found if each.peak_memory.device is not None]
    seconds = sum(each.train_seconds for each in found)
    return [
        arm.name,
        str(len(found)),
        f"{fmean(each.steps for each in found):,.0f}",
        f"{fmean(each.gradient_steps for each in found):,.0f}",
        f"{fmean(each.seconds for each in found):,.0f}",
        f"{fmean(each.train_seconds for each in found):,.0f}",
        f"{sum(each.steps for each in found) / seconds:,.0f}" if seconds else "",
        f"{max(each.peak_memory.process for each in found) / GIGA:.2f} GB",
        f"{max(devices) / GIGA:.2f} GB" if devices else "",
    ]


def differences(compared: Compared) -> tuple[Table, Table]:
    """The keys of the configs whose value is not the same in all runs, a column for each arm.

    Returns:
        Those that all arms have, and those that only some have, such as the settings of their methods.
    """
    settings = {arm.name: [settings_of(run.config, OF_THE_RUN) for run in arm.runs] for arm in compared.arms}
    values = {name: _joined(of) for name, of in settings.items()}
    keys = list(dict.fromkeys(key for of in values.values() for key in of))
    shared = [key for key in keys if all(key in of for of in values.values())]
    of_all = [key for key in shared if len({run.get(key) for of in settings.values() for run in of}) > 1]
    own = [key for key in keys if key not in shared]
    headings = ["key", *settings]
    rows = [[[key, *(values[name].get(key, "") for name in settings)] for key in some] for some in (of_all, own)]
    return Table("", headings, rows[0], numbers=False), Table("", headings, rows[1], numbers=False)


def _joined(settings: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Key -> the value, or the values, that runs of an arm have."""
    keys = dict.fromkeys(key for each in settings for key in each)
    return {key: printable(" | ".join(dict.fromkeys(each.get(key, "-") for each in settings))) for key in keys}


def ratios_csv(ratios: Sequence[Ratios]) -> bytes:
    """A row for each run and visit."""
    rows = (
        [each.arm, each.seed, place + 1, task, each.kind, value]
        for each in ratios
        for place, (task, value) in enumerate(zip(each.tasks, each.values, strict=True))
        if value == value
    )
    return table(("arm", "seed", "visit", "task", "of", "over_oracle"), rows)


def as_csv(tables: Sequence[Table]) -> bytes:
    """The cells of tables with the same headings as they are."""
    return table(tables[0].headings, (row for each in tables for row in each.rows))


def as_latex(tables: Sequence[Table]) -> bytes:
    """Tables that ``\\input`` takes, with ``\\usepackage{booktabs}``."""
    lines = ["% needs \\usepackage{booktabs}"]
    for each in tables:
        lines += [f"% {printable(each.title)}"] if each.title else []
        align = "l" + ("r" if each.numbers else "l") * (len(each.headings) - 1)
        lines += [f"\\begin{{tabular}}{{{align}}}", "\\toprule", _line(each.headings), "\\midrule"]
        lines += [*map(_line, each.rows), "\\bottomrule", "\\end{tabular}", ""]
    return "\n".join(lines).encode("utf-8", "replace")


def _line(cells: Sequence[str]) -> str:
    line = " & ".join(map(escaped, cells)) + r" \\"
    return f"{{}}{line}" if line.startswith(("[", "*")) else line  # else an argument of the line before


def escaped(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(LATEX.get(mark, mark) for mark in printable(text.replace("\n", " ")))
