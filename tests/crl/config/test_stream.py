"""The section `stream`: entries with variants, shifts, drift, draws and steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from crl.config import ConfigError, StreamConfig, check_arguments, config_hash, load, to_yaml
from crl.models.environment import make_stream


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c.yaml"


def loaded(path: Path, stream: str, *overrides: str) -> Any:
    path.write_text(f"stream: {stream}\nagent: {{name: ppo, n_envs: 2, n_steps: 8, batch_size: 16}}\n")
    return check_arguments(load(path, overrides))


def refused(path: Path, stream: str) -> str:
    with pytest.raises(ConfigError) as error:
        loaded(path, stream)
    return str(error.value)


def test_numbers_that_yaml_reads_as_text(path: Path) -> None:
    entry = """
      - id: Plain-v0
        name: "1e3"
        goal: {log_uniform: [1e-3, 2e0]}
        text: 1e-3
        variants: 3
        steps: 64
        shifts: [{name: reward_scale, scale: {uniform: [1e-1, '2']}}, {name: observation_noise, std: 1e-2}]
        drift: {observation_noise.std: {kind: linear, start: 1e-2, end: .5, steps: 100}}
    """
    (task,) = loaded(path, f"\n  tasks: {entry}").stream.tasks
    assert task == {
        "id": "Plain-v0",
        "name": "1e3",
        "goal": {"log_uniform": [0.001, 2.0]},
        "text": "1e-3",  # what others take is theirs to say
        "variants": 3,
        "steps": 64,
        "shifts": [
            {"name": "reward_scale", "scale": {"uniform": [0.1, 2]}},
            {"name": "observation_noise", "std": 0.01},
        ],
        "drift": {"observation_noise.std": {"kind": "linear", "start": 0.01, "end": 0.5, "steps": 100}},
    }


@pytest.mark.parametrize("name", ["5", "1e3", "-0.5"])
def test_a_name_in_quotes_may_look_like_a_number(path: Path, name: str) -> None:
    config = loaded(path, f"{{tasks: [{{id: cartpole, name: '{name}', variants: 2}}], steps_per_task: 64}}")
    env = make_stream(config)
    assert [task.name for task in env.stream.tasks] == [f"{name}#0", f"{name}#1"]
    env.close()


VARIED = """
  tasks:
    - {id: cartpole, gravity: {uniform: [5, 1e1]}, shifts: [pixel_permutation], variants: 3, steps: 32}
    - id: cartpole
      shifts: [pixel_permutation]
      drift: {gravity: {kind: random_walk, start: 10, std: 1e-1, low: 5, high: 15}}
  steps_per_task: 64
  cycles: 2
