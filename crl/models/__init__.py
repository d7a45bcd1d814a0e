"""From a config to an environment and a model."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import Any, Literal

import torch
from gymnasium import spaces
from stable_baselines3.common.preprocessing import is_image_space
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, FlattenExtractor, NatureCNN
from stable_baselines3.common.utils import LinearSchedule
from torch import nn

import envs
from agents import AGENTS, PPO
from agents.learner import NATURE_CNN_MINIMUM
from agents.networks import MINATAR_HEAD, ImpalaCNN, MinAtarCNN
from agents.plasticity.protocols import Intervention
from agents.plasticity.registry import INTERVENTIONS
from agents.plasticity.resets import UnitReset
from agents.policies import LayerNormPolicy
from crl.config import ConfigError, Linear, PPOConfig, RunConfig, StreamConfig
from crl.config.messages import shown
from crl.config.schema import Features, NetArch

EXTRACTORS: dict[Features, type[BaseFeaturesExtractor]] = {
    "flatten": FlattenExtractor,
    "nature_cnn": NatureCNN,
    "minatar_cnn": MinAtarCNN,
    "impala": ImpalaCNN,
}
ARRAYS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
BOARD_MINIMUM = 3  # pixels: the kernel of MinAtarCNN
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}
# Hidden layers of actor and critic, and their activation, where the config gives none: SB3's, or as published with the
# extractor.
HEADS: dict[Features, tuple[tuple[int, ...], Literal["relu", "tanh"]]] = {
    "flatten": ((64, 64), "tanh"),
    "nature_cnn": ((), "tanh"),
    "minatar_cnn": (MINATAR_HEAD, "relu"),
    "impala": ((), "relu"),
}


def build(config: RunConfig) -> tuple[RunConfig, PPO, envs.StreamVectorEnv]:
    """The environment and the model of a run, and the config with all that they decided filled in.

    Raises:
        ConfigError: the device is not there, the stream cannot be played, or the agent or an intervention does not
            fit it.
    """
    _check_device(config.device)
    try:
        return _build(config)
    except MemoryError as error:
        raise ConfigError(
            f"agent.n_envs={config.agent.n_envs} games and rollouts of agent.n_steps={config.agent.n_steps} steps of "
            "each do not fit in memory; lower one of them"
        ) from error


def _build(config: RunConfig) -> tuple[RunConfig, PPO, envs.StreamVectorEnv]:
    env = _stream(config)
    try:
        _check_spaces(config.stream, env)
        config = config.model_copy(update={"agent": _resolved(config.agent, env.single_observation_space)})
        problem = config.networks_problem()
        if problem is not None:
            raise ConfigError(problem)
        return config, _model(config, env), env
    except BaseException:
        env.close()
        raise


def _check_device(device: str) -> None:
    if not device.startswith("cuda"):
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(device.partition(":")[2] or 0) >= count:
        found = f"has {count} CUDA device{'s' if count > 1 else ''}" if count else "has no CUDA device"
        raise ConfigError(f"device={device} is not there: this machine {found}; give device=auto or device=cpu")


def _stream(config: RunConfig) -> envs.StreamVectorEnv:
    stream, agent = config.stream, config.agent
    try:
        return envs.make(
            stream.name if stream.name is not None else list(stream.tasks or ()),
            n_envs=agent.n_envs,
            steps_per_task=stream.steps_per_task,
            cycles=stream.cycles,
            order=stream.order,
            boundary=stream.boundary,
            seed=config.seed,
            stream_seed=stream.seed,
            episode_limit=stream.episode_limit,
            round_to=agent.n_envs * agent.n_steps if stream.align == "rollout" else None,
        )
    except ValueError as error:
        raise ConfigError(f"stream.{'tasks' if stream.name is None else 'name'}: {error}") from error


def _check_spaces(stream: StreamConfig, env: envs.StreamVectorEnv) -> None:
    observations, actions = env.single_observation_space, env.single_action_space
    if not isinstance(observations, ARRAYS):
        raise ConfigError(
            f"{_given(stream)} has observations {observations}, which are not supported; "
            "wrap the environment to give one array"
        )
    if not isinstance(actions, ARRAYS):
        raise ConfigError(
            f"{_given(stream)} has actions {actions}, which are not supported; "
            "wrap the environment to take one array or number"
        )
    if isinstance(actions, spaces.Box) and not actions.is_bounded():
        raise ConfigError(
            f"{_given(stream)} has actions {actions} without finite bounds, which are not supported; "
            "wrap the environment to give its actions a finite low and high"
        )


def _given(stream: StreamConfig) -> str:
    return f"stream.tasks={shown(stream.tasks)}" if stream.name is None else f"stream.name={shown(stream.name)}"


def _resolved(agent: PPOConfig, space: spaces.Space[Any]) -> PPOConfig:
    """The agent with features, layers and activation as the observations ask for."""
    features = agent.features or _features_of(space)
    fits = {
        "flatten": True,
        "nature_cnn": _fits_nature_cnn(space),
        "minatar_cnn": _fits_minatar_cnn(space),
        "impala": _fits_impala(space),
    }
    if not fits[features]:
        others = " or ".join(name for name, right in fits.items() if right)
        raise ConfigError(
            f"agent.features={features} does not fit observations {space}; give {others}, or leave it out"
        )
    layers, activation = HEADS[features]
    return agent.model_copy(
        update={
            "features": features,
            "net_arch": agent.net_arch or NetArch(pi=layers, vf=layers),
            "activation": agent.activation or activation,
        }
    )


def _features_of(space: spaces.Space[Any]) -> Features:
    if _fits_nature_cnn(space):
        return "nature_cnn"
    board = space.dtype == bool or is_image_space(space)
    return "minatar_cnn" if board and _fits_minatar_cnn(space) else "flatten"


def _fits_nature_cnn(space: spaces.Space[Any]) -> bool:
    return isinstance(space, spaces.Box) and is_image_space(space) and sorted(space.shape)[-2] >= NATURE_CNN_MINIMUM


def _fits_minatar_cnn(space: spaces.Space[Any]) -> bool:
    shape = space.shape or ()
    sides = sorted(shape)[1:] if is_image_space(space) else shape[:2]
    return len(shape) == 3 and min(sides) >= BOARD_MINIMUM


def _fits_impala(space: spaces.Space[Any]) -> bool:
    # SB3 takes the smallest of the three for the channels, which come first or last.
    shape = space.shape or ()
    return is_image_space(space) and min(shape) in (shape[0], shape[-1])


def _model(config: RunConfig, env: envs.StreamVectorEnv) -> PPO:
    agent = config.agent
    assert agent.features is not None
    assert agent.net_arch is not None
    assert agent.activation is not None
    settings = agent.model_dump(exclude={"name", "n_envs", "features", "net_arch", "activation", "norm"})
    settings.update(learning_rate=_schedule(agent.learning_rate), clip_range=_schedule(agent.clip_range))
    interventions = [INTERVENTIONS[i.name].resolve()(**i.arguments()) for i in config.interventions]
    try:
        model: PPO = AGENTS[agent.name].resolve()(
            _policy(agent),
            env,
            **settings,
            policy_kwargs={
                "features_extractor_class": EXTRACTORS[agent.features],
                "net_arch": {"pi": list(agent.net_arch.pi), "vf": list(agent.net_arch.vf)},
                "activation_fn": ACTIVATIONS[agent.activation],
            },
            interventions=interventions,
            seed=config.seed,
            device=config.device,
        )
    except AssertionError as error:  # SB3 asserts what it asks of spaces
        raise ConfigError(f"{_given(config.stream)} is not supported ({error}); wrap the environment") from error
    except ValueError as error:
        raise ConfigError(f"{_refuser(error, interventions)}: {error}") from error
    return model


def _policy(agent: PPOConfig) -> str | type[LayerNormPolicy]:
    if agent.norm == "layer":
        return LayerNormPolicy
    return "MlpPolicy" if agent.features == "flatten" else "CnnPolicy"


def _refuser(error: ValueError, interventions: Sequence[Intervention]) -> str:
    """The key of what refused the model: the intervention in whose method the error was raised, else the agent."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for i, intervention in enumerate(interventions):
            if frame.f_locals.get("self") is intervention:
                return f"interventions.{i}"
    return "agent"


def fixed_layers(model: PPO) -> list[str]:
    """What the interventions cannot reset though they act on it, a sentence for each network."""
    resets = [i for i in model.interventions if isinstance(i, UnitReset)]
    sentences = []
    for name, network in model.networks.items() if resets else ():
        if network.fixed and any(reset.networks is None or name in reset.networks for reset in resets):
            count, total = len(network.fixed), len(network.fixed) + len(network.layers)
            reasons = "; ".join(dict.fromkeys(network.fixed.values()))
            sentences.append(f"{name}: {count} of {total} hidden layers cannot be reset: {reasons}")
    return sentences


def _schedule(value: float | Linear) -> float | LinearSchedule:
    return LinearSchedule(*value.linear, end_fraction=1.0) if isinstance(value, Linear) else value
