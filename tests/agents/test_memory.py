"""Nothing that outlives an update reaches its graphs: not what is tapped, nor minibatches, nor probes.

And the memory that they took is there for the next one.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import small_off_policy
import small_ppo
import torch
from graphs_left import left_by
from small_loop import ACTING, Regression, together
from torch import Tensor

from agents.memory import SETTINGS, keep_freed_memory
from agents.plasticity import GXD, CChain, Intervention, Update
from agents.plasticity.diagnostics import Diagnostics


def everything(leave_out: str = "") -> list[Intervention]:
    """Every intervention but C-CHAIN, which keeps a batch, and another one."""
    known = together(name for name in ACTING if name not in ("c_chain", leave_out))
    return [*known, GXD(rate=0.05, signal="outputs", period=2, maturity=2)]


class Penalty(Intervention):
    """Draws the outputs on reference batches to those that the last step has moved them from."""

    name = "penalty"
    needs = frozenset({"reference_batch"})

    def __init__(self) -> None:
        self.kept: dict[str, tuple[Any, Mapping[str, Tensor]]] = {}

    def attach(self, learner: Any) -> None:
        self.learner = learner

    def penalty(self, update: Update) -> Tensor | None:
        terms = []
        if update.network in self.kept:
            batch, old = self.kept[update.network]
            new = self.learner.outputs(batch)
            terms = [(new[name] - old[name]).square().mean() for name in new]
            terms += [1e-3 * update.losses["loss"]]  # of the graph that the loss has gone through
        with torch.no_grad():
            self.kept[update.network] = update.reference_batch, self.learner.outputs(update.reference_batch)
        return torch.stack(terms).sum() if terms else None


class Watching(Intervention):
    """Penalises the loss itself, whose graph is then kept, and looks which losses are still there."""

    name = "watching"

    def __init__(self) -> None:
        self.losses: list[weakref.ref[Tensor]] = []
        self.found: set[str] = set()

    def _look(self, place: str) -> None:
        if any(loss() is not None for loss in self.losses):
            self.found.add(place)

    def penalty(self, update: Update) -> Tensor:
        self._look("the next penalty")
        self.losses.append(weakref.ref(update.losses["loss"]))
        return 1e-3 * update.losses["loss"]

    def after_update(self) -> None:
        self._look("after_update")


AGENTS: dict[str, Callable[[list[Intervention]], Any]] = {
    "ppo": lambda found: small_ppo.build("mlp", n_epochs=1, interventions=found),
    "ppo-board": lambda found: small_ppo.build("board", n_epochs=1, interventions=found),
    "ppo-gsde": lambda found: small_ppo.build("mlp-tanh-gsde", n_epochs=1, interventions=found),
    "dqn": lambda found: small_off_policy.ours("dqn-mlp", interventions=found),
    "sac": lambda found: small_off_policy.ours("sac-mlp", interventions=found),
    "sac-gsde": lambda found: small_off_policy.ours("sac-gsde", interventions=found),
    "sac-shared": lambda found: small_off_policy.ours("sac-cnn-shared", interventions=found),
    "td3": lambda found: small_off_policy.ours("td3-mlp", interventions=found),
}


def update(model: Any) -> None:
    """One update of a model that has collected data."""
    arguments = {} if hasattr(model, "rollout_buffer") else {"gradient_steps": 4, "batch_size": 16}
    model.train(**arguments)


def assert_nothing_is_left(train: Callable[[], object], learner: Any, *, minibatches: bool = True) -> None:
    """Neither by updates nor by measures, which keep the observations of their probe; nor are minibatches."""
    diagnostics = Diagnostics(learner, torch.Generator().manual_seed(0), slow_every=1)
    diagnostics.measure()
    for call, graphs_alone in ((train, not minibatches), (diagnostics.measure, True)):
        seen, alive = left_by(call, graphs_alone=graphs_alone)
        assert seen > 10
        assert alive == []


# Every agent with all interventions, and each class of agent without any and with a penalty.
RUNS = [(agent, "all") for agent in AGENTS]
RUNS += [(agent, few) for agent in ("ppo", "dqn", "sac-shared", "td3") for few in ("none", "penalty")]


@pytest.mark.parametrize(("agent", "interventions"), RUNS)
def test_graphs_are_gone_after_an_update(agent: str, interventions: str) -> None:
    """With every intervention at once: what one keeps, another cannot hide. Penalties keep a batch and its outputs."""
    all_that_fit = everything("snr" if agent == "ppo-gsde" else "")  # whose units, behind tanh, are never silent
    found = {"none": [], "all": all_that_fit, "penalty": [Penalty(), CChain(coefficient=1.0)]}[interventions]
    model = AGENTS[agent](found)
    model.learn(24)
    assert_nothing_is_left(lambda: update(model), model, minibatches=interventions != "penalty")


@pytest.mark.parametrize("agent", ["ppo", "dqn", "sac", "td3"])
def test_a_graph_that_a_penalty_kept_is_gone_with_its_step(agent: str) -> None:
    """Before the next loss is penalised, and before what runs at the end of an update."""
    watching = Watching()
    AGENTS[agent]([watching]).learn(24)
    assert len(watching.losses) > 1
    assert watching.found == set()


def test_graphs_are_gone_after_a_step_of_an_own_loop() -> None:
    learner = Regression([*everything(), CChain(coefficient=1.0, samples=8)])
    learner.train(4)
    assert_nothing_is_left(lambda: learner.train(8), learner, minibatches=False)  # they are the caller's


def _faults() -> int:
    """How often this process has asked the system for a page."""
    import resource  # which Windows has not

    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


@pytest.mark.skipif(not keep_freed_memory(), reason="another allocator than glibc's, or one that the user has set")
def test_memory_that_is_freed_is_there_for_the_next_update() -> None:
    def update() -> None:
        graph = [torch.ones(2**20) for _ in range(12)]  # 48 MiB: 12,288 pages
        assert len(graph) == 12

    for _ in range(3):
        update()
    before = _faults()
    update()
    assert _faults() - before < 1000


def test_memory_is_left_to_the_users_settings_and_to_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in SETTINGS:
        with monkeypatch.context() as patch:
            patch.setenv(name, "65536")
            assert not keep_freed_memory()
    for system in ("darwin", "win32"):
        monkeypatch.setattr(sys, "platform", system)
        assert not keep_freed_memory()
