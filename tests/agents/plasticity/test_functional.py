"""Modules run with other parameters than their own, and have their own back afterwards."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from agents.plasticity.functional import run_with, snapshot
from agents.plasticity.taps import Taps
from agents.plasticity.units import sequential

X = torch.linspace(-1, 1, 12).view(4, 3)


class Tied(nn.Module):
    """One module in two places, one parameter in two modules, and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.norm = nn.BatchNorm1d(3)
        self.first = self.again = nn.Linear(3, 3)
        self.last = nn.Linear(3, 3)
        self.last.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.again(torch.relu(self.first(self.norm(x))))))


def identities(module: nn.Module) -> list[tuple[str, int]]:
    held = [*module.named_parameters(remove_duplicate=False), *module.named_buffers(remove_duplicate=False)]
    return [(name, id(tensor)) for name, tensor in held]


def test_an_old_network_is_run_without_a_copy_of_it() -> None:
    module = Tied().eval()
    before, old, kept = copy.deepcopy(module), snapshot(module), identities(module)
    assert list(old) == ["norm.weight", "norm.bias", "first.weight", "first.bias", "last.bias", *(
        f"norm.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")
    )]  # fmt: skip
    with torch.no_grad():
        for tensor in (*module.parameters(), module.norm.running_var):
            tensor += 1
    outputs = run_with(module, old, module, X)
    assert torch.equal(outputs, before(X))
    assert not outputs.requires_grad
    assert identities(module) == kept
    torch.testing.assert_close(module.first.weight, before.first.weight + 1, rtol=0, atol=0)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def test_gradients_reach_parameters_that_take_them_and_not_those_of_the_module() -> None:
    module = Tied().eval()
    given = {name: tensor.requires_grad_(name == "last.bias") for name, tensor in snapshot(module).items()}
    run_with(module, given, module, X).sum().backward()
    assert given["last.bias"].grad.tolist() == [4.0] * 3
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_failure_leaves_the_module_as_it_was() -> None:
    module = Tied()
    kept = identities(module)
    with pytest.raises(RuntimeError, match="running_mean should contain 4 elements"):
        run_with(module, snapshot(module), module, X.T)
    assert identities(module) == kept


def test_open_taps_do_not_record_it() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    with Taps(sequential(module).layers) as taps:
        module(X)
        run_with(module, snapshot(module), module, 2 * X)
    assert torch.equal(taps.activations["net.0"], module[:2](X).detach())


@pytest.mark.parametrize("compiles", [lambda module: module.compile(backend="eager"), lambda module: None])
def test_compiled_modules_follow(compiles: object) -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1))
    compiles(module)  # type: ignore[operator]
    run = torch.compile(module, backend="eager")
    first, old = run(X).detach(), snapshot(module)
    with torch.no_grad():
        module[0].weight.add_(1)
    for function in (run, module):
        assert torch.equal(run_with(module, old, function, X), first)
        assert torch.equal(function(X), module[2](torch.relu(module[0](X))))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"first.weight": None}, r"first\.weight is missing; give all"),
        ({"other": torch.ones(1)}, r"other is not known here; give all"),
        ({"last.bias": torch.ones(4)}, r"last\.bias has the shape \(4,\), and here it is \(3,\); .* a new snapshot"),
    ],
)
def test_parameters_of_other_modules_are_refused(change: dict[str, Tensor | None], message: str) -> None:
    module = Tied()
    given = {name: tensor for name, tensor in {**snapshot(module), **change}.items() if tensor is not None}
    with pytest.raises(ValueError, match=f"^parameters are of other networks: {message}"):
        run_with(module, given, module, X)
