"""Interventions around a training loop: when they are called, what they survive, and what never changes."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import small_off_policy
import small_ppo
import torch
from gymnasium.envs.classic_control import CartPoleEnv
from small_ppo import RESETS, assert_same, build, global_rng, parameters, twin
from stable_baselines3 import PPO as StockPPO
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import nn

import envs
from agents import PPO
from agents.plasticity import CBP, GXD, Edit, Intervention, PlasticOptimizer, ReDo, ReGraMa, ShrinkAndPerturb, Update
from agents.plasticity.diagnostics import Diagnostics

# Every reset on small networks, and every other kind of policy with one of them.
RUNS = [("mlp", reset) for reset in RESETS] + [
    ("mlp-tanh-gsde", "gxd"), ("board", "gxd-each-step"), ("board-separate", "regrama"), ("nature", "redo"),
    ("nature-separate", "gxd"), ("dict", "regrama"),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["mlp-tanh-gsde", "board", "nature-separate", "dict"])
def test_resets_that_never_fire_change_nothing(kind: str) -> None:
    plain = build(kind).learn(128)
    never = [GXD(period=10**9), ReDo(period=10**9 + 1), ReGraMa(period=10**9 + 2)]
    watched = build(kind, interventions=never).learn(128)
    assert_same(parameters(plain), parameters(watched))


def test_diagnostics_change_nothing() -> None:
    from stable_baselines3.common.callbacks import BaseCallback

    class Measure(BaseCallback):
        def _init_callback(self) -> None:
            self.diagnostics = Diagnostics(self.model, torch.Generator().manual_seed(0), slow_every=1)

        def _on_rollout_end(self) -> None:
            self.measured = self.diagnostics.measure()

        def _on_step(self) -> bool:
            return True

    callback = Measure()
    watched = build("board").learn(128, callback=callback)
    assert_same(parameters(build("board").learn(128)), parameters(watched))
    assert callback.measured["plasticity/features/grad_norm"] > 0


@pytest.mark.parametrize(("kind", "reset"), RUNS)
def test_resets_act_on_every_network_and_train_save_load_train_is_train_train(
    kind: str, reset: str, tmp_path: Path
) -> None:
    model = build(kind, interventions=[RESETS[reset]()]).learn(64)
    before = model.units_reset()
    model.save(tmp_path / "model.zip")
    restore, games = global_rng(), twin(model.env)  # the games go on where they stood when the zip was written
    uninterrupted = parameters(model.learn(64, reset_num_timesteps=False))
    after = model.units_reset()
    assert after.keys() == {name for name, network in model.networks.items() if network.layers}
    assert all(after.values())
    assert after != before
    assert all(tensor.isfinite().all() for tensor in uninterrupted.values())

    loaded = PPO.load(tmp_path / "model.zip", env=games, device="cpu", force_reset=False)
    assert loaded.units_reset() == before
    restore()
    assert_same(parameters(loaded.learn(64, reset_num_timesteps=False)), uninterrupted)
    assert loaded.units_reset() == after


class Watcher(Intervention):
    """Writes down what a learner tells it."""

    name = "watcher"
    needs = frozenset({"activations", "activation_grads"})
    score_every = 4

    def __init__(self) -> None:
        self.steps, self.tapped, self.order, self.switches, self.edits, self.rates = [], [], [], [], [], []

    def penalty(self, update):
        assert not update.taps
        self.order.append("penalty")

    def after_backward(self, update):
        self.steps.append(update.step)
        self.rates.append(update.learning_rate)
        if update.taps:
            self.tapped.append(update.step)
            assert set(update.taps) == {"features.0", "features.1", "actor.0", "critic.0"}
            assert all(a.shape == g.shape == (16, *a.shape[1:]) for a, g in update.taps.values())
        self.order.append("backward")

    def after_step(self, update):
        self.order.append("step")

    def after_update(self):
        self.order.append("update")

    def on_task_switch(self, switch):
        self.order.append("switch")
        self.switches.append(switch)

    def on_surgery(self, edit):
        self.edits.append({name: int(mask.sum()) for name, mask in edit.masks.items()})


def stream_ppo(boundary: str, interventions: list) -> PPO:
    stream = envs.make(["breakout", "freeway"], n_envs=2, steps_per_task=64, cycles=2, boundary=boundary)
    return PPO("CnnPolicy", stream, n_steps=32, batch_size=16, n_epochs=2, seed=1, interventions=interventions)


def test_hooks_are_called_in_their_order_with_gradient_steps_counted() -> None:
    watcher = Watcher()
    model = stream_ppo("revealed", [watcher]).learn(256)
    update = ["penalty", "backward", "step"] * 8
    # A rollout ends with its segment, so that a switch is delivered at the end of the update that follows it.
    assert watcher.order == [*[*update, "switch", "update"] * 3, *update, "update"]
    assert watcher.steps == list(range(1, 33))
    assert set(watcher.rates) == {3e-4}
    assert watcher.tapped == [1, 7, 9, 16, 18, 21, 27, 30]  # one in each four
    assert model.optimizer_steps == 32
    assert [(s.task, s.task_index, s.segment) for s in watcher.switches] == [
        ("freeway", 1, 1), ("breakout", 0, 2), ("freeway", 1, 3),
    ]  # fmt: skip


def test_hidden_boundaries_are_not_told() -> None:
    watcher = Watcher()
    stream_ppo("hidden", [watcher]).learn(256)
    assert not watcher.switches


def test_an_intervention_that_needs_boundaries_is_refused_where_they_are_hidden() -> None:
    watcher = Watcher()
    watcher.uses_boundaries = True
    with pytest.raises(ValueError, match=r"watcher acts on task switches.*boundary='revealed'"):
        stream_ppo("hidden", [watcher])
    model = stream_ppo("revealed", [watcher])
    with pytest.raises(ValueError, match="watcher acts on task switches"):
        model.set_env(envs.make("breakout", n_envs=2))


def test_surgery_is_announced_to_the_others_and_counted() -> None:
    watcher, author = Watcher(), RESETS["gxd"]()
    model = stream_ppo("hidden", [author, watcher]).learn(128)
    totals = dict.fromkeys(model.networks, 0)
    for edit in watcher.edits:
        for layer, count in edit.items():
            totals[layer.split(".")[0]] += count
    assert totals == model.units_reset()
    assert sum(totals.values()) > 0


def test_units_that_are_redrawn_in_part_count_in_part(tmp_path: Path) -> None:
    model = build("board", interventions=[GXD(period=10**9)])
    author = model.interventions[0]
    edit = Edit({"actor.0": torch.full((64,), 0.0125), "features.1": (torch.arange(128) < 3).float()})
    for expected in ({"actor": 1, "critic": 0, "features": 3}, {"actor": 2, "critic": 0, "features": 6}):
        model.announce(edit, author)  # 0.8 of a unit of the actor each time
        assert model.units_reset() == expected
    model.save(tmp_path / "model")
    loaded = PPO.load(tmp_path / "model", device="cpu")
    assert loaded.units_reset() == model.units_reset()
    for learner in (model, loaded):
        learner.announce(edit, author)
        learner.announce(edit, author)
        assert learner.units_reset() == {"actor": 3, "critic": 0, "features": 12}


def test_taps_are_open_at_the_steps_that_somebody_scores_and_at_no_other() -> None:
    every, third = Watcher(), Watcher()
    every.score_every, third.score_every = 4, 3
    stream_ppo("hidden", [every, third]).learn(64)
    assert every.tapped == third.tapped == [1, 5, 7]  # 1 and 7 for one, 1, 5 and 7 for the other


def test_nothing_is_hooked_that_nobody_needs() -> None:
    model = build("board", interventions=[ReGraMa()]).learn(64)
    assert not any(module._forward_hooks for module in model.policy.modules())
    watcher = Watcher()
    watcher.needs = frozenset()
    stream_ppo("hidden", [watcher]).learn(64)
    assert not watcher.tapped


class Pull(Intervention):
    """A penalty whose gradient is known: half the squared output weights of the critic, times a strength."""

    name = "pull"

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def attach(self, learner):
        self.weight = learner.networks["critic"].layers[-1].consumers[0].weight

    def penalty(self, update):
        return self.strength * 0.5 * self.weight.square().sum()


def test_a_penalty_is_added_to_the_gradient_but_not_to_the_taps() -> None:
    class Look(Watcher):
        def attach(self, learner):
            self.weight = learner.networks["critic"].layers[-1].consumers[0].weight

        def after_backward(self, update):
            if update.step == 7:
                self.seen = (self.weight.grad.clone(), self.weight.detach().clone(), update.taps["critic.0"][1].clone())

    looks = []
    for strength in (0.0, 3.0):
        look = Look()
        # no step changes the weights, so that both runs see the same minibatch at the same parameters
        build("board", interventions=[Pull(strength), Pull(0.5 * bool(strength)), look], learning_rate=0.0).learn(64)
        looks.append(look.seen)
    (plain, weight, tap), (pulled, _, tap_pulled) = looks
    torch.testing.assert_close(pulled - plain, 3.5 * weight)
    assert torch.equal(tap, tap_pulled)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (GXD(), "interventions is one gxd; give a list, such as [gxd]"),
        ("gxd", "interventions is 'gxd'; give a list, such as [GXD()], or [] for none"),
        (None, "interventions is None; give a list, such as [GXD()], or [] for none"),
        ({"name": "gxd"}, "interventions is {'name': 'gxd'}; give a list, such as [GXD()], or [] for none"),
        (["gxd"], "interventions has 'gxd', which is no intervention; give an object, such as GXD()"),
        ([GXD], f"interventions has {GXD!r}, which is no intervention; give an object, such as GXD()"),
    ],
)
def test_interventions_are_objects_in_a_list(given: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        build("mlp", interventions=given)
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        PlasticOptimizer(torch.optim.Adam(model.parameters()), model, given)


def test_an_environment_may_say_nothing_at_all() -> None:
    class Silent(DummyVecEnv):
        def step_wait(self):
            observations, rewards, dones, _ = super().step_wait()
            return observations, rewards, np.zeros_like(dones), []

    def train(algorithm):
        model = algorithm("MlpPolicy", Silent([CartPoleEnv]), n_steps=16, batch_size=16, n_epochs=2, seed=1)
        return parameters(model.learn(32))

    assert_same(train(PPO), train(StockPPO))


# ---------------------------------------------------------------------------------------------------- too short


def test_training_that_is_too_short_for_an_intervention_says_so_where_it_begins() -> None:
    """16 gradient steps, and then 8 more, in which the period of 17 ends."""
    model = build("mlp", interventions=[
        GXD(), RESETS["redo"](), CBP(period=7), ShrinkAndPerturb(period=17), GXD(rate=0.1, period=2, maturity=16),
    ])  # fmt: skip
    with pytest.warns(UserWarning, match="too few for") as told:
        model.learn(128, reset_num_timesteps=False)
    listed = "gxd (period 1,000) and cbp (maturity 10,000) and shrink_and_perturb (period 17)"
    assert [str(warning.message) for warning in told] == [
        f"this run makes at most 16 gradient steps, too few for {listed}, so that nothing is reset or changed there; "
        "give smaller numbers or more steps"
    ]
    model.learn(64, reset_num_timesteps=False)  # warnings are errors: who goes on in pieces is told once


def test_training_that_is_long_enough_says_nothing() -> None:
    interventions = [
        ShrinkAndPerturb(period=16),
        GXD(period=16, maturity=16),
        ShrinkAndPerturb(mode="to_init", period=1),
    ]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model = build("mlp", interventions=interventions).learn(128)
    assert [str(warning.message) for warning in told] == []
    assert model.optimizer_steps == 16


@pytest.mark.filterwarnings("ignore:You have specified a mini-batch size of 48")
@pytest.mark.parametrize(("batch_size", "timesteps", "expected"), [(16, 65, 16), (48, 128, 8)])
def test_ppo_knows_how_many_gradient_steps_it_makes(batch_size: int, timesteps: int, expected: int) -> None:
    """Two rollouts of 64 steps in two epochs, of four minibatches or of one and a part."""
    model = build("mlp", batch_size=batch_size)
    assert model._most_gradient_steps(timesteps) == expected
    assert model.learn(timesteps).optimizer_steps == expected


@pytest.mark.parametrize(
    "kind",
    ["mlp-tanh-gsde", "board", "nature-separate", "norm-board", "dict", "dqn-cnn", "sac-gsde", "sac-cnn-shared"],
)
def test_outputs_of_old_parameters_are_those_that_the_network_had(kind: str) -> None:
    make, first, more = (build, 64, 64) if kind in small_ppo.ALL else (small_off_policy.ours, 24, 8)
    model = make(kind).learn(first)
    batch = model.sample(16, torch.Generator().manual_seed(0))
    old, then = model.snapshot(), model.outputs(batch)
    assert set(old) == {name for name, _ in (*model.policy.named_parameters(), *model.policy.named_buffers())}
    model.learn(more, reset_num_timesteps=False)
    held, now = parameters(model), model.outputs(batch)
    for parameter in model.policy.parameters():
        parameter.grad = None
    again = model.outputs(batch, old)
    assert_same(again, then)
    assert not any(torch.equal(again[name], now[name]) for name in now)
    assert not any(output.requires_grad for output in again.values())
    assert_same(parameters(model), held)
    of_optimizers = {p for optimizer in model.optimizers for group in optimizer.param_groups for p in group["params"]}
    assert of_optimizers <= set(model.policy.parameters())  # the very same, and not the old ones


def test_outputs_take_gradients_unless_parameters_are_given() -> None:
    model = build("mlp").learn(64)
    batch = model.sample(16, torch.Generator().manual_seed(0))
    model.policy.mlp_extractor.value_net.requires_grad_(False)
    model.policy.zero_grad()
    model.outputs(batch)["actor"].sum().backward()
    assert model.policy.action_net.bias.grad.tolist() == [16.0, 16.0]
    assert set(model.snapshot()) == set(dict(model.policy.named_parameters()))  # frozen ones too
    given = {name: tensor.requires_grad_() for name, tensor in model.snapshot().items()}
    model.policy.action_net.bias.grad = None
    model.outputs(batch, given)["actor"].sum().backward()
    assert given["action_net.bias"].grad.tolist() == [16.0, 16.0]
    assert model.policy.action_net.bias.grad is None


def test_old_parameters_of_a_module_that_was_replaced_are_refused() -> None:
    model = build("mlp").learn(64)
    batch, old = model.sample(16, torch.Generator().manual_seed(0)), model.snapshot()
    then = model.outputs(batch)
    model.policy.value_net = nn.Linear(12, 1)
    assert_same(model.outputs(batch, old), then)  # another module of its kind
    model.policy.value_net = nn.Linear(12, 2)
    with pytest.raises(ValueError, match=r"value_net\.weight has the shape \(1, 12\), and here it is \(2, 12\); give"):
        model.outputs(batch, old)


class Comparing(Intervention):
    """Keeps the reference batches that it is given."""

    name = "comparing"
    needs = frozenset({"reference_batch"})

    def __init__(self) -> None:
        self.given: list[Any] = []

    def penalty(self, update: Update) -> None:
        assert len(update.reference_batch.actions) == len(update.batch.actions)
        self.given.append(update.reference_batch.observations)


@pytest.mark.parametrize("kind", ["mlp", "dqn-mlp", "sac-mlp"])
def test_reference_batches_leave_training_as_it_is(kind: str) -> None:
    make = build if kind in small_ppo.ALL else small_off_policy.ours
    comparing = Comparing()
    model = make(kind, interventions=[comparing]).learn(48)
    assert_same(parameters(model), parameters(make(kind).learn(48)))
    assert len(comparing.given) == model.optimizer_steps * (2 if kind == "sac-mlp" else 1) > 4
    assert not any(torch.equal(one, other) for one, other in zip(comparing.given, comparing.given[1:], strict=False))
    again = Comparing()
    make(kind, interventions=[again]).learn(48)
    assert all(torch.equal(one, other) for one, other in zip(comparing.given, again.given, strict=True))


class Named(Intervention):
    """Notes whose updates it sees, and which tensors their losses are."""

    name = "named"

    def __init__(self) -> None:
        self.seen: list[tuple[str, tuple[str, ...]]] = []

    def penalty(self, update: Update) -> None:
        self.seen.append((update.network, update.networks))


@pytest.mark.parametrize(
    ("kind", "updates"),
    [
        ("board", [("policy", ("actor", "critic", "features"))]),
        ("dqn-mlp", [("critic", ("critic",))]),
        ("sac-mlp", [("critic", ("critic",)), ("actor", ("actor",))]),
        ("sac-cnn-shared", [("critic", ("critic",)), ("actor", ("actor", "features"))]),
    ],
)
def test_an_update_names_the_network_whose_it_is(kind: str, updates: list[tuple[str, tuple[str, ...]]]) -> None:
    named = Named()
    make = build if kind in small_ppo.ALL else small_off_policy.ours
    make(kind, interventions=[named]).learn(40)
    assert len(named.seen) > 4
    assert named.seen == updates * (len(named.seen) // len(updates))
