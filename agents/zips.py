"""Zips of agents on the disk, which other processes may read and which a kill must not spoil."""

from __future__ import annotations

import io
import os
import pathlib
import shutil
import tempfile
from contextlib import suppress

from stable_baselines3.common.save_util import open_path

SUFFIX = "zip"


def put(path: str | pathlib.Path | io.BufferedIOBase, content: bytes | memoryview) -> None:
    """Write a zip where `open_path` of Stable-Baselines3 would; one that is there is whole until the new one is.

    Raises:
        OSError: it cannot be written, such as to a full disk; the old one is as it was.
    """
    if isinstance(path, str | pathlib.Path):
        target = pathlib.Path(path)
        target = target if target.suffix else pathlib.Path(f"{path}.{SUFFIX}")
        # A folder that one may not write to, or Windows, where another program reads the old one.
        with suppress(PermissionError):
            if target.is_file():
                _replace(target.resolve(), content)
                return
    file = open_path(path, "w", verbose=0, suffix=SUFFIX)
    file.write(content)
    if isinstance(path, str | pathlib.Path):
        file.close()


def _replace(target: pathlib.Path, content: bytes | memoryview) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
    unfinished = pathlib.Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        shutil.copymode(target, unfinished)
        unfinished.replace(target)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise
