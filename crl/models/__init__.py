"""From a config to an environment and a model."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from stable_baselines3.common.utils import LinearSchedule

import envs
from agents.learner import LearnerMixin
from agents.networks.builder import policy_of
from agents.optimizers import ADAM, with_optimizer
from agents.plasticity.compatibility import MisfitError
from agents.plasticity.registry import INTERVENTIONS, place
from agents.plasticity.resets import UnitReset
from agents.training_state import check_saveable
from crl.config import AgentConfig, ConfigError, Linear, RunConfig, problems
from crl.config.messages import one_line
from crl.models.environment import (
    are_floats,
    check_names,
    check_spaces,
    given,
    make_stream,
    played,
    warn_of_short_visits,
)
from crl.models.features import network_of, resolved
from crl.models.memory import check_replay


def build(config: RunConfig) -> tuple[RunConfig, LearnerMixin, envs.StreamVectorEnv]:
    """The environment and the model of a run, and the config with all that they decided filled in.

    Raises:
        ConfigError: the device is not there, the stream cannot be played, or the agent or an intervention does not
            fit it.
    """
    check_device(config.device)
    try:
        return _build(config)
    except MemoryError as error:
        raise ConfigError(_too_large(config.agent)) from error


def _build(config: RunConfig) -> tuple[RunConfig, LearnerMixin, envs.StreamVectorEnv]:
    env = make_stream(config)
    try:
        check_spaces(config, env)
        check_names(config, env.stream)
        warn_of_short_visits(config, env)
        for repetition in problems.repetitions(config):
            warnings.warn(repetition, stacklevel=2)
        config = _filled_in(config, env)
        problem = problems.of_networks(config) or problems.of_switches(config)
        if problem is not None:
            raise ConfigError(problem)
        if config.agent.spec.data == "replay":
            check_replay(config.agent, env, given(config.stream))
        return config, _model(config, env), env
    except BaseException:
        env.close()
        raise


def _filled_in(config: RunConfig, env: envs.StreamVectorEnv) -> RunConfig:
    """The config with all that follows from observations and actions."""
    space, stream = env.single_observation_space, config.stream
    agent, normalize = resolved(config.agent, space), config.normalize
    if stream.spaces is not None and stream.spaces.actions == "union":  # by which an agent is known wherever it goes
        united = stream.spaces.model_copy(update={"actions": env.action_meanings})
        stream = stream.model_copy(update={"spaces": united})
    if normalize.obs is None:
        wanted = agent.network == "simba" and are_floats(space)
        normalize = normalize.model_copy(update={"obs": wanted})
    return config.model_copy(update={"agent": agent, "normalize": normalize, "stream": stream})


def _too_large(agent: AgentConfig) -> str:
    """The sentence for what the system has no memory for."""
    if agent.spec.data == "replay":
        held = f"a replay buffer of agent.buffer_size={agent.settings['buffer_size']} transitions"
    else:
        held = f"rollouts of agent.n_steps={agent.settings['n_steps']} steps of each"
    return f"agent.n_envs={agent.n_envs} games and {held} do not fit in memory; lower one of them"


def check_device(device: str) -> None:
    """Refuse a device that this machine does not have.

    Raises:
        ConfigError: it does not.
    """
    if not device.startswith("cuda"):
        return
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(device.partition(":")[2] or 0) >= count:
        found = f"has {count} CUDA device{'s' if count > 1 else ''}" if count else "has no CUDA device"
        raise ConfigError(f"device={device} is not there: this machine {found}; give device=auto or device=cpu")


def _model(config: RunConfig, env: envs.StreamVectorEnv) -> LearnerMixin:
    agent = config.agent
    settings = {key: _as_sb3_takes_it(value) for key, value in agent.settings.items()}
    interventions = [INTERVENTIONS[i.name].resolve()(**i.arguments()) for i in config.interventions]
    learner: Any = _learner(agent)
    try:
        policy, networks = policy_of(network_of(agent))
        policy_kwargs = {**settings.get("policy_kwargs", {}), **networks}
        if agent.optimizer.name != ADAM:
            policy_kwargs.pop("optimizer_kwargs", None)  # of Adam, and its defaults
        model: LearnerMixin = learner(
            policy,
            played(config, env),
            **{**settings, "policy_kwargs": with_optimizer(policy_kwargs, agent.optimizer.plain(), agent.spec)},
            interventions=interventions,
            at_switch=config.at_switch.changes(),
            seed=config.seed,
            device=config.device,
        )
        check_saveable(model.buffer)
    except TypeError as error:
        strange = [key for key in settings if f"unexpected keyword argument {key!r}" in str(error)]
        if not strange:
            raise
        raise ConfigError(
            f"agent.{strange[0]} is a setting of {agent.name} that {place(agent.spec.target)} does not take; correct "
            "its AgentSpec or give another agent"
        ) from error
    except AssertionError as error:  # SB3 asserts what it asks of spaces
        raise ConfigError(f"{given(config.stream)} is not supported ({error}); wrap the environment") from error
    except ValueError as error:
        owner = f"interventions.{error.number}" if isinstance(error, MisfitError) else "agent"
        raise ConfigError(f"{owner}: {error}") from error
    return model


def _learner(agent: AgentConfig) -> type[LearnerMixin]:
    """The class of an agent, which may be somebody else's."""
    given = f"agent.name={agent.name} is {place(agent.spec.target)}, which"
    try:
        found = agent.spec.resolve()
    except Exception as error:
        problem = f"cannot be imported ({type(error).__name__}: {one_line(error)})"
        raise ConfigError(f"{given} {problem}; correct it or give another agent") from error
    if not (isinstance(found, type) and issubclass(found, LearnerMixin)):
        raise ConfigError(f"{given} is no LearnerMixin of agents.learner; correct it or give another agent")
    return found


def _as_sb3_takes_it(value: Any) -> Any:
    """A setting as SB3 takes it."""
    return LinearSchedule(*value.linear, end_fraction=1.0) if isinstance(value, Linear) else value


def fixed_layers(model: LearnerMixin) -> list[str]:
    """What the interventions cannot reset though they act on it, a sentence for each network."""
    resets = [i for i in model.interventions if isinstance(i, UnitReset)]
    sentences = []
    for name, network in model.networks.items() if resets else ():
        chosen = [model.paper_networks if reset.networks == "paper" else reset.networks for reset in resets]
        if network.unresettable and any(names is None or name in names for names in chosen):
            count, total = len(network.unresettable), len(network.fixed) + len(network.layers)
            reasons = "; ".join(dict.fromkeys(network.unresettable.values()))
            sentences.append(f"{name}: {count} of {total} hidden layers cannot be reset: {reasons}")
    return sentences
