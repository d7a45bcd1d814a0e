"""Who may write into a run's folder: one process at a time, and one that was given up for dead learns that it was.

Every process that trains in a folder makes a file in ``.claims`` whose name is a number, its fencing number, one above
the newest that is there. As long as it lives it holds the lock beside that file, and writes the file anew every few
seconds. Whoever wants the run takes the next number once the newest one's holder has ended, or is given up for dead:
its lock is free (on the same machine, whatever ended it), or it has given no sign of life (on others, where locks may
not be seen, and of a process that hangs). A number whose lock is held by a process that hangs before it has made the
file is passed over. Before it writes, a holder looks whether its number is still the newest.

Importing this loads the standard library alone.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import platform
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from filelock import BaseFileLock

FOLDER = ".claims"
BEAT = 5.0  # seconds between two signs of life
# Seconds without one after which a holder is given up for dead: network file systems show others what is a minute old.
LEASE = 120.0
# Seconds for which it is watched before, so that a machine that slept, and every holder on it, has time to wake up.
WATCH = 15.0
MOMENT = 0.5  # seconds between two looks of a holder whether it still is that
MAX_BYTES = 1 << 16  # of a claim
LONGEST_NUMBER = 18  # digits
ENDED = "ended"


class ClaimLostError(RuntimeError):
    """Another process has taken the run over, which gave this one up for dead: it must not write any more."""


class Sight(NamedTuple):
    """What can be seen of a run from outside.

    Attributes:
        held: a process trains it, as far as can be known without waiting.
        told: what that process has told of it, see `Claim.report`.
    """

    held: bool
    told: dict[str, Any]


class Claim:
    """The right to write into a run's folder, which its holder gives signs of life for till it is released.

    Attributes:
        folder: of the run.
        number: the fencing number.
        report: gives what others can read about the run while it goes on, JSON values by name.
        beside: gives what they can read there about the process.
    """

    def __init__(self, folder: Path, number: int, lock: BaseFileLock) -> None:
        self.folder, self.number = folder, number
        self.report: Callable[[], dict[str, Any]] = dict
        self.beside: Callable[[], dict[str, Any]] = dict
        self._place, self._lock = folder / FOLDER, lock
        self._checked = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="claim", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Make sure that the run is still this process's, before something is written.

        Raises:
            ClaimLostError: it is not.
            FileNotFoundError: the folder is gone.
        """
        newest = _newest(self._place)
        if newest > self.number:
            raise ClaimLostError(f"the run in {str(self.folder)!r} has been taken over by another process")
        if newest < self.number:
            raise FileNotFoundError(errno.ENOENT, "the run's folder is gone", str(self._place))

    def check_again(self) -> None:
        """As `check`, unless that was done a moment ago: for places that are passed often."""
        now = time.time()  # not the monotonic clock, which may stand still while a machine sleeps
        if abs(now - self._checked) >= MOMENT:
            self._checked = now
            self.check()

    def release(self) -> None:
        """Let others have the run."""
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(ClaimLostError, OSError):
            self._tell(_content({ENDED: True}))
        self._lock.release()

    def _beat(self) -> None:
        while not self._ended.wait(BEAT):
            content = _content({})
            with contextlib.suppress(Exception):  # the sign of life is what counts
                content = _content({**self.beside(), **self.report()})
            with contextlib.suppress(ClaimLostError, OSError):  # which the next `check` raises
                self._tell(content)

    def _tell(self, content: bytes) -> None:
        self.check()
        path = self._place / str(self.number)
        unfinished = path.with_name(f".{path.name}.tmp")
        try:
            unfinished.write_bytes(content)
            unfinished.replace(path)
        except OSError:  # such as a full disk
            with contextlib.suppress(OSError):
                os.utime(path)


