"""From configs to models: what is left out is chosen by the observations, and what does not fit is refused."""

from __future__ import annotations

import re
from collections import deque
from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common import off_policy_algorithm
from stable_baselines3.common.buffers import NStepReplayBuffer
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import nn

from agents import AGENTS
from agents.networks import ImpalaCNN, MinAtarCNN
from agents.networks.policies import PlasticActorCriticPolicy
from agents.plasticity.layers import AID
from agents.specs import known_specs
from crl.config import ConfigError
from crl.models import build, fixed_layers


def test_boards_get_the_minatar_network(config: Any) -> None:
    resolved, model, env = build(config("agent.learning_rate.linear=[1e-3, 0]", "agent.gamma=0.9", "seed=5"))
    agent = resolved.agent
    assert (agent.features, agent.activation) == ("minatar_cnn", "relu")
    assert agent.net_arch is not None
    assert (agent.net_arch.pi, agent.net_arch.vf) == ((64,), (64,))
    assert isinstance(model.policy.features_extractor, MinAtarCNN)
    assert [type(layer) for layer in model.policy.mlp_extractor.policy_net] == [nn.Linear, nn.ReLU]
    assert model.policy.mlp_extractor.value_net[0].weight.shape == (64, 128)
    assert (model.n_envs, model.n_steps, model.batch_size, model.gamma, model.seed) == (2, 8, 16, 0.9, 5)
    assert [model.lr_schedule(remaining) for remaining in (1.0, 0.5, 0.0)] == [1e-3, 5e-4, 0.0]
    assert model.clip_range(1.0) == 0.2
    assert env.stream.total_steps == 16
    env.close()


def test_vectors_get_the_networks_of_stable_baselines(config: Any) -> None:
    overrides = ["stream={name: null, tasks: [{id: CartPole-v1, render_mode: null}], steps_per_task: 20}"]
    resolved, model, env = build(config(*overrides, "stream.align=step"))
    assert (resolved.agent.features, resolved.agent.activation) == ("flatten", "tanh")
    assert isinstance(model.policy.features_extractor, FlattenExtractor)
    layers = [type(layer) for layer in model.policy.mlp_extractor.policy_net]
    assert layers == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh]
    assert env.stream.total_steps == 20  # not rounded to rollouts
    env.close()


def test_given_layers_are_kept(config: Any) -> None:
    resolved, model, env = build(
        config("agent.features=flatten", "agent.net_arch={pi: [], vf: [7]}", "agent.activation=relu")
    )
    assert len(model.policy.mlp_extractor.policy_net) == 0
    assert [type(layer) for layer in model.policy.mlp_extractor.value_net] == [nn.Linear, nn.ReLU]
    assert model.policy.mlp_extractor.value_net[0].weight.shape == (7, 1000)
    assert resolved.agent.features == "flatten"
    env.close()


def test_the_stream_is_the_one_that_is_asked_for(config: Any) -> None:
    tasks = "stream={name: null, tasks: [breakout, asterix, freeway], cycles: 4}"
    options = ["stream.order=shuffle", "stream.boundary=revealed", "stream.seed=7", "stream.episode_limit=9"]
    _, _, env = build(config(tasks, *options, "seed=5"))
    visited = [env.stream.segment(i).task.name for i in range(env.stream.n_segments)]
    orders = {
        seed: np.random.default_rng(seed).permuted(np.tile(np.arange(3), (4, 1)), axis=1).ravel() for seed in (5, 7)
    }
    assert visited == [("breakout", "asterix", "freeway")[pick] for pick in orders[7]]
    assert not np.array_equal(orders[5], orders[7])
    assert env.boundary == "revealed"
    assert env.get_attr("episode_limit") == (9, 9)
    env.close()


def test_interventions_get_their_arguments(config: Any) -> None:
    _, model, env = build(
        config("interventions=[{name: gxd, rate: 1e-3, networks: [critic]}, {name: redo, tau: 0.5, period: 9}]")
    )
    gxd, redo = model.interventions
    assert (gxd.name, gxd.rate, gxd.networks, gxd.period) == ("gxd", 1e-3, ["critic"], 1000)
    assert (redo.name, redo.tau, redo.networks) == ("redo", 0.5, None)
    env.close()


