"""`agents.plasticity.compiler`: torch's compiler is loaded by who compiles, and then knows all that it is told."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from agents.plasticity import compiler
from agents.plasticity.optimizers import stepping

SUPPORT = Path(__file__).parents[2] / "support"
KINDS: list[tuple[Any, dict[str, Any]]] = [
    (torch.optim.Adam, {}),
    (torch.optim.Adam, {"fused": True}),
    (torch.optim.Adam, {"foreach": True}),
    (torch.optim.AdamW, {}),
    (torch.optim.RMSprop, {"centered": True}),
    (torch.optim.SGD, {"momentum": 0.9}),
    (torch.optim.NAdam, {}),
]


def printed(program: str) -> str:
    """By a process of its own, which has loaded nothing."""
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, cwd=SUPPORT, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_no_agent_loads_it() -> None:
    """With all interventions and measures, or as fast as can be."""
    program = """
import sys, torch, small_off_policy, small_ppo
from agents.plasticity.diagnostics import Diagnostics
from small_loop import ACTING, together

model = small_ppo.build("board", n_epochs=1, interventions=together(ACTING))
model.learn(24)
Diagnostics(model, torch.Generator().manual_seed(0)).measure()
small_ppo.build("board", n_epochs=1, speed="fast").learn(24)
for kind in ("dqn-mlp", "sac-mlp", "td3-mlp"):
    for speed in ("exact", "fast"):
        model = small_off_policy.ours(kind, speed=speed)
        model.learn(24)
        model.train(gradient_steps=2, batch_size=16)
model.set_parameters(model.get_parameters())
print("torch._dynamo" in sys.modules, "sympy" in sys.modules)
"""
    assert printed(program) == "False False"


def test_what_is_compiled_later_is_told_of_optimizers() -> None:
    """The first gradients are dropped before the compiler is there, the next in what it compiles; then it knows."""
    program = """
import sys, torch
from torch.optim import Optimizer
from agents.plasticity import compiler

compiler.leave_unloaded()
weight = torch.nn.Parameter(torch.ones(3))
optimizer = torch.optim.SGD([weight], lr=0.5)
weight.grad = torch.ones(3)
optimizer.zero_grad()
print(weight.grad, compiler.is_loaded())

def step(x):
    optimizer.zero_grad()
    (x * weight).sum().backward()
    optimizer.step()
    return x + 1

compiled = torch.compile(step, backend="eager")
print(compiled(torch.ones(3)).tolist(), weight.tolist(), compiler.is_loaded())
optimizer.zero_grad()
optimizer.load_state_dict(optimizer.state_dict())
optimizer.add_param_group({"params": [torch.nn.Parameter(torch.ones(1))]})
kept = [getattr(Optimizer, name).__wrapped__.__dynamo_disable for name in compiler.UNCOMPILED]
print(all(each._torchdynamo_disable for each in kept))
"""
    assert printed(program).splitlines() == ["None False", "[2.0, 2.0, 2.0] [0.5, 0.5, 0.5] True", "True"]


@pytest.mark.parametrize(("kind", "settings"), KINDS)
def test_steps_are_torchs_without_it(kind: Any, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "is_loaded", lambda: False)
    weights = [nn.Parameter(torch.linspace(-1, 1, 40).view(8, 5)) for _ in range(2)]
    mine, stock = (kind([weight], lr=0.1, **settings) for weight in weights)
    assert stepping._inner_step(kind) is not None
    for number in range(3):
        for weight in weights:
            weight.grad = torch.sin(torch.arange(40.0) + number).view(8, 5)
        stepping.step(mine)
        stock.step()
        assert torch.equal(*weights)
    for key, value in stock.state[weights[1]].items():
        assert value is None or torch.equal(mine.state[weights[0]][key], value)
    assert torch.is_grad_enabled()


def test_an_optimizer_of_ones_own_makes_its_own_step(monkeypatch: pytest.MonkeyPatch) -> None:
    class Mine(torch.optim.SGD):
        steps = 0

        def step(self, closure: Any = None) -> None:
            """Only count."""
            self.steps += 1

    monkeypatch.setattr(compiler, "is_loaded", lambda: False)
    optimizer = Mine([nn.Parameter(torch.ones(2))], lr=1.0)
    stepping.step(optimizer)
    assert optimizer.steps == 1
