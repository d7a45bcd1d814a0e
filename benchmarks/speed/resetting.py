"""Gradient steps of PPO and DQN, and unit resets that are made by hand in them: what `resets` measures.

Four training loops: PPO (minibatches of 1,024, or 256 images) and DQN (batches of 32), each with the MinAtar CNN on
10x10x10 boards and with NatureCNN on 84x84x4 images. Of everything the least time counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import DQN
from stable_baselines3.common.env_util import make_vec_env
from torch import Tensor, nn
from torch.nn import functional as F

import envs
from agents import PPO
from agents.networks import MinAtarCNN
from agents.plasticity import CBP, CPR, GXD, Intervention, PlasticOptimizer, ReDo, ReGraMa, UnitReset, Update
from agents.plasticity.taps import Taps
from agents.sb3_units import policy_networks
from benchmarks.harness.clocks import Times, least, timed

BOARD, IMAGE = (10, 10, 10), (84, 84, 4)
NEVER = 10**9


class Noise(gymnasium.Env[Any, Any]):
    """Random images; episodes of 100 steps."""

    observation_space = spaces.Box(0, 255, IMAGE, np.uint8)
    action_space = spaces.Discrete(6)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self.observation_space.sample(), 1.0, False, self.steps == 100, {}


class PPOLoop:
    """PPO's gradient step on the minibatches of one rollout, over and over."""

    def __init__(self, board: bool) -> None:
        env = envs.make("breakout", n_envs=64) if board else make_vec_env(Noise, n_envs=8)
        steps, batch = (128, 1024) if board else (64, 256)
        self.model = PPO("CnnPolicy", env, n_steps=steps, batch_size=batch, n_epochs=1, seed=1, device="cpu")
        self.model.learn(steps * self.model.n_envs)  # fills the rollout buffer

        self._minibatches: list[Any] = []

    def optimizer(self, *interventions: Intervention) -> PlasticOptimizer:
        model = self.model
        return PlasticOptimizer(
            model.policy.optimizer,
            model.networks,
            interventions,
            sample=model.sample,
            sample_losses=lambda batch: model.sample_losses(batch)["actor"],
            outputs=lambda batch: model.outputs(batch)["actor"],
        )

    def loss(self) -> Tensor:
        if not self._minibatches:
            self._minibatches = list(self.model.rollout_buffer.get(self.model.batch_size))
        return self.model.losses(self._minibatches.pop())["loss"]

    def step(self, optimizer: PlasticOptimizer) -> None:
        with optimizer.forward():
            loss = self.loss()
        optimizer.step(loss, max_grad_norm=0.5)


class DQNLoop:
    """DQN's gradient step on batches of 32 random transitions, with stock SB3's networks."""

    def __init__(self, board: bool) -> None:
        env = PPO._wrap_env(envs.make("breakout", n_envs=1)) if board else make_vec_env(Noise, n_envs=1)
        kwargs: dict[str, Any] = {"features_extractor_class": MinAtarCNN, "net_arch": [64]} if board else {}
        self.policy = DQN("CnnPolicy", env, policy_kwargs=kwargs, buffer_size=1, seed=1, device="cpu").policy
        shape = BOARD if board else (IMAGE[2], *IMAGE[:2])
        self.batches = [torch.randint(0, 2 if board else 256, (32, *shape), dtype=torch.uint8) for _ in range(8)]
        self.actions, self.rewards = torch.randint(0, 2, (32, 1)), torch.rand(32, 1)
        self._made = 0

    def optimizer(self, *interventions: Intervention) -> PlasticOptimizer:
        sample = torch.cat(self.batches * 16)  # 4,096 transitions
        return PlasticOptimizer(
            self.policy.optimizer,
            policy_networks(self.policy),
            interventions,
            sample=lambda n, generator: sample[torch.randperm(len(sample), generator=generator)[:n]],
            sample_losses=self._sample_losses,
            outputs=lambda batch: self.policy.q_net(batch),
        )

    def _sample_losses(self, batch: Tensor) -> Tensor:
        q = self.policy.q_net(batch)[:, 0]
        return F.smooth_l1_loss(q, torch.ones_like(q), reduction="none")

    def loss(self) -> Tensor:
        self._made += 1
        batch, following = self.batches[self._made % 8], self.batches[(self._made + 1) % 8]
        with torch.no_grad():
            target = self.rewards + 0.99 * self.policy.q_net_target(following).max(1, keepdim=True).values
        return F.smooth_l1_loss(self.policy.q_net(batch).gather(1, self.actions), target)

    def step(self, optimizer: PlasticOptimizer) -> None:
        with optimizer.forward():
            loss = self.loss()
        optimizer.step(loss, max_grad_norm=10)


def textbook_redo(network: nn.Sequential, batch: Tensor, tau: float = 0.025) -> None:
    """ReDo (arXiv 2302.12902) as scripts have it."""
    activations: list[Tensor] = []
    hooks = [
        m.register_forward_hook(lambda _m, _i, out: activations.append(out)) for m in network if type(m) is nn.ReLU
    ]
    with torch.no_grad():
        network(batch)
        for hook in hooks:
            hook.remove()
        layers = [module for module in network if isinstance(module, nn.Linear | nn.Conv2d)]
        for layer, after, a in zip(layers[:-1], layers[1:], activations, strict=True):
            score = a.abs().mean([0, *range(2, a.dim())])
            dormant = score / (score.mean() + 1e-9) <= tau
            if not dormant.any():
                continue
            fresh = torch.empty_like(layer.weight)
            nn.init.kaiming_uniform_(fresh, a=5**0.5)
            layer.weight[dormant] = fresh[dormant]
            assert layer.bias is not None
            layer.bias[dormant] = 0
            block = after.weight.shape[1] // len(dormant)
            after.weight[:, dormant.repeat_interleave(block)] = 0


