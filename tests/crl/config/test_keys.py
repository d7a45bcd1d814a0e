"""Every key of a config with its type, default and meaning, and the JSON schema that they come from."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agents.specs import AGENTS
from crl.config import RunConfig
from crl.config.agents import agent_section
from crl.config.keys import Key, json_schema, keys_of


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return json_schema()


@pytest.fixture(scope="module")
def keys(schema: dict[str, Any]) -> dict[tuple[str, tuple[str, ...]], Key]:
    return {(key.name, key.of): key for key in keys_of(schema)}


def test_every_key_says_what_it_means(keys: dict[Any, Key]) -> None:
    assert [key.name for key in keys.values() if not key.meaning or key.type == "anything"] == []


def test_the_keys_of_all_agents_and_sections_are_there(keys: dict[Any, Key]) -> None:
    names = {key.name for key in keys.values()}
    for agent in AGENTS:
        fields = agent_section(agent).model_fields
        # What holds arguments is shown by these.
        assert {f"agent.{field}" for field in fields.keys() - {"policy_kwargs"}} <= names
    for section in ("stream", "normalize", "at_switch", "evaluation", "checkpoint"):
        fields = RunConfig.model_fields[section].annotation.model_fields  # type: ignore[union-attr]
        assert {f"{section}.{field}" for field in fields} <= names


LINES = {
    ("agent.n_steps", ("ppo",)): "whole number from 1 to 1048576, default 2048: steps of each game in a rollout",
    ("agent.gamma", ()): "number from 0 to 1, default 0.99: discount of what comes a step later",
    ("agent.net_arch.vf", ("ppo",)): "[whole number from 1 to 65536, ...], required: of the critic",
    ("interventions.N.tau", ("redo",)): (
        "number, default 0.025: threshold on the layer-normalised score, whose mean is 1"
    ),
    ("interventions.N.selection.share", ("percentage",)): "number, required: of the layer's units",
    ("stream.steps_per_task", ()): (
        "whole number of at least 1 or null, default null: of each visit; left out, the stream's own"
    ),
    ("stream.tasks.N.id", ()): "text, required: a task or a Gymnasium id; its own arguments stand beside it",
}  # fmt: skip


@pytest.mark.parametrize("key", LINES, ids=lambda key: key[0])
def test_lines(key: tuple[str, tuple[str, ...]], keys: dict[Any, Key]) -> None:
    assert keys[key].line == LINES[key]


def test_editors_find_bounds_defaults_and_the_arguments_of_names(schema: dict[str, Any]) -> None:
    assert '"ge"' not in json.dumps(schema)
    seed = schema["properties"]["seed"]
    assert (seed["type"], seed["minimum"], seed["maximum"], seed["default"]) == ("integer", 0, 2**31 - 1, 0)
    alone, *sections, others = schema["properties"]["interventions"]["items"]["anyOf"]
    assert {"gxd", "redo", "reset"} <= set(alone["examples"])
    gxd = next(section["properties"] for section in sections if section["properties"]["name"]["const"] == "gxd")
    assert (gxd["period"]["type"], gxd["period"]["default"]) == ("integer", 1000)
    assert gxd["period"]["description"].startswith("gradient steps between selections")
    assert "gxd" in others["properties"]["name"]["not"]["enum"]
