"""Code from outside that a config may name: modules of the user's own, and installed plugins."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from agents.plasticity import registry
from agents.specs import AGENTS
from crl.config.messages import ConfigError, one_line, shown
from crl.config.origin import RunFolderCodeError, code_is_kept_out, code_kept_out, is_kept_out, run_around
from crl.config.parts import PARTS
from envs.checks import closest

NO_MODULE_NAME = "is not the name of a module; give one such as my_module, for my_module.py in the current folder"


_folders: list[Path] = []  # of the user's, beside the current one, in which modules are found now


def is_module_name(name: str) -> bool:
    """Whether a module can have this name."""
    return all(part.isidentifier() for part in name.split("."))


def register_plugins() -> None:
    """Make known the names that installed distributions bring, without importing them.

    Raises:
        ConfigError: a distribution brings a name that is taken or not understood.
    """
    try:
        registry.plugins({"agents": AGENTS, "parts": PARTS})
    except ValueError as error:
        raise ConfigError(f"an installed plugin is refused: {error}, or uninstall it") from None


@contextmanager
def beside(config: Path) -> Iterator[None]:
    """While this lasts, modules are found in the folder of a config as they are in the current one.

    But none is, in any folder of a run, for a config that lies in one: anybody may have made that.

    Raises:
        ConfigError: it lies where this code does.
    """
    folder = config.parent.resolve()
    run = run_around(folder)
    with found_in([folder]) if run is None else code_kept_out(run):
        yield


@contextmanager
def found_in(folders: Sequence[Path]) -> Iterator[None]:
    """While this lasts, modules are found in these folders as they are in the current one."""
    before = [*_folders]
    _folders.extend(folder.resolve() for folder in folders)
    try:
        yield
    finally:
        _folders[:] = before


def needed_folders(names: Iterable[str]) -> list[Path]:
    """The folders of `found_in` in which modules with these names lie, and which are not the current one."""
    files = [Path(file) for name in names if (file := getattr(sys.modules.get(name), "__file__", None))]
    own = [folder for folder in dict.fromkeys(_folders) if folder != Path.cwd()]
    return [folder for folder in own if any(file.is_relative_to(folder) for file in files)]


def import_modules(names: Sequence[str], key: str = "imports.{}=") -> None:
    """Import modules, which register what they bring.

    Args:
        names: of modules.
        key: what messages put before a name, with a place for its index.

    Raises:
        ConfigError: one cannot be imported, see `import_module`.
    """
    for i, name in enumerate(names):
        import_module(name, f"{key.format(i)}{shown(name)}")


def import_module(name: str, given: str, like: str = "") -> None:
    """Import a module of the user's: from the current folder as with ``python -m``, from `beside`, or installed.

    Args:
        name: of the module.
        given: how messages call it.
        like: what messages say of where it may be.

    Raises:
        ConfigError: it is not found, raises, or is hidden by another module of its name.
    """
    places = [str(place) for place in dict.fromkeys([Path.cwd(), *_folders]) if not _may_be_a_strangers(place)]
    sys.path[:0] = [place for place in places if place not in sys.path]
    if not is_module_name(name):
        raise ConfigError(f"{given} {NO_MODULE_NAME}")
    try:
        module = importlib.import_module(name)
    except RunFolderCodeError as error:
        raise ConfigError(f"{given} is refused: {error}") from error
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            near = closest(name, [module.name for module in pkgutil.iter_modules(places)])
            folder = " (resume, evaluate, audit and diagnose also take --modules FOLDER)" if code_is_kept_out() else ""
            remedy = (
                f"did you mean {near!r}?" if near else f"install it, or run crl in the folder where it lies{folder}"
            )
            looked = "".join(f"{place!r} or " for place in places)
            raise ConfigError(
                f"{given} is no module that can be found{like} in {looked}the installed packages; {remedy}"
            ) from error
        raise ConfigError(
            f"{given} cannot be imported ({type(error).__name__}{_place(error)}: {one_line(error)}); "
            f"correct it or leave it out"
        ) from error
    own = next((file for place in places if (file := Path(place, f"{name}.py")).is_file()), None)
    if own is not None and not own.samefile(getattr(module, "__file__", None) or own.parent):
        raise ConfigError(f"{given} is {module!r}, which hides {str(own)!r}; rename that file")


def _may_be_a_strangers(folder: Path) -> bool:
    return is_kept_out(folder) or run_around(folder) is not None


def _place(error: BaseException) -> str:
    """The line that raised, of the first file that is neither this one nor Python's import system."""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename != __file__ and "importlib" not in frame.filename:
            return f" in {Path(frame.filename).name}, line {frame.lineno}"
    return ""