def test_norm_none_is_the_policy_of_stable_baselines(config: Any) -> None:
    resolved, model, env = build(config("agent.norm=none"))
    assert resolved.agent.norm == "none"
    assert type(model.policy) is ActorCriticCnnPolicy
    assert not any(isinstance(module, nn.LayerNorm) for module in model.policy.modules())
    env.close()


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_norm_layer_normalises_before_the_given_activation(config: Any, activation: str) -> None:
    resolved, model, env = build(config("agent.norm=layer", f"agent.activation={activation}"))
    assert (resolved.agent.norm, resolved.agent.features) == ("layer", "minatar_cnn")
    assert type(model.policy) is PlasticActorCriticPolicy
    assert isinstance(model.policy.features_extractor, MinAtarCNN)
    tail = {"relu": nn.ReLU, "tanh": nn.Tanh}[activation]
    assert [type(layer) for layer in model.policy.mlp_extractor.policy_net] == [nn.Linear, nn.LayerNorm, tail]
    assert [type(layer) for layer in model.policy.features_extractor.linear] == [nn.Linear, nn.LayerNorm, nn.ReLU]
    env.close()


def test_norm_layer_on_vectors(config: Any) -> None:
    tasks = "stream={name: null, tasks: [CartPole-v1], steps_per_task: 16}"
    _, model, env = build(config(tasks, "agent.norm=layer", "interventions=[{name: gxd}]"))
    assert isinstance(model.policy.features_extractor, FlattenExtractor)
    layers = [type(layer) for layer in model.policy.mlp_extractor.value_net]
    assert layers == [nn.Linear, nn.LayerNorm, nn.Tanh] * 2
    model.learn(16)
    assert model.optimizer_steps == 10
    env.close()


@pytest.mark.parametrize("norm", ["none", "layer"])
@pytest.mark.parametrize(("agent", "activation"), [("ppo", "crelu"), ("dqn", "fourier"), ("sac", "crelu")])
def test_activations_that_fold_and_norms_of_all_agents(config: Any, agent: str, norm: str, activation: str) -> None:
    tasks = "[Pendulum-v1]" if agent == "sac" else "[breakout]"
    given = f"stream={{name: null, tasks: {tasks}, steps_per_task: 16}}", "interventions=[{name: gxd}]"
    _, model, env = build(config(*given, f"agent.norm={norm}", f"agent.activation={activation}", agent=agent))
    for network in model.networks.values():
        assert network.layers
        assert all(layer.fold == 2 and layer.exact is (norm == "none") for layer in network.layers)
    model.learn(16)
    assert model.optimizer_steps > 0
    env.close()


@pytest.mark.parametrize(("agent", "task", "critic"), [("sac", "Pendulum-v1", "qf"), ("ppo", "CartPole-v1", "vf")])
def test_simba_has_the_published_widths_and_normalised_observations(
    config: Any, agent: str, task: str, critic: str
) -> None:
    given = config(f"stream={{name: null, tasks: [{task}], steps_per_task: 16}}", "agent.network=simba", agent=agent)
    resolved, model, env = build(given)
    assert resolved.agent.net_arch.model_dump() == {"pi": (128,), critic: (512, 512)}
    assert (resolved.agent.activation, resolved.normalize.obs) == ("relu", True)
    assert model.get_vec_normalize_env().norm_obs
    assert [layer.units for layer in model.networks["actor"].layers] == [4 * 128]
    env.close()


def test_observations_that_simba_normalises_can_begin_anew_at_switches(config: Any) -> None:
    given = "agent.network=simba", "agent.net_arch=[8]", "stream.boundary=revealed", "at_switch.normalizer=reset"
    _, model, env = build(config("stream={name: null, tasks: [CartPole-v1], steps_per_task: 16}", *given))
    assert (model.forgets.normalizer, model.get_vec_normalize_env().norm_obs) == ("reset", True)
    env.close()
    with pytest.raises(ConfigError, match=r"^at_switch.normalizer=reset needs a normalizer; give normalize.obs=true"):
        build(config(*given))  # boards are no floats


