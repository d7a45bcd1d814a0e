"""The sections of a report, and the files that belong to each."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from markupsafe import Markup
from matplotlib.figure import Figure

from crl.config.messages import one_line
from crl.report import tables
from crl.report.drawing import drawing
from crl.report.tables import Table


@dataclass
class Section:
    """A part of the page.

    Attributes:
        title: of it.
        text: what is shown, a sentence or two.
        figure: a piece of the page.
        tables: below the figure.
        more: title -> further tables, which are opened by a click.
        lines: below the tables, each a paragraph.
        texts: title and text of what is shown as it is.
        files: names of what it is also written to.
        folded: whether it is opened by a click.
    """

    title: str
    text: str
    figure: Markup | None = None
    tables: list[Table] = field(default_factory=list)
    more: dict[str, list[Table]] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    texts: list[tuple[str, str]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    folded: bool = False


class Report:
    """The files of a report, which are collected here.

    Args:
        png: whether figures are wanted as PNG, too.

    Attributes:
        files: name -> content.
        sections: of the page.
        notes: what cannot be drawn, a sentence each.
    """

    def __init__(self, *, png: bool) -> None:
        self.png = png
        self.files: dict[str, bytes] = {}
        self.sections: list[Section] = []
        self.notes: list[str] = []

    def add(
        self,
        name: str,
        section: Section,
        make: Callable[[], Figure | None] | None = None,
        data: dict[str, bytes] | None = None,
    ) -> None:
        """Add a section, unless it has nothing to show.

        Args:
            name: of its files.
            section: without its figure.
            make: draws that.
            data: further files.
        """
        drawn, failed = None, False
        try:
            drawn = drawing(make, name, png=self.png) if make is not None else None
        except (ArithmeticError, ValueError) as error:  # numbers so large that no axis has a place for them
            self.notes.append(f"the figure {section.title!r} cannot be drawn ({one_line(error)})")
            failed = bool(data)
        shown = [*section.tables, *itertools.chain.from_iterable(section.more.values())]
        if (
            drawn is None
            and not failed
            and not any(each.rows for each in shown)
            and not (section.texts or section.lines)
        ):
            return
        found = dict(data or {})
        if drawn is not None:
            section.figure = Markup(drawn.inline)  # of which every text is escaped
            found |= {f"{name}.svg": drawn.svg} | ({f"{name}.png": drawn.png} if drawn.png is not None else {})
        if shown:
            found[f"{name}.tex"] = tables.as_latex(shown)
        self.files |= found
        section.files = sorted(found)
        self.sections.append(section)
