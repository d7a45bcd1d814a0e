"""Runs of worlds that differ in shape, and of agents that are told their task."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_run import trained_run

from crl.ablation.grid import read
from crl.config import ConfigError, check_arguments, load, to_yaml
from crl.evaluation import evaluate
from crl.learnt import agent_of
from crl.models import build

COMMON = """
evaluation: {every: 64, episodes: 2, limit: 5, dense: 0, share: 1}
checkpoint: {every: 64}
seed: 3
device: cpu
threads: 1
"""
OFF = "learning_starts: 16, train_freq: 8, batch_size: 8, buffer_size: 200, net_arch: [8]"
RUNS: dict[str, tuple[str, tuple[int, ...], list[str]]] = {
    "ppo, boards": (
        """
stream: {tasks: [breakout, asterix], steps_per_task: 64, boundary: observed}
agent: {name: ppo, n_envs: 2, n_steps: 32, batch_size: 32, n_epochs: 1}
interventions: [oracle]
""",
        (10, 10, 12),
        ["observations tell the task: of the last 2 planes its own is 1, all others 0"],
    ),
    "dqn, vectors": (
        f"""
stream: {{tasks: [mountain_car, acrobot], steps_per_task: 64, boundary: observed,
  spaces: {{observations: pad, actions: [noop, left, right, negative torque, positive torque]}}}}
agent: {{name: dqn, n_envs: 2, {OFF}}}
interventions: [full_reset]
""",
        (8,),
        [
            "observations are (6,) of float32: (2,) of mountain_car, (6,) of acrobot; padded with zeros",
            "actions are noop, left, right, negative torque, positive torque; in mountain_car negative torque, "
            "positive torque do noop; in acrobot left, right do noop",
            "observations tell the task: of the last 2 numbers its own is 1, all others 0",
        ],
    ),
    "sac, numbers": (
        f"""
stream: {{tasks: [pendulum, mountain_car_continuous], steps_per_task: 64, boundary: observed,
  spaces: {{observations: pad, actions: pad}}}}
