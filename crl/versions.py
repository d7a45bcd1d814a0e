"""What a run is trained with: versions and the machine. Importing this loads nothing."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ABSENT = "not installed"  # in place of a version
UNKNOWN = "unknown"  # in place of a digest
COMPUTING = ("stable-baselines3", "gymnasium", "minatar", "mujoco", "envpool", "numpy", "numba")  # as torch does


@functools.cache  # every checkpoint names them, and each is parsed from a file
def installed(package: str) -> str:
    """The version of a package, or that there is none."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ABSENT


@functools.cache
def crl_version() -> str:
    """crl's version and a digest of its code when this is asked first: work on a clone changes the code alone.

    Code that cannot be read, such as a zip's, is unknown; that stops no training.
    """
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    try:
        files = sorted(path for package in ("agents", "crl", "envs") for path in (root / package).rglob("[!.]*.py"))
        for path in files:  # names with a dot in front are editors' and macOS's
            digest.update(f"{path.relative_to(root).as_posix()}\n".encode())
            digest.update(path.read_bytes().replace(b"\r\n", b"\n"))  # as Git may have written it
    except OSError:
        files = []
    return f"{installed('crl')} (code {digest.hexdigest()[:12] if files else UNKNOWN})"


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
    lines |= {package: installed(package) for package in ("torch", *COMPUTING)}
    lines["crl"] = crl_version()
    lines["platform"] = platform.platform()
    lines["cpus"] = str(os.cpu_count())
    lines["threads"] = str(threads)
    lines["device"] = device
    return "".join(f"{name} {value}\n" for name, value in lines.items())
