"""Sides of benchmarks that do nothing, and note in a file who has done it. Standard library alone, as peers need it."""

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.harness.declared import Missing, Repetition, Spent


def counting(diary: str, name: str, seconds: float, megabytes: float = 1.0, learnt: str = "") -> Repetition:
    """Says that a unit of work takes so many seconds, half of them the processor's; the n-th repetition is n units."""
    worked = 0

    def repetition() -> Spent:
        nonlocal worked
        worked += 1
        print("something that must not come between answers")
        with Path(diary).open("a", encoding="utf-8") as file:
            file.write(f"{name} {os.getpid()} {os.environ['OMP_NUM_THREADS']} {os.environ['OMP_WAIT_POLICY']}\n")
        return Spent(worked, seconds * worked, seconds * worked / 2, megabytes, learnt, {"worked": worked})

    return repetition


def plain(work: float) -> Repetition:
    """Is timed by the clock around it."""
    return lambda: work


def absent(**_: object) -> Repetition:
    """Cannot be measured anywhere."""
    raise Missing("there is no such machine; build one")


def failing(**_: object) -> Repetition:
    """Goes wrong while it works."""

    def repetition() -> float:
        raise ZeroDivisionError("of nothing")

    return repetition


def by_another(megabytes: int) -> Repetition:
    """A process is started that holds so much."""

    def repetition() -> float:
        subprocess.run([sys.executable, "-S", "-c", f"bytearray(b'1') * ({megabytes} * 10**6)"], check=True)
        return 1.0

    return repetition
