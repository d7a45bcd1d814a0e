"""Figures as files, and as pieces of a page that follow its colors."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure

INK, PAPER = "#24292f", "#ffffff"
THEMED = {INK: "ink", PAPER: "paper", "#ededed": "shade", "#666666": "rule"}
"""Color of a figure -> variable of the page's style that stands for it."""
PALETTE = (
    "#1f77b4", "#d95f02", "#2a9134", "#d62728", "#8a5fc0", "#8c564b", "#d6409f", "#737373", "#9a8700", "#0d8f9e",
)  # fmt: skip
STYLE: dict[Any, Any] = {
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "figure.facecolor": PAPER, "axes.facecolor": "none", "savefig.facecolor": PAPER, "svg.fonttype": "none",
    "svg.hashsalt": "crl", "axes.prop_cycle": f"cycler('color', {[*PALETTE]})", "text.parse_math": False,
}  # fmt: skip
DPI = 150
MOST_POINTS = 100_000  # of a figure's lines that are written as such; those of more are pixels
DECIMALS = re.compile(r"(\d+\.\d)\d+")


class Drawing(NamedTuple):
    """A figure.

    Attributes:
        svg: a file.
        inline: the same as a piece of a page.
        png: a file, None where it was not asked for.
    """

    svg: bytes
    inline: str
    png: bytes | None


@contextmanager
def styled() -> Iterator[None]:
    """While this lasts figures are drawn in the page's colors."""
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a browser has it
        yield


def drawing(make: Callable[[], Figure | None], place: str, *, png: bool) -> Drawing | None:
    """Draw a figure; None where there is none.

    Args:
        make: draws it.
        place: its name, which no other figure of the page has.
        png: whether a PNG is wanted.
    """
    with styled():
        figure = make()
        if figure is None:
            return None
        lines = [line for axis in figure.axes for line in axis.get_lines()]
        if sum(np.size(line.get_xdata()) for line in lines) > MOST_POINTS:
            for line in lines:
                line.set_rasterized(True)
        svg = _saved(figure, "svg").decode()
        figure.set_layout_engine("none")  # it is found, and takes as long again
        return Drawing(_as_file(svg).encode(), _as_piece(svg, place), _saved(figure, "png") if png else None)


def _saved(figure: Figure, kind: str) -> bytes:
    content = BytesIO()
    figure.savefig(content, format=kind, dpi=DPI, metadata={"Date": None} if kind == "svg" else {})
    return content.getvalue()


def _as_file(svg: str) -> str:
    """With the lines of an arm as a class, since several things are called by it, and without what nobody reads."""
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL)
    svg = re.sub(r'id="(arm\d+)"', r'class="\1"', svg)
    return re.sub(r' d="[^"]*"', lambda path: DECIMALS.sub(r"\1", path[0]).replace("\nL ", ""), svg)


def _as_piece(svg: str, place: str) -> str:
    """An ``<svg>`` without what a file begins with, whose colors are the page's and whose names are its own."""
    piece = _as_file(svg)
    piece = piece[piece.index("<svg") :]
    piece = re.sub(r'id="([^"]*)"', rf'id="{place}-\1"', piece)
    piece = re.sub(r'(href="|url\()#', rf"\g<1>#{place}-", piece)
    variables = THEMED | {color: f"c{number}" for number, color in enumerate(PALETTE)}
    piece = re.sub(
        r"(fill|stroke): (#[0-9a-f]{6})",
        lambda found: f"{found[1]}: var(--{variables[found[2]]})" if found[2] in variables else found[0],
        piece,
    )
    piece = re.sub(r"<defs>\s*<style.*?</defs>", "", piece, count=1, flags=re.DOTALL)
    piece = re.sub(r"font: (\d+px) [^;\"]*", r"font-size: \1", piece)  # the font itself is the page's
    return re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" role="img">', piece, count=1)
