"""Batches of SB3's buffers as plain data, which outlives a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from stable_baselines3.common.type_aliases import (
    DictReplayBufferSamples,
    DictRolloutBufferSamples,
    ReplayBufferSamples,
    RolloutBufferSamples,
)
from torch import Tensor

KINDS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (DictReplayBufferSamples, DictRolloutBufferSamples, ReplayBufferSamples, RolloutBufferSamples)
}


def packed(batch: Any) -> dict[str, Any]:
    """A batch as dicts and lists of tensors and JSON values; the tensors are its own."""
    return {"kind": type(batch).__name__, "fields": list(batch)}


def unpacked(saved: Mapping[str, Any], device: torch.device) -> Any:
    """What `packed` was given, its tensors copied to a device.

    Raises:
        ValueError: it is no batch.
    """
    kind, fields = KINDS.get(saved["kind"]), saved["fields"]
    if kind is None or not len(kind._fields) - len(kind._field_defaults) <= len(fields) <= len(kind._fields):
        raise ValueError(f"the saved batch of kind {saved['kind']!r} with {len(fields)} fields is none of a buffer's")
    return kind(*(_copied(field, device) for field in fields))


def _copied(field: Any, device: torch.device) -> Any:
    match field:
        case None:
            return None
        case Mapping():
            return {key: _copied(value, device) for key, value in field.items()}
        case Tensor():
            return field.to(device, copy=True)
    raise ValueError(f"the saved batch holds a {type(field).__name__}; give tensors and dicts of these")
