"""Code from outside that a config may name: modules of the user's own, and installed plugins."""

from __future__ import annotations

import importlib
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from agents.plasticity import registry
from agents.specs import AGENTS
from crl.config.messages import ConfigError, one_line, shown
from crl.config.origin import RunFolderCodeError, is_kept_out
from crl.config.parts import PARTS
from envs.checks import closest

NO_MODULE_NAME = "is not the name of a module; give one such as my_module, for my_module.py in the current folder"


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


def import_modules(names: Sequence[str], key: str = "imports.{}=") -> None:
    """Import modules, which register what they bring; those in the current folder too, as with ``python -m``.

    Args:
        names: of modules.
        key: what messages put before a name, with a place for its index.

    Raises:
        ConfigError: one is not found, raises, or is hidden by another module of its name.
    """
    here = str(Path.cwd())
    usable = not is_kept_out(Path(here))
    if names and usable and here not in sys.path:
        sys.path.insert(0, here)
    for i, name in enumerate(names):
        given = f"{key.format(i)}{shown(name)}"
        if not is_module_name(name):
            raise ConfigError(f"{given} {NO_MODULE_NAME}")
        try:
            module = importlib.import_module(name)
        except RunFolderCodeError as error:
            raise ConfigError(f"{given} is refused: {error}") from error
        except (Exception, SystemExit) as error:
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            if missing is not None and f"{name}.".startswith(f"{missing}."):
                near = closest(name, [module.name for module in pkgutil.iter_modules([here])])
                remedy = f"did you mean {near!r}?" if near else "install it, or run crl in the folder where it lies"
                raise ConfigError(f"{given} is no module that can be found; {remedy}") from error
            raise ConfigError(
                f"{given} cannot be imported ({type(error).__name__}{_place(error)}: {one_line(error)}); "
                f"correct it or leave it out"
            ) from error
        own = Path(here, f"{name}.py")
        if usable and own.is_file() and not own.samefile(getattr(module, "__file__", None) or here):
            raise ConfigError(f"{given} is {module!r}, which hides {own.name} of the current folder; rename that file")


def _place(error: BaseException) -> str:
    """The line that raised, of the first file that is neither this one nor Python's import system."""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename != __file__ and "importlib" not in frame.filename:
            return f" in {Path(frame.filename).name}, line {frame.lineno}"
    return ""
