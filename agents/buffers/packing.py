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
    """A batch as dicts and lists of tensors and JSON values; the tensors are its own.

    Of a buffer's own kind of batch the fields of SB3's are kept, which is what the losses are computed of.

    Raises:
        ValueError: it lacks some of these.
    """
    kind = _kind(batch)
    return {"kind": kind.__name__, "fields": [getattr(batch, name, None) for name in kind._fields]}


def unpacked(saved: Any, device: torch.device) -> Any:
    """What `packed` was given, its tensors copied to a device.

    Raises:
        ValueError: it is no batch.
    """
    match saved:
        case {"kind": str(name), "fields": list(fields)} if name in KINDS and len(fields) == len(KINDS[name]._fields):
            kind = KINDS[name]
            named = {key: _copied(field, device) for key, field in zip(kind._fields, fields, strict=True)}
            lacking = [key for key in _required(kind) if named[key] is None]
            if lacking:
                raise ValueError(f"the saved batch has no {', '.join(lacking)}")
            return kind(**named)
    raise ValueError("the saved batch is none of a buffer's")


def _kind(batch: Any) -> Any:
    """SB3's kind of a batch."""
    if type(batch) in KINDS.values():
        return type(batch)
    of_dicts = isinstance(getattr(batch, "observations", None), dict)
    for name, kind in KINDS.items():
        if name.startswith("Dict") == of_dicts and all(hasattr(batch, key) for key in _required(kind)):
            return kind
    raise ValueError(
        f"a {type(batch).__name__} cannot be kept over a checkpoint; give batches with the fields of {', '.join(KINDS)}"
    )


def _required(kind: Any) -> list[str]:
    return [name for name in kind._fields if name not in kind._field_defaults]


def _copied(field: Any, device: torch.device) -> Any:
    match field:
        case None:
            return None
        case Mapping():
            return {key: _copied(value, device) for key, value in field.items()}
        case Tensor():
            return field.to(device, copy=True)
    raise ValueError(f"the saved batch holds a {type(field).__name__}; give tensors and dicts of these")
