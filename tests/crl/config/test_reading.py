"""Configs: reading, overrides, defaults, hashes, and the sentence of every refusal."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from crl.config import (
    ConfigError,
    RunConfig,
    check_arguments,
    config_hash,
    load,
    to_yaml,
)
from crl.config.agents import agent_section
from crl.config.reading import MAX_BYTES

CONFIGS = Path(__file__).parents[3] / "configs"
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
        check_arguments(load(path, overrides))
    message = str(error.value)
    assert "\n" not in message
    return message


def test_a_file_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.touch()
    os.truncate(path, 1 << 40)
    assert refused(path=path) == f"the config file {str(path)!r} has more than {MAX_BYTES:,} bytes; give a shorter one"


@pytest.mark.parametrize("method", ["", "_gxd", "_redo", "_regrama"])
def test_shipped_configs(method: str) -> None:
    path = CONFIGS / f"minatar3_ppo{method}.yaml"
    assert path.read_text(encoding="utf-8").startswith("# ")
    config = check_arguments(load(path))
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


def shipped(name: str) -> RunConfig:
    path = CONFIGS / f"{name}.yaml"
    assert path.read_text(encoding="utf-8").startswith("# ")
    return check_arguments(load(path))


def test_the_shipped_config_of_dqn() -> None:
    config = shipped("minatar3_dqn_gxd")
    agent = config.agent
    assert agent.name == "dqn"
    assert (config.stream.name, config.stream.total_steps, config.stream.boundary) == (
        "minatar3",
        1_500_000,
        "revealed",
    )
    assert config.at_switch.changes() == {"random_steps": agent.learning_starts} == {"random_steps": 10_000}
    # What C-CHAIN's script says: 100,000 steps of exploration, a target that is copied every 1,000 updates.
    assert agent.exploration_fraction * config.stream.total_steps == pytest.approx(100_000, rel=1e-3)
    updates = agent.gradient_steps * agent.target_update_interval / (agent.n_envs * agent.train_freq)
    assert updates == 1000
    assert (agent.exploration_initial_eps, agent.exploration_final_eps, agent.buffer_size) == (1.0, 0.1, 100_000)
    assert (agent.double_q, agent.epsilon_per_env, agent.features, agent.net_arch) == (True, True, "minatar_cnn", ())
    assert (agent.learning_rate, agent.batch_size, agent.gamma, agent.tau) == (3e-4, 32, 0.99, 1.0)
    assert config.interventions[0].arguments()["networks"] == ["critic"]


def test_the_shipped_config_of_sac() -> None:
    config = shipped("pendulum_sac_regrama")
    agent = config.agent
    assert agent.name == "sac"
    assert (config.stream.name, config.stream.total_steps) == ("pendulum5", 100_000)
    assert (agent.learning_rate, agent.buffer_size, agent.learning_starts) == (1e-3, 100_000, 1_000)
    ours = {"learning_rate", "buffer_size", "learning_starts", "net_arch", "activation"}
    assert agent.model_dump(exclude=ours) == agent_section("sac")(name="sac").model_dump(exclude=ours)
    assert (config.interventions[0].name, config.interventions[0].arguments()["networks"]) == (
        "regrama", ["actor", "critic"],
    )  # fmt: skip


def test_the_shipped_config_of_td3() -> None:
    config = shipped("pendulum_td3_redo")
    agent = config.agent
    assert (agent.name, config.stream.name, config.stream.total_steps) == ("td3", "pendulum5", 100_000)
    ours = {"buffer_size", "learning_starts", "action_noise", "net_arch", "activation"}
    assert agent.model_dump(exclude=ours) == agent_section("td3")(name="td3").model_dump(exclude=ours)
    assert (agent.action_noise, agent.net_arch.pi, agent.net_arch.qf) == (0.1, (400, 300), (400, 300))
    assert config.interventions[0].arguments()["networks"] == ["actor", "critic"]


def test_the_shipped_config_of_cartpole() -> None:
    config = shipped("cartpole_ppo")
    agent = config.agent
    assert agent.name == "ppo"
    assert (config.stream.name, config.stream.total_steps) == ("cchain/cartpole", 1_600_000)
    assert (agent.rollout, agent.batch_size, agent.n_epochs, agent.ent_coef) == (800, 32, 5, 0.01)
    assert agent.net_arch is not None
    assert (agent.net_arch.pi, agent.net_arch.vf, agent.activation) == ((256,) * 3, (256,) * 3, "leaky_relu")
    assert (agent.learning_rate, agent.clip_range, agent.gamma, agent.gae_lambda) == (1e-3, 0.2, 0.99, 0.95)
    assert config.interventions == ()


def test_methods_differ_in_one_word() -> None:
    texts = [(CONFIGS / f"minatar3_ppo_{method}.yaml").read_text().split("\n", 1)[1] for method in ("gxd", "redo")]
    assert texts[0].replace("gxd", "redo") == texts[1]


def test_overrides() -> None:
    config = check_arguments(
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
        "budget": None,
        "reference": "zero",
        "reduction": "abs_mean",
        "signal": "loss",
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
        "lengths": "fixed",
        "boundary": "hidden", "align": "rollout", "seed": 0, "episode_limit": 2500,
    }  # fmt: skip
    assert data["agent"] == {
        "name": "ppo", "n_envs": 1, "n_steps": 2048, "batch_size": 64, "n_epochs": 10, "learning_rate": 3e-4,
        "gamma": 0.99, "gae_lambda": 0.95, "clip_range": 0.2, "ent_coef": 0.0, "vf_coef": 0.5, "max_grad_norm": 0.5,
        "features": None, "net_arch": None, "activation": None, "norm": "none",
    }  # fmt: skip
    assert data["imports"] == ()
    assert (data["interventions"], data["seed"], data["device"], data["threads"]) == ((), 0, "auto", "auto")


def test_written_config_is_read_again(tmp_path: Path) -> None:
    config = check_arguments(load(GXD, ["agent.clip_range.linear=[0.2, 0.1]", "interventions.0.networks=null"]))
    path = tmp_path / "again.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    again = check_arguments(load(path))
    assert again.model_dump() == config.model_dump()
    assert config_hash(again) == config_hash(config)


def test_hash_knows_what_decides_the_numbers() -> None:
    def hash_of(*overrides: str) -> str:
        return config_hash(check_arguments(load(GXD, overrides)))

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
        ("agent.features=cnn", "agent.features=\"cnn\" is not known; give 'flatten', 'nature_cnn', "),
        ("agent.norm=batch", "agent.norm=\"batch\" is not known; give 'none' or 'layer'"),
        ("agent.norm=null", "agent.norm=null is not known; give 'none' or 'layer'"),
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
        ("stream=&a {name: *a}", "is refused: it is nested more than 50 levels deep, or contains itself"),
        ("agent.n_envs=100000000000", "agent.n_envs=100000000000 is too large; give a number of at most 65536"),
        ("agent.net_arch.pi=[100000]", "agent.net_arch.pi.0=100000 is too large; give a number of at most 65536"),
        ("stream.cycles=1000001", "stream.cycles=1000001 is too large; give a number of at most 1000000"),
        ("threads=100000", "threads=100000 is not a number of threads; give auto or a whole number from 1 to 1024"),
        ("interventions=null", "is not a list; write it in square brackets, such as [{name: gxd}], or [] for none"),
        ("interventions=[gxd]", 'interventions.0="gxd" is not a mapping; write it in braces, such as {name: gxd}'),
        ("agent.net_arch=[64]", "is not a mapping; write it in braces, such as {pi: [64], vf: [64]}"),
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


def reset_with(*overrides: str) -> RunConfig:
    """A config with the general form of a reset."""
    form = "{name: reset, criterion: gxd, selection: {name: rate, rate: 1e-3}}"
    return check_arguments(load(GXD, [f"interventions=[{form}]", *overrides]))


def test_general_form_is_filled_in() -> None:
    arguments = reset_with("interventions.0.surgery.outgoing=small_random").interventions[0].arguments()
    assert arguments.pop("criterion") == {"name": "gxd", "reduction": "abs_mean"}
    assert arguments.pop("selection") == {"name": "rate", "rate": 0.001, "cap": 0.5}
    assert arguments.pop("surgery") == {
        "outgoing": "small_random", "compensate": False, "biases": "renew", "moments": "renew", "targets": "leave",
        "scale": 0.05,
    }  # fmt: skip
    assert arguments == {
        "networks": None, "period": 1000, "maturity": 1000, "score_every": 16, "decay": 0.99, "score_on": "minibatch",
        "signal": "loss", "samples": 256,
    }  # fmt: skip


def test_ways_to_write_the_same_reset_have_one_hash(tmp_path: Path) -> None:
    base = reset_with()
    for overrides in (
        ["interventions.0.criterion={name: gxd}", "interventions.0.surgery=null"],
        ["interventions.0.criterion={name: gxd, reduction: abs_mean}", "interventions.0.surgery={}"],
        ["interventions.0.selection.rate=0.001", "interventions.0.surgery.scale=5e-2", "interventions.0.decay=.99"],
    ):
        assert config_hash(reset_with(*overrides)) == config_hash(base)
    others = [
        "criterion={name: gxd, reduction: mean_abs}",
        "selection.rate=2e-3",
        "surgery.compensate=true",
        "signal=outputs",
    ]
    hashes = {config_hash(reset_with(f"interventions.0.{other}")) for other in others}
    assert len({config_hash(base), *hashes}) == len(others) + 1
    path = tmp_path / "again.yaml"
    path.write_text(to_yaml(base), encoding="utf-8")
    assert config_hash(check_arguments(load(path))) == config_hash(base)


@pytest.mark.parametrize(
    ("intervention", "expected"),
    [
        ("cbp", {"period": 1000, "score_every": 16, "paper": False}),
        ("cbp, paper: true", {"period": 1, "score_every": 1, "paper": True}),
        ("cbp, paper: true, period: 7", {"period": 7, "score_every": 1, "paper": True}),
        ("shrink_and_perturb", {"mode": "soft", "shrink": 1 - 1e-6, "perturb": 1e-6, "period": 1000}),
        ("shrink_and_perturb, mode: to_init", {"shrink": 1 - 1e-6, "perturb": None, "period": 1000}),
        ("shrink_and_perturb, mode: boundary", {"shrink": 0.5, "perturb": 0.5, "period": None}),
        ("full_reset", {"period": None}),
        ("regrama, cap: 1e0", {"cap": 1.0, "gradient": "weights"}),
    ],
)
def test_what_depends_on_other_arguments_is_written_out(
    tmp_path: Path, intervention: str, expected: dict[str, Any]
) -> None:
    config = check_arguments(load(GXD, [f"interventions=[{{name: {intervention}}}]", "stream.boundary=revealed"]))
    arguments = config.interventions[0].arguments()
    assert {key: arguments[key] for key in expected} == expected
    path = tmp_path / "again.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    again = check_arguments(load(path))
    assert again.interventions[0].arguments() == arguments
    assert config_hash(again) == config_hash(config)


def test_what_acts_on_boundaries_needs_them_revealed() -> None:
    given = "interventions=[{name: gxd}, {name: shrink_and_perturb, mode: boundary}]"
    assert refused(given) == (
        "interventions.1: shrink_and_perturb acts on task switches, which stream.boundary=hidden hides; "
        "give stream.boundary=revealed, or leave it out"
    )
    assert len(check_arguments(load(GXD, [given, "stream.boundary=revealed"])).interventions) == 2


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("criterion=gdx", '.criterion.name="gdx" is not a known criterion; did you mean \'gxd\'?'),
        ("criterion={nam: gxd}", ".criterion.nam=\"gxd\" is not a known key; did you mean 'name'?"),
        ("criterion={form: plain}", ".criterion.name is missing; add it to the config or give interventions.0.cri"),
        ("criterion={name: 3}", ".criterion.name=3 is not text; give a name"),
        ("criterion=5", ".criterion=5 is not a mapping; write it in braces, such as {name: gxd}"),
        ("criterion=null", ".criterion=null is not a mapping; write it in braces, such as {name: gxd}"),
        ("criterion={name: gxd, reducton: x}", ".criterion.reducton=\"x\" is not a known key; did you mean 'red"),
        ("criterion={name: gxd, reduction: sum}", ".criterion.reduction=\"sum\" is not known; give 'abs_mean' or 'me"),
        ("criterion={name: redo, form: plain}", '.criterion.form="plain" is not a known key; choose from name'),
        ("criterion={name: regrama, normalize: 1}", ".criterion.normalize=1 is neither true nor false; give one"),
        ("selection.name=rat", ".selection.name=\"rat\" is not a known selection; did you mean 'rate'?"),
        ("selection=threshold", ".selection.tau is missing; add it to the config or give interventions.0.sel"),
        ("selection=[rate]", '.selection=["rate"] is not a mapping; write it in braces, such as {name: rate, '),
        ("selection.rte=1", ".selection.rte=1 is not a known key; did you mean 'rate'?"),
        ("selection.rate=much", '.selection.rate="much" is not a number; give one such as 0.001'),
        ("selection.rate=2", ".selection.rate is 2.0; give a share of units per gradient step between 0 and 1"),
        ("surgery=zero", '.surgery="zero" is not a mapping; write it in braces, such as {outgoing: zero}'),
        ("surgery.outgong=zero", ".surgery.outgong=\"zero\" is not a known key; did you mean 'outgoing'?"),
        ("surgery.outgoing=one", ".surgery.outgoing=\"one\" is not known; give 'zero', 'small_random' or 'keep'"),
        ("surgery.scale=0", ".surgery.scale is 0.0; give a number above 0"),
        ("surgery={compensate: true, outgoing: keep}", ".surgery.compensate is True, but with outgoing 'keep' nothing"),
        ("signal=outputz", ".signal=\"outputz\" is not known; give 'loss' or 'outputs'"),
        ("period=0", ".period is 0; give a whole number of gradient steps of at least 1"),
        ("decay=1e0", ".decay is 1.0; give a number of at least 0 and below 1"),
        ("criteron=redo", ".criteron=\"redo\" is not a known key; did you mean 'criterion'?"),
    ],
)  # fmt: skip
def test_refusals_of_the_general_form(override: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        reset_with(f"interventions.0.{override}")
    assert str(error.value).startswith(f"interventions.0{expected}")
    assert "\n" not in str(error.value)


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
