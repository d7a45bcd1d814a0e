"""One update of SAC and TD3, exact and fast, from the same state on the same data."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from small_off_policy import ours

from agents import SAC

GIVEN: dict[str, Any] = {"batch_size": 16, "buffer_size": 64, "learning_rate": 1e-3}


def moves(
    kind: str, steps: int = 3, change: Any = None, make: Any = None, **settings: Any
) -> list[dict[str, torch.Tensor]]:
    """How far one update moves everything, exact and fast, from the same state on the same data."""
    exact = ours(kind, **{**GIVEN, **settings}, interventions=[] if make is None else [make()])
    exact.fill_buffer()
    found = []
    for speed in ("exact", "fast"):
        model = ours(kind, **{**GIVEN, **settings}, interventions=[] if make is None else [make()], speed=speed)
        model.policy.load_state_dict(exact.policy.state_dict())
        model.replay_buffer = copy.deepcopy(exact.replay_buffer)
        model._setup_learn(1)
        if change is not None:
            change(model)
        before = _state(model)
        np.random.seed(0)
        torch.manual_seed(0)
        model.train(steps, 16)
        found.append({name: value - before[name] for name, value in _state(model).items()} | _losses(model))
    return found


def _state(model: Any) -> dict[str, torch.Tensor]:
    found = {name: value.clone() for name, value in model.policy.state_dict().items()}
    if isinstance(model, SAC) and model.log_ent_coef is not None:
        found["log_ent_coef"] = model.log_ent_coef.detach().clone()
    return found


def _losses(model: Any) -> dict[str, torch.Tensor]:
    logged = model.logger.name_to_value
    return {tag: torch.tensor(float(value)) for tag, value in logged.items() if "loss" in tag or "ent_coef" in tag}


def assert_alike(exact: dict[str, torch.Tensor], fast: dict[str, torch.Tensor]) -> None:
    assert exact.keys() == fast.keys()
    assert any(move.abs().max() > 1e-4 for move in exact.values())
    for name, move in exact.items():
        torch.testing.assert_close(
            fast[name], move, rtol=1e-3, atol=2e-5, msg=lambda text, name=name: f"{name}: {text}"
        )
