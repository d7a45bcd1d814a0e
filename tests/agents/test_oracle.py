"""The intervention `oracle`: a fresh agent for every visit of a task."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from small_stream import Record, learner, settings, stream
from stable_baselines3.common.utils import LinearSchedule

from agents import AGENTS, DQN, PPO, SAC
from agents.plasticity import FullReset, ReDo
from agents.plasticity.resets.whole import Oracle


def fresh(model: Any) -> dict[str, Any]:
    """What the oracle makes new."""
    found = {
        "weights": {name: tensor.clone() for name, tensor in model.policy.state_dict().items()},
        "targets": all(torch.equal(parameter, target) for parameter, target in model.targets.items()),
        "optimizers": sum(len(optimizer.state) for optimizer in model.optimizers),
        "normalizer": model._vec_normalize_env.obs_rms.count,
    }
    if not isinstance(model, PPO):
        found["replay"] = model.replay_buffer.size()
    if isinstance(model, DQN):
        found["epsilon"] = model.exploration_rate
        found["calls"] = model._n_calls  # since the last copy to the target network
    if isinstance(model, SAC):
        found["entropy"] = model.log_ent_coef.item()
        found["optimizers"] += len(model.ent_coef_optimizer.state)
    return found


@pytest.mark.parametrize(
    ("agent", "others"),
    [*((agent, "none") for agent in AGENTS), ("ppo", "before"), ("dqn", "behind"), ("sac", "before")],
)
def test_an_oracle_is_a_fresh_agent_at_every_visit(agent: str, others: str) -> None:
    redo = [ReDo(tau=0.5, period=2, maturity=1, samples=16)]  # it looks at transitions that are about to be dropped
    interventions = {"before": [*redo, Oracle()], "behind": [Oracle(), *redo], "none": [Oracle()]}[others]
    record = Record(fresh)
    model = learner(agent, normalized=True, interventions=interventions, learning_rate=1e-2)
    model.learn(208, callback=record)
    visits = [record.seen[step] for step in ((64, 128, 192) if agent == "ppo" else (64, 120, 184))]
    for visit in visits:
        assert visit["targets"]
        assert visit["optimizers"] == 0
        assert visit["normalizer"] == 1e-4
        assert visit.get("replay", 0) == 0
        assert visit.get("epsilon", 1.0) == 1.0
        assert visit.get("calls", 0) == 0
        assert visit.get("entropy", math.log(0.1)) == pytest.approx(math.log(0.1))
    drawn = [record.seen[0], *visits]
    for number, one in enumerate(drawn):
        for other in drawn[:number]:
            for name, tensor in one["weights"].items():
                assert not torch.equal(tensor, other["weights"][name]) or not tensor.any(), name
    for visit in visits:  # as they were at first: of the same size
        for name in [name for name in visit["weights"] if name.endswith("weight")]:
            tensor = visit["weights"][name]
            assert tensor.norm() <= 2.0 * record.seen[0]["weights"][name].norm() + 1e-6, name
    assert model.switches_seen == 3
    if agent != "ppo":
        assert record.random[:16] == [step for step in range(0, 16, 2) for _ in range(2)]
        assert set(range(64, 80, 2)) <= set(record.random)  # it warms up again


def test_the_longer_of_two_warm_ups_counts() -> None:
    """The oracle's own is of `learning_starts` = 16 steps, after the update at 64."""
    for steps, until in ((40, 104), (4, 80)):
        model = learner("dqn", interventions=[Oracle()], at_switch={"random_steps": steps}).learn(72)
        assert model._random_until == until


@pytest.mark.parametrize("make", [Oracle, FullReset])
@pytest.mark.parametrize("agent", AGENTS)
def test_an_oracle_needs_revealed_switches(agent: str, make: Any) -> None:
    with pytest.raises(ValueError, match=f"{make.name} acts on task switches, which this environment hides"):
        AGENTS[agent].resolve()("MlpPolicy", stream(agent, "hidden"), interventions=[make()], **settings(agent))


@pytest.mark.parametrize(
    ("agent", "key"),
    [("ppo", "learning_rate"), ("ppo", "clip_range"), ("ppo", "clip_range_vf"), ("sac", "learning_rate")],
)
def test_schedules_over_the_whole_run_are_refused(agent: str, key: str) -> None:
    """A fresh agent would go on with what the one before it had come down to."""
    with pytest.raises(ValueError, match=rf"oracle: {key} is a schedule over the whole run, .*; give a number"):
        learner(agent, interventions=[Oracle()], **{key: LinearSchedule(1e-3, 0.0, 1.0)})
    learner(agent, interventions=[Oracle()], **{key: lambda remaining: 1e-3})  # a function, but always the same
    learner(agent, interventions=[FullReset()], **{key: LinearSchedule(1e-3, 0.0, 1.0)})
