"""Nested states on the disk, as safetensors and JSON that never execute code, and the checkpoints of a run."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crl.storage.decoding import State
    from crl.storage.files import DamagedError, parsed, replace_file
    from crl.storage.rotation import checkpoints_in, newest, prune, set_aside
    from crl.storage.states import Manifest, read, recover, verify, write

__all__ = [
    "DamagedError",
    "Manifest",
    "State",
    "checkpoints_in",
    "newest",
    "parsed",
    "prune",
    "read",
    "recover",
    "replace_file",
    "set_aside",
    "verify",
    "write",
]
_MODULES = {
    "State": "decoding",
    **dict.fromkeys(("DamagedError", "parsed", "replace_file"), "files"),
    **dict.fromkeys(("checkpoints_in", "newest", "prune", "set_aside"), "rotation"),
    **dict.fromkeys(("Manifest", "read", "recover", "verify", "write"), "states"),
}
"""Where each is, imported on first use: what reads no tensor does without torch."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'crl.storage' has no attribute {name!r}")
    return getattr(import_module(f"crl.storage.{_MODULES[name]}"), name)
