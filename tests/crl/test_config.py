"""Configs: reading, overrides, defaults, hashes, and the sentence of every refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from crl.config import ConfigError, RunConfig, check_interventions, config_hash, load, to_yaml

CONFIGS = Path(__file__).parents[2] / "configs"
GXD = CONFIGS / "minatar3_ppo_gxd.yaml"


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
    "key": ("a." * 2000 + "a=1", "is refused: it is nested more than 50 levels deep; give a shorter key"),
    "index": ("interventions." + "9" * 5000 + ".rate=1", "is no item of the list; give an index from 0 to 0"),
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


def refused(*overrides: str, path: Path = GXD) -> str:
    with pytest.raises(ConfigError) as error:
        check_interventions(load(path, overrides))
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("method", ["", "_gxd", "_redo", "_regrama"])
def test_shipped_configs(method: str) -> None:
    path = CONFIGS / f"minatar3_ppo{method}.yaml"
    assert path.read_text(encoding="utf-8").startswith("# ")
    config = check_interventions(load(path))
    assert (config.stream.name, config.stream.steps_per_task, config.stream.cycles) == ("minatar3", 500_000, 2)
    agent = config.agent
    assert (agent.n_envs, agent.n_steps, agent.batch_size, agent.n_epochs) == (64, 128, 1024, 4)
    assert (agent.learning_rate, agent.ent_coef, agent.features, agent.activation) == (
        1e-3,
        0.01,
        "minatar_cnn",
        "relu",
    )
    assert agent.net_arch is not None
    assert (agent.net_arch.pi, agent.net_arch.vf, config.seed) == ((64,), (64,), 1)
    given = yaml.safe_load(path.read_text(encoding="utf-8")).get("interventions", [])
    networks = ["actor", "critic", "features"]
    assert given == ([{"name": method[1:], "networks": networks}] if method else [])


def test_methods_differ_in_one_word() -> None:
    texts = [(CONFIGS / f"minatar3_ppo_{method}.yaml").read_text().split("\n", 1)[1] for method in ("gxd", "redo")]
    assert texts[0].replace("gxd", "redo") == texts[1]


def test_overrides() -> None:
    config = check_interventions(
        load(
            GXD,
            [
                "interventions.0.rate=1e-3",
                "seed=7",
                "agent={n_steps: 32, gamma: 0.9}",
                "agent.learning_rate.linear=[1e-3, 0]",
                "stream.name=null",
                "stream.tasks=[breakout, {id: Pendulum-v1, g: 5.0}]",
                "runs=a=b c",
            ],
        )
    )
    assert config.interventions[0].arguments() == {
        "networks": ["actor", "critic", "features"],
        "rate": 0.001,
        "period": 1000,
        "maturity": 1000,
        "score_every": 16,
    }
    assert (config.agent.n_envs, config.agent.n_steps, config.agent.gamma) == (64, 32, 0.9)  # mappings are merged
    assert config.agent.model_dump()["learning_rate"] == {"linear": (0.001, 0.0)}
    assert config.stream.tasks == ("breakout", {"id": "Pendulum-v1", "g": 5.0})
    assert (config.seed, config.stream.seed, config.runs) == (7, 7, "a=b c")


def test_defaults_are_those_of_the_stream_and_of_stable_baselines(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("stream: {name: minatar5}\nagent: {name: ppo}\n")
    data = load(path).model_dump()
    assert data["stream"] == {
        "name": "minatar5", "tasks": None, "steps_per_task": 500_000, "cycles": 1, "order": "sequence",
        "boundary": "hidden", "align": "rollout", "seed": 0, "episode_limit": 2500,
    }  # fmt: skip
    assert data["agent"] == {
        "name": "ppo", "n_envs": 1, "n_steps": 2048, "batch_size": 64, "n_epochs": 10, "learning_rate": 3e-4,
        "gamma": 0.99, "gae_lambda": 0.95, "clip_range": 0.2, "ent_coef": 0.0, "vf_coef": 0.5, "max_grad_norm": 0.5,
        "features": None, "net_arch": None, "activation": None,
    }  # fmt: skip
    assert (data["interventions"], data["seed"], data["device"], data["threads"]) == ((), 0, "auto", "auto")


def test_written_config_is_read_again(tmp_path: Path) -> None:
    config = check_interventions(load(GXD, ["agent.clip_range.linear=[0.2, 0.1]", "interventions.0.networks=null"]))
    path = tmp_path / "again.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    again = check_interventions(load(path))
    assert again.model_dump() == config.model_dump()
    assert config_hash(again) == config_hash(config)


def test_hash_knows_what_decides_the_numbers() -> None:
    def hash_of(*overrides: str) -> str:
        return config_hash(check_interventions(load(GXD, overrides)))

    base = hash_of()
    assert base == hash_of("runs=elsewhere", "device=cpu", "threads=3")
    assert base == hash_of("stream.seed=1", "interventions.0.rate=1e-4", "agent.learning_rate=1e-3")
    others = ["seed=2", "interventions.0.rate=1e-3", "agent.gamma=0.98", "stream.order=shuffle", "stream.seed=2"]
    assert len({base, *(hash_of(other) for other in others)}) == len(others) + 1


def test_configs_are_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(GXD).seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("agnt.n_envs=4", "agnt={\"n_envs\": 4} is not a known key; did you mean 'agent'?"),
        ("agent.n_env=4", "agent.n_env=4 is not a known key; did you mean 'n_envs'?"),
        ("interventions.0.rat=4", "interventions.0.rat=4 is not a known key; did you mean 'rate'?"),
        ("agent.net_arch.q=[4]", "agent.net_arch.q=[4] is not a known key; choose from pi, vf"),
        ("agent.clip_range.liner=[1, 0]", "agent.clip_range.liner=[1, 0] is not a known key; did you mean 'linear'?"),
        ("agent.n_envs=8.0", "agent.n_envs=8.0 is not a whole number; give one without quotes or a decimal point"),
        ("agent.gamma=true", "agent.gamma=true is not a number; give one such as"),
        ("agent.gamma=.inf", "agent.gamma=Infinity is not finite; give a finite number"),
        ("agent.gamma=1.5", "agent.gamma=1.5 is too large; give a number of at most 1"),
        ("agent.learning_rate=-1", "agent.learning_rate=-1 is too small; give a number of at least 0"),
        ("agent.learning_rate.linear=[1]", "agent.learning_rate.linear.1 is missing; give the whole list"),
        ("agent.batch_size=1", "agent.batch_size=1 is too small; give a number of at least 2"),
        ("agent.net_arch.vf=[64, true]", "agent.net_arch.vf.1=true is not a whole number"),
        ("agent.features=cnn", "agent.features=\"cnn\" is not known; give 'flatten', 'nature_cnn' or 'minatar_cnn'"),
        ("agent=5", "agent=5 is not a mapping; write it in braces, such as {key: value}"),
        ("agent.name=poo", "agent.name=\"poo\" is not a known agent; did you mean 'ppo'?"),
        ("stream.order=shufle", "stream.order=\"shufle\" is not known; give 'sequence', 'shuffle' or 'random'"),
        ("stream.cycles=0", "stream.cycles=0 is too small; give a number of at least 1"),
        ("stream.tasks=[breakout]", 'stream.name="minatar3" and stream.tasks=["breakout"]: both are given; give'),
        ("stream.name=null", "stream.name=null and stream.tasks=null: neither is given; give exactly one"),
        ("stream={name: null, tasks: []}", "stream.tasks=[] is too short; give at least 1"),
        ("stream={name: null, tasks: [minatar3]}", 'stream.tasks.0="minatar3" is a stream and no task; give it'),
        ("stream={name: null, tasks: [{g: 5}]}", 'stream.tasks.0={"g": 5} is not a task; give a game, a Gymnasium id'),
        ("stream={name: null, tasks: [{id: brakeout}]}", "did you mean 'breakout'?"),
        ("stream={name: seaquest, steps_per_task: null}", 'stream.steps_per_task is missing and "seaquest" has no'),
        ("interventions=gxd", 'interventions="gxd" is not a list; write it in square brackets'),
        ("interventions.1.rate=1", "'1' is no item of the list; give an index from 0 to 0"),
        ("interventions.0.networks=actor", 'interventions.0.networks="actor" is not a list'),
        ("interventions.0.networks=[3]", "interventions.0.networks.0=3 is not text; give a name"),
        ("interventions.0.period=1.5", "interventions.0.period=1.5 is not a whole number"),
        ("interventions.0.rate=true", "interventions.0.rate=true is not a number"),
        ("interventions.0.rate=2", "interventions.0.rate is 2.0; give a share of units"),
        ("seed=-1", "seed=-1 is too small; give a number of at least 0"),
        ("device=gpu", 'device="gpu" is not a device; give auto, cpu, cuda or cuda:0'),
        ("threads=0", "threads=0 is not a number of threads; give auto or a whole number from 1 to 1024"),
        ("runs=''", 'runs="" is empty; give a name'),
        ("evaluation.every=10", 'evaluation={"every": 10} is not a known key; choose from stream, agent'),
        ("checkpoint={every: 5}", 'checkpoint={"every": 5} is not a known key'),
        ("seed", "the override 'seed' is not of the form key.sub=value; write for example seed=3"),
        ("seed=[1", "line 1: expected ',' or ']', but got '<stream end>'; correct the YAML there"),
        ("agent={n_envs: 1, n_envs: 2}", "the key 'n_envs' is given twice; remove one of them"),
        ("agent={1: 2}", "the key '1' is not text; write it in quotes"),
        ("agent={[a, b]: 2}", 'line 1: the key ["a", "b"] is not text; write it in quotes'),
        ("agent={<<: 3}", "line 1: expected a mapping or list of mappings for merging, but found scalar; correct the"),
        ("seed=!!map [x]", "line 1: a mapping is asked for; write it in braces, such as {key: value}"),
        ("seed=!!bool foo", 'line 1: "foo" cannot be read as bool; put it in quotes to give text'),
        ("seed=!!timestamp foo", 'line 1: "foo" cannot be read as timestamp; put it in quotes to give text'),
        ("stream=&a {name: *a}", "is refused: it is nested more than 50 levels deep, or contains itself"),
        ("agent.n_envs=100000000000", "agent.n_envs=100000000000 is too large; give a number of at most 65536"),
        ("agent.net_arch.pi=[100000]", "agent.net_arch.pi.0=100000 is too large; give a number of at most 65536"),
        ("stream.cycles=1000001", "stream.cycles=1000001 is too large; give a number of at most 1000000"),
        ("threads=100000", "threads=100000 is not a number of threads; give auto or a whole number from 1 to 1024"),
        ("interventions=null", "is not a list; write it in square brackets, such as [{name: gxd}], or [] for none"),
        ("stream.tasks=breakout", "is not a list; write it in square brackets, such as [breakout, asterix]"),
        ("interventions.0.networks=actor", "is not a list; write it in square brackets, such as [actor, critic]"),
        ("stream={name: null, tasks: [Müller]}", 'stream.tasks.0="Müller" is neither a game nor a Gymnasium id'),
        ("stream={name: null, tasks: [CartPole]}", ", or give a Gymnasium id with its version, such as CartPole-v1"),
        ("stream.name=CartPole", ", or give a Gymnasium id with its version, such as CartPole-v1"),
        ("interventions.0.networks=[actr]", "interventions.0.networks=[\"actr\"] names 'actr', which is no network;"),
        (
            "agent.features=flatten",
            'interventions.0.networks=["actor", "critic", "features"] names features, which has no hidden units with '
            "agent.features=flatten; leave it out, or choose nature_cnn or minatar_cnn where the",
        ),
    ],
)  # fmt: skip
def test_refusals(override: str, expected: str) -> None:
    assert expected in refused(override)


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


def test_what_json_can_tell_is_kept_in_tasks(tmp_path: Path) -> None:
    x = '{a: [1, -2.5, true, null, "2024-01-01"], b: {c: text}}'
    config = load(GXD, ["stream={name: null, tasks: [{id: Pendulum-v1, x: " + x + "}]}"])
    path = tmp_path / "again.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert load(path).stream.tasks == config.stream.tasks
    assert config_hash(load(path)) == config_hash(config)


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


def test_merge_keys_of_yaml_work(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("stream: {name: minatar3}\nagent: {<<: {n_envs: 2, n_steps: 64}, name: ppo, n_envs: 4}\n")
    config = load(path)
    assert (config.agent.n_envs, config.agent.n_steps) == (4, 64)


def test_schema_can_be_exported() -> None:
    schema: dict[str, Any] = RunConfig.model_json_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == {"stream", "agent"}