agent: {{name: sac, n_envs: 2, {OFF}}}
at_switch: {{replay: clear}}
""",
        (5,),
        [
            "observations are (3,) of float32: (3,) of pendulum, (2,) of mountain_car_continuous; padded with zeros",
            "actions are 1 numbers; each at the same place between its task's own bounds",
            "observations tell the task: of the last 2 numbers its own is 1, all others 0",
        ],
    ),
}


@pytest.mark.parametrize("kind", RUNS)
def test_agents_are_trained_and_evaluated_on_worlds_that_differ(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, shape, told = RUNS[kind]
    run = trained_run(tmp_path, config + COMMON)
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line in told] == told
    tasks = yaml.safe_load(config)["stream"]["tasks"]
    with (run / "evaluations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["task"] for row in rows} == set(tasks)
    # Afterwards they are seen as in training: what is greedy scores the same to the last digit.
    assert evaluate(run) == 0
    (path,) = (run / "evaluation").iterdir()
    with path.open(newline="") as file:
        again = {row["task"]: row["return_mean"] for row in csv.DictReader(file)}
    assert again == {row["task"]: row["return_mean"] for row in rows[-len(tasks) :]}
    _, model, env = agent_of(check_arguments(load(run / "config.yaml")))
    assert env.single_observation_space.shape == shape
    assert env.boundary == "observed"
    env.close()
    assert model.observation_space.shape is not None


def loaded(folder: Path, stream: str, agent: str = "{name: ppo}") -> Any:
    (folder / "c.yaml").write_text(f"stream: {stream}\nagent: {agent}\n")
    return load(folder / "c.yaml")


def test_a_config_keeps_its_mapping(tmp_path: Path) -> None:
    stream = "{tasks: [{id: cartpole, actions: [noop, '5']}, acrobot], steps_per_task: 64, spaces: %s}"
    spaces = {"observations": "pad", "actions": ["noop", "5", "left"]}
    config = loaded(tmp_path, stream % spaces)
    written = yaml.safe_load(to_yaml(config))["stream"]
    assert written["spaces"] == {"size": None, **spaces}
    assert written["tasks"][0]["actions"] == ["noop", "5"]
    checked = check_arguments(
        loaded(tmp_path, stream % "{observations: pad, actions: union}", "{name: ppo, n_steps: 64}")
    )
    filled, _, env = build(checked)
    env.close()
    assert filled.stream.spaces.actions == env.action_meanings == ("noop", "5", "negative torque", "positive torque")
    resized = loaded(tmp_path, "{name: breakout, steps_per_task: 9, spaces: {observations: resize, size: [84, 1e2]}}")
    assert resized.stream.spaces.size == (84, 100)


@pytest.mark.parametrize(
    ("spaces", "message"),
    [
        ("{observation: pad}", "stream.spaces.observation=\"pad\" is not a known key; did you mean 'observations'?"),
        ("{observations: padd}", "stream.spaces.observations=\"padd\" is not known; give 'pad' or 'resize'"),
        ("{actions: unoin}", "stream.spaces.actions=\"unoin\" is not known; did you mean 'union'?"),
        (
            "pad",
            'stream.spaces="pad" is not a mapping; write it in braces, such as {observations: pad, actions: union}',
        ),
        ("{size: [4]}", "stream.spaces.size.1 is missing; give the whole list"),
        ("{size: [4, 0]}", "stream.spaces.size.1=0 is too small; give a number of at least 1"),
    ],
)
def test_refusals_of_configs(spaces: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        loaded(tmp_path, f"{{tasks: [cartpole, acrobot], steps_per_task: 64, spaces: {spaces}}}")
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (
            "tasks: [cartpole, acrobot]",
            "stream.tasks: tasks 'cartpole' and 'acrobot' have different observation spaces",
        ),
        (
            "tasks: [cartpole, acrobot], spaces: {observations: pad}",
            "stream.tasks: tasks 'cartpole' and 'acrobot' have different action spaces, Discrete(2) and Discrete(3)",
        ),
        (
            "tasks: [cartpole, acrobot], spaces: {observations: pad, actions: union}",
            "stream.tasks: task 'cartpole' has the actions left, right and lacks negative torque, noop, positive",
        ),
        ("tasks: [{id: cartpole, actions: [1, 2, 3]}]", "stream.tasks: actions of task 'cartpole' must be different"),
        ("tasks: [{id: pendulum, actions: [a]}]", "stream.tasks: task 'pendulum' names 1 actions, but has Box(-2.0"),
    ],
)
def test_what_only_the_worlds_can_refuse_is_one_sentence(stream: str, message: str, tmp_path: Path) -> None:
    config = check_arguments(loaded(tmp_path, f"{{{stream}, steps_per_task: 64}}"))
    with pytest.raises(ConfigError) as error:
        build(config)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("boundary", "expected"), [("hidden", "revealed"), ("observed", "observed")])
def test_words_for_arms_keep_what_observations_tell(boundary: str, expected: str, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text(f"stream: {{name: minatar3, boundary: {boundary}}}\nagent: {{name: ppo}}\n")
    (tmp_path / "grid.yaml").write_text("base: base.yaml\narms: {none: {}, oracle: oracle}\nseeds: 1\n")
    boundaries = {cell.arm: cell.raw["stream"]["boundary"] for cell in read(tmp_path / "grid.yaml").cells}
    assert boundaries == {"none": boundary, "oracle": expected}


def test_interventions_take_observed_for_revealed(tmp_path: Path) -> None:
    for boundary in ("observed", "hidden"):
        (tmp_path / "c.yaml").write_text(
            f"stream: {{tasks: [breakout], steps_per_task: 64, boundary: {boundary}}}\nagent: {{name: ppo}}\n"
            "interventions: [full_reset]\n"
        )
        if boundary == "observed":
            check_arguments(load(tmp_path / "c.yaml"))
        else:
            with pytest.raises(ConfigError, match=r"stream.boundary=hidden hides"):
                check_arguments(load(tmp_path / "c.yaml"))
