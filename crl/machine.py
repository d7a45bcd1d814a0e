"""What the bits of a run depend on beside its config."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping
from pathlib import Path

import torch

from crl.run_folder import ABSENT, COMPUTING, installed


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


def differences(there: Mapping[str, object], here: Mapping[str, object]) -> list[str]:
    """Sentences on what keeps a run that began there from being bit-identical where it goes on."""
    return [
        f"the run was trained with {name} {there[name]}, and here it is {value}: it goes on, but "
        f"{'perhaps ' if name in COMPUTING else ''}not bit-identically"
        for name, value in here.items()
        # What the run did not have it did not use, and other versions of crl have recorded less.
        if there.get(name, ABSENT) not in (value, ABSENT)
    ]
