"""The section `agent`: defaults, and the sentence of every refusal."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
import stable_baselines3
import torch
from pydantic import TypeAdapter
from torch import nn

from agents import AGENTS
from agents.networks.spec import NO_ACTIVATIONS, Activation
from agents.specs import NOT_IN_CONFIGS, POLICY_NOT_IN_CONFIGS, agent_spec
from crl.config import ConfigError, RunConfig, check_arguments, config_hash, load, to_yaml
from crl.config.agents import AnyAgent, agent_section

OURS = {"double_q", "epsilon_per_env", "random_shift", "replay", "speed"}
Load = Callable[..., RunConfig]


@pytest.fixture
def load_agent(tmp_path: Path) -> Load:
    """Loads a config of an agent, with overrides."""

    def load_it(agent: str, *overrides: str) -> RunConfig:
        path = tmp_path / "c.yaml"
        path.write_text(f"stream: {{name: minatar3}}\nagent: {{name: {agent}}}\n")
        return check_arguments(load(path, overrides))

    return load_it


def refused(load_agent: Load, agent: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as error:
        load_agent(agent, *overrides)
    message = str(error.value)
    assert "\n" not in message
    assert "~" not in message
    return message


@pytest.mark.parametrize("name", AGENTS)
def test_settings_are_those_of_the_learner_and_defaults_those_of_stable_baselines(name: str) -> None:
    spec = agent_spec(name)
    assert spec.settings.keys() <= inspect.signature(spec.resolve()).parameters.keys()
    stock = inspect.signature(getattr(stable_baselines3, name.upper())).parameters
    defaults = {key: setting.default for key, setting in spec.settings.items() if key not in OURS}
    assert defaults == {key: stock[key].default for key in defaults}  # None, of arguments that hold arguments
    fields = agent_section(name).model_fields
    plain = {key for key, setting in spec.settings.items() if not isinstance(setting.type, Mapping)}
    assert {key: fields[key].default for key in plain} == {key: spec.settings[key].default for key in plain}


@pytest.mark.parametrize("name", AGENTS)
def test_every_argument_of_stable_baselines_can_be_given_or_is_refused_with_the_reason(name: str) -> None:
    spec = agent_spec(name)
    stock = getattr(stable_baselines3, name.upper())
    policy = stock.policy_aliases["MlpPolicy"]
    arguments = spec.settings["policy_kwargs"].type
    for target, given, elsewhere in (
        (stock, spec.settings, NOT_IN_CONFIGS), (policy, arguments, POLICY_NOT_IN_CONFIGS),
    ):  # fmt: skip
        known = set(inspect.signature(target).parameters)
        assert known - set(given) <= set(elsewhere)
        assert not set(given) & set(elsewhere)
    defaults = {key: setting.default for key, setting in arguments.items() if key != "optimizer_kwargs"}
    found = inspect.signature(policy).parameters
    assert defaults == {key: found[key].default for key in defaults}


def test_the_optimizer_is_that_of_stable_baselines() -> None:
    eps = {name: agent_spec(name).settings["policy_kwargs"].type["optimizer_kwargs"].type["eps"] for name in AGENTS}
    adam = inspect.signature(torch.optim.Adam).parameters
    assert {name: setting.default for name, setting in eps.items()} == {
        "dqn": 1e-8, "ppo": 1e-5, "sac": 1e-8, "td3": 1e-8,
    }  # fmt: skip
    for key in ("betas", "weight_decay"):
        setting = agent_spec("ppo").settings["policy_kwargs"].type["optimizer_kwargs"].type[key]
        assert setting.default == adam[key].default


def test_one_list_of_layers_is_for_all_networks(load_agent: Load) -> None:
    for name, keys in (("ppo", ("pi", "vf")), ("sac", ("pi", "qf")), ("td3", ("pi", "qf"))):
        arch = load_agent(name, "agent.net_arch=[8, 4]").agent.net_arch
        assert arch.model_dump() == dict.fromkeys(keys, (8, 4))
    assert load_agent("dqn", "agent.net_arch=[8, 4]").agent.net_arch == (8, 4)
    assert config_hash(load_agent("ppo", "agent.net_arch=[8]")) == config_hash(
        load_agent("ppo", "agent.net_arch={pi: [8], vf: [8]}")
    )


@pytest.mark.parametrize(
    ("given", "expected"), [("ELU", "elu"), ("silu", "silu"), ("LeakyReLU", "leakyrelu"), ("ReLU", "relu")]
)
def test_activations_of_torch_by_name(load_agent: Load, given: str, expected: str) -> None:
    assert load_agent("dqn", f"agent.activation={given}").agent.activation == expected


def test_every_activation_of_torch_is_known_or_refused_with_the_reason() -> None:
    theirs = {name.lower() for name in nn.modules.activation.__all__}
    assert theirs <= {*get_args(Activation), *NO_ACTIVATIONS}
    assert not set(get_args(Activation)) & set(NO_ACTIVATIONS)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("0.2", 0.2),
        ("{name: normal, sigma: 1e-1}", {"name": "normal", "sigma": 0.1}),
        (
            "{name: ornstein_uhlenbeck, sigma: 0.1, theta: 0.3}",
            {"name": "ornstein_uhlenbeck", "sigma": 0.1, "theta": 0.3, "dt": 0.01},
        ),
    ],
)
def test_noise_on_actions(load_agent: Load, given: str, expected: Any) -> None:
    for agent in ("sac", "td3"):
        assert load_agent(agent, f"agent.action_noise={given}").agent.settings["action_noise"] == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("uniform", "uniform"),
        ("{name: uniform}", "uniform"),
        ("prioritized", {"name": "prioritized", "alpha": 0.6, "beta": {"linear": [0.4, 1.0]}, "epsilon": 1e-6}),
        (
            "{name: prioritized, alpha: 1, beta: 5e-1, epsilon: 1e-2}",
            {"name": "prioritized", "alpha": 1.0, "beta": 0.5, "epsilon": 0.01},
        ),
    ],
)
def test_ways_to_draw_from_replay(load_agent: Load, given: str, expected: Any) -> None:
    for agent in ("dqn", "sac", "td3"):
        config = load_agent(agent, f"agent.replay={given}")
        assert config.agent.settings["replay"] == expected
        assert (config_hash(config) == config_hash(load_agent(agent))) is (expected == "uniform")


def test_actor_and_critic_share_features_where_that_is_asked_for(load_agent: Load) -> None:
    share = "agent.policy_kwargs.share_features_extractor"
    assert list(load_agent("sac", f"{share}=true").agent.networks()) == ["actor", "critic", "features"]
    assert list(load_agent("ppo", f"{share}=false").agent.networks()) == ["actor", "critic"]


def test_dqn(load_agent: Load, tmp_path: Path) -> None:
    config = load_agent(
        "dqn", "agent={n_envs: 16, train_freq: 2, net_arch: [64, 32], double_q: true, learning_rate: 1e-3}"
    )
    agent = config.agent
    assert agent.model_dump() == {
        "name": "dqn", "n_envs": 16, "learning_rate": 1e-3, "batch_size": 32, "gamma": 0.99, "features": None,
        "net_arch": (64, 32), "activation": None, "buffer_size": 1_000_000, "learning_starts": 100, "tau": 1.0,
        "train_freq": 2, "gradient_steps": 1, "n_steps": 1, "target_update_interval": 10_000,
        "exploration_fraction": 0.1, "exploration_initial_eps": 1.0, "exploration_final_eps": 0.05,
        "max_grad_norm": 10.0, "double_q": True, "epsilon_per_env": False, "norm": "none", "dropout": 0.0,
        "network": "mlp", "injectable": False, "optimizer": {"name": "adam"}, "random_shift": 0, "replay": "uniform",
        "speed": "exact",
        "optimize_memory_usage": False, "replay_buffer_kwargs": {"handle_timeout_termination": True},
        "policy_kwargs": {
            "normalize_images": True, "optimizer_kwargs": {"eps": 1e-8, "betas": (0.9, 0.999), "weight_decay": 0.0},
        },
    }  # fmt: skip
    assert agent.rollout == 32
    path = tmp_path / "again.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    again = check_arguments(load(path))
    assert again.model_dump() == config.model_dump()
    assert type(again.agent) is type(agent)
    assert config_hash(again) == config_hash(config)
    assert config_hash(load_agent("dqn")) != config_hash(load_agent("sac"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [("auto", "auto"), ("auto_0.1", "auto_0.1"), ("auto_1e-2", "auto_1e-2"), ("0.2", 0.2), ("1e-3", 1e-3), ("0", 0.0)],
)
def test_entropy_coefficients(load_agent: Load, given: str, expected: Any) -> None:
    assert load_agent("sac", f"agent.ent_coef={given}").agent.model_dump()["ent_coef"] == expected


@pytest.mark.parametrize(("given", "expected"), [("auto", "auto"), ("-2", -2.0), ("-1e-1", -0.1)])
def test_target_entropies(load_agent: Load, given: str, expected: Any) -> None:
    assert load_agent("sac", f"agent.target_entropy={given}").agent.model_dump()["target_entropy"] == expected


ENTROPY = "is no entropy coefficient; give auto, auto_0.1 to begin at 0.1, or a number such as 0.1"


@pytest.mark.parametrize(
    ("agent", "override", "expected"),
    [
        ("dqn", "agent.clip_range=0.2", "agent.clip_range=0.2 is a setting of ppo, not of dqn; leave it out"),
        ("dqn", "agent.norm=batch", "agent.norm=\"batch\" is not known; give 'none', 'layer' or 'rms'"),
        ("dqn", "agent.ent_coef=0.1", "agent.ent_coef=0.1 is a setting of ppo and sac, not of dqn; leave it out"),
        ("sac", "agent.double_q=true", "agent.double_q=true is a setting of dqn, not of sac; leave it out"),
        ("sac", "agent.max_grad_norm=1", "agent.max_grad_norm=1 is a setting of dqn and ppo, not of sac; leave it"),
        ("ppo", "agent.buffer_size=5", "agent.buffer_size=5 is a setting of dqn, sac and td3, not of ppo; leave "),
        ("dqn", "agent.bufer_size=5", "agent.bufer_size=5 is not a known key; did you mean 'buffer_size'?"),
        ("dqn", "agent.net_arch={pi: [8]}", 'agent.net_arch={"pi": [8]} is not a list; write it in square brackets,'),
        ("dqn", "agent.net_arch=[8, 0]", "agent.net_arch.1=0 is too small; give a number of at least 1"),
        ("sac", "agent.net_arch=8", "agent.net_arch=8 is neither a list nor a mapping; write it as [64], alike for al"),
        ("sac", "agent.net_arch=[8, 0]", "agent.net_arch.1=0 is too small; give a number of at least 1"),
        ("sac", "agent.net_arch={pi: [8]}", "agent.net_arch.qf is missing; add it to the config or give agent.net_a"),
        ("sac", "agent.net_arch={pi: 8, qf: [8]}", "agent.net_arch.pi=8 is not a list; write it in square brackets,"),
        ("sac", "agent.net_arch.vf=[8]", "agent.net_arch.vf=[8] is not a known key; choose from pi, qf"),
        ("dqn", "agent.train_freq=[4, episode]", 'agent.train_freq=[4, "episode"] is not a whole number'),
        ("dqn", "agent.gradient_steps=-2", "agent.gradient_steps=-2 is too small; give a number of at least -1"),
        ("sac", "agent.gradient_steps=0", "agent.gradient_steps=0 would learn nothing; give at least 1, or -1 for as "),
        ("dqn", "agent.tau=0", "agent.tau=0 is too small; give a number above 0"),
        ("dqn", "agent.exploration_fraction=0", "agent.exploration_fraction=0 is too small; give a number above 0"),
        ("dqn", "agent.double_q=1", "agent.double_q=1 is neither true nor false; give one of the two"),
        ("dqn", "agent.activation=el", "agent.activation=\"el\" is not known; give 'relu', 'tanh', 'leaky_relu', "),
        ("dqn", "agent.activation=GLU", 'agent.activation="GLU" multiplies each unit with another one, so that none'),
        ("ppo", "agent.activation=PReLU", 'agent.activation="PReLU" learns a slope that its units share, which no res'),
        ("dqn", "agent.buffer_size=31", "agent.buffer_size=31 is below agent.batch_size=32; give at least 32, or lo"),
        (
            "dqn",
            "agent={buffer_size: 40, n_envs: 64}",
            "agent.buffer_size=40 is below agent.n_envs=64; give at least 64, or lower agent.n_envs",
        ),
        (
            "dqn",
            "agent={buffer_size: 40, n_envs: 32, optimize_memory_usage: true, replay_buffer_kwargs: "
            "{handle_timeout_termination: off}}",
            "agent.buffer_size=40 holds one step of agent.n_envs=32 games, which with agent.optimize_memory_usage=true "
            "needs the one behind it; give at least 64",
        ),
        (
            "dqn",
            "agent.learning_starts=1_500_000",
            "agent.learning_starts=1500000 is not below the 1500000 steps of the whole stream, so that nothing would "
            "be learnt; lower it or raise stream.steps_per_task",
        ),
        ("sac", "agent.ent_coef=much", f'agent.ent_coef="much" {ENTROPY}'),
        ("sac", "agent.ent_coef=auto_0", f'agent.ent_coef="auto_0" {ENTROPY}'),
        ("sac", "agent.ent_coef=auto_", f'agent.ent_coef="auto_" {ENTROPY}'),
        ("sac", "agent.ent_coef=auto_0.1_5", f'agent.ent_coef="auto_0.1_5" {ENTROPY}'),
        ("sac", "agent.ent_coef=-1", f"agent.ent_coef=-1 {ENTROPY}"),
        ("sac", "agent.ent_coef=true", f"agent.ent_coef=true {ENTROPY}"),
        ("sac", "agent.ent_coef=.nan", f"agent.ent_coef=NaN {ENTROPY}"),
        ("sac", "agent.ent_coef=[1]", f"agent.ent_coef=[1] {ENTROPY}"),
        ("sac", "agent.target_entropy=low", 'agent.target_entropy="low" is neither auto nor a number; give auto, or'),
        ("td3", "agent.action_noise=0", "agent.action_noise=0 is too small; give a number above 0"),
        ("td3", "agent.action_noise=high", 'agent.action_noise="high" is no noise; give a standard deviation such as '),
        ("sac", "agent.action_noise={name: pink}", 'agent.action_noise={"name": "pink"} has no known name; give name:'),
        ("sac", "agent.action_noise={name: normal}", 'agent.action_noise={"name": "normal"} has no sigma; give a numb'),
        (
            "sac",
            "agent.action_noise={name: ornstein_uhlenbeck, sigma: 1, theta: 0}",
            'agent.action_noise={"name": "ornstein_uhlenbeck", "sigma": 1, "theta": 0} has a theta that is too small; ',
        ),
        (
            "sac",
            "agent.action_noise={name: normal, sigma: 1, theta: 2}",
            'agent.action_noise={"name": "normal", "sigma": 1, "theta": 2} has \'theta\', which normal does not know; ',
        ),
        ("ppo", "agent.action_noise=0.1", "agent.action_noise=0.1 is a setting of sac and td3, not of ppo; leave it o"),
        ("td3", "agent.speed=quick", 'agent.speed="quick" is not known; give exact or fast'),
        ("dqn", "agent.replay=3", "agent.replay=3 is no way to draw; give uniform or prioritized, or {name: priorit"),
        ("dqn", "agent.replay=priority", 'agent.replay="priority" has no known name; give name: uniform or priorit'),
        (
            "td3",
            "agent.replay={name: prioritized, alpa: 1}",
            'agent.replay={"name": "prioritized", "alpa": 1} has \'alpa\', which prioritized does not know; choose fro',
        ),
        (
            "sac",
            "agent.replay={name: prioritized, alpha: 2}",
            'agent.replay={"name": "prioritized", "alpha": 2} has an impossible alpha; give a number from 0 to 1',
        ),
        (
            "sac",
            "agent.replay={name: prioritized, beta: {linear: [0.4, 2]}}",
            'agent.replay={"name": "prioritized", "beta": {"linear": [0.4, 2]}} has an impossible beta; give a number ',
        ),
        (
            "sac",
            "agent.replay={name: prioritized, beta: {cosine: [0, 1]}}",
            'agent.replay={"name": "prioritized", "beta": {"cosine": [0, 1]}} has a beta that is no schedule; give a ',
        ),
        (
            "sac",
            "agent.replay={name: prioritized, epsilon: 0}",
            'agent.replay={"name": "prioritized", "epsilon": 0} has an impossible epsilon; give a number above 0, ',
        ),
        ("ppo", "agent.replay=prioritized", 'agent.replay="prioritized" is a setting of dqn, sac and td3, not of ppo;'),
        ("ppo", "agent.batch_size=1", "agent.batch_size=1 has no spread that advantages could be divided by; give at "),
        ("ppo", "agent.clip_range_vf=0", "agent.clip_range_vf=0 is too small; give a number above 0, or null for no c"),
        ("ppo", "agent.seed=3", "agent.seed=3 is the run's; give seed"),
        ("sac", "agent.replay_buffer_class=Mine", 'agent.replay_buffer_class="Mine" is a class, which Python alone ca'),
        ("sac", "agent.policy_kwargs=3", "agent.policy_kwargs=3 is not a mapping; write it in braces, such as {normal"),
        ("sac", "agent.policy_kwargs.n_critic=3", "agent.policy_kwargs.n_critic=3 is not a known key; did you mean 'n"),
        ("sac", "agent.policy_kwargs.net_arch=[3]", "agent.policy_kwargs.net_arch=[3] has a key of its own; give agen"),
        (
            "dqn",
            "agent.policy_kwargs.optimizer_kwargs.betas=[0.9, 1]",
            "agent.policy_kwargs.optimizer_kwargs.betas=[0.9, 1] are no decay rates; give two numbers of at least 0 an",
        ),
        (
            "ppo",
            "agent.policy_kwargs.squash_output=true",
            "agent.policy_kwargs.squash_output=true squashes the actions of gSDE alone; give agent.use_sde=true or ",
        ),
        (
            "td3",
            "agent.optimize_memory_usage=true",
            "agent.optimize_memory_usage=true keeps no observation behind an episode that is cut off; give agent.repla",
        ),
        (
            "dqn",
            "agent={n_steps: 2, optimize_memory_usage: true, replay_buffer_kwargs: {handle_timeout_termination: off}}",
            "agent.optimize_memory_usage=true keeps no observation behind an episode that is cut off, which agent.n_st",
        ),
        ("sac", "agent.name=[sac]", 'agent.name=["sac"] is not a known agent; did you mean '),
        ("sac", "agent.name=sak", "agent.name=\"sak\" is not a known agent; did you mean 'sac'?"),
    ],
)  # fmt: skip
def test_refusals(load_agent: Load, agent: str, override: str, expected: str) -> None:
    assert refused(load_agent, agent, override).startswith(expected)


def test_an_agent_without_a_name(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("stream: {name: minatar3}\nagent: {buffer_size: 10_000}\n")
    with pytest.raises(ConfigError) as error:
        load(path)
    assert str(error.value) == "agent.name is missing; add it to the config or give agent.name=VALUE"


@pytest.mark.parametrize(
    ("agent", "settings", "networks", "expected"),
    [
        ("dqn", "features: flatten, net_arch: []", "[critic]", "names critic, which has no hidden units with "
         "agent.features=flatten and agent.net_arch=[]; give it a hidden layer such as [64], or leave it out"),
        ("dqn", "features: flatten, net_arch: []", "null", "stands for critic, which has no hidden units with "
         "agent.features=flatten and agent.net_arch=[]; give a hidden layer, such as agent.net_arch=[64], or leave "),
        ("dqn", "net_arch: [8]", "[actor]", "names 'actor', which is no network of dqn; choose from critic"),
        ("dqn", "net_arch: [8]", "[features]", "names 'features', which is no network of dqn, whose features belong "
         "to critic; choose from critic"),
        ("sac", "features: flatten, net_arch: {pi: [], qf: [8]}", "[actor]", "names actor, which has no hidden units "
         "with agent.features=flatten and agent.net_arch.pi=[]; give it a hidden layer such as [64], or leave it out"),
        ("sac", "features: flatten, net_arch: {pi: [], qf: []}", "null", "stands for all networks, of which none has "
         "hidden units with agent.features=flatten and agent.net_arch.pi=[], agent.features=flatten and "
         "agent.net_arch.qf=[]; give a hidden layer, such as agent.net_arch.qf=[64], or leave the intervention out"),
        ("sac", "features: flatten, net_arch: {pi: [8], qf: []}", "paper", "stands for critic, which has no hidden "),
        ("ppo", "net_arch: {pi: [], vf: []}", "paper", "stands for actor and critic, of which none has hidden units "
         "with agent.net_arch.pi=[], agent.net_arch.vf=[]; give a hidden layer, such as agent.net_arch.pi=[64], or"),
    ],
)  # fmt: skip
def test_networks_without_units(
    load_agent: Load, agent: str, settings: str, networks: str, expected: str
) -> None:  # fmt: skip
    message = refused(
        load_agent, agent, f"agent={{{settings}}}", f"interventions=[{{name: gxd, networks: {networks}}}]"
    )
    assert message.startswith("interventions.0.networks=")
    assert message.partition(" ")[2].partition("] ")[0]
    assert expected in message


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("name", ["gxd", "full_reset, period: 5"])
def test_paper_is_a_scope(load_agent: Load, agent: str, name: str) -> None:
    config = load_agent(agent, f"interventions=[{{name: {name}, networks: paper}}]")
    assert config.interventions[0].arguments()["networks"] == "paper"


def test_other_words_are_no_scope(load_agent: Load) -> None:
    message = refused(load_agent, "dqn", "interventions=[{name: gxd, networks: critic}]")
    assert message == (
        'interventions.0.networks="critic" is not a list; write it in square brackets, such as [actor, critic]'
    )


def test_the_schema_of_agents_can_be_exported() -> None:
    schema = TypeAdapter(AnyAgent).json_schema()
    titles = {"PPOConfig", "DQNConfig", "SACConfig"}
    assert {definition["title"] for definition in schema["$defs"].values()} >= titles
    assert len(schema["oneOf"]) == len(AGENTS)
    mapping = {name: f"#/$defs/{name.upper()}Config" for name in AGENTS}
    assert schema["discriminator"] == {"propertyName": "name", "mapping": mapping}
    definitions = RunConfig.model_json_schema()["$defs"]
    assert definitions.keys() >= titles | {"PPONetArch", "SACNetArch", "TD3NetArch"}
    given = definitions["SACConfig"]["properties"]["ent_coef"]["anyOf"]
    assert given == [{"type": "number"}, {"type": "string"}]


@pytest.mark.parametrize("name", AGENTS)
def test_a_config_can_be_pickled(name: str, load_agent: Load) -> None:
    config = load_agent(name, "agent.learning_rate={linear: [1e-3, 0]}", "stream={name: pendulum5}")
    assert pickle.loads(pickle.dumps(config)) == config
    unknown = RunConfig(stream={"name": "pendulum5"}, agent={"name": "mine", "x": 1}, imports=["mine"])
    assert pickle.loads(pickle.dumps(unknown)) == unknown
