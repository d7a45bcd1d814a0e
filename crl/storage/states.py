"""Folders of nested states as safetensors and JSON, which are whole or not there, and never execute code.

A folder holds, for each part, ``<part>.json`` (the structure) and ``<part>.safetensors`` (a block for each stretch of
memory), texts, and ``manifest.json`` with the size and the checksum of each of these. What it holds besides is ignored.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from crl.config.messages import one_line, shown
from crl.storage.blocks import encode, header
from crl.storage.decoding import CHUNK, Fill, State, decode
from crl.storage.files import DamagedError, move, parsed, put, read_whole, readable, sync, temporary

FORMAT = 1
MAX_MANIFEST = 1 << 20  # bytes; it names ten files
MAX_JSON = 1 << 28  # bytes of a part beside its arrays
MANIFEST = "manifest.json"
REPLACED = ".old.tmp"  # behind the name of a folder that is being replaced


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
        content = read_whole(path, MAX_MANIFEST)
        try:
            entries = json.loads(content)
            form, checksum = entries.pop("format"), entries.pop("checksum")
            if form == FORMAT and checksum == zlib.crc32(json.dumps(entries).encode()):
                return cls._of(**entries)
        except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
            raise DamagedError(f"{str(path)!r} is no manifest") from None
        if form != FORMAT:
            raise DamagedError(f"{str(path)!r} is of format {shown(form)}; this crl reads format {FORMAT}")
        raise DamagedError(f"{str(path)!r} does not have the checksum that it says")

    @classmethod
    def _of(cls, step: Any, parts: Any, dropped: Any, files: Any) -> Self:
        """From JSON that anybody may have written.

        Raises:
            AttributeError, TypeError, ValueError: something is of another kind, or a name leads out of the folder.
        """
        numbers = [number for pair in files.values() for number in pair] + ([] if step is None else [step])
        if any(type(number) is not int or number < 0 for number in numbers):
            raise ValueError("no numbers")
        if not isinstance(parts, list) or not isinstance(dropped, list):
            raise TypeError("no lists")
        if not all(isinstance(name, str) and _is_file_name(name) for name in [*parts, *dropped, *files]):
            raise ValueError("no names of files")
        return cls(step, parts, dropped, {name: (size, found) for name, (size, found) in files.items()})

    def content(self) -> bytes:
        """As it is written."""
        entries = asdict(self)
        checksum = zlib.crc32(json.dumps(entries).encode())
        return json.dumps({"format": FORMAT, **entries, "checksum": checksum}, indent=1).encode()


def write(
    folder: Path,
    parts: Mapping[str, State],
    texts: Mapping[str, str] | None = None,
    step: int | None = None,
    check: Callable[[], None] | None = None,
) -> None:
    """Write a new folder, which appears whole or not at all, and is on the disk when this returns.

    What had its name is replaced. A kill at the moment of the replacement leaves neither; `recover` puts it back.

    Args:
        folder: is made, with its parents.
        parts: name -> what `crl.storage.blocks.encode` takes.
        texts: other files, name -> content.
        step: of the learner; left out, the folder's name where that is a number.
        check: raises what keeps the folder from appearing; asked when all else is done.

    Raises:
        TypeError: a part holds what cannot be stored. Nothing is left of the folder.
    """
    texts = texts or {}
    names = [MANIFEST, *texts, *(name for part in parts for name in file_names(part))]
    if len(set(names)) < len(names) or not all(map(_is_file_name, names)):
        raise ValueError(f"parts and texts have to differ in the names of their files, and lie in the folder: {names}")
    if step is None and folder.name.isdecimal():
        step = int(folder.name)
    unfinished, replaced = temporary(folder), folder.with_name(f".{folder.name}{REPLACED}")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        files = {name: put(unfinished / name, [_bytes(text)]) for name, text in texts.items()}
        for part, state in parts.items():
            files |= _write_part(unfinished, part, state)
        put(unfinished / MANIFEST, [Manifest(step, list(parts), [], files).content()])
        sync(unfinished)
        if check is not None:
            check()
        shutil.rmtree(replaced, ignore_errors=True)
        if os.path.lexists(folder):
            move(folder, replaced)
        move(unfinished, folder)
    except BaseException:
        if replaced.exists() and not folder.exists():
            move(replaced, folder)
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    sync(folder.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def recover(parent: Path) -> None:
    """Give the folders in `parent` their names back that a kill has left without, as `write` was replacing them.

    Nobody may be writing there.
    """
    for replaced in parent.glob(f".*{REPLACED}"):
        folder = parent / replaced.name.removeprefix(".").removesuffix(REPLACED)
        if os.path.lexists(folder):
            shutil.rmtree(replaced, ignore_errors=True)
        else:
            move(replaced, folder)


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
        stored = {name for part in manifest.parts for name in file_names(part)}
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


def _write_part(folder: Path, part: str, state: State) -> dict[str, tuple[int, int]]:
    structure, blocks = encode(state)
    contents = (piece for block in blocks for piece in block.pieces())
    json_name, tensors_name = file_names(part)
    text = json.dumps(structure, allow_nan=False).encode()
    if len(text) > MAX_JSON:
        raise TypeError(
            f"the state {part!r} has {len(text):,} bytes beside its arrays, and {MAX_JSON:,} can be read; give numbers "
            "as arrays"
        )
    return {
        json_name: put(folder / json_name, [text]),
        tensors_name: put(folder / tensors_name, [header(blocks)], contents),
    }


def _read_part(folder: Path, part: str, manifest: Manifest) -> State:
    json_name, tensors_name = file_names(part)
    with _checked(folder, json_name, manifest) as (fill, size):
        if size > MAX_JSON:
            raise DamagedError(f"{str(folder / json_name)!r} has more than {MAX_JSON:,} bytes")
        text = bytearray(size)
        fill(memoryview(text))
    try:
        with _checked(folder, tensors_name, manifest) as (fill, size):
            return decode(parsed(text), size, fill)
    except (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError) as error:
        problem = f"does not hold what {json_name!r} describes ({one_line(error)})"
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


def file_names(part: str) -> tuple[str, str]:
    """Of a part: its structure and its tensors."""
    return f"{part}.json", f"{part}.safetensors"


def _is_file_name(name: str) -> bool:
    """Whether a file of this name lies in its folder, on every system."""
    return name.isprintable() and bool(name) and not name.startswith(".") and not set(name) & set("/\\:")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # a path need not be valid text
