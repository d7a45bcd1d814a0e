"""Workers as processes of this machine."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from crl.ablation import launching, worker
from crl.ablation.launching import Local, LocalWorker, last_words

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(300)"


def test_a_worker_that_hears_no_signal_ends_when_it_is_stopped_again(tmp_path: Path) -> None:
    going = Local(tmp_path, lambda _name: [sys.executable, "-c", DEAF], {}).start("a")
    deadline = time.monotonic() + 60
    while last_words(tmp_path, "a") != "deaf":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    going.stop()
    time.sleep(0.1)
    assert going.poll() is None
    going.stop()
    assert going.process.wait(60) == -signal.SIGKILL


def test_what_a_worker_prints_is_what_is_read(tmp_path: Path) -> None:
    """In whatever code page, and though half a character is none."""
    printing = r"print('\u9b5a\ud83d')"
    going = Local(tmp_path, lambda _name: [sys.executable, "-c", printing], worker.environment()).start("a")
    assert going.process.wait(60) == 0
    assert last_words(tmp_path, "a") == "\u9b5a\\ud83d"


@pytest.mark.parametrize("error", [KeyError("plain__s9"), SystemExit(0)])
def test_a_worker_says_itself_that_its_run_has_failed(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The code of Python's own, 1, would be that of a process, too, which somebody has ended on Windows."""

    def failing(*_: object) -> int:
        raise error

    monkeypatch.setattr(worker, "work", failing)
    assert worker.main(["folder", "grid.yaml", "tiny.yaml", "plain__s9"]) == launching.RUN_FAILED == 70
    assert capsys.readouterr().err.splitlines()[-1] == f"{type(error).__name__}: {error}"


class Windows:
    """A process as Windows has it: signals are events of a console, and who is killed has the code of a failure."""

    def __init__(self, console: bool) -> None:
        self.console, self.heard, self.code = console, list[Any](), None

    def poll(self) -> int | None:
        return self.code

    def send_signal(self, what: Any) -> None:
        if not self.console:
            raise OSError(6, "The handle is invalid")
        self.heard.append(what)

    def kill(self) -> None:
        self.code = 1


@pytest.mark.parametrize("console", [True, False])
def test_workers_of_windows_are_asked_by_their_console(console: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launching, "ASK", "CTRL_BREAK_EVENT")
    process: Any = Windows(console)
    going = LocalWorker(process)
    going.stop()
    assert (process.heard, going.poll()) == ((["CTRL_BREAK_EVENT"], None) if console else ([], 1))
    going.stop()
    assert going.poll() == 1
