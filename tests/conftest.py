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
