"""The most memory that a run has taken."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import psutil
import torch

STATUS = Path("/proc/self/status")  # what Linux says of this process


def peak_memory(device: torch.device) -> dict[str, int]:
    """The most bytes that this process has held since it began: ``process`` resident, ``device`` of a GPU by torch."""
    found = {"process": _peak_resident()}
    if device.type == "cuda":
        found["device"] = torch.cuda.max_memory_allocated(device)
    return found


def _peak_resident() -> int:
    with suppress(OSError, StopIteration):
        # Not getrusage, whose number a process takes over from the one that started it. Sandboxes may not have it.
        lines = STATUS.read_text(encoding="utf-8", errors="replace").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM:")).split()[1]) * 1024
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
