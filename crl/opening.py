"""Opening the folder of a run, which anybody may have made: what is in it is data, and is looked at with suspicion."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from crl.config import ConfigError, RunConfig
from crl.config.origin import code_kept_out
from crl.run_folder import check_config

JUNCTION = 0xA0000003  # Windows' links between folders, by their reparse tag


@contextmanager
def opened(folder: Path) -> Iterator[RunConfig]:
    """The config of a run; as long as this lasts, no code is taken from the run's folder.

    The modules that the config names and that lie elsewhere are told on stderr, each before it runs.

    Args:
        folder: of the run.

    Raises:
        ConfigError: it is no run, something in it is a link, or its config is refused or was changed; nothing has been
            changed and nobody's code has run.
    """
    if not folder.is_dir():
        check_config(folder)
    check_entries(folder)
    with code_kept_out(folder) as guard:
        if guard.holds(os.curdir):  # numba and others look there for settings, which may name code
            raise ConfigError(
                f"the current directory lies in {str(folder)!r}, where programs would look for settings of theirs; go "
                "elsewhere, such as cd .., and name the folder from there"
            )
        config = check_config(folder)
        guard.name(config.modules())
        yield config


def check_entries(folder: Path) -> None:
    """Refuse what leads out of a folder, or cannot be read to an end.

    Raises:
        ConfigError: there is a link, or something that is neither a file nor a folder.
    """
    waiting = [str(folder)]
    while waiting:
        path = waiting.pop()
        try:
            with os.scandir(path) as entries:
                found = list(entries)
            waiting += [entry.path for entry in found if _is_folder(entry)]
        except FileNotFoundError:  # of a run that is being trained
            continue
        except OSError as error:
            raise ConfigError(f"{path!r} cannot be read ({error.strerror}); change its permissions") from None


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether it is a folder; else it is a file, or has just been removed by a run that is being trained."""
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return False
    if entry.is_symlink() or getattr(status, "st_reparse_tag", 0) == JUNCTION:
        raise ConfigError(
            f"{entry.path!r} is a link, and a run's folder has none; remove it, or put what it leads to in its place"
        )
    if entry.is_dir(follow_symlinks=False):
        return True
    if not entry.is_file(follow_symlinks=False):
        raise ConfigError(f"{entry.path!r} is neither a file nor a folder; remove it")
    return False
