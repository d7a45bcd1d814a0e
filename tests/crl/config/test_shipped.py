"""The configs that come with crl say what their papers and scripts say."""

from __future__ import annotations

import re

import pytest
import yaml
from shipped import CONFIGS

from crl.config import RunConfig, check_arguments, load
from crl.config.agents import agent_section
from envs.catalogue import STREAMS


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


def shipped(name: str, *overrides: str) -> RunConfig:
    path = CONFIGS / f"{name}.yaml"
    assert path.read_text(encoding="utf-8").startswith("# ")
    return check_arguments(load(path, overrides))


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


def test_the_shipped_config_of_three_robots() -> None:
    config = shipped("mujoco3_sac")
    assert (config.stream.boundary, config.stream.total_steps, config.agent.buffer_size) == (
        "observed",
        3_000_000,
        10**6,
    )
    assert config.stream.spaces is not None  # the stream's own, filled in
    assert config.stream.spaces.model_dump() == {"observations": "pad", "size": None, "actions": "pad"}


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


@pytest.mark.parametrize("body", ["cchain/walker", "plasticine/dog"])
def test_the_shipped_config_of_deepmind_control_is_the_published_one(body: str) -> None:
    config = shipped("dmc_ppo_cchain", f"stream.name={body}")
    agent = config.agent
    assert config.stream.total_steps == {"cchain/walker": 3_000_000, "plasticine/dog": 8_000_000}[body]
    assert (agent.n_envs, agent.n_steps, agent.n_epochs, agent.rollout / agent.batch_size) == (1, 2048, 10, 32)
    assert (agent.learning_rate, agent.gamma, agent.gae_lambda, agent.ent_coef) == (3e-4, 0.99, 0.95, 0.0)
    assert (agent.clip_range, agent.clip_range_vf, agent.vf_coef * 2, agent.max_grad_norm) == (0.2, 0.2, 0.5, 0.5)
    assert (agent.net_arch.pi, agent.net_arch.vf, agent.activation) == ((256, 256), (256, 256), "relu")
    assert agent.policy_kwargs.optimizer_kwargs.eps == 1e-5
    assert (config.normalize.obs, config.normalize.reward) == (True, True)
    assert config.at_switch.changes() == {"normalizer": "reset"}


@pytest.mark.parametrize(("stream", "steps"), [("fame/space_invaders", 10_000_000), ("fame/freeway", 8_000_000)])
def test_the_shipped_config_of_atari_is_the_published_one(stream: str, steps: int) -> None:
    config = shipped("atari_ppo_fame", f"stream.name={stream}")
    agent = config.agent
    assert config.stream.total_steps == steps
    assert (agent.n_envs, agent.n_steps, agent.n_epochs, agent.rollout / agent.batch_size) == (8, 128, 4, 4)
    assert (agent.learning_rate, agent.gamma, agent.gae_lambda, agent.ent_coef) == (2.5e-4, 0.99, 0.95, 0.01)
    assert (agent.clip_range, agent.clip_range_vf, agent.vf_coef * 2, agent.max_grad_norm) == (0.1, 0.1, 0.5, 0.5)
    assert agent.features == "nature_cnn"
    head_reset = shipped("atari_ppo_fame", "stream.boundary=revealed", "interventions=[head_reset]").interventions
    assert head_reset[0].name == "head_reset"


def test_the_shipped_config_of_continual_world_is_the_published_one() -> None:
    config = shipped("metaworld_sac_cw")
    agent = config.agent
    assert (config.stream.total_steps, shipped("metaworld_sac_cw", "stream.name=cw20").stream.total_steps) == (
        10_000_000, 20_000_000,
    )  # fmt: skip
    assert (agent.learning_rate, agent.batch_size, agent.gamma, agent.tau) == (1e-3, 128, 0.99, 0.005)
    assert (agent.buffer_size, agent.learning_starts) == (1_000_000, 10_000)
    assert (agent.n_envs, agent.train_freq, agent.gradient_steps) == (1, 50, 50)
    assert (agent.net_arch.pi, agent.net_arch.qf) == ((256,) * 4, (256,) * 4)
    assert (agent.activation, agent.norm) == ("leaky_relu", "layer")
    assert config.at_switch.changes() == {
        "replay": "clear", "exploration": "restart", "random_steps": 10_000, "optimizer": "reset",
    }  # fmt: skip


