"""Docstrings in Google's style, in their parts."""

from __future__ import annotations

from crl.config.docstrings import docstring_of, papers


class Base:
    """The base.

    Args:
        every: steps between two
            of them; None for one.
        other: of the base.
    """


class Derived(Base):
    """What it is, in one line (arXiv 2302.12902).

    A second paragraph, which goes on
    in a second line (Nature 632:768).

    Attributes:
        other: its own, with ``code``: True.

    Raises:
        ValueError: something is wrong.

    Example::

        Args:
            no: argument
    """


def test_a_class_has_the_meanings_of_its_bases() -> None:
    text, meanings = docstring_of(Derived)
    assert text.splitlines() == [
        "What it is, in one line (arXiv 2302.12902).",
        "A second paragraph, which goes on in a second line (Nature 632:768).",
    ]
    assert meanings == {"every": "steps between two of them; null for one.", "other": "its own, with code: true."}
    assert papers(text) == ["arXiv 2302.12902, https://arxiv.org/abs/2302.12902", "Nature 632:768"]


def test_what_has_no_docstring_says_nothing() -> None:
    assert docstring_of(lambda: None) == ("", {})
