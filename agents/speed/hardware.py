"""What the hardware computes quickly."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch

ARM = ("arm64", "aarch64")


@cache
def has_bfloat16(device: str) -> bool:
    """Whether a kind of device, such as ``cpu``, multiplies matrices in bfloat16 by instructions of its own.

    Without them it is emulated, on CPUs about fifteen times slower than float32. The answer is the hardware's own, not
    a measurement: a run that goes on here computes as it did.
    """
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device != "cpu":
        return False
    if platform.machine().lower() in ARM:
        return _says_bf16()
    questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # an older torch lacks one of them
    return torch.backends.mkldnn.is_available() and any(
        getattr(torch.cpu, question, lambda: False)() for question in questions
    )


def _says_bf16() -> bool:
    """Whether Linux names the bf16 extension of an ARM CPU; others say nothing, and torch uses none there."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    return any("bf16" in line.split() for line in lines if line.startswith("Features"))
