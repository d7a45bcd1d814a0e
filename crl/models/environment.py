"""The stream that a config asks for, and whether the agent can play it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv, VecNormalize

import envs
from agents.learner import LearnerMixin
from agents.spaces import ARRAYS, check_playable
from agents.specs import known_specs
from crl.best import folder_name
from crl.config import ConfigError, RunConfig, StreamConfig
from crl.config.messages import shown
from crl.monitoring import tag_of


def make_stream(config: RunConfig) -> envs.StreamVectorEnv:
    """The batch of games that goes through the config's stream.

    Raises:
        ConfigError: the stream cannot be played.
    """
    stream, agent = config.stream, config.agent
    try:
        return envs.make(
            stream.name if stream.name is not None else list(stream.tasks or ()),
            n_envs=agent.n_envs,
            steps_per_task=stream.steps_per_task,
            cycles=stream.cycles,
            order=stream.order,
            lengths=stream.lengths,
            boundary=stream.boundary,
            spaces=None if stream.spaces is None else stream.spaces.model_dump(),
            seed=config.seed,
            stream_seed=stream.seed,
            episode_limit=stream.episode_limit,
            round_to=agent.rollout if stream.align == "rollout" else None,
        )
    except ValueError as error:
        raise ConfigError(f"stream.{'tasks' if stream.name is None else 'name'}: {error}") from error


def given(stream: StreamConfig) -> str:
    """Which stream a config gives, for messages."""
    return f"stream.tasks={shown(stream.tasks)}" if stream.name is None else f"stream.name={shown(stream.name)}"


def check_names(config: RunConfig, stream: envs.TaskStream) -> None:
    """Refuse tasks whose results would be mixed up: in one folder on Windows and macOS, or under one tag.

    Raises:
        ConfigError: two are spelt so much alike.
    """
    names = dict.fromkeys(task.family for task in stream.tasks)
    for spelt, what in (
        (lambda name: folder_name(name).lower(), "folder on Windows and macOS"),
        (tag_of, "tag of logs"),
    ):
        known: dict[str, str] = {}
        for name in names:
            if (other := known.setdefault(spelt(name), name)) != name:
                raise ConfigError(
                    f"{given(config.stream)} has tasks {shown(other)} and {shown(name)}, which would share one {what}; "
                    "give one of them another name, as in {id: cartpole, name: other}"
                )


def warn_of_short_visits(config: RunConfig, env: envs.StreamVectorEnv) -> None:
    """Warn of visits that are shorter than a rollout, and say what becomes of them."""
    shortest, rollout = env.requested_stream.shortest, config.agent.rollout
    if shortest is None or shortest >= rollout:
        return
    steps = "1 step" if shortest == 1 else f"{shortest:,} steps"
    below = f"{given(config.stream)} has visits of {steps}, below one rollout of {rollout:,}"
    lower = f"lower agent.n_envs or agent.{config.agent.spec.frequency}"
    if config.stream.align == "rollout":
        becomes = f"they are lengthened to {env.stream.shortest:,} steps; {lower}, or give stream.align=step"
    else:
        becomes = f"an update learns from several tasks at once; {lower}, or raise stream.steps_per_task"
    warnings.warn(f"{below}: {becomes}", stacklevel=2)


def check_spaces(config: RunConfig, env: envs.StreamVectorEnv) -> None:
    """Refuse what no agent can play, and what this one cannot.

    Raises:
        ConfigError: it is one of these.
    """
    observations, actions = env.single_observation_space, env.single_action_space
    if not isinstance(observations, ARRAYS):
        raise ConfigError(
            f"{given(config.stream)} has observations {observations}, which are not supported; "
            "wrap the environment to give one array"
        )
    agent, kinds = config.agent, {kind.__name__ for kind in type(actions).__mro__}
    able = [name for name, spec in known_specs().items() if not kinds.isdisjoint(spec.actions)]
    if not isinstance(actions, ARRAYS):
        raise ConfigError(
            f"{given(config.stream)} has actions {actions}, which are not supported; "
            "wrap the environment to take one array or number"
        )
    if kinds.isdisjoint(agent.spec.actions):
        raise ConfigError(
            f"agent.name={agent.name} cannot play {given(config.stream)}, whose actions are {actions}; "
            f"agents that can: {', '.join(able)}"
        )
    for key in () if isinstance(actions, spaces.Box) else sorted(agent.spec.continuous):
        if agent.settings[key]:
            raise ConfigError(
                f"agent.{key}=true is for continuous actions, and {given(config.stream)} has actions {actions}; give "
                f"agent.{key}=false"
            )
    try:
        check_playable(observations, actions)
    except ValueError as error:
        raise ConfigError(f"{given(config.stream)} is not supported: {error}") from error
    if isinstance(actions, spaces.Box) and not actions.is_bounded():
        raise ConfigError(
            f"{given(config.stream)} has actions {actions} without finite bounds, which are not supported; "
            "wrap the environment to give its actions a finite low and high"
        )
    if config.normalize.obs and not are_floats(observations):
        raise ConfigError(
            f"normalize.obs=true needs observations of floats, but {given(config.stream)} has {observations}; "
            "give normalize.obs=false"
        )


def are_floats(observations: spaces.Space[Any]) -> bool:
    """Whether a normaliser can take the observations."""
    return isinstance(observations, spaces.Box) and np.issubdtype(observations.dtype, np.floating)


def played(config: RunConfig, env: envs.StreamVectorEnv) -> envs.StreamVectorEnv | VecNormalize:
    """What the learner plays: the games, normalised where the config asks for it."""
    wanted = config.normalize
    if not wanted.used:
        return env
    # Not over the games themselves: SB3 would transpose images behind the normaliser, which keeps the original ones.
    games: VecEnv = LearnerMixin._wrap_env(env)
    return VecNormalize(
        games, norm_obs=bool(wanted.obs), norm_reward=wanted.reward, gamma=config.agent.settings["gamma"]
    )
