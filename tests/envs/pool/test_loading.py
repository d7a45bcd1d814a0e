"""Where envpool is not installed, or cannot be imported."""

from __future__ import annotations

import ctypes
import platform
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import envs
from envs.pool import loading


def specs(monkeypatch: pytest.MonkeyPatch, **found: Any) -> None:
    """Have these packages be installed, and no others."""
    monkeypatch.setattr(loading, "find_spec", found.get)


def test_the_extra_is_told_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    specs(monkeypatch)
    sentence = "ProcGen is played by envpool, which is not installed; run pip install -e '.[procgen]' (about 1 GB)"
    with pytest.raises(ImportError) as refusal:
        loading.load_envpool("ProcGen", "procgen")
    assert str(refusal.value) == sentence
    with pytest.raises(ValueError, match="cannot be made") as refused:
        envs.make("cchain/starpilot")
    assert str(refused.value) == f"task 'level_20' cannot be made: {sentence}"
    with pytest.raises(ValueError, match=r"is not installed; run pip install -e '\.\[envpool\]' \(about 750 MB\)$"):
        envs.make("cw10")


def test_a_mac_that_has_no_wheel_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    specs(monkeypatch)
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    with pytest.raises(
        ImportError, match="not installed; it has wheels for Linux, Windows and Macs with processors of"
    ):
        loading.load_envpool("Atari", "envpool")


def test_an_envpool_that_cannot_be_imported_says_so_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> Any:
        raise AttributeError("np.bool was\n  removed")

    specs(monkeypatch, envpool=ModuleSpec("envpool", None))
    monkeypatch.setattr(loading, "import_module", fail)
    with pytest.raises(ImportError) as refusal:
        loading.load_envpool("ProcGen", "procgen")
    assert str(refusal.value) == (
        "ProcGen is played by envpool, which cannot be imported (AttributeError: np.bool was removed); correct what it "
        "names, or run pip install -e '.[procgen]'"
    )
    assert isinstance(refusal.value.__cause__, AttributeError)


@pytest.mark.parametrize(
    ("system", "folder", "extra", "loads"),
    [
        ("linux", "Qt5/lib", "procgen", True),
        ("linux", "bindings", "procgen", False),
        ("win32", "Qt5/lib", "procgen", False),
        ("darwin", "Qt5/lib", "procgen", False),
        ("linux", "Qt5/lib", "envpool", False),
    ],
)
def test_qt_of_the_wheel_is_loaded_first_for_procgen_on_linux(
    system: str, folder: str, extra: str, loads: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / folder).mkdir(parents=True)  # Debian's and conda's PyQt5 have bindings alone, beside Qt of the system
    done: list[Any] = []

    def module(name: str) -> ModuleType:
        done.append(name)
        found = ModuleType(name)
        vars(found).update({loading.GAMES: None})
        return found

    qt = ModuleSpec("PyQt5", None, is_package=True)
    qt.submodule_search_locations = [str(tmp_path)]
    specs(monkeypatch, envpool=ModuleSpec("envpool", None), PyQt5=qt)
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(loading, "import_module", module)
    monkeypatch.setattr(ctypes, "CDLL", lambda path, mode: done.append((Path(path), mode)))
    assert loading.load_envpool("some suite", extra).__name__ == "envpool"
    libraries = [(tmp_path / "Qt5" / "lib" / name, ctypes.RTLD_GLOBAL) for name in loading.QT]
    procgen = ["envpool.procgen"] if extra == "procgen" else []
    assert done == [*(libraries if loads else []), "envpool", *procgen]


def test_an_envpool_that_was_imported_without_qt_is_imported_again(monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {"envpool": ModuleType("envpool"), "envpool.procgen": ModuleType("envpool.procgen")}
    specs(monkeypatch, envpool=ModuleSpec("envpool", None))
    monkeypatch.setattr(loading, "import_module", modules.get)
    monkeypatch.setattr(loading, "reload", lambda module: vars(module).update({loading.GAMES: None}))
    assert loading.load_envpool("ProcGen", "procgen") is modules["envpool"]
    assert loading.GAMES in vars(modules["envpool.procgen"])
