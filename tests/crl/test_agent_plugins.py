"""Agents from outside: of installed plugins, whose records are read without torch, and of modules in `imports`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from agents.specs import AGENTS
from crl.config import ConfigError, check_arguments, config_hash, load
from crl.models import build
from crl.opening import opened

Command = Callable[..., "subprocess.CompletedProcess[str]"]

RECORD = """
from dataclasses import replace

from agents.settings import Setting
from agents.specs import agent_spec

DQN = agent_spec("dqn")
SPEC = replace(
    DQN,
    target="crl_x_learner:Bold",
    summary="DQN whose last epsilon is called boldness",
    settings={**DQN.settings, "boldness": Setting(float, 0.5, ge=0, le=1)},
)
"""
LEARNER = """
print("the learner was imported")

from agents import DQN
from crl_x_agents import SPEC

class Bold(DQN):
    spec = SPEC

    def __init__(self, *args, boldness=0.5, **kwargs):
        super().__init__(*args, **{**kwargs, "exploration_final_eps": boldness})
"""
REGISTERS = """
from agents.specs import register
from crl_x_agents import SPEC

register("bold", SPEC)
"""
GIVEN = "agent={name: bold, n_envs: 2, learning_starts: 20, buffer_size: 100, batch_size: 8}"
SHORT = "stream={name: null, tasks: [CartPole-v1], steps_per_task: 60}"


def install(site: Path, point: str = "agents.bold = crl_x_agents:SPEC") -> Path:
    """A folder with an installed distribution called x, to be put on Python's path."""
    info = site / "x-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: x\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[crl.plugins]\n{point}\n")
    (site / "crl_x_agents.py").write_text(RECORD)
    (site / "crl_x_learner.py").write_text(LEARNER)
    return site


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config of a known agent."""
    path = tmp_path / "c.yaml"
    path.write_text("stream: {name: minatar3}\nagent: {name: dqn}\nseed: 3\ndevice: cpu\nthreads: 1\n")
    return path


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Agents and modules of one test are not there in another one."""
    before = dict(AGENTS)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    AGENTS.clear()
    AGENTS.update(before)
    for name in ("crl_x_agents", "crl_x_learner", "mine"):
        sys.modules.pop(name, None)


def test_a_run_of_a_plugin(crl: Command, config: Path, tmp_path: Path) -> None:
    site = install(tmp_path / "site")
    form = "interventions=[{name: redo, networks: paper, period: 5}]"
    given = ("c.yaml", GIVEN, SHORT, "agent.boldness=1e-1", form)
    result = crl("train", *given, cwd=tmp_path, paths=(site,))
    assert result.returncode == 0, result.stderr
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name.startswith("c__bold__redo__s3__")
    assert yaml.safe_load((run / "config.yaml").read_text())["agent"]["boldness"] == 0.1
    assert json.loads((run / "results.json").read_text())["status"] == "done"


def test_its_record_is_enough_to_list_and_refuse(python: Command, config: Path, tmp_path: Path) -> None:
    site = install(tmp_path / "site")
    program = f"""
import sys, crl.cli
for line in (["list", "agents"], ["agent.boldness=2"], ["agent.boldnes=1"]):
    sys.argv = ["crl", *line] if line[0] == "list" else ["crl", "train", "c.yaml", {GIVEN!r}, *line]
    try:
        crl.cli.main()
    except SystemExit:
        pass
print([name for name in ("torch", "stable_baselines3", "crl_x_learner") if name in sys.modules])
"""
    result = python("-c", program, cwd=tmp_path, paths=(site,))
    lines = result.stdout.splitlines()
    assert lines[0] == "agents:"
    assert ["bold", "from x"] in [line.split(maxsplit=1) for line in lines]
    assert lines[-1] == "[]"
    assert result.stderr.splitlines() == [
        "crl: agent.boldness=2 is too large; give a number of at most 1",
        "crl: agent.boldnes=1 is not a known key; did you mean 'boldness'?",
    ]


@pytest.mark.parametrize(
    ("point", "expected"),
    [
        (
            "agents.dqn = crl_x_agents:SPEC",
            "an installed plugin is refused: the name 'dqn' is taken by agents.dqn:DQN; give crl_x_agents:SPEC another "
            "one, or uninstall it",
        ),
        (
            "agents.bold = crl_x_agents:RECORD",
            "agent.name=\"bold\" is crl_x_agents:RECORD, which cannot be used (AttributeError: module 'crl_x_agents' "
            "has no attribute 'RECORD'); correct it or give another agent",
        ),
        (
            "agents.bold = crl_x_agents:Setting",
            'agent.name="bold" is crl_x_agents:Setting, which cannot be used (TypeError: type is no AgentSpec); '
            "correct it or give another agent",
        ),
    ],
)
def test_plugins_that_do_not_fit(config: Path, tmp_path: Path, point: str, expected: str) -> None:
    sys.path.insert(0, str(install(tmp_path / "site", point)))
    with pytest.raises(ConfigError) as error:
        load(config, [GIVEN])
    assert str(error.value) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ('target="crl_x_gone:Bold"', "is crl_x_gone:Bold, which cannot be imported (ModuleNotFoundError: No module na"),
        ('target="stable_baselines3:DQN"', "is stable_baselines3:DQN, which is no LearnerMixin of agents.learner; co"),
    ],
)
def test_classes_that_do_not_fit(config: Path, tmp_path: Path, changes: str, expected: str) -> None:
    site = install(tmp_path / "site")
    (site / "crl_x_agents.py").write_text(RECORD.replace('target="crl_x_learner:Bold"', changes))
    sys.path.insert(0, str(site))
    with pytest.raises(ConfigError) as error:
        build(load(config, [GIVEN, SHORT]))
    assert str(error.value).startswith(f"agent.name=bold {expected}")


