"""Where code comes from while the folder of a run is open: from anywhere but there."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from crl.config.messages import ConfigError

OURS = ("agents", "crl", "envs")
HASH = ".config_hash"  # in the folder of a run: of the config with which it was begun


class RunFolderCodeError(ModuleNotFoundError):
    """A module lies in the folder of a run, and is not run."""

    def __init__(self, name: str, place: str) -> None:
        super().__init__(
            f"{name!r} is {place!r} in a run's folder, from which no code is run; read it, and move it elsewhere if "
            "you trust it",
            name=name,
        )


class Guard(MetaPathFinder):
    """Stands before all that finds modules, and refuses those that lie in a folder or below it, or in other runs.

    By the files and folders themselves, and not by how they are written: links lead nowhere else.

    Args:
        folder: of the run; it must be there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder.stat(), Path(os.path.realpath(folder))
        self._below: dict[Path, bool] = {}
        self._hidden = [os.path.realpath(entry) for entry in sys.path if self.holds(entry)]
        self._named: dict[str, str] = {}
        self._told: set[str] = set()

    def holds(self, path: str | Path) -> bool:
        """Whether `path` is the folder or lies below it, or below another run's, where all links have been followed."""
        with suppress(OSError, ValueError):  # of entries of Python's path that are none
            return self._is_below(Path(os.path.realpath(path)))
        return False

    def _is_below(self, path: Path) -> bool:
        if path not in self._below:
            found = path == self._path
            with suppress(OSError):
                status = path.stat()
                found = found or (status.st_ino != 0 and os.path.samestat(status, self._folder))
                found = found or (path / HASH).is_file()  # other runs may be strangers', too
            self._below[path] = found or (path.parent != path and self._is_below(path.parent))
        return self._below[path]

    def name(self, modules: Mapping[str, str]) -> None:
        """Have the file of each of these modules told before it is run.

        Args:
            modules: that the run's config names -> the key under which it does.

        Raises:
            ConfigError: one that has been imported lies in the folder.
        """
        for module, key in modules.items():
            parts = module.split(".")
            for name in (".".join(parts[: count + 1]) for count in range(len(parts))):
                self._named.setdefault(name, key)
                loaded = sys.modules.get(name)
                if loaded is None:
                    continue
                try:
                    self._check(name, _places(loaded))
                except RunFolderCodeError as error:
                    raise ConfigError(f"{key}: {error}") from None
                self._tell(name, getattr(loaded, "__file__", None))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """What the others find.

        Raises:
            RunFolderCodeError: it lies in the folder.
        """
        others = (finder for finder in sys.meta_path if not isinstance(finder, Guard))
        found = next(filter(None, (finder.find_spec(fullname, path, target) for finder in others)), None)
        if found is None:
            if path is None and (hidden := PathFinder.find_spec(fullname, self._hidden)) is not None:
                self._check(fullname, _places(hidden))
            return None
        self._check(fullname, _places(found))
        self._tell(fullname, found.origin if found.has_location else None)
        return found

    def _check(self, name: str, places: Sequence[str]) -> None:
        guards = [self, *(finder for finder in sys.meta_path if isinstance(finder, Guard))]
        for place in places:
            if any(guard.holds(place) for guard in guards):
                raise RunFolderCodeError(name, place)

    def _tell(self, name: str, file: str | None) -> None:
        if name in self._named and name not in self._told and file and name.partition(".")[0] not in OURS:
            self._told.add(name)
            print(f"crl: {self._named[name]} of the run's config runs {file!r}", file=sys.stderr)


def _places(module: ModuleSpec | ModuleType) -> list[str]:
    """The file of a module, or of what was found for it, and the folders of a package."""
    if isinstance(module, ModuleSpec):
        files, folders = [module.origin if module.has_location else None], module.submodule_search_locations
    else:
        files, folders = [getattr(module, "__file__", None)], getattr(module, "__path__", None)
    return [place for place in (*files, *(folders or ())) if isinstance(place, str)]


@contextmanager
def code_kept_out(folder: Path) -> Iterator[Guard]:
    """While this lasts nothing is imported from a folder, and plugins that lie there are not seen.

    Args:
        folder: of a run.

    Raises:
        ConfigError: this code itself lies there.
    """
    guard = Guard(folder)
    if guard.holds(__file__) or guard.holds(os.__file__):
        raise ConfigError(f"{str(folder)!r} holds the code that is to read it; give the folder of a run")
    before = list(sys.path)
    sys.path[:] = [entry for entry in before if not guard.holds(entry)]
    sys.meta_path.insert(0, guard)
    try:
        yield guard
    finally:
        sys.meta_path.remove(guard)
        sys.path[:] = [*(entry for entry in sys.path if entry not in before), *before]


def run_around(folder: Path) -> Path | None:
    """The folder of the run in which a folder lies, or which it is, where all links have been followed; else None."""
    path = Path(os.path.realpath(folder))
    return next((each for each in (path, *path.parents) if (each / HASH).is_file()), None)


def code_is_kept_out() -> bool:
    """Whether nothing is imported from the folder of some run now."""
    return any(isinstance(finder, Guard) for finder in sys.meta_path)


def is_kept_out(folder: Path) -> bool:
    """Whether nothing is imported from a folder now."""
    return any(isinstance(finder, Guard) and finder.holds(folder) for finder in sys.meta_path)
