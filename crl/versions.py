"""What a run is trained with: versions and the machine. Importing this loads nothing."""

from __future__ import annotations

import functools
import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ABSENT = "not installed"  # in place of a version
COMPUTING = ("stable-baselines3", "gymnasium", "minatar", "mujoco", "envpool", "numpy", "numba")  # as torch does
PACKAGES = ("torch", *COMPUTING, "crl")


@functools.cache  # every checkpoint names them, and each is parsed from a file
def installed(package: str) -> str:
    """The version of a package, or that there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ABSENT


def processor_name() -> str:
    """What the processor is called."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def versions(threads: int, device: str) -> str:
    """What the numbers of a run depend on beside its config, a line each."""
    lines = {"python": platform.python_version()}
    lines |= {package: installed(package) for package in PACKAGES}
    lines["platform"] = platform.platform()
    lines["cpus"] = str(os.cpu_count())
    lines["threads"] = str(threads)
    lines["device"] = device
    return "".join(f"{name} {value}\n" for name, value in lines.items())
