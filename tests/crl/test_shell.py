"""Command lines that can be typed."""

from __future__ import annotations

import subprocess

import pytest

from crl.shell import typed

WORDS = {
    "crl": "crl",
    "stream.name=cchain/cartpole": "stream.name=cchain/cartpole",
    r"C:\runs\a-1": r"C:\runs\a-1",
    r"C:\my runs" + "\\": r'"C:\my runs\\"',
    "": '""',
    "arms=[a,b]": '"arms=[a,b]"',
    "a&b": '"a&b"',
    'name="x y"': r'"name=\"x y\""',
    r"a\"b": r'"a\\\"b"',
}
"""Word -> as it is typed in cmd and PowerShell."""


def test_words_of_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("crl.shell.os.name", "nt")
        found = {word: typed([word]) for word in WORDS}
        both = typed(["crl", "train", "a b"])
    assert found == WORDS
    assert both == 'crl train "a b"'
    spaced = {word: shown for word, shown in WORDS.items() if " " in word or not word}
    assert {word: subprocess.list2cmdline([word]) for word in spaced} == spaced  # as programs are started there


def test_words_elsewhere() -> None:
    assert (
        typed(["crl", "train", "a b", "interventions+={name: redo}"]) == "crl train 'a b' 'interventions+={name: redo}'"
    )