def test_what_else_networks_are_made_of(config: Any) -> None:
    given = "agent.norm=rms", "agent.dropout=0.1", "agent.activation=aid", "agent.features=minatar_cnn"
    resolved, model, env = build(config(*given, agent="dqn"))
    assert (resolved.normalize.obs, model.get_vec_normalize_env()) == (False, None)
    assert [type(layer) for layer in model.q_net.features_extractor.linear] == [nn.Linear, nn.RMSNorm, AID, nn.Dropout]
    boards, _, games = build(config("agent.network=simba", "agent.net_arch=[8]", "normalize.obs=null"))
    assert (boards.normalize.obs, boards.agent.net_arch.vf) == (False, (8,))  # boards are no floats
    env.close(), games.close()


def test_an_activation_that_folds_nowhere_is_refused(config: Any) -> None:
    tasks = "stream={name: null, tasks: [CartPole-v1], steps_per_task: 16}"
    with pytest.raises(ConfigError, match=r"^agent: the activation function CReLU would stand nowhere: net_arch"):
        build(config(tasks, "agent.activation=crelu", "agent.net_arch={pi: [], vf: []}", "interventions=[]"))


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize("norm", ["none", "layer"])
def test_impala(config: Any, norm: str) -> None:
    resolved, model, env = build(
        config("stream.name=Images-v0", "agent.features=impala", f"agent.norm={norm}", "interventions=[{name: gxd}]")
    )
    assert resolved.agent.net_arch is not None
    assert (resolved.agent.net_arch.pi, resolved.agent.net_arch.vf, resolved.agent.activation) == ((), (), "relu")
    assert type(model.policy.features_extractor) is ImpalaCNN
    (sentence,) = fixed_layers(model)
    # A sequence has a trunk convolution and two blocks of an inner and an outer one; the linear layer comes last.
    assert sentence.startswith("features: 9 of 16 hidden layers cannot be reset: the skip connection")
    model.learn(16)
    assert model.optimizer_steps == 10
    env.close()


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(
    "interventions", ["[]", "[{name: gxd, networks: [actor]}]", "[{name: full_reset, period: 100}]"]
)
def test_layers_that_nobody_resets_unit_by_unit_are_not_mentioned(config: Any, interventions: str) -> None:
    heads = "agent.net_arch={pi: [8], vf: [8]}"
    given = ["stream.name=Images-v0", "agent.features=impala", heads, f"interventions={interventions}"]
    _, model, env = build(config(*given))
    assert model.networks["features"].fixed
    assert fixed_layers(model) == []
    env.close()


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["stream.name=CartPole-v99"], "stream.name: unknown task 'CartPole-v99'"),
        (["stream.name=null", "stream.tasks=[breakout, CartPole-v1]"], "stream.tasks: tasks 'breakout' and"),
        (
            ["agent.features=nature_cnn"],
            "agent.features=nature_cnn does not fit observations Box(False, True, (10, 10, 10), bool); give flatten or "
            "minatar_cnn, or leave it out",
        ),
        (["agent.features=impala"], "agent.features=impala does not fit observations Box(False, True, (10, 10, 10)"),
        (["stream.name=CartPole-v1", "agent.features=minatar_cnn"], "agent.features=minatar_cnn does not fit"),
        (
            ["stream.name=CartPole-v1", "interventions=[{name: gxd}, {name: redo, networks: [critic, features]}]"],
            'interventions.1.networks=["critic", "features"] names features, which has no hidden units with '
            "agent.features=flatten; leave it out, or choose",
        ),
        (
            ["interventions=[{name: redo}]", "agent.features=flatten", "agent.net_arch={pi: [], vf: []}"],
            "interventions.0.networks=null stands for all networks, of which none has hidden units with "
            "agent.net_arch.pi=[], agent.net_arch.vf=[], agent.features=flatten; give a hidden layer, such as",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(config: Any, overrides: list[str], expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        build(config(*overrides))
    assert str(error.value).startswith(expected)
    assert "\n" not in str(error.value)


def test_heads_without_hidden_units_can_be_reset(config: Any) -> None:
    given = "interventions=[{name: head_reset, networks: [actor, critic], period: 100}]"
    _, model, env = build(config(given, "agent.net_arch={pi: [], vf: []}"))
    env.close()
    drawn = [model.policy.action_net.weight, model.policy.value_net.weight]
    before = [weight.detach().clone() for weight in drawn]
    model.interventions[0].act(100)
    assert not any(torch.equal(weight, old) for weight, old in zip(drawn, before, strict=True))


def test_a_rollout_that_does_not_fit_in_memory_is_refused(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("stable_baselines3.common.buffers.RolloutBuffer.reset", full)
    with pytest.raises(ConfigError, match=r"^agent.n_envs=2 games and rollouts of agent.n_steps=8 steps .*; lower one"):
        build(config())


@pytest.mark.parametrize("refused", [0, 1, 2])
def test_what_an_intervention_refuses_has_its_key(config: Any, monkeypatch: pytest.MonkeyPatch, refused: int) -> None:
    def refuse(self: Any, _learner: Any) -> None:
        if self.tau == refused:
            raise ValueError(f"{self.name}: not here; leave it out")

    monkeypatch.setattr("agents.plasticity.resets.ReDo.attach", refuse)
    networks = enumerate(("actor", "critic", "features"))
    listed = ", ".join(f"{{name: redo, tau: {tau}, networks: [{network}]}}" for tau, network in networks)
    with pytest.raises(ConfigError, match=rf"^interventions.{refused}: redo: not here; leave it out$"):
        build(config(f"interventions=[{listed}]"))


def test_a_list_that_contradicts_itself_is_refused_by_its_key(config: Any) -> None:
    reason = "interventions.1: gxd and redo both reset actor.0 every 1,000 gradient steps; leave one of them out, or"
    with pytest.raises(ConfigError, match=f"^{re.escape(reason)}"):
        build(config("interventions=[{name: gxd}, {name: redo}]"))


class Queue(NStepReplayBuffer):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waiting: deque[float] = deque()


def test_a_buffer_that_checkpoints_would_lose_is_refused(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(off_policy_algorithm, "NStepReplayBuffer", Queue)
    with pytest.raises(ConfigError, match=r"^agent: Queue\.waiting is a deque, which a checkpoint would lose; give"):
        build(config("agent.n_steps=3", agent="dqn"))


def test_what_a_model_refuses_by_itself_is_the_agents(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_model: Any) -> None:
        raise ValueError("not like this")

    monkeypatch.setattr("agents.PPO._setup_model", refuse)
    with pytest.raises(ConfigError, match=r"^agent: not like this$"):
        build(config("interventions=[{name: gxd}]"))


TRIED_ELSEWHERE = {
    "optimize_memory_usage", "replay_buffer_kwargs", "policy_kwargs", "use_sde_at_warmup", "random_shift", "replay",
    "speed",
}  # fmt: skip
"""See ``test_stock.py``, and of the last three ``test_augmentation.py``, ``test_replay.py`` and ``speed/``."""
REPLAY = {  # agent -> settings in a config, each unlike its default
    "dqn": {
        "learning_rate": 3e-3, "batch_size": 8, "buffer_size": 80, "learning_starts": 4, "tau": 0.5, "gamma": 0.9,
        "train_freq": 2, "gradient_steps": 3, "n_steps": 2, "target_update_interval": 40, "exploration_fraction": 0.3,
        "exploration_initial_eps": 0.8, "exploration_final_eps": 0.2, "max_grad_norm": 5.0, "double_q": True,
        "epsilon_per_env": True,
    },
    "sac": {
        "learning_rate": 3e-3, "batch_size": 8, "buffer_size": 80, "learning_starts": 4, "tau": 0.5, "gamma": 0.9,
        "train_freq": 2, "gradient_steps": -1, "n_steps": 2, "target_update_interval": 4, "ent_coef": "auto_0.5",
        "target_entropy": -3.0, "use_sde": True, "sde_sample_freq": 3, "action_noise": 0.3,
    },
    "td3": {
        "learning_rate": 3e-3, "batch_size": 8, "buffer_size": 80, "learning_starts": 4, "tau": 0.5, "gamma": 0.9,
        "train_freq": 2, "gradient_steps": -1, "n_steps": 2, "action_noise": 0.3, "policy_delay": 3,
        "target_policy_noise": 0.1, "target_noise_clip": 0.3,
    },
}  # fmt: skip


@pytest.mark.parametrize("agent", REPLAY)
def test_settings_reach_the_model(config: Any, agent: str) -> None:
    world = "stream.name=CartPole-v1" if agent == "dqn" else "stream.name=Pendulum-v1"
    given = REPLAY[agent]
    resolved, model, env = build(
        config(world, "seed=5", *(f"agent.{key}={value}" for key, value in given.items()), agent=agent)
    )
    assert type(model) is AGENTS[agent].resolve()
    found = {key: getattr(model, key) for key in given}
    found["train_freq"] = found["train_freq"].frequency
    if agent == "sac":
        found["target_entropy"] = float(found["target_entropy"])
    if agent != "dqn":
        found["action_noise"] = pytest.approx(model.action_noise._sigma.item())
    found["buffer_size"] = model.replay_buffer.buffer_size * 2  # of two games
    assert found == given
    assert resolved.agent.model_dump(include=set(given)) == given
    assert (model.n_envs, model.seed, type(model.replay_buffer)) == (2, 5, NStepReplayBuffer)
    env.close()


def test_every_setting_is_tried() -> None:
    assert {name: set(given) for name, given in REPLAY.items()} == {
        name: set(spec.settings) - TRIED_ELSEWHERE for name, spec in known_specs().items() if spec.data == "replay"
    }


def test_dqn_on_boards_has_the_published_network(config: Any) -> None:
    resolved, model, env = build(config("interventions=[{name: gxd}]", agent="dqn"))
    agent = resolved.agent
    assert (agent.features, agent.net_arch, agent.activation) == ("minatar_cnn", (), "relu")
    q_net = model.policy.q_net
    assert isinstance(q_net.features_extractor, MinAtarCNN)
    assert [tuple(layer.weight.shape) for layer in q_net.q_net] == [(6, 128)]
    assert [layer.units for layer in model.networks["critic"].layers] == [16, 128]
    model.learn(16, log_interval=None)
    assert model.optimizer_steps == 2
    env.close()


def test_dqn_on_images_and_what_it_forgets(config: Any, images: None) -> None:
    overrides = ["stream.name=Images-v0", "stream.boundary=revealed", "at_switch.replay=clear"]
    resolved, model, env = build(config(*overrides, "agent.net_arch=[8, 4]", agent="dqn"))
    assert resolved.agent.net_arch == (8, 4)
    assert model.at_switch == {"replay": "clear"}
    assert [layer.units for layer in model.networks["critic"].layers] == [16, 128, 8, 4]
    env.close()


def test_sac_on_vectors(config: Any) -> None:
    resolved, model, env = build(config("stream.name=Pendulum-v1", "agent.net_arch={pi: [5], qf: [6, 7]}", agent="sac"))
    assert (resolved.agent.features, resolved.agent.activation) == ("flatten", "relu")
    assert [layer.units for layer in model.networks["actor"].layers] == [5]
    assert [layer.units for layer in model.networks["critic"].layers] == [6, 7, 6, 7]
    env.close()


@pytest.mark.parametrize("agent", ["ppo", "dqn"])
def test_leaky_relu_can_be_reset(config: Any, agent: str) -> None:
    net_arch = {"ppo": "{pi: [4], vf: [4]}", "dqn": "[4]"}[agent]
    given = ["stream.name=CartPole-v1", f"agent.net_arch={net_arch}", "agent.activation=leaky_relu"]
    _, model, env = build(config(*given, "interventions=[{name: redo}]", agent=agent))
    (tap,) = (layer.tap for layer in model.networks["critic"].layers)
    assert isinstance(tap, nn.LeakyReLU)
    assert tap.negative_slope == 0.1
    env.close()


def test_the_published_scope_is_understood(config: Any) -> None:
    given = ["stream.name=Pendulum-v1", "interventions=[{name: redo, networks: paper}]"]
    _, model, env = build(config(*given, agent="sac"))
    assert model.interventions[0].networks == "paper"
    assert list(model.paper_networks) == ["critic"]
    env.close()
    with pytest.raises(ConfigError) as error:
        build(config(*given, "agent.net_arch={pi: [8], qf: []}", agent="sac"))
    assert str(error.value) == (
        'interventions.0.networks="paper" stands for critic, which has no hidden units with agent.features=flatten and '
        "agent.net_arch.qf=[]; give a hidden layer, such as agent.net_arch.qf=[64], or leave the intervention out"
    )
