"""Importing envpool, which finds Qt on a system that has none."""

from __future__ import annotations

import ctypes
import platform
import sys
from importlib import import_module, reload
from importlib.util import find_spec
from pathlib import Path
from typing import Any

QT = ("libicudata.so.56", "libicuuc.so.56", "libicui18n.so.56", "libQt5Core.so.5", "libQt5DBus.so.5", "libQt5Gui.so.5")
"""Libraries of the wheel PyQt5-Qt5 that envpool's ProcGen needs, each behind those that it needs itself."""
PROCGEN = "procgen"
"""The extra that brings them, too."""
GAMES = "ProcgenGymnasiumEnvPool"
SIZES = {"envpool": "about 750 MB", PROCGEN: "about 1 GB"}
"""Of the extras that bring envpool."""


def load_envpool(suite: str, extra: str) -> Any:
    """The package envpool, once it can make the games of a suite.

    Args:
        suite: its name, for messages.
        extra: of ``SIZES``, the one that brings what the suite needs.

    Raises:
        ImportError: envpool is not installed, or cannot be imported.
    """
    install = f"run pip install -e '.[{extra}]'"
    if find_spec("envpool") is None:
        remedy = f"{install} ({SIZES[extra]})"
        if (sys.platform, platform.machine()) == ("darwin", "x86_64"):
            remedy = "it has wheels for Linux, Windows and Macs with processors of Apple's, so use one of these"
        raise ImportError(f"{suite} is played by envpool, which is not installed; {remedy}")
    try:
        if extra == PROCGEN:
            _load_qt()
        envpool = import_module("envpool")
        if extra == PROCGEN:
            _require_procgen()
    except Exception as error:
        said = " ".join(str(error).split())
        raise ImportError(
            f"{suite} is played by envpool, which cannot be imported ({type(error).__name__}: {said}); correct what it "
            f"names, or {install}"
        ) from error
    return envpool


def _load_qt() -> None:
    """Load Qt from its wheel, where that is installed, as if the system had it; envpool asks Linux's linker for it."""
    qt = find_spec("PyQt5") if sys.platform == "linux" else None
    if qt is None or not qt.submodule_search_locations:
        return
    folder = Path(qt.submodule_search_locations[0]) / "Qt5" / "lib"
    if folder.is_dir():  # a PyQt5 of the system or of conda has none: its Qt lies where the linker looks
        for library in QT:
            ctypes.CDLL(str(folder / library), mode=ctypes.RTLD_GLOBAL)


def _require_procgen() -> None:
    """Have envpool make ProcGen's games, also where it was imported without Qt before."""
    procgen = import_module("envpool.procgen")
    if GAMES not in vars(procgen):
        reload(procgen)
    getattr(procgen, GAMES)  # raises only now what went wrong at its import
