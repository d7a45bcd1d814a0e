"""`crl report` and `crl watch`: what runs of one stream say together, on a page that people read.

All is taken from the files of the runs as data, so that the folders may be anybody's: nothing in them is run, and every
name in them is escaped. The numbers are those of `crl compare` and `crl.metrics`, the curves those of `crl plot`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from crl.config import ConfigError
from crl.run_folder import check_writable

HOME = "reports"  # in the current folder
LOCK = ".lock"
PAGE = "index.html"
MARK = b": crl report</title>"  # of a page
MARKED = 1 << 14  # bytes in which that stands
LINK = re.compile(rb'<a href="([a-z_0-9]+\.(?:svg|png|csv|tex))">')  # of a page to a file beside it


def report(folders: Sequence[Path], out: Path | None = None) -> Path:
    """Write a report: a page that needs no other file, and its figures and tables as files beside it.

    Args:
        folders: of runs, and of ablations, which stand for all of their runs.
        out: folder that is written; None for one in ``reports`` that has the first folder's name.

    Returns:
        The page.

    Raises:
        ConfigError: something is refused; nothing has been written.
    """
    check_there(folders)
    home = Path(HOME, folders[0].resolve().name or "all") if out is None else out
    check_writable(home, "--out ")
    _check_own(home)
    from filelock import FileLock

    from crl.report.building import build  # with torch and matplotlib, which refusals do without
    from crl.screen import concise_warnings, warn
    from crl.storage.files import replace_file

    words = ["crl", "report", *map(str, folders), *([] if out is None else ["--out", str(out)])]
    with concise_warnings():
        files, notes = build(folders, words)
    try:
        home.mkdir(parents=True, exist_ok=True)
        with FileLock(home / LOCK):  # another report of the same name may be written now
            last = (home / PAGE).read_bytes() if (home / PAGE).exists() else b""
            for name, content in sorted(files.items(), key=lambda file: file[0] == PAGE):  # last, when all is there
                replace_file(home / name, content)
            for name in {*map(bytes.decode, LINK.findall(last))} - files.keys():  # of the report that was there
                (home / name).unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(f"{str(home)!r} cannot be written ({error.strerror}); give another folder by --out") from None
    for note in notes:
        warn(note)
    return home / PAGE


def _check_own(home: Path) -> None:
    """Refuse a folder of which a report would replace files that are not a report's.

    Raises:
        ConfigError: it is such a one.
    """
    holds = next((name for name in ("config.yaml", "ablation.json") if (home / name).exists()), None)
    if holds is None and (home / PAGE).exists():
        with (home / PAGE).open("rb") as file:
            holds = None if MARK in file.read(MARKED) else PAGE
    if holds is not None:
        raise ConfigError(f"{str(home)!r} has a {holds} that is no report's; give another folder by --out")


def check_there(folders: Sequence[Path]) -> None:
    """Refuse what is no folder.

    Raises:
        ConfigError: something is not.
    """
    for folder in folders:
        if not folder.is_dir():
            problem = "is no folder" if folder.exists() else "does not exist"
            raise ConfigError(f"{str(folder)!r} {problem}; give a folder that crl train or crl ablate has made")


def watch(folders: Sequence[Path], port: int) -> int:
    """Serve a report of runs that go on, to browsers on this machine alone, till Ctrl-C.

    Args:
        folders: as for `report`.
        port: of this machine; 0 for any that is free.

    Returns:
        The exit code, 0.

    Raises:
        ConfigError: a folder is refused, or the port is taken.
    """
    check_there(folders)
    from crl.compare.places import places_of

    places_of(folders)
    from crl.report.watching import serve

    return serve(folders, port)