"""


def test_a_config_makes_the_stream_that_it_writes(path: Path, tmp_path: Path) -> None:
    config = loaded(path, VARIED, "seed=7")
    env = make_stream(config)
    assert [task.name for task in env.stream.tasks[:3]] == [
        f"cartpole(gravity=*)+pixel_permutation#{variant}" for variant in range(3)
    ]
    assert [env.stream.segment(index).steps for index in range(8)] == [32, 32, 32, 64] * 2
    again = tmp_path / "again.yaml"
    again.write_text(to_yaml(config))
    same = check_arguments(load(again, []))
    assert config_hash(same) == config_hash(config)
    other, another = make_stream(same), make_stream(loaded(path, VARIED, "seed=8"))
    arguments = [[task.arguments for task in each.stream.tasks] for each in (env, other, another)]
    assert arguments[0] == arguments[1]
    assert all(one != two for one, two in zip(arguments[0][:3], arguments[2][:3], strict=True))
    assert config_hash(loaded(path, VARIED, "seed=8")) != config_hash(config)
    for each in (env, other, another):
        each.close()


@pytest.mark.parametrize(
    ("given", "shortest", "total"),
    [
        ({"tasks": ({"id": "breakout", "variants": 5},), "steps_per_task": 10}, 10, 50),
        ({"tasks": ({"id": "breakout", "variants": 5, "steps": 4}, "asterix"), "steps_per_task": 10}, 4, 30),
        ({"tasks": ({"id": "breakout", "steps": 4}, {"id": "asterix", "steps": 6}), "cycles": 3}, 4, 30),
        ({"name": "permuted_breakout"}, 8192, 5000 * 8192),
        ({"name": "permuted_breakout", "steps_per_task": 100, "cycles": 2}, 100, 1_000_000),
        ({"name": "slippery_ant"}, 2_000_000, 20_000_000),
        ({"name": "pendulum_drift"}, 100_000, 100_000),
    ],
)
def test_lengths_count_variants(given: dict[str, Any], shortest: int, total: int) -> None:
    stream = StreamConfig(**given)
    assert (stream.task_steps, stream.total_steps) == (shortest, total)


def test_lengths_may_be_drawn(path: Path) -> None:
    streams = {}
    for lengths in ("fixed", "poisson", "geometric"):
        config = loaded(
            path,
            f"{{tasks: [{{id: cartpole, shifts: [pixel_permutation], variants: 200}}], steps_per_task: 100, "
            f"lengths: {lengths}, align: step}}",
        )
        env = make_stream(config)
        steps = [env.requested_stream.segment(index).steps or 0 for index in range(200)]
        streams[lengths] = steps
        assert yaml.safe_load(to_yaml(config))["stream"]["lengths"] == lengths
        env.close()
    assert set(streams["fixed"]) == {100}
    assert abs(sum(streams["poisson"]) / 200 - 100) < 4  # standard error 10 / sqrt(200) = 0.7
    assert abs(sum(streams["geometric"]) / 200 - 100) < 30  # 100 / sqrt(200) = 7
    assert max(streams["geometric"]) > 2 * max(streams["poisson"])


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        (
            "{tasks: [{id: breakout, shifts: [pixel_permutatio]}], steps_per_task: 5}",
            'stream.tasks.0={"id": "breakout", "shifts": ["pixel_permutatio"]} has a shift '
            "'pixel_permutatio' that is not "
            "known; did you mean 'pixel_permutation'?",
        ),
        (
            "{tasks: [{id: breakout, variants: 1.5}], steps_per_task: 5}",
            'stream.tasks.0={"id": "breakout", "variants": 1.5} has variants=1.5; give a whole number of at least 1',
        ),
        (
            "{tasks: [{id: breakout, steps: 0}]}",
            'stream.tasks.0={"id": "breakout", "steps": 0} has steps=0; give a whole number of at '
            "least 1, or leave it out",
        ),
        (
            "{tasks: [{id: breakout, variants: 1000001}], steps_per_task: 5}",
            'stream.tasks.0={"id": "breakout", "variants": 1000001} has variants=1000001, which is too large; give a '
            "number of at most 1000000",
        ),
        (
            "{tasks: [{id: breakout, steps: 2147483648}]}",
            'stream.tasks.0={"id": "breakout", "steps": 2147483648} has steps=2147483648, which is too large; give a '
            "number of at most 2147483647",
        ),
        (
            f"{{tasks: [{{id: breakout, steps: {10**30}}}]}}",
            f'stream.tasks.0={{"id": "breakout", "steps": {10**30}}} has steps={10**30}, which is too large',
        ),
        (
            "{tasks: [{id: breakout, steps: 4}, asterix]}",
            'stream.steps_per_task is missing and [{"id": "breakout", "steps": 4}, "asterix"] has no '
            "length of its own; give",
        ),
        ("{name: permuted_breakout, lengths: gauss}", "stream.lengths=\"gauss\" is not known; give 'fixed', "),
        (
            "{tasks: [freeway], steps_per_task: 5, spaces: {actions: [no, left]}}",  # YAML's no is false
            'stream.spaces.actions=[false, "left"] is no list of names; give one of union, pad, same, or a list such',
        ),
        (
            "{tasks: [permuted_breakout], steps_per_task: 5}",
            'stream.tasks.0="permuted_breakout" is a stream and no task; ',
        ),
    ],
)
def test_refusals(path: Path, stream: str, message: str) -> None:
    found = refused(path, stream)
    assert found.startswith(message)
    assert "\n" not in found


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "{id: cartpole, name: 5}",
            "stream.tasks: the name of task 'cartpole' must be text and not empty, got 5; put one into quotes",
        ),
        (
            "{id: cartpole, drift: {length: {kind: linear, start: 1, end: -1, steps: 9}}}",
            "stream.tasks: drift of 'length' in task 'cartpole~length' to -1: length must be a finite number above 0",
        ),
        ("{id: cartpole, gravity: {uniform: [2, 1]}}", "stream.tasks: gravity is drawn as uniform of [2, 1]; give two"),
        (
            "{id: cartpole, drift: {gravity: {kind: linar}}}",
            "stream.tasks: drift of 'gravity' in task 'cartpole': kind must",
        ),
        (
            "{id: cartpole, shifts: [{name: reward_scale, scale: {choice: [1, -1]}}], variants: 40}",
            "stream.tasks: task 'cartpole+reward_scale(scale=*)#",
        ),
    ],
)
def test_what_only_the_worlds_can_refuse_is_one_sentence(path: Path, entry: str, message: str) -> None:
    config = loaded(path, f"{{tasks: [{entry}], steps_per_task: 64}}")
    with pytest.raises(ConfigError) as error:
        make_stream(config)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)
