"""Interventions in the training of DQN, SAC and TD3: METHODS 15.3, 15.10, 15.11, 15.26 and 15.28."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_off_policy import ALL, KINDS, OURS, RESETS, build, like, ours, state
from small_ppo import assert_same, global_rng, twin
from small_ppo import build as build_ppo
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor, nn

from agents.plasticity import CPR, GXD, FullReset, HeadReset, Intervention, ReDo, UnitReset
from agents.plasticity.diagnostics import Diagnostics

MLP = ("dqn-mlp", "sac-mlp", "td3-mlp")
# Every intervention on a small network, and on every form of policy one that looks at gradients or redraws layers.
RUNS = [
    ("dqn-mlp", "gxd"), ("dqn-mlp", "cbp-each-step"), ("dqn-mlp", "full"), ("dqn-mlp", "sample-weights"),
    ("sac-mlp", "gxd-outputs"), ("sac-mlp", "regrama"), ("sac-mlp", "head"), ("sac-mlp", "sigreg"),
    ("td3-mlp", "gxd"), ("td3-mlp", "redo"), ("td3-mlp", "shrink-each-step"),
    *((kind, "regrama") for kind in ("dqn-cnn", "dqn-norm-crelu", "sac-norm-fourier", "sac-cnn-shared")),
    *((kind, "regrama") for kind in ("sac-cnn-shared-linear", "sac-dict-shared", "sac-her")),
    ("sac-cnn-shared", "head"), ("dqn-board", "head"), ("sac-gsde", "gxd-outputs"), ("dqn-her", "redo"),
]  # fmt: skip
NO_UNITS = ("shrink-each-step", "head", "sigreg", "sample-weights")  # which redraw no hidden unit


# ------------------------------------------------------------------------------------------------ save and load


@pytest.mark.parametrize(("kind", "reset"), RUNS)
def test_train_save_load_train_is_train_train(kind: str, reset: str, tmp_path: Path) -> None:
    """METHODS 15.11; and resets act."""
    arguments = {"gradient_steps": 2} if kind in MLP else {}
    model = ours(kind, interventions=[RESETS[reset]()], **arguments).learn(24)
    model.save(tmp_path / "model.zip")
    model.save_replay_buffer(tmp_path / "replay.pkl")
    restore, space = global_rng(), model.action_space.np_random.bit_generator.state
    before, counts = state(model), model.units_reset()
    games = twin(model.env)  # which go on where they stood when the zip was written
    uninterrupted = state(model.learn(16, reset_num_timesteps=False))
    after = model.units_reset()
    assert sum(after.values()) > sum(counts.values()) or reset in NO_UNITS
    assert all(tensor.isfinite().all() for tensor in uninterrupted.values())
    if reset in NO_UNITS:
        plain = state(ours(kind, **arguments).learn(40))
        assert any(not torch.equal(plain[name], uninterrupted[name]) for name in plain if name.endswith("weight"))

    loaded = OURS[ALL[kind]["cls"]].load(tmp_path / "model.zip", env=games, device="cpu", force_reset=False)
    loaded.load_replay_buffer(tmp_path / "replay.pkl", truncate_last_traj=False)
    assert_same(state(loaded), before)
    assert loaded.units_reset() == counts
    restore()
    loaded.action_space.np_random.bit_generator.state = space
    assert_same(state(loaded.learn(16, reset_num_timesteps=False)), uninterrupted)
    assert loaded.units_reset() == after
    assert loaded.optimizer_steps == model.optimizer_steps


# ------------------------------------------------------------------------------------------------ seed isolation


class Measure(BaseCallback):
    """Measures all diagnostics and draws a sample at every step of the games."""

    def _on_step(self) -> bool:
        if self.num_timesteps > 40:
            self.model.sample(50, torch.Generator().manual_seed(self.num_timesteps))
        if self.num_timesteps == 80:
            self.measured = Diagnostics(self.model, torch.Generator().manual_seed(0), slow_every=1).measure()
        return True


CHOICES = {"double_q": True, "epsilon_per_env": True}


@pytest.mark.parametrize(
    ("kind", "option"), [("dqn-mlp", {}), ("dqn-mlp", CHOICES), ("sac-mlp", {}), ("sac-gsde", {})], ids=str
)
def test_interventions_that_never_fire_change_nothing(kind: str, option: dict[str, Any]) -> None:
    """METHODS 15.26: with 4 games, against stock SB3, while the replay buffer is looked at again and again."""
    tanh = {"policy_kwargs": {"net_arch": [16, 12], "activation_fn": nn.Tanh}}  # whose units are never quite 0
    arguments = {"n_envs": 4, "gradient_steps": 2, "buffer_size": 400, **tanh}
    never = [
        ReDo(tau=0.0, period=1, samples=32),
        GXD(rate=0.0, period=2, score_every=1),
        GXD(rate=0.0, signal="outputs", period=3, score_every=1),
        CPR(period=10**9, score_every=1),
    ]
    callback = Measure()
    watched = ours(kind, interventions=never, **arguments, **option).learn(128, callback=callback)
    assert sum(watched.units_reset().values()) == 0
    # Stock SB3 has not got the options.
    plain = ours(kind, **arguments, **option) if option else build(kind, **{**arguments, **like(watched)})
    assert_same(state(watched), state(plain.learn(128)))
    assert callback.measured["plasticity/critic/grad_norm"] > 0
    assert watched.optimizer_steps >= 12


# ------------------------------------------------------------------------------------------------ steps


class Count(Intervention):
    """Writes down the steps that it is told of, in all, at the ends of updates and at surgeries."""

    name = "count"

    def __init__(self) -> None:
        self.steps: dict[str, list[int]] = {}
        self.ends: list[int] = [0]
        self.edits: list[int] = []

    def attach(self, learner: Any) -> None:
        self.learner = learner

    def after_backward(self, update: Any) -> None:
        self.steps.setdefault(update.networks[0], []).append(update.step)

    def after_update(self) -> None:
        self.ends.append(self.learner.optimizer_steps)

    def on_surgery(self, edit: Any) -> None:
        self.edits.append(self.learner.optimizer_steps)


FREQUENCIES: list[tuple[str, dict[str, Any]]] = [
    ("dqn-her", {}), ("sac-her", {"gradient_steps": 3}), ("dqn-her", {"train_freq": 1}),
    ("sac-her", {"train_freq": 8, "gradient_steps": -1}), ("dqn-her", {"n_envs": 3, "gradient_steps": 2}),
    ("sac-her", {"n_envs": 2, "gradient_steps": -1}), ("dqn-her", {"train_freq": (2, "episode"), "gradient_steps": 7}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "frequency"), FREQUENCIES, ids=str)
def test_steps_are_those_of_the_optimizer(kind: str, frequency: dict[str, Any]) -> None:
    """METHODS 15.28: SB3 counts the same for DQN and SAC. Periods end with the update that completes them."""
    count, full = Count(), {"name": "percentage", "share": 0.2}
    reset = UnitReset(criterion="random", selection=full, period=5, maturity=0, score_every=1)
    # Hindsight replay needs a finished episode, of 10 steps of each game.
    model = ours(kind, interventions=[reset, count], learning_starts=30, **frequency).learn(80)
    steps = model.optimizer_steps
    assert steps == model._n_updates == count.ends[-1] >= 6
    for owner in [model.policy] if kind == "dqn-her" else [model.actor, model.critic]:
        assert {int(held["step"]) for held in owner.optimizer.state.values()} == {steps}
    assert count.steps.keys() == ({"critic"} if kind == "dqn-her" else {"critic", "actor"})
    assert all(told == [*range(1, steps + 1)] for told in count.steps.values())
    assert count.edits == [end for before, end in pairwise(count.ends) if end // 5 > before // 5]


def test_sb3_counts_epochs_for_ppo() -> None:
    """There 2 epochs of 4 minibatches are 8 optimizer steps."""
    model = build_ppo("mlp").learn(128)
    assert (model.optimizer_steps, model._n_updates) == (16, 4)


# ------------------------------------------------------------------------------------------------ targets


Pairs = list[tuple[Tensor, Tensor, Tensor]]


class Around(Intervention):
    """Keeps (parameter, target, target before) of every surgery; stands in front of the reset."""

    name = "around"

    def attach(self, learner: Any) -> None:
        self.learner = learner
        self.found: list[Pairs] = []

    def after_update(self) -> None:
        self.before = [target.detach().clone() for target in self.learner.targets.values()]

    def on_surgery(self, edit: Any) -> None:
        now = [(p.detach().clone(), t.detach().clone()) for p, t in self.learner.targets.items()]
        self.found.append([(*pair, before) for pair, before in zip(now, self.before, strict=True)])


def targets_around(kind: str, reset: Intervention) -> list[Pairs]:
    """What each of the surgeries did to the targets while the agent learned."""
    around = Around()
    ours(kind, interventions=[around, reset], learning_rate=1e-2).learn(40)
    return around.found


@pytest.mark.parametrize("kind", [*MLP, "sac-cnn-shared", "dqn-board"])
@pytest.mark.parametrize("how", ["leave", "sync", "copy"])
def test_targets_after_a_reset_of_units(kind: str, how: str) -> None:
    """METHODS 15.10."""
    reset = UnitReset(criterion="random", selection={"name": "percentage", "share": 0.2}, surgery={"targets": how},
                      networks="paper", period=2, maturity=0, score_every=1)  # fmt: skip
    surgeries = targets_around(kind, reset)
    assert len(surgeries) >= 2
    changed = 0
    for pairs in surgeries:
        for parameter, target, before in pairs:
            moved = target != before
            if how == "leave":
                assert not moved.any()
            elif how == "sync":
                assert torch.equal(target[moved], parameter[moved])
                changed += int(moved.any() and not moved.all())
            else:
                assert torch.equal(target, parameter)
                changed += int(moved.any())
    assert (changed > 0) == (how != "leave")


@pytest.mark.parametrize("kind", [*MLP, "sac-cnn-shared"])
@pytest.mark.parametrize("how", ["leave", "copy"])
@pytest.mark.parametrize("make", [FullReset, HeadReset])
def test_targets_after_a_reset_of_layers(kind: str, how: str, make: Any) -> None:
    surgeries = targets_around(kind, make(networks="paper" if make is FullReset else ["critic"], period=3, targets=how))
    assert surgeries
    for pairs in surgeries:
        copied = [torch.equal(parameter, target) for parameter, target, _ in pairs]
        left = [torch.equal(target, before) for _, target, before in pairs]
        if how == "leave":
            assert all(left)
        elif make is FullReset and kind in ("dqn-mlp", "sac-mlp"):
            assert all(copied)
        else:  # of the output layers alone, and not of what the networks share, nor of the actor
            assert any(copied)
            assert all(one or other for one, other in zip(copied, left, strict=True))
            assert any(left)


# ------------------------------------------------------------------------------------------------ where they act


class Notes(Intervention):
    """Keeps what is announced."""

    name = "notes"

    def __init__(self) -> None:
        self.masks: list[dict[str, Tensor]] = []

    def on_surgery(self, edit: Any) -> None:
        self.masks.append(edit.masks)


def test_twin_critics_have_masks_of_their_own() -> None:
    """METHODS 15.3."""
    notes = Notes()
    reset = UnitReset(criterion="random", selection={"name": "percentage", "share": 0.3}, networks="paper",
                      period=2, maturity=0, score_every=1)  # fmt: skip
    ours("sac-mlp", interventions=[reset, notes]).learn(64)
    assert len(notes.masks) >= 4
    for masks in notes.masks:
        assert masks.keys() == {f"critic.qf{twin}.{layer}" for twin in (0, 1) for layer in (0, 1)}
        assert masks["critic.qf0.0"].sum() == masks["critic.qf1.0"].sum() > 0
    assert any(not torch.equal(masks["critic.qf0.0"], masks["critic.qf1.0"]) for masks in notes.masks)


@pytest.mark.parametrize("kind", [*KINDS, "dqn-board", "sac-board"])
def test_paper_is_the_critic(kind: str) -> None:
    model = ours(kind, interventions=[FullReset(networks="paper", period=10**6)])
    (reset,) = model.interventions
    assert reset._names == ["critic"]
    assert reset.arguments()["networks"] == "paper"
    assert np.all([network.name == "critic" for network in reset._networks])


@pytest.mark.parametrize("kind", ["sac-mlp", "sac-cnn-shared"])
def test_resets_act_on_the_networks_that_are_named(kind: str) -> None:
    named = {"sac-mlp": ["actor"], "sac-cnn-shared": ["features"]}[kind]
    reset = UnitReset(criterion="redo", selection={"name": "percentage", "share": 0.3}, networks=named,
                      period=2, maturity=0, score_every=1)  # fmt: skip
    model = ours(kind, interventions=[reset]).learn(32)
    counts = model.units_reset()
    assert {name for name, count in counts.items() if count} == set(named)
    with pytest.raises(ValueError, match="networks names 'value', which has no hidden units in this policy"):
        ours(kind, interventions=[ReDo(networks=["value"])])
