"""What runs on a GPU alone, where the rest of the tests take the CPU for one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_off_policy
import small_ppo
import torch
from torch import Tensor

from agents.buffers import on_device
from agents.buffers.replay_on_device import OnDevice
from agents.buffers.rollout_on_device import RolloutBufferOnDevice
from agents.buffers.state import buffer_state, restore_buffer
from agents.networks.distributions import unchecked
from crl import storage

pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
    pytest.mark.filterwarnings("ignore:You are trying to run PPO on the GPU"),  # SB3's advice
]
OFF_POLICY = {"dqn-board": {}, "sac-mlp": {"n_steps": 3}, "td3-mlp": {"replay": "prioritized"}}


@contextmanager
def with_the_host(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Buffers stay in main memory."""
    with patch.context() as here:
        here.setattr(on_device, "DEVICES", set())
        yield


def built(kind: str, device: str = "cuda") -> Any:
    if kind in OFF_POLICY:
        return small_off_policy.ours(kind, device=device, **OFF_POLICY[kind])
    return small_ppo.build(kind, device=device)


def close(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return all(torch.allclose(left[name].cpu(), right[name].cpu(), rtol=1e-4, atol=1e-5) for name in left)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize(
    "wrong",
    [
        lambda there: there + torch.ones(3),
        lambda there: torch.cat([there, torch.ones(3)]),
        lambda there: there.index_select(0, torch.arange(2)),
        lambda there: there.numpy(),
        lambda there: torch.rand(3, generator=torch.Generator(), device="cuda"),
        lambda there: torch.rand(3, generator=torch.Generator("cuda")),
        lambda there: there.sum().item(),
        lambda there: there[there > 0],
        lambda there: there.cpu(),
        lambda there: there.copy_(torch.ones(3)),
    ],
)
def test_a_gpu_refuses_what_these_tests_look_for(wrong: Callable[[Tensor], object]) -> None:
    there = torch.ones(3, device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        with pytest.raises((RuntimeError, TypeError)):
            wrong(there)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert (there + torch.tensor(1.0)).tolist() == [2.0] * 3  # a number of the host's may take part


@pytest.mark.parametrize("kind", ["mlp", "board", "nature", *OFF_POLICY])
def test_a_gpu_learns_the_same_from_its_own_memory(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels may add up in another order: equal within rounding."""
    here = built(kind).learn(64)
    assert isinstance(here.buffer, RolloutBufferOnDevice | OnDevice)
    assert here.sample(4, torch.Generator()).observations.is_cuda
    with with_the_host(monkeypatch):
        there = built(kind).learn(64)
    assert not isinstance(there.buffer, RolloutBufferOnDevice | OnDevice)
    assert close(here.policy.state_dict(), there.policy.state_dict())


@pytest.mark.parametrize("kind", OFF_POLICY)
def test_replay_of_a_gpu_goes_on_on_a_cpu_and_back(kind: str, tmp_path: Path) -> None:
    trained = built(kind).learn(64)
    for number, device in enumerate(("cpu", "cuda")):
        storage.write(tmp_path / str(number), {"replay": buffer_state(trained.replay_buffer)})
        model = built(kind, device)
        restore_buffer(model.replay_buffer, storage.read(tmp_path / str(number))["replay"])
        batches = []
        for each in (trained, model):
            np.random.seed(1)
            batches.append([part for part in each.replay_buffer.sample(16) if isinstance(part, Tensor)])
        assert all(torch.equal(mine.cpu(), its.cpu()) for mine, its in zip(*batches, strict=True))
        trained = model


@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("kind", ["mlp", "mlp-tanh-gsde", "board", "nature", *OFF_POLICY])
def test_no_gradient_step_waits_for_a_gpu(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = built(kind).learn(64)  # libraries are loaded
    before = model.optimizer_steps
    monkeypatch.setattr(model, "_log_update", lambda *args: None)  # which does, once
    torch.cuda.set_sync_debug_mode("error")
    try:
        with unchecked(model.device):
            model._update(*((4, 8) if kind in OFF_POLICY else ()))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert model.optimizer_steps == before + (4 if kind in OFF_POLICY else 8)
    assert next(model.policy.parameters()).is_cuda
