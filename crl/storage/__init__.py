"""Folders of nested states as safetensors and JSON, which are whole or not there, and never execute code.

A folder holds, for each part, ``<part>.json`` (the structure) and ``<part>.safetensors`` (a block for each stretch of
memory), texts, and ``manifest.json`` with the size and the checksum of each of these. What it holds besides is ignored.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from crl.storage.blocks import CHUNK, Fill, State, decode, encode, header
from crl.storage.files import DamagedError, put, readable, replace_file, sync, temporary

__all__ = ["DamagedError", "Manifest", "State", "newest", "prune", "read", "replace_file", "verify", "write"]

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """What a folder holds."""

    step: int | None
    parts: list[str]
    dropped: list[str]
    """Parts that were there once, see `prune`."""
    files: dict[str, tuple[int, int]]
    """Name -> size and CRC-32."""

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read it; the other files are not looked at.

        Raises:
            DamagedError: it is missing, damaged or of another format.
        """
        path = folder / MANIFEST
        with readable(path):
            content = path.read_bytes()
        try:
            entries = json.loads(content)
            form, checksum = entries.pop("format"), entries.pop("checksum")
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            raise DamagedError(f"{str(path)!r} is no manifest") from None
        if form != FORMAT:
            raise DamagedError(f"{str(path)!r} is of format {form}; this crl reads format {FORMAT}")
        if checksum != zlib.crc32(json.dumps(entries).encode()):
            raise DamagedError(f"{str(path)!r} does not have the checksum that it says")
        try:
            files = {name: (int(size), int(found)) for name, (size, found) in entries["files"].items()}
            return cls(entries["step"], list(entries["parts"]), list(entries["dropped"]), files)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise DamagedError(f"{str(path)!r} is no manifest") from None

    def content(self) -> bytes:
        """As it is written."""
        entries = asdict(self)
        checksum = zlib.crc32(json.dumps(entries).encode())
        return json.dumps({"format": FORMAT, **entries, "checksum": checksum}, indent=1).encode()


