"""The runs that the file of an ablation stands for, and what is refused in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from crl.ablation import grid
from crl.ablation.grid import Cell, Grid
from crl.config import ConfigError

BASE: dict[str, Any] = {
    "stream": {"tasks": ["breakout"]}, "agent": {"name": "ppo", "n_envs": 4}, "seed": 9, "runs": "elsewhere",
}  # fmt: skip


def read(place: Path, **keys: Any) -> Grid:
    (place / "base.yaml").write_text(yaml.safe_dump(BASE, sort_keys=False))
    (place / "grid.yaml").write_text(yaml.safe_dump({"base": "base.yaml", **keys}, sort_keys=False))
    return grid.read(place / "grid.yaml")


def refused(place: Path, **keys: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        read(place, **keys)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(str(place / "grid.yaml"), "FILE")


def names(found: Grid) -> list[str]:
    return [cell.name for cell in found.cells]


def test_arms_and_seeds_the_first_seed_of_all_first(tmp_path: Path) -> None:
    arms = {"none": None, "gxd": {"interventions": ["gxd"], "agent.n_envs": 8}, "fresh": "oracle"}
    found = read(tmp_path, overrides={"stream.steps_per_task": 50}, arms=arms, seeds=[3, 1])
    assert names(found) == ["none__s3", "gxd__s3", "fresh__s3", "none__s1", "gxd__s1", "fresh__s1"]
    stream = {"label": "base", "tasks": ["breakout"], "steps_per_task": 50}
    assert found.common == {"stream": stream, "agent": {"name": "ppo", "n_envs": 4}}
    gxd = {**found.common, "agent": {"name": "ppo", "n_envs": 8}, "interventions": ["gxd"], "seed": 3}
    assert found.cells[1] == Cell("gxd__s3", "gxd", 3, gxd, {"arm": "gxd"})
    oracle = {**found.common, "stream": {**stream, "boundary": "revealed"}, "interventions": ["oracle"], "seed": 3}
    assert found.cells[2].raw == oracle
    assert found.folder == Path("runs/ablations/grid")


def test_the_arms_of_another_ablation(tmp_path: Path) -> None:
    arms = {"none": {}, "gxd": {"interventions": ["gxd"]}}
    for place, keys in {"other.yaml": {"arms": arms, "seeds": 9}, "third.yaml": {"arms": "other.yaml"}}.items():
        (tmp_path / place).write_text(yaml.safe_dump({"base": "missing.yaml", **keys}, sort_keys=False))
    axes = [{"when": {"arm": "gxd"}, "agent.n_envs": [1, 2]}]
    found = read(tmp_path, arms="other.yaml", axes=axes, seeds=1)
    assert names(found) == ["none__s1", "gxd,n_envs=1__s1", "gxd,n_envs=2__s1"]
    assert found.cells == read(tmp_path, arms=arms, axes=axes, seeds=1).cells
    told = refused(tmp_path, arms="third.yaml")
    assert told == f"arms={str(tmp_path / 'third.yaml')!r} lists no arms itself; give the file of an ablation that does"
    assert "does not exist" in refused(tmp_path, arms="fourth.yaml")
    assert "arms=3 is not a mapping" in refused(tmp_path, arms=3)
    assert "base.yaml' lists no arms itself" in refused(tmp_path, arms="base.yaml")


def test_left_out_there_are_five_seeds_of_the_base_config(tmp_path: Path) -> None:
    found = read(tmp_path, folder="here")
    assert names(found) == [f"base__s{seed}" for seed in (1, 2, 3, 4, 5)]
    assert found.cells[0].factors == {}
    assert found.folder == Path("here")


def test_axes_are_crossed_their_keys_zipped_and_some_are_of_some_arms_alone(tmp_path: Path) -> None:
    axes = [
        {"agent.n_steps": [16, 32], "agent.batch_size": [8, 64]},
        {"when": {"arm": "gxd", "agent.n_steps": [32]}, "interventions.0.rate": [1e-3, 1e-2]},
    ]
    found = read(tmp_path, arms={"none": {}, "gxd": {"interventions": ["gxd"]}}, axes=axes, seeds=1)
    assert names(found) == [
        "none,n_steps=16,batch_size=8__s1",
        "none,n_steps=32,batch_size=64__s1",
        "gxd,n_steps=16,batch_size=8__s1",
        "gxd,n_steps=32,batch_size=64,rate=0.001__s1",
        "gxd,n_steps=32,batch_size=64,rate=0.01__s1",
    ]
    axis = {"agent.n_steps": 32, "agent.batch_size": 64}
    assert [cell.factors for cell in found.cells[1:4:2]] == [
        {"arm": "none", **axis}, {"arm": "gxd", **axis, "interventions.0.rate": 1e-3},
    ]  # fmt: skip
    agent = {"name": "ppo", "n_envs": 4, "n_steps": 32, "batch_size": 64}
    assert found.cells[-1].raw["agent"] == agent
    assert found.cells[-1].raw["interventions"] == [{"name": "gxd", "rate": 0.01}]
    assert found.cells[1].raw["agent"] == agent


def test_without_arms_the_axes_name_the_runs(tmp_path: Path) -> None:
    axes = [{"interventions": [[], ["a/b"]]}, {"agent.activation": ["relu"]}]
    assert names(read(tmp_path, axes=axes, seeds=1)) == [
        "interventions=-,activation=relu__s1", "interventions=-a-b-,activation=relu__s1",
    ]  # fmt: skip


def test_where_it_is_worked_off_stands_in_the_file_or_behind_it(tmp_path: Path) -> None:
    found = read(tmp_path, ray={"num_gpus": 0.5}, slurm={"partition": "cpu", "time": 90}, seeds=1)
    assert found.ray.num_gpus == 0.5
    changed = grid.read(tmp_path / "grid.yaml", ["slurm.partition=gpu", "slurm.gpus_per_node=1"])
    assert (changed.slurm.partition, changed.slurm.time, changed.slurm.gpus_per_node) == ("gpu", 90, 1)
    assert changed.cells == found.cells
    assert not found.together
    assert read(tmp_path, vectorize="seeds", seeds=1).together


EMPTY = "the grid of 'FILE' is empty: it has no "
REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"seeds": 0}, f"{EMPTY}seeds; give at least one"),
    ({"seeds": []}, f"{EMPTY}seeds; give at least one"),
    ({"arms": {}}, f"{EMPTY}arms; give at least one"),
    ({"seeds": "some"}, "'FILE': seeds=\"some\" is neither how many seeds nor a list of them; give 5 or [1, 2, 3]"),
    ({"seeds": [1, -1]}, "'FILE': seeds.1=-1 is too small; give a number of at least 0"),
    ({"seeds": [1, 1]}, "two runs of 'FILE' are called 'base__s1'; give each seed and value once, and arms names"),
    ({"arms": {"GXD": {}, "gxd": {}}}, "two runs of 'FILE' are called 'gxd__s1'"),
    ({"arms": {"..": {}}}, "arms has '..', which no folder and no table can show; give it a name with a letter"),
    ({"seeds": 20_000}, "'FILE': seeds=20000 is neither how many seeds"),
    ({"seeds": 6000, "arms": {"a": {}, "b": {}}}, "the grid of 'FILE' has more than 10,000 runs"),
    ({"axes": [{f"agent.{key}": [*range(101)]} for key in "ab"]}, "the axes have more than 10,000 combinations"),
    ({"vectorize": "arms"}, "'FILE': vectorize=\"arms\""),
    ({"arm": {}}, "'FILE': arm={} is not a known key; did you mean 'arms'?"),
    ({"arms": {"a": "oracel"}}, "arms.a=\"oracel\" is neither a keyword nor a mapping of keys to values; did you mean"),
    ({"arms": {"a": 3}}, "arms.a=3 is neither a keyword nor a mapping"),
    ({"arms": {"a": {"seed": 3}}}, "arms.a.seed is set by the ablation itself"),
    ({"overrides": {"runs": "x"}}, "overrides.runs is set by the ablation itself"),
    ({"overrides": {"agent..x": 1}}, "overrides.agent..x is no key; write one such as agent.learning_rate"),
    ({"overrides": {"stream.tasks.7": 1}}, "overrides.stream.tasks.7 is refused: '7' is no item of the list"),
    ({"overrides": {"agent+": 1}}, "overrides.agent+ is refused: += appends to lists"),
    ({"axes": [{}]}, "axes.0 has no key; give one with its values"),
    ({"axes": [{"agent.n_envs": 3}]}, "axes.0.agent.n_envs=3 is no list of values; write for example"),
    ({"axes": [{"agent.n_envs": []}]}, "axes.0.agent.n_envs=[] is no list of values"),
    ({"axes": [{"a": [1, 2], "b": [1]}]}, "the keys of axes.0 go together, but there are 2 of a and 1 of b values"),
    ({"axes": [{"when": "gxd", "a": [1]}]}, 'axes.0.when="gxd" is no mapping; write for example when: {arm: [gxd]}'),
    ({"axes": [{"when": {"arms": "a"}, "a": [1]}]}, "axes.0.when.arms is neither arm nor a key of an earlier axis"),
    ({"arms": {"gxd": {}}, "axes": [{"when": {"arm": ["gdx"]}, "a": [1]}]},
     "axes.0.when.arm=\"gdx\" is no value of it; did you mean 'gxd'?"),
    ({"ray": {"num_gpus": 2}}, "'FILE': ray.num_gpus=2 is too large; give a number of at most 1"),
    ({"slurm": {"partitoin": "gpu"}}, "'FILE': slurm.partitoin=\"gpu\" is not a known key; did you mean 'partition'?"),
    ({"slurm": {"comment": "a\nrm -r b"}}, "'FILE': slurm.comment=\"a\\nrm -r b\" is not one line of text"),
    ({"slurm": {"time": 0.5}}, "'FILE': slurm.time=0.5 is not a whole number"),
    ({"base": "none.yaml"}, "the config file '"),
    ({"base": "grid.yaml", "folder": 3}, "'FILE': folder=3 is not text"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(REFUSALS)))
def test_what_is_refused(number: int, tmp_path: Path) -> None:
    keys, expected = REFUSALS[number]
    assert refused(tmp_path, **keys).startswith(expected)


@pytest.mark.parametrize("content", ["", "3", "[a]"])
def test_files_that_describe_no_ablation(content: str, tmp_path: Path) -> None:
    file = tmp_path / "grid.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError, match=r"base is missing|is no mapping"):
        grid.read(file)
    file.write_text("base: other.yaml")
    (tmp_path / "other.yaml").write_text(content or "[]")
    with pytest.raises(ConfigError, match="is no mapping; give the config of a run"):
        grid.read(file)
