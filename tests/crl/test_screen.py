"""What is printed, where it has nowhere to go."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import processes
import pytest
from processes import Process

from crl import screen

FULL = "standard output cannot be written (No space left on device)"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here is a full disk")
@pytest.mark.parametrize("words", [["list", "gxd"], ["--help"], ["config", "--all-keys"]], ids=" ".join)
def test_what_is_only_printed_fails_on_a_full_disk(words: list[str], tmp_path: Path) -> None:
    process = Process(*words, cwd=tmp_path, name="full", output=processes.full)
    assert process.wait() == 1
    assert process.errors() == f"crl: {FULL}; make room for it, or send it elsewhere\n"


def test_a_reader_that_has_gone_is_told_nothing(tmp_path: Path) -> None:
    process = Process("--version", cwd=tmp_path, name="unread", output=processes.unread)
    assert process.wait() == 1
    assert process.errors() == ""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
            f"crl: warning: {FULL}; what is printed from here on is lost\n",
        ),
        (BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)), ""),
        (SystemExit(1), ""),
    ],
    ids=["full", "pipe", "rich"],
)
def test_what_goes_on_says_so_once(
    error: BaseException, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended: list[bool] = []
    monkeypatch.setattr(screen, "_print_to_nowhere", lambda: ended.append(True))
    with screen.tolerant():
        raise error
    assert (ended, capsys.readouterr().err) == ([True], said)


def test_errors_of_other_files_are_not_taken_for_the_outputs() -> None:
    assert not screen.is_lost()
