"""What else the machine does while something is measured."""

from __future__ import annotations

import time

import psutil

MOST = 0.05
"""Share of all cores that other processes may take while times are to be compared."""


def busy_seconds() -> tuple[float, float]:
    """Seconds that the cores of the machine have been busy since it was started, and the clock's time of that."""
    times = psutil.cpu_times()
    # Guests are counted in `user` already.
    idle = (getattr(times, name, 0.0) for name in ("idle", "iowait", "guest", "guest_nice"))
    return sum(times) - sum(idle), time.perf_counter()


def cores_of_others(others: float, waited: float) -> float:
    """How many cores other processes kept busy on average.

    Args:
        others: processor seconds that they took.
        waited: seconds in which they took them.
    """
    return max(0.0, others / waited) if waited > 0 else 0.0


def is_loaded(cores: float) -> bool:
    """Whether so many busy cores would decide what is measured."""
    return cores > MOST * (psutil.cpu_count() or 1)


def load_average() -> tuple[float, float, float]:
    """Processes that were running or waiting to, over the last 1, 5 and 15 minutes."""
    return psutil.getloadavg()
