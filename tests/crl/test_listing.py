"""The page on each name that a config can give: its arguments, and an example that is right."""

from __future__ import annotations

import functools
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from fake_pool import install

import envs
from crl.config import ConfigError, check_arguments, load
from crl.config.reading import _merged
from crl.listing import REGISTRIES, Kind, page, pages
from envs.catalogue import STREAMS, TASKS

Command = Callable[..., "subprocess.CompletedProcess[str]"]

BASE = {"stream": {"name": "minatar3"}, "agent": {"name": "ppo"}}
OF_ENVPOOL = {name for registry in (TASKS, STREAMS) for name, found in registry.items() if not found.restores}
SHOWN = {"starpilot_hard", "cchain/starpilot", "atari/pong", "dmc/walker-walk", "metaworld/hammer", "cw20"}
LEFT_OUT = OF_ENVPOOL - SHOWN  # the pages of a suite are alike
NAMED = [
    (kind, name)
    for kind, registry in REGISTRIES.items()
    for name in registry
    if kind is not Kind.parts and name not in LEFT_OUT
]


json_schema = functools.cache(page.json_schema)


@pytest.fixture(autouse=True)
def one_schema(monkeypatch: pytest.MonkeyPatch) -> None:
    """All pages here are of the same names."""
    monkeypatch.setattr(page, "json_schema", json_schema)


def lines_of(kind: Kind, name: str) -> list[str]:
    (page,) = (page for page in pages(name) if page.title == f"{name} ({ONE[kind]})")
    return "\n".join(page.lines).splitlines()


ONE = {kind: "criterion" if kind is Kind.criteria else kind.value.removesuffix("s") for kind in Kind}


@pytest.mark.parametrize(("kind", "name"), NAMED)
def test_every_example_is_right(kind: Kind, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    lines = lines_of(kind, name)
    example = yaml.safe_load("\n".join(lines[lines.index("  example:") + 1 :]))
    config: dict[str, Any] = {**BASE, "stream": {}} if "tasks" in example.get("stream", {}) else BASE
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(_merged(config, example)))
    checked = check_arguments(load(tmp_path / "c.yaml"))
    if kind in (Kind.shifts, Kind.drifts, Kind.tasks):
        envs.make(list(checked.stream.tasks or ()), n_envs=1, steps_per_task=8).close()


def test_every_argument_has_a_type_and_a_meaning() -> None:
    for each in (found for _, name in NAMED for found in pages(name)):
        assert each.text
        assert [key.name for key in each.keys if not key.meaning or "anything" in key.type] == [], each.title


def test_a_stream_s_page_tells_what_differs_and_which_settings_go_with_it(crl: Command, tmp_path: Path) -> None:
    lines = crl("list", "streams", "cw20", cwd=tmp_path).stdout.splitlines()
    assert lines[:2] == ["cw20 (stream)", "  ten tasks of Meta-World's arm, one after the other, twice"]
    assert lines[4:6] == [
        "  source: Continual World, arXiv 2105.10919",
        "  differs from the original: version 3 of the tasks in envpool, with 39 observations and rewards up",
    ]
    assert "  settings of an agent: configs/metaworld_sac_cw.yaml with stream.name=cw20" in lines


@pytest.mark.parametrize("name", {stream.config: name for name, stream in STREAMS.items()}.values())
def test_the_settings_that_a_stream_s_page_names_are_a_config_of_it(name: str) -> None:
    (page,) = pages(name, Kind.streams)
    found = re.search(r"^settings of an agent: (\S+) with (.+)$", page.text, re.MULTILINE)
    assert found is not None
    config = check_arguments(load(Path(__file__).parents[2] / found[1], found[2].split()))
    assert (config.stream.name, config.stream.tasks) == (name, None)


def test_the_mode_of_a_game_is_a_whole_number(crl: Command, tmp_path: Path) -> None:
    lines = crl("list", "tasks", "atari/pong", cwd=tmp_path).stdout.splitlines()
    assert "    mode: whole number or null, default null" in lines


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("streams", "cw21"), "\"cw21\" is not one of the streams; did you mean 'cw20'?"),
        (("tasks", "pong"), "\"pong\" is not one of the tasks; did you mean 'atari/pong'?"),
        (("pong",), "\"pong\" is neither a list nor a name in one; did you mean 'atari/pong'?"),
        (("interventions", "cw20"), '"cw20" is not one of the interventions; '),
        (("stream", "cw20"), '"stream" is not a list, in which "cw20" could be; did you mean \'streams\'?'),
    ],
)
def test_what_is_not_in_a_list(crl: Command, words: tuple[str, ...], sentence: str, tmp_path: Path) -> None:
    result = crl("list", *words, cwd=tmp_path)
    assert (result.returncode, result.stdout) == (2, "")
    assert sentence in result.stderr


def test_of_a_name_of_two_kinds_one_page_can_be_had(crl: Command, tmp_path: Path) -> None:
    lines = crl("list", "criteria", "redo", cwd=tmp_path).stdout.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["redo (criterion)"]


def test_a_name_of_two_kinds_has_two_pages(crl: Command, tmp_path: Path) -> None:
    result = crl("list", "redo", cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == ["redo (criterion)", "redo (intervention)"]
    assert "    tau: number, default 0.025" in lines
    assert "      threshold on the layer-normalised score, whose mean is 1. More resets more units." in lines
    assert "  paper: arXiv 2302.12902, https://arxiv.org/abs/2302.12902" in lines
    assert lines[-2:] == ["    interventions:", "    - {name: redo, tau: 0.025}"]


def test_what_needs_revealed_switches_says_so() -> None:
    assert lines_of(Kind.interventions, "full_reset")[-3:] == [
        "    stream: {boundary: revealed}", "    interventions:", "    - {name: full_reset, targets: copy}",
    ]  # fmt: skip


def test_schedules_are_listed_with_the_settings_that_take_them(crl: Command, tmp_path: Path) -> None:
    line = crl("list", "schedules", cwd=tmp_path).stdout.splitlines()[1]
    assert line.endswith("; {linear: [1e-3, 0]} of agent.learning_rate, agent.clip_range and agent.clip_range_vf")


WORLD = '''
import gymnasium

class Mine(gymnasium.Env):
    """A world of mine (arXiv 1606.01540)."""

    def __init__(self, *, size: int = 3, render_mode: str | None = None) -> None:
        pass

gymnasium.register("Mine-v0", Mine)
'''


def test_worlds_that_a_module_registers_are_shown(crl: Command, tmp_path: Path) -> None:
    (tmp_path / "my_world.py").write_text(WORLD)
    tasks = crl("list", "tasks", "--imports", "my_world", cwd=tmp_path).stdout.splitlines()
    assert tasks[-1].split()[:4] == ["my_world:Mine-v0", "registered", "by", "my_world;"]
    page = crl("list", "my_world:Mine-v0", "--imports", "my_world", cwd=tmp_path).stdout.splitlines()
    assert page[:4] == [
        "my_world:Mine-v0 (task)", "  A world of mine (arXiv 1606.01540).", "  arguments:",
        "    size: whole number, default 3",
    ]  # fmt: skip
    assert page[-3:] == ["    stream:", "      tasks: ['my_world:Mine-v0']", "      steps_per_task: 100000"]


def test_nobody_is_called_so() -> None:
    with pytest.raises(
        ConfigError, match=r'^"Nobody-v7" is neither a list nor a name in one; give the module .* --imports$'
    ):
        pages("Nobody-v7")


def test_a_description_in_markdown_begins_behind_its_heading() -> None:
    (page,) = pages("CartPole-v1")
    assert page.text.startswith("This environment ")
