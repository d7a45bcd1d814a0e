"""Importing envpool's ProcGen, which finds Qt on a system that has none."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from importlib import import_module, reload
from importlib.util import find_spec
from pathlib import Path
from typing import Any

QT = ("libicudata.so.56", "libicuuc.so.56", "libicui18n.so.56", "libQt5Core.so.5", "libQt5DBus.so.5", "libQt5Gui.so.5")
"""Libraries of the wheel PyQt5-Qt5 that envpool's ProcGen needs, each behind those that it needs itself."""
GAMES = "ProcgenGymnasiumEnvPool"
EXTRA = "pip install -e '.[procgen]'"


def pool_maker() -> Callable[..., Any]:
    """``envpool.make``, once it can make ProcGen's games.

    Raises:
        ImportError: envpool is not installed, or cannot be imported.
    """
    if find_spec("envpool") is None:
        raise ImportError(f"ProcGen is played by envpool, which is not installed; run {EXTRA} (about 1 GB)")
    try:
        _load_qt()
        make: Callable[..., Any] = import_module("envpool").make
        procgen = import_module("envpool.procgen")
        if GAMES not in vars(procgen):  # it was imported before, without Qt
            reload(procgen)
        getattr(procgen, GAMES)  # raises only now what went wrong at its import
    except Exception as error:
        said = " ".join(str(error).split())
        raise ImportError(
            f"ProcGen is played by envpool, which cannot be imported ({type(error).__name__}: {said}); correct what it "
            f"names, or run {EXTRA}"
        ) from error
    return make


def _load_qt() -> None:
    """Load Qt from its wheel, where that is installed, as if the system had it; envpool asks Linux's linker for it."""
    qt = find_spec("PyQt5") if sys.platform == "linux" else None
    if qt is None or not qt.submodule_search_locations:
        return
    folder = Path(qt.submodule_search_locations[0]) / "Qt5" / "lib"
    if folder.is_dir():  # a PyQt5 of the system or of conda has none: its Qt lies where the linker looks
        for library in QT:
            ctypes.CDLL(str(folder / library), mode=ctypes.RTLD_GLOBAL)
