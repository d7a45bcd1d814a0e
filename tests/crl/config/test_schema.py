"""What is normalised and what is forgotten at task switches; lengths of streams."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from crl.config import ConfigError, RunConfig, StreamConfig, check_arguments, config_hash, load, to_yaml

KEPT = {"replay": "keep", "exploration": "keep", "random_steps": 0, "optimizer": "keep", "normalizer": "keep"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A config of DQN on a stream that reveals its boundaries."""
    path = tmp_path / "c.yaml"
    path.write_text("stream: {name: minatar3, boundary: revealed}\nagent: {name: dqn}\n")
    return path


def loaded(path: Path, *overrides: str) -> RunConfig:
    return check_arguments(load(path, overrides))


def refused(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        loaded(path, *overrides)
    return str(error.value)


def test_everything_is_kept_and_nothing_normalised_by_default(path: Path) -> None:
    written = yaml.safe_load(to_yaml(loaded(path)))
    assert written["at_switch"] == KEPT
    assert written["normalize"] == {"obs": None, "reward": False}  # the network decides, which SimBa alone asks for
    assert not loaded(path).normalize.used
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
            "stream.boundary=revealed, or give at_switch.optimizer=keep",
        ),
        (
            ["agent.name=ppo", "at_switch.replay=clear"],
            "at_switch.replay=clear is a setting of dqn, sac and td3, not of ppo; give at_switch.replay=keep",
        ),
        (
            ["agent.name=ppo", "at_switch.exploration=restart"],
            "at_switch.exploration=restart is a setting of dqn, sac and td3, not of ppo; give at_switch.",
        ),
        (
            ["agent.name=td3", "at_switch.exploration=restart"],
            "at_switch.exploration=restart has nothing to restart: there is no noise on the actions that remembers "
            "what it was; give agent.action_noise={name: ornstein_uhlenbeck, sigma: 0.1}, or give at_switch.",
        ),
        (
            ["agent.name=ppo", "at_switch.random_steps=5"],
            "at_switch.random_steps=5 is a setting of dqn, sac and td3, not of ppo; give at_switch.random_steps=0",
        ),
        (
            ["at_switch.normalizer=reset"],
            "at_switch.normalizer=reset needs a normalizer; give normalize.obs=true or normalize.reward=true, or give "
            "at_switch.normalizer=keep",
        ),
        (
            ["at_switch.random_steps=500_000"],  # the stream's own length
            "at_switch.random_steps=500000 is not below the 500000 steps of a task, which would be random from end to "
            "end; lower it or raise stream.steps_per_task",
        ),
        (["at_switch.random_steps=100", "stream.steps_per_task=100"], "at_switch.random_steps=100 is not below the "),
        (
            ["agent.name=sac", "agent.ent_coef=0.2", "at_switch.exploration=restart"],
            "at_switch.exploration=restart has nothing to restart: agent.ent_coef=0.2 is fixed; give agent.ent_coef="
            "auto_0.2 to have it learned, or give at_switch.exploration=keep",
        ),
        (
            ["agent.learning_starts=500_000", "at_switch.replay=clear"],
            "agent.learning_starts=500000 is not below the 500000 steps of a task, after which at_switch.replay=clear "
            "empties replay, so that nothing would be learnt; lower it or raise stream.steps_per_task",
        ),
        (
            ["agent.learning_starts=600_000", "interventions=[{name: gxd}, {name: oracle}]"],
            "agent.learning_starts=600000 is not below the 500000 steps of a task, after which interventions.1 (oracle)"
            " empties replay, so that nothing would be learnt; lower it or raise stream.steps_per_task",
        ),
        (["agent=5"], "agent=5 is not a mapping; write it in braces, such as {name: ppo}"),
        (["at_switch=clear"], 'at_switch="clear" is not a mapping; write it in braces, such as {replay: clear}'),
        (["normalize.obs=1"], "normalize.obs=1 is neither true nor false; give one of the two"),
        (["normalize=true"], "normalize=true is not a mapping; write it in braces, such as {obs: true}"),
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
    assert loaded(path, "at_switch.random_steps=499_999").at_switch.random_steps == 499_999


@pytest.mark.parametrize(
    "overrides",
    [
        ["agent.learning_starts=499_999", "at_switch.replay=clear"],
        ["agent.learning_starts=500_000"],  # kept transitions count for later visits
        ["agent.learning_starts=500_000", "agent.buffer_size=499_999", "at_switch.replay=clear"],  # full before that
        ["agent.name=ppo", "interventions=[{name: oracle}]"],
        ["agent.name=sac", "at_switch.exploration=restart"],
    ],
)
def test_what_leaves_something_to_learn(path: Path, overrides: list[str]) -> None:
    assert loaded(path, *overrides).stream.task_steps == 500_000


def test_null_stands_for_the_defaults_of_a_section(path: Path) -> None:
    path.write_text(f"{path.read_text()}at_switch: {{replay: clear}}\nnormalize: {{reward: true}}\n")
    assert loaded(path).at_switch.changes() == {"replay": "clear"}
    config = loaded(path, "at_switch=null", "normalize=null")
    assert (config.at_switch.changes(), config.normalize.used) == ({}, False)
    assert config_hash(config) == config_hash(loaded(path, "at_switch.replay=keep", "normalize.reward=false"))


LIMITS = {
    "{name: minatar3}": 2500,
    "{name: breakout, steps_per_task: 5}": 2500,
    "{tasks: [{id: cartpole}, {id: seaquest}], steps_per_task: 5}": 2500,
    "{name: cchain/cartpole}": None,
    "{name: pendulum5}": None,
    "{name: CartPole-v1, steps_per_task: 5}": None,
    "{tasks: [pendulum], steps_per_task: 5}": None,
}


@pytest.mark.parametrize("stream", LIMITS)
def test_the_episode_limit_is_of_minatar_games(path: Path, stream: str) -> None:
    path.write_text(f"stream: {stream}\nagent: {{name: dqn, learning_starts: 2}}\n")
    config = loaded(path)
    assert config.stream.episode_limit == LIMITS[stream]
    assert yaml.safe_load(to_yaml(config))["stream"].get("episode_limit") == LIMITS[stream]
    if LIMITS[stream]:
        assert loaded(path, "stream.episode_limit=7").stream.episode_limit == 7
        return
    message = refused(path, "stream.episode_limit=200")
    assert message.startswith("stream.episode_limit=200 is of MinAtar games, and stream.")
    assert message.endswith(
        " has none; give stream.episode_limit=null, or a task a limit of its own, such as {id: cartpole, "
        "episode_limit: 200} or {id: CartPole-v1, max_episode_steps: 200}"
    )
    assert loaded(path, "stream.episode_limit=null").stream.episode_limit is None


def test_numbers_of_control_tasks_that_yaml_reads_as_text(path: Path) -> None:
    tasks = "[{id: pendulum, gravity: 1e1, length: 2, mass: '0.5'}, {id: cartpole, offset: [1e-1, 0, 2.0, .5]}]"
    stream = loaded(path, f"stream={{name: null, tasks: {tasks}, steps_per_task: 5000}}").stream
    pendulum, cartpole = {"gravity": 10.0, "length": 2, "mass": 0.5}, {"offset": [0.1, 0, 2.0, 0.5]}
    assert stream.tasks == ({"id": "pendulum", **pendulum}, {"id": "cartpole", **cartpole})
    # What others take is theirs to say.
    stream = loaded(path, "stream={name: null, tasks: [{id: Pendulum-v1, g: 1e1}], steps_per_task: 5000}").stream
    assert stream.tasks == ({"id": "Pendulum-v1", "g": "1e1"},)


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
