"""Buffers on the learner's device, where that is the CPU, which is otherwise left out."""

from __future__ import annotations

import sys

import pytest

from agents.buffers import on_device


def force(patch: pytest.MonkeyPatch, free: int = sys.maxsize) -> None:
    """The CPU counts as a device with so many bytes free, of its own."""
    patch.setattr(on_device, "DEVICES", {"cpu", "cuda"})
    patch.setattr(on_device, "free_bytes", lambda device: free)
