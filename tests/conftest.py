"""One thread for every process of the tests: several run at once, and the number of threads is part of the numerics.

What is there once all tests are collected stays to the end, so that the garbage collector need not walk through it.
"""

import gc
import os

os.environ["OMP_NUM_THREADS"] = "1"

gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


def pytest_xdist_auto_num_workers() -> int:
    """Half as many again as there are cores: a third of the time tests wait for processes that they have started."""
    return (os.cpu_count() or 1) * 3 // 2
