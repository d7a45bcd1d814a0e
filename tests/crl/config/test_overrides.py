"""What people type: whole numbers in any spelling, names alone, items that are added."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from shipped import GXD, refused

from crl.config import RunConfig, check_arguments, config_hash, load, problems

NONE = GXD.with_name("minatar3_ppo.yaml")
TASKS = "stream={name: null, steps_per_task: 100, tasks: [%s]}"


def given(*overrides: str, path: Path = NONE) -> RunConfig:
    return check_arguments(load(path, overrides))


@pytest.mark.parametrize("written", ["1000", "1e3", "1.0e+3", "1000.0", "1_000", "'1000'", "1E3", "+1000"])
def test_whole_numbers_are_written_in_any_way(written: str) -> None:
    keys = ["stream.steps_per_task", "agent.n_epochs", "checkpoint.every", "interventions.0.period", "seed"]
    config = given(*(f"{key}={written}" for key in keys), path=GXD)
    expected = given(*(f"{key}=1000" for key in keys), path=GXD)
    assert config.model_dump() == expected.model_dump()
    assert type(config.stream.steps_per_task) is type(config.interventions[0].arguments()["period"]) is int
    assert config_hash(config) == config_hash(expected)


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("{id: breakout, steps: 1e3, variants: 2.0}", {"steps": 1000, "variants": 2}),
        ("{id: CartPole-v1, max_episode_steps: 2e2}", {"max_episode_steps": 200}),
        ("{id: breakout, episode_limit: {choice: [1e2, 200.0]}}", {"episode_limit": {"choice": [100, 200]}}),
        ("{id: pendulum, offset: {uniform: [0, 1e0], size: 3.0}}", {"offset": {"uniform": [0, 1.0], "size": 3}}),
        ("{id: breakout, shifts: [{name: frame_skip, skip: 2.0}]}", {"shifts": [{"name": "frame_skip", "skip": 2}]}),
        (
            "{id: pendulum, drift: {gravity: {kind: linear, start: 1e1, end: 2, steps: 1e5}}}",
            {"drift": {"gravity": {"kind": "linear", "start": 10.0, "end": 2, "steps": 100_000}}},
        ),
        ("{id: Other-v0, size: 2.0, seed: 1e3}", {"size": 2.0, "seed": "1e3"}),  # what is whole there, only it knows
    ],
)  # fmt: skip
def test_whole_numbers_of_tasks(written: str, plain: dict[str, Any]) -> None:
    (task,) = load(NONE, [TASKS % written]).stream.tasks or ()
    found = {key: value for key, value in task.items() if key != "id"}
    assert (found, repr(found)) == (plain, repr(plain))


@pytest.mark.parametrize("value", ["1.5", "true", "abc", "[1]", ".inf", "null"])
def test_what_is_no_whole_number_is_refused(value: str) -> None:
    shown = {"abc": '"abc"', ".inf": "Infinity"}.get(value, value)
    assert refused(f"agent.n_envs={value}") == f"agent.n_envs={shown} is not a whole number; give one such as 64"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["interventions=[gxd]"], [("gxd", {})]),
        (["interventions=[gxd, redo]", "interventions.1.tau=0.1"], [("gxd", {}), ("redo", {"tau": 0.1})]),
        (["interventions+=redo"], [("redo", {})]),
        (["interventions+={name: redo, tau: 0.1}", "interventions+=gxd"], [("redo", {"tau": 0.1}), ("gxd", {})]),
        (["interventions+=[gxd, redo]"], [("gxd", {}), ("redo", {})]),
        (["interventions.0.name=gxd", "interventions.0.rate=1e-3"], [("gxd", {"rate": 0.001})]),
        (["interventions=[]", "interventions.0.name=gxd"], [("gxd", {})]),
        (["interventions=[gxd]", "interventions.1.name=redo"], [("gxd", {}), ("redo", {})]),
        (
            ["interventions=[{name: reset, criterion: gxd, selection: {name: rate, rate: 1e-3}}]",
             "interventions.0.criterion.reduction=mean_abs"],
            [("reset", {"criterion": {"name": "gxd", "reduction": "mean_abs"}})],
        ),
    ],
)  # fmt: skip
def test_interventions_mean_what_they_say(overrides: list[str], expected: list[tuple[str, dict[str, Any]]]) -> None:
    found = given(*overrides).interventions
    assert [each.name for each in found] == [name for name, _ in expected]
    for each, (_, arguments) in zip(found, expected, strict=True):
        assert arguments.items() <= each.arguments().items()


def test_names_alone_are_the_same_run(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(NONE.read_text()), "interventions": ["gxd", "redo"]}))
    assert config_hash(given(path=path)) == config_hash(given("interventions=[{name: gxd}, {name: redo}]"))


def test_a_run_is_known_when_a_later_version_has_more_keys() -> None:
    class Later(RunConfig):
        more: int = 0

    def later(**keys: int) -> str:
        return config_hash(Later.model_validate(yaml.safe_load(NONE.read_text()) | keys).resolved())

    assert later() == later(more=0) == config_hash(given()) == config_hash(given("checkpoint.keep=3"))
    assert len({later(), later(more=1), config_hash(given("checkpoint.keep=2"))}) == 3


def test_items_of_other_lists() -> None:
    tasks = TASKS % "breakout"
    config = load(NONE, [tasks, "stream.tasks.0.variants=3", "stream.tasks+=freeway", "agent.net_arch.pi+=32"])
    assert config.stream.tasks == ({"id": "breakout", "variants": 3}, "freeway")
    assert config.agent.model_dump()["net_arch"] == {"pi": (64, 32), "vf": (64,)}


def test_the_same_intervention_on_the_same_networks_is_told() -> None:
    def told(*interventions: str) -> list[str]:
        return [*problems.repetitions(given(f"interventions=[{', '.join(interventions)}]"))]

    assert told("gxd", "redo", "gxd") == [
        "interventions.2 is gxd on actor, critic and features, as interventions.0 is, so that both act there; give "
        "them different networks, or leave one out"
    ]
    (told_once,) = told("{name: gxd, networks: [critic]}", "{name: gxd, networks: paper}")
    assert "gxd on critic, as interventions.0 is" in told_once
    assert told("{name: gxd, networks: [critic]}", "{name: gxd, networks: [actor]}") == []
    general = "{name: reset, criterion: %s, selection: {name: rate, rate: 1e-3}}"
    assert told(general % "gxd", general % "magnitude") == []
    assert len(told(general % "gxd", general % "gxd")) == 1


def test_the_file_names_a_list_of_tasks_and_decides_no_number(tmp_path: Path) -> None:
    path = tmp_path / "two games.yaml"
    path.write_text("stream: {tasks: [breakout, freeway], steps_per_task: 100}\nagent: {name: ppo}\n")
    assert load(path).stream.label == "two games"
    assert load(path, ["stream.label=mine"]).stream.label == "mine"
    assert load(NONE).stream.label is None
    assert config_hash(load(path)) == config_hash(load(path, ["stream.label=mine"]))
