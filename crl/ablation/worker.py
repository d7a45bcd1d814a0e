"""A process that trains one run of an ablation: from its beginning, or on from where another worker left it.

A launcher starts it, here or anywhere that sees the same folder, and learns how it has ended from its exit code alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from crl.exit_codes import DONE, FAILED, REFUSED

BUSY = 75  # the run is another process's; as sysexits.h says of what may be tried again


def command(folder: Path, name: str, file: Path, base: Path) -> list[str]:
    """The command line of a worker.

    Args:
        folder: of the ablation.
        name: of the run.
        file: that describes the ablation.
        base: config that it builds on; modules are found beside both.
    """
    # -P: modules of Python's own are not looked for in the current folder.
    return [sys.executable, "-P", "-m", __name__, *map(str, (folder, name, file, base))]


def environment() -> dict[str, str]:
    """The environment of a worker: one thread, which does not spin while it waits."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "PYTHONUNBUFFERED": "1"}


def work(folder: Path, name: str, file: Path, base: Path) -> int:
    """Train a run to its end, or till SIGTERM; the exit code.

    Args:
        folder: as for `command`.
        name: see there.
        file: see there.
        base: see there.
    """
    from crl.ablation import record
    from crl.config import ConfigError
    from crl.config.imports import beside
    from crl.run_folder import HeldError

    try:
        with ExitStack() as stack:
            for path in (file, base):
                stack.enter_context(beside(path))
            return _train(folder / name, record.read(folder)[record.RUNS][name], ["crl", "ablate", str(file)])
    except HeldError:
        return BUSY
    except ConfigError as error:
        print(f"crl: {error}", file=sys.stderr)
        return REFUSED


def _train(path: Path, raw: dict[str, object], words: Sequence[str]) -> int:
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
        if is_finished(path):
            return DONE
        try:
            if not ((path / HASH).is_file() and (path / CONFIG).is_file()):
                return run.begin(config_of(raw, path.parent), words, claim=claim).code
            with opened(path) as config:
                return run.go_on(path, config, words, claim=claim).code
        except RunError as error:
            print(f"crl: {error}", file=sys.stderr)
            return BUSY if isinstance(error.__cause__, ClaimLostError) else FAILED


if __name__ == "__main__":
    folder, name, file, base = sys.argv[1:]
    sys.exit(work(Path(folder), name, Path(file), Path(base)))
