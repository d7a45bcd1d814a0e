"""`agents.plasticity` is torch alone, its registry not even that."""

from __future__ import annotations

import subprocess
import sys

import pytest

import agents.plasticity
from agents.plasticity import (
    auto,
    diagnosis,
    diagnostics,
    injectable,
    loop,
    network_intervention,
    optimizers,
    penalties,
    protocols,
    replay_ratio,
    resets,
    sample_weight_decay,
)

HOMES = (
    auto,
    diagnosis,
    diagnostics,
    injectable,
    loop,
    network_intervention,
    optimizers,
    penalties,
    protocols,
    replay_ratio,
    resets,
    sample_weight_decay,
)


def loaded(statement: str, *modules: str) -> list[str]:
    code = f"import sys\n{statement}\nprint(*[m for m in {modules!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return run.stdout.split()


def test_plasticity_needs_neither_sb3_nor_gymnasium() -> None:
    statement = (
        "import agents.plasticity as p; [getattr(p, name) for name in p.__all__]; import agents.plasticity.diagnostics"
    )
    assert loaded(statement, "torch", "stable_baselines3", "gymnasium") == ["torch"]


def test_names_need_no_torch() -> None:
    statement = (
        "from agents import AGENTS; from agents.optimizers import OPTIMIZERS; "
        "from agents.plasticity import criterion, intervention; "
        "from agents.plasticity.registry import CRITERIA, INTERVENTIONS, plugins; plugins(); "
        "criterion('mine')(lambda a: a); intervention('mine')(type('Mine', (), {}))"
    )
    assert loaded(statement, "torch", "stable_baselines3", "gymnasium", "numpy") == []


def test_every_public_name_is_what_its_module_has() -> None:
    for name in agents.plasticity.__all__:
        homes = [module for module in HOMES if hasattr(module, name)]
        assert all(getattr(agents.plasticity, name) is getattr(module, name) for module in homes)
        assert homes or name in ("criterion", "intervention")
    with pytest.raises(AttributeError, match=r"module 'agents\.plasticity' has no attribute 'Reset'"):
        _ = agents.plasticity.Reset
