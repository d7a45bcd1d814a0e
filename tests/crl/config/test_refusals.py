"""The sentence of every refusal of a config."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path

import pytest
from shipped import GXD, refused

from crl.config import check_arguments, load
from crl.config.reading import MAX_BYTES

# What is too long, or no text, for the name of a test -> the override and a part of its refusal.
EXTREMES = {
    "digits": ("seed=" + "1" * 5000, "1111... cannot be read as int; put it in quotes to give text"),
    "hexadecimal digits": (
        "seed=0x" + "f" * 5000,
        "seed=(int that cannot be shown) is too large; give a number of at most 2147483647",
    ),
    "open brackets": (
        "seed=" + "[" * 2000,
        "is refused: it is nested more than 50 levels deep, or contains itself; make",
    ),
    "brackets": ("seed=" + "[" * 51 + "]" * 51, "is refused: it is nested more than 50 levels deep"),
    "sexagesimal digits": (
        "seed=" + "1:" * 6000 + "1",
        "1:1:1:... cannot be read as int; put it in quotes to give text",
    ),
    "aliases": (
        "stream=[&a [x, x, x, x], "
        + ", ".join(f"&{b} [*{a}, *{a}, *{a}, *{a}]" for a, b in pairwise("abcdefghijklmn"))
        + "]",
        "it has more than 1,000,000 values, with those of aliases; give fewer",
    ),
    "key": ("a." * 2000 + "a=1", "is refused: it is nested more than 50 levels deep; give a shorter key"),
    "index": ("interventions." + "9" * 5000 + ".rate=1", "is no item of the list; give the index 0, or 1 to add one"),
    "device": ("device=cuda:" + "1" * 5000, "is not a device; give auto, cpu, cuda or cuda:0"),
    "surrogate": ("agent.\udcff=1", "agent.\\udcff=1 is not a known key"),
    "n_steps": (
        "agent.n_steps=1" + "0" * 30,
        f"agent.n_steps=1{'0' * 30} is too large; give a number of at most 1048576",
    ),
    "steps_per_task": ("stream.steps_per_task=1" + "0" * 24, "0000 is too large; give a number of at most 2147483647"),
    "cycles": ("stream.cycles=1" + "0" * 22, "0000 is too large; give a number of at most 1000000"),
    "period": ("interventions.0.period=1" + "0" * 30, "0000 is too large; give a number of at most 2147483647"),
    "threads": ("threads=1" + "0" * 20, "0000 is not a number of threads; give auto or a whole number from 1 to 1024"),
}


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.touch()
    os.truncate(path, 1 << 40)
    assert refused(path=path) == f"the config file {str(path)!r} has more than {MAX_BYTES:,} bytes; give a shorter one"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("agnt.n_envs=4", "agnt={\"n_envs\": 4} is not a known key; did you mean 'agent'?"),
        ("agent.n_env=4", "agent.n_env=4 is not a known key; did you mean 'n_envs'?"),
        ("interventions.0.rat=4", "interventions.0.rat=4 is not a known key; did you mean 'rate'?"),
        ("agent.net_arch.q=[4]", "agent.net_arch.q=[4] is not a known key; choose from pi, vf"),
        ("agent.clip_range.liner=[1, 0]", "agent.clip_range.liner=[1, 0] is not a known key; did you mean 'linear'?"),
        ("agent.n_envs=8.5", "agent.n_envs=8.5 is not a whole number; give one such as 64"),
        ("agent.gamma=true", "agent.gamma=true is not a number; give one such as"),
        ("agent.gamma=.inf", "agent.gamma=Infinity is not finite; give a finite number"),
        ("agent.gamma=1.5", "agent.gamma=1.5 is too large; give a number of at most 1"),
        ("agent.learning_rate=-1", "agent.learning_rate=-1 is too small; give a number of at least 0"),
        ("agent.learning_rate.linear=[1]", "agent.learning_rate.linear.1 is missing; give the whole list"),
        ("agent.batch_size=0", "agent.batch_size=0 is too small; give a number of at least 1"),
        ("agent.net_arch.vf=[64, true]", "agent.net_arch.vf.1=true is not a whole number"),
        ("agent.features=cnn", "agent.features=\"cnn\" is not known; give 'flatten', 'nature_cnn', "),
        ("agent.norm=batch", "agent.norm=\"batch\" is not known; give 'none', 'layer' or 'rms'"),
        ("agent.dropout=1", "agent.dropout=1 is too large; give a number below 1"),
        ("agent.network=simbaa", "agent.network=\"simbaa\" is not known; give 'mlp' or 'simba'"),
        ("agent.norm=null", "agent.norm=null is not known; give 'none', 'layer' or 'rms'"),
        ("agent=5", "agent=5 is not a mapping; write it in braces, such as {name: ppo}"),
        ("agent.name=poo", "agent.name=\"poo\" is not a known agent; did you mean 'ppo'?"),
        ("stream.order=shufle", "stream.order=\"shufle\" is not known; give 'sequence', 'shuffle' or 'random'"),
        ("stream.cycles=0", "stream.cycles=0 is too small; give a number of at least 1"),
        ("stream.tasks=[breakout]", 'stream.name="minatar3" and stream.tasks=["breakout"]: both are given; give'),
        ("stream.name=null", "stream.name=null and stream.tasks=null: neither is given; give exactly one"),
        ("stream={name: null, tasks: []}", "stream.tasks=[] is too short; give at least 1"),
        ("stream={name: null, tasks: [minatar3]}", 'stream.tasks.0="minatar3" is a stream and no task; give it'),
        ("stream={name: null, tasks: [minatar3]}", "give it as stream.name, or list its tasks"),
        ("stream={name: null, tasks: [{g: 5}]}", 'stream.tasks.0={"g": 5} is not a task; give a game, a Gymnasium id'),
        ("stream={name: null, tasks: [{id: brakeout}]}", "did you mean 'breakout'?"),
        ("stream={name: seaquest, steps_per_task: null}", 'stream.steps_per_task is missing and "seaquest" has no'),
        ("imports=my_module", 'imports="my_module" is not a list; write it in square brackets, such as [my_module]'),
        ("imports=[my-module]", 'imports.0="my-module" is not the name of a module; give one such as my_module, for '),
        ("imports=[7]", "imports.0=7 is not text; give a name"),
        ("interventions=[{nam: gxd}]", "interventions.0.nam=\"gxd\" is not a known key; did you mean 'name'?"),
        ("interventions=gxd", 'interventions="gxd" is not a list; write it in square brackets'),
        ("interventions.1.rate=1", "interventions.1.name is missing; add it to the config or give"),
        ("interventions.2.rate=1", "'2' is no item of the list; give the index 0, or 1 to add one"),
        ("seed+=1", "the override 'seed+=1' is refused: += appends to lists, and 1 is none; write = to replace it"),
        ("interventions.0.networks=actor", 'interventions.0.networks="actor" is not a list'),
        ("interventions.0.networks=[3]", "interventions.0.networks.0=3 is not text; give a name"),
        ("interventions.0.period=1.5", "interventions.0.period=1.5 is not a whole number"),
        ("interventions.0.rate=true", "interventions.0.rate=true is not a number"),
        ("interventions.0.rate=2", "interventions.0.rate is 2.0; give a share of units"),
        ("seed=-1", "seed=-1 is too small; give a number of at least 0"),
        ("device=gpu", 'device="gpu" is not a device; give auto, cpu, cuda or cuda:0'),
        ("threads=0", "threads=0 is not a number of threads; give auto or a whole number from 1 to 1024"),
        ("runs=''", 'runs="" is empty; give a name'),
        ("reporting.every=10", 'reporting={"every": 10} is not a known key; choose from stream, agent'),
        ("checkpoint.evry=5", "checkpoint.evry=5 is not a known key; did you mean 'every'?"),
        ("checkpoint.every=0", "checkpoint.every=0 is too small; give a number of at least 1"),
        ("checkpoint.keep=0", "checkpoint.keep=0 is too small; give a number of at least 1"),
        ("seed", "the override 'seed' is not of the form key.sub=value; write for example seed=3"),
        ("seed=[1", "line 1: expected ',' or ']', but got '<stream end>'; correct the YAML there"),
        ("agent={n_envs: 1, n_envs: 2}", "the key 'n_envs' is given twice; remove one of them"),
        ("agent={1: 2}", "the key '1' is not text; write it in quotes"),
        ("agent={[a, b]: 2}", 'line 1: the key ["a", "b"] is not text; write it in quotes'),
        ("agent={<<: 3}", "line 1: expected a mapping or list of mappings for merging, but found scalar; correct the"),
        ("seed=!!map [x]", "line 1: a mapping is asked for; write it in braces, such as {key: value}"),
        ("seed=!!bool foo", 'line 1: "foo" cannot be read as bool; put it in quotes to give text'),
        ("seed=!!timestamp foo", 'line 1: "foo" cannot be read as timestamp; put it in quotes to give text'),
        ("seed=010", "YAML reads 010 as 8 (base 8); write 10 without the zeros in front"),
        ("seed=-0_17", "YAML reads -017 as -15 (base 8); write -17 without the zeros in front"),
        ("stream.cycles=1:30", "YAML reads 1:30 as 90 (base 60); put it in quotes, or write that number"),
        ("agent.gamma=0:0.5", "YAML reads 0:0.5 as 0.5 (base 60); put it in quotes, or write that number"),
        ("stream=&a {name: *a}", "is refused: it is nested more than 50 levels deep, or contains itself"),
        ("agent.n_envs=100000000000", "agent.n_envs=100000000000 is too large; give a number of at most 65536"),
        ("agent.net_arch.pi=[100000]", "agent.net_arch.pi.0=100000 is too large; give a number of at most 65536"),
        ("stream.cycles=1000001", "stream.cycles=1000001 is too large; give a number of at most 1000000"),
        ("threads=100000", "threads=100000 is not a number of threads; give auto or a whole number from 1 to 1024"),
        ("interventions=null", "is not a list; write it in square brackets, such as [gxd], or [] for none"),
        ("interventions=[7]", "interventions.0=7 is not a mapping; write it in braces, such as {name: gxd}"),
        ("agent.learning_rate=lin_1e-3", 'agent.learning_rate="lin_1e-3" is no number; give {linear: [1e-3, 0]}'),
        ("agent.clip_range=high", 'agent.clip_range="high" is no number; give one such as 0.001, or {lin'),
        ("agent.net_arch=64", "is neither a list nor a mapping; write it as [64], alike for all, or as {pi: [64], vf:"),
        ("stream.tasks=breakout", "is not a list; write it in square brackets, such as [breakout, asterix]"),
        ("interventions.0.networks=actor", "is not a list; write it in square brackets, such as [actor, critic]"),
        ("stream={name: null, tasks: [Müller]}", 'stream.tasks.0="Müller" is neither a task nor a Gymnasium id'),
        ("stream={name: null, tasks: [Taxi]}", ", or give a Gymnasium id with its version, such as CartPole-v1"),
        ("stream={name: null, tasks: [cartpol]}", "is neither a task nor a Gymnasium id; did you mean 'cartpole'?"),
        ("stream.name=Taxi", ", or give a Gymnasium id with its version, such as CartPole-v1"),
        ("stream.name=cchain/cartpol", " is neither a stream nor a task nor a Gymnasium id; did you mean 'cchain"),
        ("interventions.0.networks=[actr]", "networks=[\"actr\"] names 'actr', which is no network of ppo; did you"),
        (
            "agent.features=flatten",
            'interventions.0.networks=["actor", "critic", "features"] names features, which has no hidden units with '
            "agent.features=flatten; leave it out, or choose nature_cnn, impala or minatar_cnn where",
        ),
    ],
)  # fmt: skip
def test_refusals(override: str, expected: str) -> None:
    assert expected in refused(override)


def test_tasks_that_have_no_names_of_their_own_cannot_be_listed() -> None:
    message = refused("stream={name: null, tasks: [pendulum5]}")
    assert message == 'stream.tasks.0="pendulum5" is a stream and no task; give it as stream.name'


def test_what_acts_on_boundaries_needs_them_revealed() -> None:
    given = "interventions=[{name: gxd}, {name: shrink_and_perturb, mode: boundary}]"
    assert refused(given) == (
        "interventions.1: shrink_and_perturb acts on task switches, which stream.boundary=hidden hides; "
        "give stream.boundary=revealed, or leave it out"
    )
    assert len(check_arguments(load(GXD, [given, "stream.boundary=revealed"])).interventions) == 2


@pytest.mark.parametrize("case", EXTREMES)
def test_extremes_are_refused(case: str) -> None:
    override, expected = EXTREMES[case]
    assert expected in refused(override)


@pytest.mark.parametrize(
    "value",
    [
        "2024-01-01",
        "!!set {a, b}",
        "!!binary aGk=",
        "!!omap [a: 1]",
        ".inf",
        ".nan",
        "[[1, 2024-01-01]]",
        "0x1" + "0" * 16,
    ],
)
def test_what_json_cannot_tell_is_refused_in_tasks(value: str) -> None:
    message = refused("stream={name: null, tasks: [{id: Pendulum-v1, x: " + value + "}]}")
    assert message.startswith("stream.tasks.0={")
    assert "has an argument that config.yaml cannot keep; give text (in quotes), finite numbers" in message


def test_numbers_at_their_bounds_are_taken() -> None:
    overrides = ["threads=1024", "agent.n_envs=65536", "stream.cycles=1000000", "stream.steps_per_task=2147483647"]
    config = load(GXD, [*overrides, "seed=2147483647", "seed=" + "0" * 50 + "7"])
    assert (config.threads, config.agent.n_envs, config.stream.cycles, config.seed) == (1024, 65536, 1_000_000, 7)


def test_misspelt_key_goes_before_what_it_leaves_missing(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("stream: {name: minatar3}\nagent: {nam: ppo, n_envs: true}\n")
    assert refused(path=path) == "agent.nam=\"ppo\" is not a known key; did you mean 'name'?"
    path.write_text("stream: {name: minatar3}\n")
    assert refused(path=path) == "agent is missing; add it to the config or give agent=VALUE"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "stream is missing"),
        (b"5", "the config is not a mapping"),
        (b"a: [", "correct the YAML there"),
        (b"seed: 1\nseed: 2\n", "line 2: the key 'seed' is given twice; remove one of them"),
        (b"\xff\xfe\xff", "is not UTF-8 text"),
        (b"seed: \x01\n", "correct the YAML there"),
        (b"seed: !!python/object:os.system {}\n", "line 1: could not determine a constructor for the tag"),
    ],
)
def test_broken_files(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    assert expected in refused(path=path)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert refused(path=tmp_path / "x.yaml") == (
        f"the config file '{tmp_path}/x.yaml' does not exist; give the path of a YAML file"
    )
    assert "cannot be read (Is a directory); give a YAML file" in refused(path=tmp_path)
