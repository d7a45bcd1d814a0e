"""The configs that come with crl say what their papers and scripts say."""

from __future__ import annotations

import re

import pytest
import yaml
from shipped import CONFIGS

from crl.config import RunConfig, check_arguments, load
from crl.config.agents import agent_section


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


@pytest.mark.parametrize(("source", "gamma"), [("cchain", 0.999), ("plasticine", 0.99)])
def test_the_shipped_configs_of_procgen_are_the_published_ones(source: str, gamma: float) -> None:
    config = shipped(f"procgen_starpilot_ppo_{source}")
    agent = config.agent
    assert (config.stream.name, config.stream.total_steps) == (f"{source}/starpilot", 20_000_000)
    assert (agent.n_envs, agent.n_steps, agent.n_epochs, agent.rollout / agent.batch_size) == (1, 1000, 3, 8)
    assert (agent.learning_rate, agent.gamma, agent.gae_lambda, agent.ent_coef) == (1e-3, gamma, 0.95, 0.01)
    assert (agent.clip_range, agent.vf_coef * 2, agent.max_grad_norm, agent.features) == (0.2, 0.5, 0.5, "impala")
    assert agent.policy_kwargs.optimizer_kwargs.eps == 1e-5
    assert (config.normalize.obs in (None, False), config.normalize.reward, config.interventions) == (True, True, ())
    assert config.at_switch.changes() == {"normalizer": "reset"}


def test_what_the_config_of_c_chain_says_of_the_method_is_its_scripts() -> None:
    path = CONFIGS / "procgen_starpilot_ppo_cchain.yaml"
    (override,) = re.findall(r"'(interventions=.*)'", path.read_text(encoding="utf-8"))
    (method,) = check_arguments(load(path, [override])).interventions
    given = method.arguments()
    # Of its script for ProcGen, which counts rollouts; that for control has 50 and 10.
    assert (method.name, given["paper"], given["window"], given["warmup"]) == ("c_chain", True, 200, 20)
    assert given["reset_at_switch"] is True


def test_the_shipped_config_of_procgen() -> None:
    config = shipped("procgen_starpilot_ppo_gxd")
    agent = config.agent
    assert (config.stream.name, config.stream.boundary) == ("cchain/starpilot", "hidden")
    assert (agent.n_envs, agent.n_steps, agent.n_epochs, agent.rollout / agent.batch_size) == (64, 256, 3, 8)
    assert (agent.learning_rate, agent.gamma, agent.ent_coef, agent.features) == (5e-4, 0.999, 0.01, "impala")
    assert (config.interventions[0].name, config.interventions[0].arguments()["networks"]) == ("gxd", ["features"])


def test_methods_differ_in_one_word() -> None:
    texts = [(CONFIGS / f"minatar3_ppo_{method}.yaml").read_text().split("\n", 1)[1] for method in ("gxd", "redo")]
    assert texts[0].replace("gxd", "redo") == texts[1]
