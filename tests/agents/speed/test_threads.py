"""`agents.speed.threads`: who computes what is small, and what is large beside it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import small_off_policy
import small_ppo
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from agents.speed import threads
from agents.speed.sharing import shares
from agents.speed.threads import LargeLinear, all_threads, few, one_thread, threads_for


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_one_computes_and_all_do_what_is_large() -> None:
    with one_thread():
        assert (torch.get_num_threads(), len(shares(9))) == (1, 3)
        with one_thread(), threads_for(threads.SMALL):
            assert torch.get_num_threads() == 3
        with threads_for(threads.SMALL - 1):
            assert torch.get_num_threads() == 1
        with pytest.raises(KeyError), all_threads():
            raise KeyError
        assert torch.get_num_threads() == 1
    with pytest.raises(KeyError), one_thread():
        raise KeyError
    assert (torch.get_num_threads(), threads.threads()) == (3, 3)
    torch.set_num_threads(1)
    with one_thread(), all_threads():
        assert torch.get_num_threads() == 1


def test_other_threads_keep_what_they_set_or_what_was_set_when_they_began() -> None:
    seen: dict[int | None, list[int]] = {}
    begun, over = threading.Barrier(3, timeout=60), threading.Barrier(3, timeout=60)

    def compute(own: int | None) -> None:
        if own is not None:
            torch.set_num_threads(own)
        seen[own] = [torch.get_num_threads()]
        begun.wait()
        over.wait()
        seen[own].append(torch.get_num_threads())

    others = [threading.Thread(target=compute, args=(own,)) for own in (None, 2)]
    with one_thread():
        for other in others:
            other.start()
            while other is others[0] and None not in seen:  # what the other one sets, it would begin with
                time.sleep(0.001)
        begun.wait()
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    over.wait()
    for other in others:
        other.join()
    assert seen == {None: [1, 1], 2: [2, 2]}


def test_parameters_may_be_single_numbers() -> None:
    with few([torch.tensor(1.0), torch.zeros(3, 5)], 64):
        assert torch.get_num_threads() == 1
    with few([torch.zeros(1024, 1)], threads.WIDE // 1024):
        assert torch.get_num_threads() == 3


def test_a_large_layer_is_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward, backward, and that once more; frozen parameters and inputs of several axes too."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int, grad: bool = True) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_(grad)

    for x, bias in ((normal(5, 7), normal(3)), (normal(2, 5, 7), None), (normal(5, 7, grad=False), normal(3))):
        weight = normal(3, 7)
        torch.testing.assert_close(LargeLinear.apply(x, weight, bias), F.linear(x, weight, bias))
        given = (x, weight) if bias is None else (x, weight, bias)
        layer: Any = lambda *p: LargeLinear.apply(*(*p, None)[:3])  # noqa: E731
        assert torch.autograd.gradcheck(layer, given)
        assert torch.autograd.gradgradcheck(layer, given)


@pytest.mark.parametrize(
    ("kind", "speed", "batch_size", "expected"),
    [
        ("mlp", "fast", 16, 1),
        ("mlp", "exact", 16, 3),
        ("board", "fast", 16, 1),  # its convolution looks at set cells alone
        ("nature", "fast", 16, 3),
        ("mlp", "fast", threads.WIDE, 3),
    ],
)
def test_updates_of_ppo(kind: str, speed: str, batch_size: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_ppo.build(kind, speed=speed)
    model.batch_size, seen = batch_size, []
    monkeypatch.setattr(model, "_update", lambda: seen.append(torch.get_num_threads()))
    model._setup_learn(1)
    model.train()
    assert (seen, torch.get_num_threads()) == ([expected], 3)


@pytest.mark.parametrize(
    ("kind", "speed", "batch_size", "expected"),
    [
        ("sac-mlp", "fast", 16, 1),
        ("sac-mlp", "exact", 16, 3),
        ("sac-mlp", "fast", threads.WIDE, 3),
        ("sac-cnn", "fast", 16, 3),
        ("dqn-mlp", "fast", 16, 1),
    ],
)
def test_updates_from_replay(
    kind: str, speed: str, batch_size: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, seen = small_off_policy.ours(kind, speed=speed), []
    monkeypatch.setattr(model, "_update", lambda *_: seen.append(torch.get_num_threads()))
    model._setup_learn(1)
    model.train(1, batch_size)
    assert (seen, torch.get_num_threads()) == ([expected], 3)


aten = torch.ops.aten
PRODUCTS = (aten.addmm.default, aten.mm.default, aten.baddbmm.default, aten.bmm.default)


class Products(TorchDispatchMode):
    """Notes how many threads compute each matrix product."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in PRODUCTS:
            self.threads.append(torch.get_num_threads())
        return func(*args, **kwargs or {})


def test_large_layers_within_an_update_take_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward; the same parameters come out but for rounding."""
    found, threads_of = [], []
    for small in (threads.SMALL, 16 * 16 * 12):  # multiplications of the second hidden layer on a minibatch
        monkeypatch.setattr(threads, "SMALL", small)
        model = small_ppo.build("mlp", speed="fast")
        model.fill_buffer()
        with Products() as products:
            model.train()
        found.append(small_ppo.parameters(model))
        threads_of.append(products.threads)
    assert set(threads_of[0]) == {1}
    assert sorted(set(threads_of[1])) == [1, 3]
    updates, towers, forward_and_backward = 8, 2, 3
    assert threads_of[1].count(3) == updates * towers * forward_and_backward
    for name, expected in found[0].items():
        torch.testing.assert_close(found[1][name], expected, atol=1e-5, rtol=1e-4)
