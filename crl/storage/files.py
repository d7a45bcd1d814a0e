"""Files that are written once and for all, and read with suspicion."""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

MAX_VALUES = 2_000_000  # in one JSON text: each takes a hundred bytes where two are written
HELD = (5, 32)  # errors of Windows (access denied, sharing violation) where another program has a file open
PAUSES = tuple(0.01 * 2**n for n in range(10))  # seconds, ten in all, after which that is tried again


class DamagedError(Exception):
    """A file on the disk is not as it was written: one sentence with which file, and what is wrong with it."""


def temporary(path: Path) -> Path:
    """Where something is written that is not whole yet."""
    return path.with_name(f".{path.name}.tmp")


def replace_file(path: Path, content: bytes) -> None:
    """Give a file this content; a kill leaves either the old one or the new one."""
    unfinished = temporary(path)
    put(unfinished, [content])
    move(unfinished, path)
    sync(path.parent)


def move(source: Path, target: Path) -> None:
    """Give a file or a folder another name: a file that has it is replaced, a folder must not be there.

    Raises:
        OSError: as for `patiently`.
    """
    patiently(lambda: source.rename(target) if source.is_dir() else source.replace(target))


def patiently(change: Callable[[], object]) -> None:
    """Rename or remove something, though another program may have it open for a moment.

    Windows refuses that for a file which is read, by whomever (who looks at a run, and virus scanners and indexers at
    all that is new), and for the folders that it lies in.

    Raises:
        OSError: it is refused for ten seconds, or not for that reason.
    """
    for pause in PAUSES:
        try:
            change()
        except OSError as error:
            if not is_held(error):
                raise
        else:
            return
        time.sleep(pause)
    change()


def is_held(error: BaseException) -> bool:
    """Whether an error says that another program has a file open."""
    return isinstance(error, OSError) and getattr(error, "winerror", None) in HELD


def put(path: Path, *pieces: Iterable[bytes | memoryview]) -> tuple[int, int]:
    """Write a file and wait until it is on the disk; its size and checksum."""
    size = checksum = 0
    with path.open("wb") as file:
        for piece in (piece for some in pieces for piece in some):
            file.write(piece)
            size += len(piece)
            checksum = zlib.crc32(piece, checksum)
        file.flush()
        os.fsync(file.fileno())
    return size, checksum


def sync(folder: Path) -> None:
    """Make the folder's list of names as durable as the files themselves."""
    if os.name == "nt":  # there a folder cannot be opened, and NTFS keeps a journal of names by itself
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_whole(path: Path, most: int) -> bytes:
    """What a file holds that is read into memory whole.

    Args:
        path: of the file.
        most: bytes that one which crl has written can have.

    Raises:
        DamagedError: it is missing, cannot be read, or is larger.
    """
    with readable(path), path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise DamagedError(f"{str(path)!r} has more than the {most:,} bytes that crl writes there at most")
    return content


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say of what goes wrong with a file in the body that it is damaged."""
    try:
        yield
    except FileNotFoundError:
        raise DamagedError(f"{str(path)!r} is missing") from None
    except OSError as error:
        raise DamagedError(f"{str(path)!r} cannot be read ({error.strerror})") from None


def parsed(text: bytes | bytearray) -> Any:
    """JSON that anybody may have written.

    Raises:
        ValueError: it is none, or has so many values that a small file would take gigabytes.
    """
    if sum(text.count(mark) for mark in b"[{,") > MAX_VALUES:
        raise ValueError(f"more than {MAX_VALUES:,} values")
    return json.loads(text)