def test_a_setting_that_the_class_does_not_take(config: Path, tmp_path: Path) -> None:
    site = install(tmp_path / "site")
    (site / "crl_x_agents.py").write_text(RECORD.replace("crl_x_learner:Bold", "agents.dqn:DQN"))
    sys.path.insert(0, str(site))
    with pytest.raises(ConfigError) as error:
        build(load(config, [GIVEN, SHORT]))
    assert str(error.value) == (
        "agent.boldness is a setting of bold that agents.dqn:DQN does not take; correct its AgentSpec or give another "
        "agent"
    )


def test_settings_whose_names_are_taken(config: Path, tmp_path: Path) -> None:
    site = install(tmp_path / "site")
    (site / "crl_x_agents.py").write_text(RECORD.replace('"boldness"', '"n_envs"'))
    sys.path.insert(0, str(site))
    with pytest.raises(ConfigError) as error:
        load(config, [GIVEN])
    assert str(error.value) == (
        "agent.name=\"bold\" is crl_x_agents:SPEC, which cannot be used (ValueError: its setting 'n_envs' has a name "
        "that something else has; give it another one); correct it or give another agent"
    )


# ---------------------------------------------------------------- modules that a config imports


@pytest.fixture
def mine(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The config, in a current folder with a module ``mine`` that registers the agent."""
    for name, text in {"crl_x_agents": RECORD, "crl_x_learner": LEARNER, "mine": REGISTERS}.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    return config


def refused(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        check_arguments(load(path, overrides))
    return str(error.value)


def test_an_agent_of_a_module_that_is_installed_too(mine: Path, tmp_path: Path) -> None:
    sys.path.insert(0, str(install(tmp_path / "site")))
    for _ in range(2):  # the plugin is known first, then the module's record
        config = check_arguments(load(mine, [GIVEN, "imports=[mine]"]))
        assert config.agent.settings["boldness"] == 0.5


def test_an_agent_of_a_module(mine: Path) -> None:
    known = 'agent.name="bold" is not a known agent; choose from dqn, ppo, sac, td3'
    assert refused(mine, GIVEN) == known
    assert refused(mine, "agent={name: brave}", "imports=[mine]").startswith('agent.name="brave" is not a known agent')
    AGENTS.pop("bold")
    sys.modules.pop("mine")
    read = load(mine, [GIVEN, "imports=[mine]", "agent.boldness=1e-1"])
    assert "bold" not in AGENTS  # no code has run
    config = check_arguments(read)
    assert (config.agent.boldness, config.agent.tau, config.agent.rollout) == (0.1, 1.0, 8)
    assert config.stream.steps_per_task == 500_000


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["agent.boldness=2"], "agent.boldness=2 is too large; give a number of at most 1"),
        (["agent.n_epochs=2"], "agent.n_epochs=2 is a setting of ppo, not of bold; leave it out"),
        (["agent.batch_size=101"], "agent.buffer_size=100 is below agent.batch_size=101; give at least 101, or lower"),
        (["agent.learning_starts=9_000_000"], "agent.learning_starts=9000000 is not below the 1500000 steps of the"),
        (
            ["interventions=[{name: redo, networks: [actor]}]"],
            "interventions.0.networks=[\"actor\"] names 'actor', which is no network of bold; choose from critic",
        ),
    ],
)
def test_its_settings_are_checked_once_it_is_known(mine: Path, overrides: list[str], expected: str) -> None:
    assert refused(mine, GIVEN, "imports=[mine]", *overrides).startswith(expected)


def test_a_run_of_it_is_opened_without_running_its_code(mine: Path, crl: Command, tmp_path: Path) -> None:
    result = crl("train", "c.yaml", GIVEN, SHORT, "imports=[mine]", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (run,) = (tmp_path / "runs").iterdir()
    with opened(run) as config:
        assert "mine" not in sys.modules
        begun: Any = (run / ".config_hash").read_text()
        assert config_hash(config) == config_hash(check_arguments(config)) == begun
    listed = crl("list", "agents", "--imports", "mine", cwd=tmp_path).stdout
    assert "DQN whose last epsilon is called boldness" in listed
