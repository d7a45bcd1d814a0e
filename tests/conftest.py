"""One thread for every process of the tests: several run at once, and the number of threads is part of the numerics."""

import os

os.environ["OMP_NUM_THREADS"] = "1"