@pytest.mark.parametrize("stream", ["cchain/minatar3", "cchain/minatar_saf"])
def test_the_shipped_config_of_c_chain_s_dqn_is_the_published_one(stream: str) -> None:
    config = shipped("minatar_dqn_cchain", f"stream.name={stream}")
    agent = config.agent
    assert config.stream.total_steps == 6_000_000
    assert agent.exploration_fraction * config.stream.total_steps == pytest.approx(100_000, rel=1e-3)
    assert (agent.n_envs, agent.train_freq, agent.gradient_steps, agent.target_update_interval) == (1, 1, 1, 1000)
    assert (agent.learning_rate, agent.batch_size, agent.buffer_size, agent.double_q) == (3e-4, 32, 100_000, True)
    assert config.at_switch.changes() == {"random_steps": agent.learning_starts} == {"random_steps": 10_000}


@pytest.mark.parametrize("stream", ["ptdqn/minatar", "fame/minatar7"])
def test_the_shipped_config_of_pt_dqn_is_the_published_one(stream: str) -> None:
    config = shipped("minatar_dqn_ptdqn", f"stream.name={stream}", "stream.boundary=revealed", "at_switch.replay=clear")
    agent = config.agent
    assert config.stream.total_steps == 3_500_000
    assert (agent.learning_rate, agent.batch_size, agent.buffer_size, agent.gamma) == (1e-5, 64, 100_000, 0.99)
    assert (agent.n_envs, agent.train_freq, agent.gradient_steps, agent.target_update_interval) == (1, 1, 1, 1000)
    assert (agent.exploration_initial_eps, agent.exploration_final_eps, agent.double_q) == (0.1, 0.1, False)


def test_the_shipped_config_of_trac_is_the_published_one() -> None:
    config = shipped("cartpole_ppo_trac")
    agent = config.agent
    assert (config.stream.total_steps, agent.rollout, agent.batch_size, agent.n_epochs) == (1_600_000, 800, 32, 5)
    assert (agent.learning_rate, agent.ent_coef, agent.vf_coef, agent.optimizer.name) == (1e-2, 0.01, 0.5, "trac")
    assert (agent.net_arch.pi, agent.net_arch.vf, agent.activation) == ((128,) * 3, (128,) * 3, "leaky_relu")


def test_the_shipped_config_of_the_ant_is_the_published_one() -> None:
    config = shipped("slippery_ant_ppo")
    agent = config.agent
    assert (config.stream.total_steps, agent.n_envs, agent.rollout / agent.batch_size) == (20_000_000, 1, 16)
    assert (agent.learning_rate, agent.n_epochs, agent.clip_range, agent.gamma) == (1e-4, 10, 0.2, 0.99)
    assert (agent.net_arch.pi, agent.net_arch.vf, agent.activation) == ((256, 256), (256, 256), "relu")
    assert (config.normalize.used, config.interventions) == (False, ())


@pytest.mark.parametrize(
    "name", ["cchain/minatar_saf", "cchain/lunarlander", "trac/chaser", "cora/procgen", "cora/atari6"]
)
def test_the_config_of_a_stream_takes_its_name(name: str) -> None:
    stream = STREAMS[name]
    assert stream.config is not None
    config = check_arguments(load(CONFIGS / stream.config, [f"stream={{name: {name}, boundary: revealed}}"]))
    assert config.stream.total_steps == stream.steps_per_task * stream.cycles * len(stream.tasks)


def test_methods_differ_in_one_word() -> None:
    texts = [(CONFIGS / f"minatar3_ppo_{method}.yaml").read_text().split("\n", 1)[1] for method in ("gxd", "redo")]
    assert texts[0].replace("gxd", "redo") == texts[1]
