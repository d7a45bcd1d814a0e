"""What the checkpoints of a run hold, for tests that compare runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from crl import storage

CLOCK = {"seconds", "start_time", "t", "peak_memory"}
"""Keys under which a clock's readings and what the process took stand."""


def learner_of(checkpoint: Path) -> dict[str, Any]:
    found: dict[str, Any] = storage.read(checkpoint, ["learner"])["learner"]
    return found


def policy_of(checkpoint: Path) -> dict[str, Tensor]:
    """The policy's state dict."""
    found: dict[str, Tensor] = learner_of(checkpoint)["modules"]["policy"]
    return found


def normalizer_of(checkpoint: Path) -> dict[str, Any] | None:
    """What its `VecNormalize` held; None without one."""
    layers = storage.read(checkpoint, ["world"])["world"]["wrappers"]
    return next((layer for layer in layers if "ret_rms" in layer), None)


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """(place, leaf) of all that lies in nested dicts and lists; arrays and tensors as (dtype, shape, bytes)."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in CLOCK and not str(key).startswith("time/"):
                yield from leaves(item, f"{place}/{key}")
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from leaves(item, f"{place}/{number}")
    elif isinstance(value, Tensor | np.ndarray):
        array = value.detach().numpy() if isinstance(value, Tensor) else value
        yield place, (str(array.dtype), array.shape, array.tobytes())
    else:
        yield place, repr(value)


def state_of(checkpoint: Path) -> dict[str, Any]:
    """All leaves of a checkpoint, without what a clock has measured and the names and lengths of logs."""
    state = storage.read(checkpoint)
    del state["run"]["logs"]
    return dict(leaves(state))