def take(folder: Path) -> Claim | None:
    """Claim a run; None where another process has it.

    Args:
        folder: of the run, which has to be there.

    Raises:
        OSError: the folder cannot be written.
    """
    place = folder / FOLDER
    place.mkdir(exist_ok=True)
    newest = _newest(place)
    if newest and not _given_up(place, newest):
        return None
    number = newest + 1
    while (lock := _locked(place, number)) is None:
        if not _hangs(place, number):
            return None
        number += 1
    try:
        with (place / str(number)).open("xb") as file:
            file.write(_content({}))
    except FileExistsError:  # another one has it, or had it
        lock.release()
        return None
    except BaseException:  # such as a full disk
        with contextlib.suppress(OSError):
            (place / str(number)).unlink()
        lock.release()
        raise
    # The list was old, and the others have gone on; or who hung goes on, and gives way where it sees this number.
    if _newest(place) != number or any((place / str(passed)).exists() for passed in range(newest + 1, number)):
        (place / str(number)).unlink(missing_ok=True)  # who has the newest removes it, too
        lock.release()
        return None
    _remove_below(place, number)
    return Claim(folder, number, lock)


def look(folder: Path) -> Sight:
    """What can be seen of a run without waiting.

    Args:
        folder: of the run, which need not be there.
    """
    place = folder / FOLDER
    newest = _newest(place)
    told = _read(place / str(newest)) if newest else {ENDED: True}
    free = _has_ended(place, newest, told) or _silent_since(place / str(newest)) is not None
    return Sight(not free, {} if free else told)


def _given_up(place: Path, number: int) -> bool:
    """Whether the holder of a number has ended, or is given up for dead after it was watched."""
    path = place / str(number)
    if _has_ended(place, number, _read(path)):
        return True
    silent_since = _silent_since(path)
    if silent_since is None:
        return False
    time.sleep(WATCH)
    return _silent_since(path) == silent_since


def _hangs(place: Path, number: int) -> bool:
    """Whether who has a number's lock, to take the number in a moment, does not come to that while it is watched."""
    began = time.monotonic()
    while time.monotonic() - began < WATCH:
        if _newest(place) >= number:
            return False
        time.sleep(min(WATCH / 10, 0.1))
    lock = _locked(place, number)
    if lock is None:
        return True
    lock.release()
    return False


def _has_ended(place: Path, number: int, told: dict[str, Any]) -> bool:
    if told.get(ENDED) is True:
        return True
    if told.get("machine") != _machine():  # where locks of others may not be seen
        return False
    try:
        lock = _locked(place, number)
    except OSError:  # of a folder that cannot be written
        return False
    if lock is None:
        return False
    lock.release()
    return True


def _silent_since(path: Path) -> int | None:
    """When the last sign of life was given, where that is too long ago; else None."""
    try:
        last = path.stat().st_mtime_ns
    except FileNotFoundError:  # somebody has taken the next number
        return None
    # Also of a clock that goes ahead of this one: whoever lives gives a sign while it is watched.
    return last if abs(time.time() - last / 1e9) > LEASE else None


def _locked(place: Path, number: int) -> BaseFileLock | None:
    """The lock of a number, None where another process has it."""
    from filelock import FileLock, Timeout

    lock = FileLock(place / f"{number}.lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return None
    return lock


def _newest(place: Path) -> int:
    """The highest number that was taken; 0 if there is none."""
    try:
        names = [path.name for path in place.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return 0
    numbers = (int(name) for name in names if name.isdecimal() and len(name) <= LONGEST_NUMBER)
    return max((number for number in numbers if str(number) in names), default=0)  # 007 is nobody's


def _remove_below(place: Path, number: int) -> None:
    for path in place.iterdir():
        digits = path.name.removesuffix(".lock").removesuffix(".tmp").removeprefix(".")
        if digits.isdecimal() and int(digits) < number:
            with contextlib.suppress(OSError):  # Windows keeps what is open
                path.unlink()


def _content(what: dict[str, Any]) -> bytes:
    return json.dumps({"machine": _machine(), "pid": os.getpid(), **what}).encode()


def _read(path: Path) -> dict[str, Any]:
    """What a holder has told, which anybody may have written; empty where it cannot be read."""
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(MAX_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@functools.cache
def _machine() -> str:
    """This machine since it was started: its name, and where the system has one the number of that start."""
    with contextlib.suppress(OSError):
        return f"{platform.node()} {Path('/proc/sys/kernel/random/boot_id').read_text(encoding='utf-8').strip()}"
    return platform.node()