def write(
    folder: Path, parts: Mapping[str, State], texts: Mapping[str, str] | None = None, step: int | None = None
) -> None:
    """Write a new folder, which appears whole or not at all, and is on the disk when this returns.

    What had its name is replaced. A kill at the moment of the replacement leaves neither.

    Args:
        folder: is made, with its parents.
        parts: name -> what `crl.storage.blocks.encode` takes.
        texts: other files, name -> content.
        step: of the learner; left out, the folder's name where that is a number.

    Raises:
        TypeError: a part holds what cannot be stored. Nothing is left of the folder.
    """
    texts = texts or {}
    names = [MANIFEST, *texts, *(name for part in parts for name in _files(part))]
    if len(set(names)) < len(names) or any(Path(name).name != name or name.startswith(".") for name in names):
        raise ValueError(f"parts and texts have to differ in the names of their files, and lie in the folder: {names}")
    if step is None and folder.name.isdecimal():
        step = int(folder.name)
    unfinished, replaced = temporary(folder), folder.with_name(f".{folder.name}.old.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        files = {name: put(unfinished / name, [_bytes(text)]) for name, text in texts.items()}
        for part, state in parts.items():
            files |= _write_part(unfinished, part, state)
        put(unfinished / MANIFEST, [Manifest(step, list(parts), [], files).content()])
        sync(unfinished)
        shutil.rmtree(replaced, ignore_errors=True)
        if os.path.lexists(folder):
            folder.rename(replaced)
        unfinished.rename(folder)
    except BaseException:
        if replaced.exists() and not folder.exists():
            replaced.rename(folder)
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    sync(folder.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def read(folder: Path, parts: Collection[str] | None = None) -> dict[str, State]:
    """The parts of a folder, name -> state.

    Args:
        folder: as `write` made it.
        parts: which; None for all that it has, in which case the texts are checked too.

    Raises:
        DamagedError: something is missing or not as it was written.
    """
    manifest = Manifest.load(folder)
    for part in parts or ():
        if part not in manifest.parts:
            why = "it was dropped to save space" if part in manifest.dropped else "it was never written"
            raise DamagedError(f"{str(folder)!r} has no part {part!r}: {why}")
    if parts is None:
        stored = {name for part in manifest.parts for name in _files(part)}
        _verify(folder, manifest, manifest.files.keys() - stored)
    return {part: _read_part(folder, part, manifest) for part in (manifest.parts if parts is None else parts)}


def verify(folder: Path) -> Manifest:
    """Read all files of a folder, without keeping them.

    Raises:
        DamagedError: something is missing or not as it was written.
    """
    manifest = Manifest.load(folder)
    _verify(folder, manifest, manifest.files)
    return manifest


def newest(folder: Path, needed: Collection[str] = ()) -> tuple[Path | None, list[str]]:
    """The newest checkpoint that is whole.

    Args:
        folder: of the checkpoints, each named by its step. Whatever else lies there is ignored.
        needed: parts without which a checkpoint is of no use.

    Returns:
        Its folder, None where there is none; and a sentence on each newer one that had to be passed over.
    """
    passed_over = []
    for path in _checkpoints(folder):
        try:
            manifest = verify(path)
            if manifest.step != int(path.name):
                raise DamagedError(f"it is of step {manifest.step}")
            read(path, [part for part in needed if part not in manifest.parts])
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
    for path in _checkpoints(folder):
        if whole == keep:
            path.rename(temporary(path))
        elif (manifest := _complete(path)) is not None:
            whole += 1
            if whole > keep_heavy:
                _drop(path, manifest, heavy)
    _clear(folder)


def _write_part(folder: Path, part: str, state: State) -> dict[str, tuple[int, int]]:
    structure, blocks = encode(state)
    contents = (piece for block in blocks for piece in block.pieces())
    json_name, tensors_name = _files(part)
    return {
        json_name: put(folder / json_name, [json.dumps(structure, allow_nan=False).encode()]),
        tensors_name: put(folder / tensors_name, [header(blocks)], contents),
    }


def _read_part(folder: Path, part: str, manifest: Manifest) -> State:
    json_name, tensors_name = _files(part)
    with _checked(folder, json_name, manifest) as (fill, size):
        text = bytearray(size)
        fill(memoryview(text))
    try:
        with _checked(folder, tensors_name, manifest) as (fill, size):
            return decode(json.loads(text), size, fill)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, SyntaxError, TypeError, ValueError) as error:
        problem = f"does not hold what {json_name!r} describes ({error})"
        raise DamagedError(f"{str(folder / tensors_name)!r} {problem}") from None


def _verify(folder: Path, manifest: Manifest, names: Iterable[str]) -> None:
    buffer = memoryview(bytearray(CHUNK))
    for name in sorted(names):
        with _checked(folder, name, manifest) as (fill, size):
            for start in range(0, size, CHUNK):
                fill(buffer[: size - start])


@contextmanager
def _checked(folder: Path, name: str, manifest: Manifest) -> Iterator[tuple[Fill, int]]:
    """A file that must be read to its end, and its size; at the end its checksum is compared."""
    path, found = folder / name, 0
    if name not in manifest.files:
        raise DamagedError(f"{str(folder / MANIFEST)!r} does not list {name!r}")
    size, checksum = manifest.files[name]

    with readable(path), path.open("rb") as file:

        def fill(buffer: memoryview) -> None:
            nonlocal found
            if file.readinto(buffer) != len(buffer):
                raise DamagedError(f"{str(path)!r} ends before its {size} bytes")
            found = zlib.crc32(buffer, found)

        if (actual := os.fstat(file.fileno()).st_size) != size:
            raise DamagedError(f"{str(path)!r} has {actual} bytes where {size} were written")
        yield fill, size
    if found != checksum:
        raise DamagedError(f"{str(path)!r} does not have the checksum that it was written with")


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
        files = {name: found for name, found in manifest.files.items() if name not in _files(part)}
        parts, dropped = [name for name in manifest.parts if name != part], [*manifest.dropped, part]
        replace_file(folder / MANIFEST, replace(manifest, parts=parts, dropped=dropped, files=files).content())
    if part in manifest.parts or part in manifest.dropped:  # a kill may have come before this
        for name in _files(part):
            (folder / name).unlink(missing_ok=True)


def _clear(folder: Path) -> None:
    for path in folder.glob(".*.tmp"):
        if path.name.split(".")[1].isdecimal():
            shutil.rmtree(path, ignore_errors=True)


def _checkpoints(folder: Path) -> list[Path]:
    """Newest first."""
    found = [path for path in folder.glob("*") if path.name.isdecimal() and path.name == str(int(path.name))]
    return sorted((path for path in found if path.is_dir()), key=lambda path: -int(path.name))


def _files(part: str) -> tuple[str, str]:
    return f"{part}.json", f"{part}.safetensors"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # a path need not be valid text
