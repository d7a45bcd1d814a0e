"""The process of one side: told what to prepare, it repeats the work whenever it is asked. Standard library alone.

What it is asked and what it answers are lines of JSON on its standard input and output; whatever the work prints goes
to its standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.harness.declared import Missing, Spent

TOLD = ("crl", "torch", "stable-baselines3", "gymnasium", "numpy", "numba", "minatar")
STATUS = Path("/proc/self/status")  # what Linux says of this process
MEGA = 1e6


def main() -> None:
    """Answer until nobody asks any more."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(found: Mapping[str, Any]) -> None:
        answers.write(json.dumps(found) + "\n")
        answers.flush()

    asked = json.loads(sys.stdin.readline())
    try:
        _check(asked["needs"])
        module, _, name = asked["make"].partition(":")
        repetition = getattr(importlib.import_module(module), name)(**asked["settings"])
    except Missing as missing:
        answer({"missing": str(missing)})
        return
    answer({"versions": _versions((*TOLD, *asked["needs"]))})
    for _ in sys.stdin:
        answer(timed(repetition))


def timed(repetition: Callable[[], float | Spent]) -> dict[str, Any]:
    """What a repetition takes, as it is answered."""
    processor, start = _processor_seconds(), time.perf_counter()
    found = repetition()
    seconds, used = time.perf_counter() - start, _processor_seconds() - processor
    spent = found if isinstance(found, Spent) else Spent(found)
    return {
        "work": spent.work,
        "seconds": seconds if spent.seconds is None else spent.seconds,
        "processor": used if spent.processor is None else spent.processor,
        "megabytes": peak_megabytes() if spent.megabytes is None else spent.megabytes,
        "peak": max(peak_megabytes(), _started_megabytes()),
        "learnt": spent.learnt,
        "notes": dict(spent.notes),
        "used": used,
    }


def _check(packages: Iterable[str]) -> None:
    absent = [package for package in packages if package not in _versions(packages)]
    if absent:
        raise Missing(f"{' and '.join(absent)} cannot be found in the environment of {sys.executable}")


def _versions(packages: Iterable[str]) -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _processor_seconds() -> float:
    """Of all threads, and of the processes that it has started and that have ended (not on Windows)."""
    return time.process_time() + sum(os.times()[2:4])


def peak_megabytes() -> float:
    """The most memory that this process has held: where it cannot be told, 0."""
    if STATUS.exists():  # not getrusage, whose number a process takes over from the one that started it
        lines = STATUS.read_text(encoding="utf-8", errors="replace").splitlines()
        return next((int(line.split()[1]) * 1024 / MEGA for line in lines if line.startswith("VmHWM:")), 0.0)
    if sys.platform == "win32":
        try:
            import psutil
        except ModuleNotFoundError:  # in the environment of a peer
            return 0.0
        return float(psutil.Process().memory_info().peak_wset / MEGA)
    import resource

    return _megabytes(resource.getrusage(resource.RUSAGE_SELF))


def _started_megabytes() -> float:
    """The most memory that one of the processes held that it has started and that have ended; 0 on Windows."""
    if sys.platform == "win32":
        return 0.0
    import resource

    return _megabytes(resource.getrusage(resource.RUSAGE_CHILDREN))


def _megabytes(usage: Any) -> float:
    """Of what `resource.getrusage` gives."""
    return float(usage.ru_maxrss) * (1 if sys.platform == "darwin" else 1024) / MEGA


if __name__ == "__main__":
    main()
