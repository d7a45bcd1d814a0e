"""The most memory that a run has taken."""

from __future__ import annotations

import sys
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
    if STATUS.exists():
        # Not getrusage, whose number a process takes over from the one that started it.
        (line,) = (line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
