"""The checkpoints of a run: folders beside each other, named by their steps."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

from crl.storage.files import DamagedError, is_held, move, patiently, replace_file, temporary
from crl.storage.states import MANIFEST, Manifest, file_names, read, verify

LONGEST_STEP = 18  # digits: more than any run makes


def newest(
    folder: Path, needed: Collection[str] = (), check: Callable[[Path], None] | None = None
) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is whole.

    Args:
        folder: of the checkpoints, each named by its step. Whatever else lies there is ignored.
        needed: parts without which a checkpoint is of no use.
        check: raises `DamagedError` for a checkpoint that is whole, but does not fit what is around it.

    Returns:
        Its folder, None where there is none; and a sentence on each newer one that had to be passed over.
    """
    passed_over = []
    for path in checkpoints_in(folder):
        try:
            manifest = verify(path)
            if manifest.step != int(path.name):
                raise DamagedError(f"it is of step {manifest.step}")
            read(path, [part for part in needed if part not in manifest.parts])  # which says why it is not there
            if check is not None:
                check(path)
        except DamagedError as error:
            passed_over.append(f"checkpoint {path.name} is passed over: {error}")
        else:
            return path, passed_over
    return None, passed_over


def prune(folder: Path, keep: int, heavy: str = "replay", keep_heavy: int = 2) -> None:
    """Make room: remove all checkpoints older than the newest `keep`, and what writing left unfinished.

    Checkpoints whose files are missing or cut short do not count. A kill at any moment leaves every checkpoint as it
    was, without its heavy part, or gone.

    Args:
        folder: of the checkpoints.
        keep: how many stay; at least 1.
        heavy: the part that only the newest `keep_heavy` of them keep.
        keep_heavy: see there.
    """
    if keep < 1:
        raise ValueError(f"keep={keep} would leave nothing to resume from; give 1 or more")
    _clear(folder)
    whole = 0
    for path in checkpoints_in(folder):
        try:
            if whole == keep:
                move(path, temporary(path))
            elif (manifest := _complete(path)) is not None:
                whole += 1
                if whole > keep_heavy:
                    _drop(path, manifest, heavy)
        except OSError as error:
            if not is_held(error):  # else somebody reads it, and the next time will do
                raise
    _clear(folder)


def set_aside(folder: Path, newest: Path | None) -> None:
    """Rename the checkpoints that are newer than the one that a run goes on from: it cannot go on from them.

    Left where they are, they would count among those that are kept.

    Args:
        folder: of the checkpoints.
        newest: that the run goes on from; None where it starts again.
    """
    for path in checkpoints_in(folder):
        if newest is None or int(path.name) > int(newest.name):
            move(path, path.with_name(f"unused-{path.name}-{time.time_ns()}"))


def _complete(folder: Path) -> Manifest | None:
    """The manifest where all files are there in their sizes; the contents are not read."""
    try:
        manifest = Manifest.load(folder)
        sizes = {name: (folder / name).stat().st_size for name in manifest.files}
    except (DamagedError, OSError):
        return None
    return manifest if all(sizes[name] == size for name, (size, _) in manifest.files.items()) else None


def _drop(folder: Path, manifest: Manifest, part: str) -> None:
    """The manifest goes first: files that it does not list are ignored, files that it lists have to be there."""
    if part in manifest.parts:
        files = {name: found for name, found in manifest.files.items() if name not in file_names(part)}
        parts, dropped = [name for name in manifest.parts if name != part], [*manifest.dropped, part]
        replace_file(folder / MANIFEST, replace(manifest, parts=parts, dropped=dropped, files=files).content())
    if part in manifest.parts or part in manifest.dropped:  # a kill may have come before this
        for name in file_names(part):
            patiently(partial((folder / name).unlink, missing_ok=True))


def _clear(folder: Path) -> None:
    for path in folder.glob(".*.tmp"):
        if path.name.split(".")[1].isdecimal():
            shutil.rmtree(path, ignore_errors=True)


def checkpoints_in(folder: Path) -> list[Path]:
    """The folders in one that are named as checkpoints are, the newest first."""
    found = [path for path in folder.glob("*") if path.name.isdecimal() and len(path.name) <= LONGEST_STEP]
    found = [path for path in found if path.name == str(int(path.name)) and path.is_dir()]
    return sorted(found, key=lambda path: -int(path.name))
