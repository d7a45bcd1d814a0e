"""What the bits of a run depend on beside its config."""

from __future__ import annotations

import contextlib
import platform
from pathlib import Path

import torch

from crl.versions import COMPUTING, installed


def machine(device: torch.device) -> dict[str, str]:
    """The versions and the hardware that a run on a device has here."""
    versions = {package: installed(package) for package in COMPUTING}
    return {"torch": str(torch.__version__), **versions, "cpu": _cpu(), "device": _described(device)}


def _described(device: torch.device) -> str:
    """Its kind: numbers do not depend on which of several equal ones it is."""
    return f"cuda ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
