"""A process that trains a run of an ablation, or several: from the beginning, or on from where another one left it.

A launcher starts it, here or anywhere that sees the same folder, and learns how it has ended from its exit code alone.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from crl.ablation.launching import RUN_FAILED, note_end, output_of
from crl.collector import loading
from crl.exit_codes import DONE, REFUSED

BUSY = 75  # the run is another process's; as sysexits.h says of what may be tried again
TOGETHER = "--together"


def command(folder: Path, name: str, file: Path, base: Path) -> list[str]:
    """The command line of a worker.

    Args:
        folder: of the ablation.
        name: of the run.
        file: that describes the ablation.
        base: config that it builds on; modules are found beside both.
    """
    return _command(folder, file, base, [name])


def command_together(folder: Path, names: Sequence[str], file: Path, base: Path, ends: Path) -> list[str]:
    """The command line of a worker that trains several runs together.

    Args:
        folder: as for `command`.
        names: of the runs.
        file: see there.
        base: see there.
        ends: file for how each has ended, see `crl.ablation.launching.ends_in`.
    """
    return _command(folder, file, base, [TOGETHER, str(ends), *names])


def _command(folder: Path, file: Path, base: Path, words: Sequence[str]) -> list[str]:
    # -P: modules of Python's own are not looked for in the current folder.
    return [sys.executable, "-P", "-m", __name__, *map(str, (folder, file, base)), *words]


def environment() -> dict[str, str]:
    """The environment of a worker: one thread, which does not spin while it waits, and prints what is read again."""
    threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    # Into a file Windows prints in a code page of its own, which lacks names of tasks.
    return {**os.environ, **threads, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:backslashreplace"}


def work(folder: Path, name: str, file: Path, base: Path) -> int:
    """Train a run to its end, or till SIGTERM; the exit code.

    Args:
        folder: as for `command`.
        name: see there.
        file: see there.
        base: see there.
    """
    with _beside(file, base):
        return _tried(lambda: _train(folder / name, _raw(folder, name), _words(file)))


def work_together(folder: Path, names: Sequence[str], file: Path, base: Path, ends: Path) -> int:
    """Train several runs to their ends together, or till SIGTERM; the exit code, of all that were not finished alike.

    Args:
        folder: as for `command_together`.
        names: see there.
        file: see there.
        base: see there.
        ends: see there.
    """
    from crl.ablation import turns
    from crl.ablation.watch import Watch

    watch = Watch()

    def seat(name: str) -> turns.Seat:
        def work(seat: turns.Seat) -> int:
            how: dict[str, Any] = {"interrupt": seat.interrupt, "training": seat.training, "beside": watch.told}
            return _tried(lambda: _train(folder / name, _raw(folder, name), _words(file), **how))

        return turns.Seat(name, work, output_of(folder, name))

    codes: list[int] = []

    def ended(name: str, code: int) -> None:
        codes.append(code)
        note_end(ends, name, code)

    with _beside(file, base):
        turns.train([seat(name) for name in names], ended, watch)
    return next((code for code in codes if code != DONE), DONE)


def _words(file: Path) -> list[str]:
    return ["crl", "ablate", str(file)]


def _raw(folder: Path, name: str) -> dict[str, object]:
    from crl.ablation import record

    found: dict[str, object] = record.read(folder)[record.RUNS][name]
    return found


@contextmanager
def _beside(*files: Path) -> Iterator[None]:
    from crl.config.imports import beside

    with ExitStack() as stack:
        for path in files:
            stack.enter_context(beside(path))
        yield


def _tried(train: Callable[[], int]) -> int:
    """The exit code of what may be refused."""
    from crl.config import ConfigError
    from crl.run_folder import HeldError

    try:
        return train()
    except HeldError:
        return BUSY
    except ConfigError as error:
        print(f"crl: {error}", file=sys.stderr)
        return REFUSED


def _train(
    path: Path,
    raw: dict[str, object],
    words: Sequence[str],
    beside: Callable[[], dict[str, Any]] = dict,
    **how: Any,
) -> int:
    from crl import run
    from crl.ablation.plan import config_of
    from crl.claims import ClaimLostError
    from crl.config.origin import HASH
    from crl.ending import RunError
    from crl.opening import check_entries, opened
    from crl.resuming import is_finished
    from crl.run_folder import CONFIG, locked

    path.mkdir(exist_ok=True)
    check_entries(path)
    with locked(path) as claim:
        claim.beside = beside
        if is_finished(path):
            return DONE
        try:
            if not ((path / HASH).is_file() and (path / CONFIG).is_file()):
                return run.begin(config_of(raw, path.parent), words, claim=claim, **how).code
            with opened(path) as config:
                return run.go_on(path, config, words, claim=claim, **how).code
        except RunError as error:
            print(f"crl: {error}", file=sys.stderr)
            return BUSY if isinstance(error.__cause__, ClaimLostError) else RUN_FAILED


def main(words: Sequence[str]) -> int:
    """As the words of `command`, or of `command_together`, say that follow the module's name: the exit code."""
    folder, file, base = map(Path, words[:3])
    try:
        with loading():
            from crl import run  # noqa: F401  # with all that training takes
        if words[3] == TOGETHER:
            return work_together(folder, words[5:], file, base, Path(words[4]))
        return work(folder, words[3], file, base)
    except (Exception, SystemExit):  # which is of a module that the run imports
        traceback.print_exc()
        return RUN_FAILED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
