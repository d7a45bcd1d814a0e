"""The records of algorithms: what fits, and how one is added."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import pytest

import agents
from agents.at_switch import AtSwitch
from agents.plasticity.registry import Entry
from agents.specs import AGENTS, AgentSpec, Head, agent_spec, known_specs, register


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    before = dict(AGENTS)
    yield
    AGENTS.clear()
    AGENTS.update(before)


def test_records_are_of_the_classes_that_bear_their_names() -> None:
    assert list(AGENTS) == sorted(AGENTS)
    assert {name: spec.resolve() for name, spec in known_specs().items()} == {
        name: getattr(agents, name.upper()) for name in AGENTS
    }
    for name, spec in known_specs().items():
        assert spec.resolve().spec is spec is agent_spec(name)
        assert spec.forgets <= {field.name for field in fields(AtSwitch)}


def test_records_are_read_without_torch() -> None:
    program = "import sys, agents, agents.specs; print([m for m in ('torch', 'stable_baselines3') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "[]\n"


def test_one_is_registered_once() -> None:
    mine = replace(agent_spec("dqn"), target="my_agents:Mine")
    for _ in range(2):  # a module may be imported again
        register("mine", mine)
    assert agent_spec("mine") is mine
    with pytest.raises(ValueError, match=r"^the name 'dqn' is taken by agents.dqn:DQN; give my_agents:Mine another"):
        register("dqn", mine)
    with pytest.raises(ValueError, match=r"^the agent 'other' is registered with <class .*>; give an AgentSpec$"):
        register("other", AgentSpec)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paper_networks": ("actor",)}, r"^paper_networks is \('actor',\); give some of networks: critic"),
        ({"networks": {}, "paper_networks": ()}, r"^paper_networks is \(\); give some of networks"),
        ({"data": "episodes"}, "^data is 'episodes'; give replay or rollout"),
        ({"data": "rollout", "settings": {}}, "^settings has no gamma, n_steps; add what is missing"),
        ({"settings": agent_spec("ppo").settings}, "^settings has no buffer_size, learning_starts, train_freq; add"),
        (
            {"heads": {"flatten": Head((), "relu")}},
            "^heads has no nature_cnn, minatar_cnn, impala; add",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(agent_spec("dqn"), **changes)


def test_a_plugin_must_bring_a_record() -> None:
    AGENTS["mine"] = Entry("agents.at_switch:AtSwitch", "from x")
    assert "mine" not in known_specs()
    with pytest.raises(TypeError, match=r"^type is no AgentSpec$"):
        agent_spec("mine")
