"""What is made of weights is kept for as long as these have the same bits, however somebody writes to them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from stable_baselines3 import PPO as StockPPO
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor, nn

import envs
from agents import PPO, StreamMonitor, VectorEnvAdapter, acting
from agents.speed import order
from agents.speed.boards import Boards
from agents.speed.kept import Kept, are_kept, made_of


def doubled(weight: Tensor) -> Tensor:
    return 2 * weight


def by_numpy(weight: Tensor) -> None:
    weight.detach().numpy()[0, 0] = -0.0


WRITTEN: dict[str, Callable[[Tensor], Any]] = {
    "in place": lambda weight: weight.detach().add_(1),
    "data": lambda weight: weight.data.fill_(float("nan")),
    "numpy": by_numpy,
    "another shape": lambda weight: setattr(weight, "data", torch.ones(3)),
}


@pytest.mark.parametrize("write", WRITTEN.values(), ids=WRITTEN)
def test_what_is_made_is_kept_until_somebody_writes_to_the_weight(write: Callable[[Tensor], Any]) -> None:
    weight, kept = nn.Parameter(torch.zeros(2, 2)), Kept()
    with kept:
        found = made_of(weight, doubled)
        assert are_kept()
    with kept:
        assert made_of(weight, doubled) is found
    write(weight)
    with kept:
        again = made_of(weight, doubled)
        assert again is not found
        assert torch.equal(again.view(torch.int32), doubled(weight.detach()).view(torch.int32))
    with kept:
        assert made_of(weight, doubled) is again


def test_nothing_is_kept_elsewhere() -> None:
    weight = nn.Parameter(torch.zeros(2, 2))
    assert not are_kept()
    assert made_of(weight, doubled) is not made_of(weight, doubled)


def test_a_weight_that_is_no_longer_finite_is_left_to_torch() -> None:
    layer, kept = nn.Linear(1000, 16), Kept()
    boards = (torch.rand(40, 1000, generator=torch.Generator().manual_seed(3)) < 0.04).as_subclass(Boards)
    found = []
    for number in (0.0, float("inf")):
        layer.weight.data[0, 0] = number
        with torch.no_grad(), kept:
            found.append(order.linear(boards, layer.weight, layer.bias))
            assert torch.equal(layer(boards).isnan(), layer(boards.floats()).isnan())
    assert (found[0] is not None) == (order._stretches(40, 16, 1000, order._settings()) is not None)
    assert found[1] is None


class Perturbing(BaseCallback):
    """Writes to weights in the middle of rollouts, as no count of versions shows, and puts others in their place."""

    def _on_step(self) -> bool:
        policy: Any = self.model.policy
        layers = [each for each in policy.modules() if isinstance(each, nn.Linear | nn.Conv2d)]
        for layer in layers:
            if self.n_calls % 3 == 0:
                layer.weight.data.mul_(1.01)
            if self.n_calls % 7 == 0:
                layer.weight = nn.Parameter(layer.weight.detach() + 0.01)
        return True


@pytest.mark.parametrize("policy", ["CnnPolicy", "MlpPolicy"])
def test_a_callback_may_write_to_weights_in_a_rollout(policy: str) -> None:
    settings: dict[str, Any] = {"n_steps": 20, "batch_size": 640, "n_epochs": 0, "seed": 4, "device": "cpu"}
    ours = PPO(policy, envs.make("space_invaders", n_envs=32), **settings)
    stock_env = StreamMonitor(VectorEnvAdapter(envs.make("space_invaders", n_envs=32)))
    stock = StockPPO(policy, stock_env, policy_kwargs=ours.policy_kwargs, **settings)
    drawn = []
    for learner in (ours, stock):
        _, callback = learner._setup_learn(20 * 32, Perturbing())
        torch.manual_seed(5)
        learner.collect_rollouts(learner.env, callback, learner.rollout_buffer, 20)
        drawn.append(torch.get_rng_state())
    assert torch.equal(*drawn)
    for name in ("observations", "actions", "rewards", "values", "log_probs", "advantages"):
        found, expected = (getattr(each.rollout_buffer, name).tobytes() for each in (ours, stock))
        assert found == expected, name


class Holding(BaseCallback):
    """Looks how much of earlier rollouts is still kept, and what it holds itself."""

    def __init__(self, made: list[weakref.ref[Kept]]) -> None:
        super().__init__()
        self.made, self.seen = made, set[str]()
        self.left: list[int] = []

    def _count(self) -> None:
        self.seen |= self.locals.keys()
        self.left.append(sum(kept() is not None for kept in self.made))

    def _on_step(self) -> bool:
        return True

    _on_rollout_start = _on_rollout_end = _on_training_end = _count


def test_a_rollout_leaves_nothing_that_it_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[Kept]] = []

    class Seen(Kept):
        def __init__(self) -> None:
            super().__init__()
            made.append(weakref.ref(self))

    monkeypatch.setattr(acting, "Kept", Seen)
    callback, settings = Holding(made), {"n_steps": 4, "batch_size": 32, "n_epochs": 1, "seed": 4}
    model = PPO("MlpPolicy", envs.make("breakout", n_envs=8, seed=1), device="cpu", **settings)
    model.learn(64, callback=callback)
    assert len(made) == 2
    assert callback.left == [0, 1, 0, 1, 0]
    assert {"actions", "new_obs", "values"} < callback.seen
    assert "actor" not in callback.seen
