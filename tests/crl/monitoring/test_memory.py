"""The most memory that a process has held."""

from __future__ import annotations

import numpy as np
import psutil
import torch

from crl.monitoring import peak_memory

MEGA = 2**20
CPU = torch.device("cpu")


def test_the_peak_stays_when_the_memory_is_given_back() -> None:
    before = psutil.Process().memory_info().rss
    held = np.ones(300 * MEGA, dtype=np.uint8)
    del held
    peak = peak_memory(CPU)
    assert set(peak) == {"process"}
    assert peak["process"] >= before + 290 * MEGA
    assert psutil.Process().memory_info().rss < peak["process"] - 200 * MEGA
