"""What docstrings say of a class or a function, and of its arguments. They are in Google's style."""

from __future__ import annotations

import inspect
import re
from typing import Any, NamedTuple

ARGUMENTS = ("Args:", "Attributes:")
HEADINGS = (*ARGUMENTS, "Example::", "Raises:", "Returns:", ">>>")
YAML = {"None": "null", "True": "true", "False": "false"}
PAPER = re.compile(r"arXiv (\d{4}\.\d{4,5})|Nature \d+:\d+")


class Docstring(NamedTuple):
    """A docstring in its parts.

    Attributes:
        text: what stands before the sections, a line for each paragraph.
        meanings: argument or attribute -> what it means.
    """

    text: str
    meanings: dict[str, str]


def docstring_of(target: Any) -> Docstring:
    """The docstring of a class or a function; a class has the meanings of those that it inherits from, too."""
    bases = [base for base in getattr(target, "__bases__", ()) if base.__module__ != "pydantic.main"]
    meanings = {name: meaning for base in reversed(bases) for name, meaning in docstring_of(base).meanings.items()}
    text: list[str] = []
    section = name = ""
    for line in inspect.cleandoc(target.__doc__ or "").splitlines():
        if line.startswith(HEADINGS):
            section = line
        elif not section:
            text.append(line)
        elif section in ARGUMENTS:
            if found := re.match(r" {4}(\w+): (.*)", line):
                name, meanings[found[1]] = found[1], found[2]
            elif name and line.startswith(" " * 8):
                meanings[name] += f" {line.strip()}"
    paragraphs = "\n".join(text).strip().split("\n\n")
    return Docstring(
        "\n".join(_plain(paragraph) for paragraph in paragraphs),
        {key: _plain(meaning) for key, meaning in meanings.items()},
    )


def _plain(text: str) -> str:
    """A text for those who write YAML."""
    return re.sub(r"\b(None|True|False)\b", lambda found: YAML[found[0]], " ".join(text.replace("`", "").split()))


def papers(text: str) -> list[str]:
    """The papers that a text names, those of arXiv with their address."""
    found = {match[0]: match[1] for match in PAPER.finditer(text)}
    return [name if id is None else f"{name}, https://arxiv.org/abs/{id}" for name, id in found.items()]
