"""Nested states on the disk, as safetensors and JSON that never execute code, and the checkpoints of a run."""

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