def rate(criterion: str, **options: Any) -> Intervention:
    """The general reset at GXD's rate."""
    share = options.pop("rate", 1e-4)
    return UnitReset(criterion=criterion, selection={"name": "rate", "rate": share}, **options)


# Name -> how to make it, and arguments with which it resets some units at once.
METHODS: dict[str, tuple[Callable[..., Intervention], dict[str, Any]]] = {
    "gxd": (GXD, {"rate": 0.02}),
    "gxd_mean": (partial(GXD, reference="mean"), {"rate": 0.02}),
    "gxd_outputs": (partial(GXD, signal="outputs"), {"rate": 0.02}),
    "redo": (ReDo, {"tau": 0.5}),
    "regrama": (ReGraMa, {"tau": 0.9}),
    "regrama_activations": (partial(ReGraMa, gradient="activations"), {"tau": 0.9}),
    "regrama_preactivations": (partial(ReGraMa, gradient="preactivations"), {"tau": 0.9}),
    "cbp": (CBP, {"rate": 0.02}),
    "magnitude": (partial(rate, "magnitude"), {"rate": 0.02}),
    "random": (partial(rate, "random"), {"rate": 0.02}),
    "cpr": (CPR, {}),
}
NO_SCORING = ("redo", "gxd_outputs")  # they look at a sample when units are selected
NO_MATURITY = ("cpr",)


def schedule(name: str, **steps: int) -> dict[str, int]:
    """The schedule's arguments that a method has."""
    missing = {"score_every"} if name == "redo" else {"maturity"} if name in NO_MATURITY else set()
    return {key: value for key, value in steps.items() if key not in missing}


def stepping(loop: Any, optimizer: PlasticOptimizer, n: int) -> Times:
    """A gradient step: the least of n."""
    return least(timed(lambda: loop.step(optimizer)) for _ in range(n))


class Seen(Intervention):
    """Keeps what a training step shows."""

    name = "seen"
    needs = frozenset({"activations", "activation_grads"})

    def after_backward(self, update: Update) -> None:
        self.update = update


def scoring(loop: Any, name: str, n: int) -> Times:
    """What a scoring adds to a step: the opening and closing of the taps, and the hook that scores."""
    make, _ = METHODS[name]
    seen, scored = Seen(), make(**schedule(name, period=NEVER, maturity=0, score_every=1))
    loop.step(loop.optimizer(seen))
    networks = loop.optimizer(scored).networks
    update = replace(seen.update, step=NEVER)  # just before the selection
    layers = [layer for network in networks.values() for layer in network.layers] if scored.needs else []

    def score() -> None:
        with Taps(layers):
            pass
        scored.after_backward(update)

    return least(timed(score) for _ in range(n))


def resetting(loop: Any, name: str, rounds: int) -> tuple[Times, Times]:
    """A reset of some units, with the measurement of its costs and without."""
    make, eager = METHODS[name]
    measured: list[Times] = []
    bare: list[Times] = []
    for _ in range(rounds):
        optimizer = loop.optimizer(make(**eager, **schedule(name, period=2, maturity=0, score_every=1)))
        # The first reset is measured, the next ones not: they are less than a thousand steps later.
        for times in (measured, bare):
            for _ in range(2):
                with optimizer.forward():
                    loss = loop.loss()
                optimizer.step(loss, update_ends=False)
            times.append(timed(optimizer.after_update))
        assert sum(optimizer.units_reset().values()) > 0, name
    return least(measured), least(bare)


def textbook(board: bool, rounds: int) -> Times:
    """A reset of textbook ReDo, by 64 observations."""
    network, batch = networks(board)
    return least(timed(lambda: textbook_redo(network, batch)) for _ in range(rounds))


def networks(board: bool) -> tuple[nn.Sequential, Tensor]:
    """The DQN networks as one Sequential, and 64 observations, as textbook ReDo takes them."""
    hidden: list[nn.Module]
    if board:
        batch = torch.rand(64, *BOARD)
        hidden = [nn.Conv2d(10, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 128), nn.ReLU()]
        hidden += [nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 6)]
    else:
        batch = torch.rand(64, IMAGE[2], *IMAGE[:2])
        hidden = [nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3)]
        hidden += [nn.ReLU(), nn.Flatten(), nn.Linear(3136, 512), nn.ReLU(), nn.Linear(512, 6)]
    return nn.Sequential(*hidden), batch


# Name -> how to build the loop, steps of each side, and rounds of resets.
LOOPS: Mapping[str, tuple[Callable[[], Any], int, int]] = {
    "ppo_minatar": (lambda: PPOLoop(board=True), 12, 3),
    "ppo_nature": (lambda: PPOLoop(board=False), 4, 1),
    "dqn_minatar": (lambda: DQNLoop(board=True), 40, 3),
    "dqn_nature": (lambda: DQNLoop(board=False), 8, 1),
}
