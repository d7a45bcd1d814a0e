"""C-CHAIN: one step back, its gradient, its coefficients, and what it goes on with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from small_loop import Regression
from small_worlds import AGENTS, STEPPING, Blind, build, whole_and_resumed
from stable_baselines3.common.logger import Logger
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes

from agents import PPO
from agents.plasticity import (
    CChain,
    FullReset,
    Intervention,
    L2Init,
    PlasticOptimizer,
    ShrinkAndPerturb,
    Switch,
    Update,
)
from agents.plasticity.outputs import Form, distance

BOTH = {"ppo": ["actor", "critic"], "ppo means": ["actor"], "dqn": None, "sac": ["actor", "critic"]}
BOTH["td3"] = BOTH["sac"]
AUTO = {"coefficient": "auto", "window": 5, "warmup": 4, "samples": 8}


def chain(agent: str, **arguments: Any) -> CChain:
    """Of all outputs of the agent."""
    return CChain(networks=BOTH[agent], **{**AUTO, **arguments})


# ---------------------------------------------------------------------------------------------------- what it compares


@pytest.mark.parametrize("agent", AGENTS)
def test_what_is_compared_is_of_the_parameters_before_the_last_step(agent: str) -> None:
    """METHODS 15.20: of theta_{t-1}, not theta_{t-2} and not theta_t; and nothing waits for a GPU."""
    compared: list[str] = []

    class Watched(CChain):
        before: Mapping[str, Sequence[dict[str, Tensor]]] = {}

        def penalty(self, update: Update) -> Tensor | None:
            name, earlier = update.network, self.before.get(update.network, ())
            for output, old in self._kept[name].outputs.items() if name in self._kept else ():
                seen = [self._learner.outputs(self._kept[name].batch, then)[output] for then in earlier]
                assert torch.equal(old, seen[-1])
                assert len(old) == self._learner.batch_size == 8
                assert not any(torch.equal(old, other) for other in seen[:-1])
                assert not torch.equal(old, self._learner.outputs(self._kept[name].batch)[output])
                compared.append(name)
            self.before = {**self.before, name: [*earlier[-1:], self._learner.snapshot()]}
            with Blind():
                return super().penalty(update)

        def _draw(self) -> Any:
            with _disable_current_modes():  # what is drawn comes from the host
                return super()._draw()

    build(agent, [Watched(networks=BOTH[agent], **AUTO)]).learn(96)  # type: ignore[arg-type]
    assert set(compared) == STEPPING[agent]
    assert len(compared) > 10


@pytest.mark.parametrize("agent", AGENTS)
def test_without_a_step_there_is_no_churn(agent: str) -> None:
    """METHODS 15.20: with a learning rate of 0 it is exactly 0."""
    intervention = CChain(networks=BOTH[agent], coefficient=1.0, samples=8)
    model = build(agent, [intervention], learning_rate=0.0).learn(64)
    found = {tag: value for tag, value in model.hooks.metrics().items() if tag.startswith("chain/")}
    assert {value for tag, value in found.items() if not tag.endswith("coefficient")} == {0.0}
    assert all(value > 0 for tag, value in found.items() if tag.endswith("coefficient"))


@pytest.mark.parametrize("kind", ["values", "logits", "bits"])
def test_its_gradient_is_that_of_the_distance_by_finite_differences(kind: str) -> None:
    """METHODS 15.20: after a known step of the parameters."""
    intervention = CChain(coefficient=3.0, samples=16)
    learner = Regression([intervention])
    form = Form(kind, (3,))  # type: ignore[arg-type]
    intervention._forms = {"net": form}
    learner.module.double()
    learner.x = learner.x.double()
    update = Update(("net",), None, {"loss": torch.ones(())}, learner.optimizers[0], 0.0, 1, network="net")
    assert intervention.penalty(update) is None
    batch, old = intervention._kept["net"].batch, intervention._kept["net"].outputs["net"]
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in learner.module.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    term = intervention.penalty(update)
    assert term is not None
    torch.testing.assert_close(term, 3 * distance(form, old, learner.outputs(batch)["net"]))
    (gradient,) = torch.autograd.grad(term, [learner.module[2].weight])
    weight, step = learner.module[2].weight.data, 1e-6
    for place in [(0, 0), (3, 7), (19, 19)]:
        values = []
        for sign in (1, -1):
            weight[place] += sign * step
            values.append(3 * float(distance(form, old, learner.outputs(batch)["net"].detach())))
            weight[place] -= sign * step
        assert float(gradient[place]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("agent", ["ppo", "dqn", "sac"])
def test_churn_is_reduced(agent: str) -> None:
    found = []
    for warmup in (10**6, 10):
        scale = {"warmup": warmup, "scale": 0.3, "window": 10}
        metrics = build(agent, [chain(agent, **scale)]).learn(256).hooks.metrics()
        found.append({tag: value for tag, value in metrics.items() if tag.endswith("churn")})
    assert found[0].keys() == found[1].keys() != set()
    for tag, churn in found[0].items():
        assert found[1][tag] < 0.95 * churn, tag


class Choices(gymnasium.Env):
    """Actions of a given space; episodes of five steps."""

    observation_space = spaces.Box(-1, 1, (3,), np.float32)

    def __init__(self, actions: gymnasium.Space) -> None:
        self.action_space = actions

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self.np_random.uniform(-1, 1, 3).astype(np.float32), {}

    def step(self, action: Any) -> Any:
        self.steps += 1
        return self.np_random.uniform(-1, 1, 3).astype(np.float32), float(np.sum(action)), self.steps == 5, False, {}


@pytest.mark.parametrize(
    ("actions", "form"),
    [
        (spaces.MultiDiscrete([2, 3]), Form("logits", (2, 3))),
        (spaces.MultiBinary(4), Form("bits", (4,))),
        (spaces.Box(-1, 1, (2,)), Form("means", (2,))),
        (spaces.Discrete(3), Form("logits", (3,))),
    ],
)
def test_policies_of_every_kind(actions: gymnasium.Space, form: Form) -> None:
    settings = {"n_steps": 16, "batch_size": 8, "n_epochs": 2, "seed": 1, "device": "cpu"}
    model = PPO("MlpPolicy", Choices(actions), interventions=[CChain(window=4, warmup=2)], **settings)
    assert model.output_forms["actor"] == form
    model.set_logger(Logger(None, []))
    model.learn(48)
    found = model.hooks.metrics()
    assert 0 < found["chain/actor/churn"] < 1
    assert found["chain/actor/penalty"] > 0


# ---------------------------------------------------------------------------------------------------- its coefficients


def rules(agent: str, **arguments: Any) -> dict[str, Any]:
    intervention = CChain(**arguments)
    build(agent, [intervention])
    return {name: coefficient.rule for name, coefficient in intervention._coefficients.items()}


def test_what_is_held_and_how_firmly_by_default() -> None:
    (ppo,) = rules("ppo").items()
    assert (ppo[0], ppo[1].scale, ppo[1].window, ppo[1].warmup, ppo[1].cap) == ("actor", 0.05, 5000, 1000, 10.0)
    assert rules("ppo means")["actor"] == ppo[1]
    (dqn,) = rules("dqn").items()
    assert (dqn[0], dqn[1].scale, dqn[1].window, dqn[1].warmup, dqn[1].first) == ("critic", 0.01, 50_000, 10_000, 0)
    for agent, critic in (("sac", 0.05), ("td3", 0.1)):
        assert {name: rule.fixed for name, rule in rules(agent).items()} == {"critic": critic}
        found = rules(agent, networks=["actor", "critic"])
        assert (found["actor"].relative, found["critic"].fixed) == (5e-4, critic)


def test_what_is_published() -> None:
    found = rules("ppo", paper=True)["actor"]
    assert (found.scale, found.window, found.warmup, found.first, found.least) == (10_000, 50, 10, 1, 1)
    assert (found.by_update, found.cap) == (True, None)
    found = rules("ppo means", paper=True)["actor"]
    assert (found.scale, found.window, found.warmup, found.first, found.least) == (0.05, 100, 50, 100, 0)
    found = rules("dqn", paper=True)["critic"]
    assert (found.scale, found.window, found.warmup, found.first) == (0.01, 50_000, 10_000, 25)
    assert not found.by_update


def test_published_the_ratio_is_of_the_cross_entropy() -> None:
    """Its churn counts with the entropy of a policy that has learnt little yet, about log 2."""
    model = build("ppo", [CChain(paper=True, warmup=1)]).learn(96)
    (coefficient,) = model.interventions[0]._coefficients.values()
    _, crosses, steps = coefficient._sums[:, :2]
    assert torch.allclose(crosses / steps, torch.tensor(0.69), atol=0.02)
    assert model.hooks.metrics()["chain/actor/churn"] < 0.01  # the log has the divergence


def test_a_share_of_the_actors_loss() -> None:
    model = build("sac", [CChain(networks=["actor"])]).learn(64)
    found = model.hooks.metrics()
    assert found["chain/actor/coefficient"] > 0
    assert found.keys() == {f"chain/actor/{key}" for key in ("churn", "penalty", "coefficient")}


@pytest.mark.parametrize(
    ("batch_size", "given", "expected"),
    [
        (32, {}, 16),
        (1024, {}, 128),
        (1, {}, 1),
        (None, {}, 128),
        (32, {"samples": 20}, 20),
        (8, {"samples": 20}, 8),
        (1024, {"paper": True}, 1024),
    ],
)
def test_how_large_reference_batches_are(batch_size: int | None, given: dict[str, Any], expected: int) -> None:
    learner = Regression([CChain(**given)], batch_size=batch_size)
    learner.train(1)
    assert learner.samples == [expected]


def test_windows_begin_anew_at_switches_if_asked() -> None:
    for asked in (False, True):
        intervention = CChain(coefficient="auto", window=5, warmup=4, samples=8, reset_at_switch=asked)
        assert intervention.uses_boundaries is asked
        learner = Regression([intervention]).train(8)
        (coefficient,) = intervention._coefficients.values()
        learner.after_update(Switch("next", 1, 1))
        assert (coefficient.now(torch.ones(())) is None) is asked


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"networks": "actor"}, "networks is 'actor'; give a list of different networks"),
        ({"coefficient": -1.0}, r"coefficient is -1\.0; give a number of at least 0, or auto"),
        ({"coefficient": "best"}, "coefficient is 'best'; give a number of at least 0, or auto"),
        ({"coefficient": 1.0, "window": 3}, r"window is 3, but coefficient is the number 1\.0; leave window out"),
        ({"scale": 0.0}, r"scale is 0\.0; give a number above 0"),
        ({"window": 0}, "window is 0; give a whole number of gradient steps of at least 1"),
        ({"cap": 0.5}, r"cap is 0\.5; give a factor of at least 1"),
        ({"samples": 0}, "samples is 0; give a whole number of transitions of at least 1"),
    ],
)
def test_impossible_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CChain(**arguments)


def test_a_network_without_outputs_is_refused() -> None:
    with pytest.raises(ValueError, match="c_chain: networks names 'features', which has no outputs of its own; choose"):
        build("ppo", [CChain(networks=["features"])])


@pytest.mark.parametrize("arguments", [{"scale": 0.1}, {"window": 100}])
def test_what_adapts_a_coefficient_is_refused_where_none_is_adapted(arguments: dict[str, Any]) -> None:
    ((key, value),) = arguments.items()
    message = f"c_chain: {key} is {value}, but CHAIN's coefficients, which this agent has by default, are not adapted; "
    for agent in ("sac", "td3"):
        with pytest.raises(ValueError, match=f"^{message}give coefficient auto, or leave {key} out"):
            build(agent, [CChain(**arguments)])
        build(agent, [CChain(coefficient="auto", **arguments)])


def test_a_learner_without_data_is_refused() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU(), torch.nn.Linear(2, 1))
    optimizer = PlasticOptimizer(torch.optim.Adam(model.parameters()), model, [CChain()])
    with optimizer.forward():
        loss = model(torch.ones(1, 2)).sum()
    with pytest.raises(
        ValueError, match="c_chain: it compares outputs on a sample of the data, but PlasticOptimizer has"
    ):
        optimizer.step(loss)


# ---------------------------------------------------------------------------------------------------- what it keeps


@pytest.mark.parametrize("agent", AGENTS)
def test_going_on_equals_never_having_stopped(agent: str, tmp_path: Path) -> None:
    """No step lost or doubled; with what draws and holds weights beside it."""

    def make() -> list[Intervention]:
        return [chain(agent), L2Init(coefficient=0.1)]

    (held, _), whole, again = whole_and_resumed(agent, make, tmp_path)
    assert {name for name, _, _ in held["kept"]} == STEPPING[agent]
    assert again == whole


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("how", [{"coefficient": 0.0}, {"warmup": 10**6}])
def test_where_it_does_not_act_nothing_is_changed(agent: str, how: dict[str, Any]) -> None:
    """With a coefficient of 0 nothing is drawn or computed, and in the warm-up churn is but measured."""
    arguments = {"networks": BOTH[agent], **how}
    model, plain = build(agent, [CChain(**arguments)]).learn(64), build(agent, []).learn(64)
    for one, other in zip(model.policy.parameters(), plain.policy.parameters(), strict=True):
        assert torch.equal(one, other)
    (intervention,) = model.interventions
    assert bool(intervention._kept) is ("warmup" in how)
    if how == {"warmup": 10**6}:
        churns = [value for tag, value in model.hooks.metrics().items() if tag.endswith("churn")]
        assert all(churn > 0 for churn in churns)


@pytest.mark.parametrize("other", [FullReset(period=4), ShrinkAndPerturb(mode="boundary")])
def test_what_a_surgery_has_changed_is_no_churn(other: Intervention) -> None:
    intervention = CChain(coefficient=1.0, samples=8)
    learner = Regression([intervention, other]).train(4)
    learner.after_update(Switch("next", 1, 1))
    assert intervention._kept == {}
    steps = float(intervention._sums["net"][3])
    learner.train(1)
    assert float(intervention._sums["net"][3]) == steps
    learner.train(1)
    assert float(intervention._sums["net"][3]) == steps + 1


def test_a_number_needs_no_loss() -> None:
    """A loop that makes its own backward keeps the loss to itself; what is adapted to it cannot do without."""

    def after(coefficient: float | Literal["auto"]) -> Tensor:
        learner = Regression([CChain(coefficient=coefficient, samples=8)])
        for _ in range(3):
            learner.zero_grad()
            with learner.forward():
                loss = (learner.module(learner.x) - learner.y).square().mean()
            loss.backward()
            learner.step()
        return next(learner.module.parameters()).detach()

    assert not torch.equal(after(0.0), after(50.0))
    with pytest.raises(LookupError, match=r"looks at the 'loss' of the update, but step\(\) was not given it"):
        after("auto")


def test_frozen_outputs_are_held_by_nobody() -> None:
    intervention = CChain(coefficient=1.0, samples=8)
    learner = Regression([intervention]).train(2)
    for parameter in learner.module.parameters():
        parameter.requires_grad_(False)
    update = Update(("net",), None, {"loss": torch.ones(())}, learner.optimizers[0], 0.0, 3, network="net")
    assert intervention.penalty(update) is None


def test_the_log_is_of_the_steps_since_its_last_row() -> None:
    learner = Regression([CChain(coefficient=2.0, samples=8)]).train(5)
    found = learner.metrics()
    assert found["chain/net/coefficient"] == 2.0
    assert found["chain/net/penalty"] == pytest.approx(2 * found["chain/net/churn"])
    assert found["chain/net/churn"] > 0
    assert set(learner.metrics().values()) == {0.0}


def test_a_head_that_was_replaced_begins_without_a_reference() -> None:
    intervention = CChain(coefficient="auto", window=4, warmup=2, samples=8)
    learner = Regression([intervention]).train(6)
    (before,) = intervention._coefficients.values()
    value = before.now(torch.ones(()))
    head = torch.nn.Linear(20, 3)
    learner.optimizers[0].add_param_group({"params": list(head.parameters())})
    learner.module[4] = head
    learner.after_update()
    assert intervention._kept == {}
    (after,) = intervention._coefficients.values()
    assert after is not before
    assert after.now(torch.ones(())) == value  # the window has stayed
