"""What is normalised and what is forgotten at task switches; lengths of streams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from crl.config import ConfigError, RunConfig, StreamConfig, check_interventions, config_hash, load, to_yaml

KEPT = {"replay": "keep", "exploration": "keep", "random_steps": 0, "optimizer": "keep", "normalizer": "keep"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A config of DQN on a stream that reveals its boundaries."""
    path = tmp_path / "c.yaml"
    path.write_text("stream: {name: minatar3, boundary: revealed}\nagent: {name: dqn}\n")
    return path


def loaded(path: Path, *overrides: str) -> RunConfig:
    return check_interventions(load(path, overrides))


def refused(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        loaded(path, *overrides)
    return str(error.value)


def test_everything_is_kept_and_nothing_normalised_by_default(path: Path) -> None:
    written = yaml.safe_load(to_yaml(loaded(path)))
    assert written["at_switch"] == KEPT
    assert written["normalize"] == {"obs": False, "reward": False}
    assert loaded(path).at_switch.changes() == {}


def test_what_is_forgotten_is_written_and_decides_the_numbers(path: Path, tmp_path: Path) -> None:
    given = {
        "replay": "clear",
        "exploration": "restart",
        "random_steps": 7,
        "optimizer": "reset",
        "normalizer": "reset",
    }
    overrides = [f"at_switch.{key}={value}" for key, value in given.items()]
    config = loaded(path, *overrides, "normalize.obs=true")
    assert config.at_switch.changes() == given
    again = tmp_path / "again.yaml"
    again.write_text(to_yaml(config))
    assert loaded(again).model_dump() == config.model_dump()
    hashes = {config_hash(loaded(path, *overrides[:count])) for count in range(5)}
    assert len(hashes | {config_hash(config)}) == 6


def test_what_an_agent_lacks_may_be_kept(path: Path) -> None:
    config = loaded(path, "agent.name=ppo", "at_switch={replay: keep, random_steps: 0, optimizer: reset}")
    assert config.at_switch.changes() == {"optimizer": "reset"}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["at_switch.replay=drop"], "at_switch.replay=\"drop\" is not known; give 'keep' or 'clear'"),
        (["at_switch.replays=clear"], "at_switch.replays=\"clear\" is not a known key; did you mean 'replay'?"),
        (["at_switch.random_steps=-1"], "at_switch.random_steps=-1 is too small; give a number of at least 0"),
        (
            ["at_switch.optimizer=reset", "stream.boundary=hidden"],
            "at_switch.optimizer=reset acts on task switches, which stream.boundary=hidden hides; give "
            "stream.boundary=revealed, or leave it out",
        ),
        (
            ["agent.name=ppo", "at_switch.replay=clear"],
            "at_switch.replay=clear is a setting of dqn and sac, not of ppo; leave it out",
        ),
        (
            ["agent.name=ppo", "at_switch.exploration=restart"],
            "at_switch.exploration=restart is a setting of dqn and sac, not of ppo; leave it out",
        ),
        (
            ["agent.name=ppo", "at_switch.random_steps=5"],
            "at_switch.random_steps=5 is a setting of dqn and sac, not of ppo; leave it out",
        ),
        (
            ["at_switch.normalizer=reset"],
            "at_switch.normalizer=reset needs a normalizer; give normalize.obs=true or normalize.reward=true, or leave "
            "it out",
        ),
        (
            ["at_switch.random_steps=500_001"],  # the stream's own length
            "at_switch.random_steps=500001 is above the 500000 steps of a task, which would be random from end to end; "
            "lower it or raise stream.steps_per_task",
        ),
        (["at_switch.random_steps=101", "stream.steps_per_task=100"], "at_switch.random_steps=101 is above the 100 "),
        (["normalize.obs=1"], "normalize.obs=1 is neither true nor false; give one of the two"),
        (["normalize=true"], "normalize=true is not a mapping; write it in braces, such as {key: value}"),
        (
            ["stream.boundary=hidden", "interventions=[{name: oracle}]"],
            "interventions.0: oracle acts on task switches, which stream.boundary=hidden hides; give stream.boundary="
            "revealed, or leave it out",
        ),
        (["interventions=[{name: oracle, networks: [critic]}]"], "interventions.0.networks=[\"critic\"] is not a kn"),
    ],
)  # fmt: skip
def test_refusals(path: Path, overrides: list[str], expected: str) -> None:
    message = refused(path, *overrides)
    assert message.startswith(expected)
    assert "\n" not in message


def test_a_task_may_be_random_from_end_to_end_of_its_first_steps(path: Path) -> None:
    assert loaded(path, "at_switch.random_steps=500_000").at_switch.random_steps == 500_000


@pytest.mark.parametrize(
    ("given", "task", "total"),
    [
        ({"name": "minatar3"}, 500_000, 1_500_000),
        ({"name": "minatar3", "cycles": 2, "steps_per_task": 10}, 10, 60),
        ({"name": "breakout", "steps_per_task": 10}, 10, 10),
        ({"tasks": ("breakout", "pendulum"), "steps_per_task": 10, "cycles": 3}, 10, 60),
        ({"name": "cchain/cartpole"}, 160_000, 1_600_000),
    ],
)
def test_lengths(given: dict[str, Any], task: int, total: int) -> None:
    stream = StreamConfig(**given)
    assert (stream.task_steps, stream.total_steps) == (task, total)
