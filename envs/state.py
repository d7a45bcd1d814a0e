"""The state of one environment and of the wrappers around it, as arrays and JSON."""

from collections.abc import Iterator
from typing import Any

import gymnasium
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

# Wrappers of gymnasium.make that hold nothing but that reset was called, which restoring does anyway.
_STATELESS = (OrderEnforcing, PassiveEnvChecker)


def get_env_state(env: gymnasium.Env[Any, Any], task: str) -> dict[str, Any]:
    """What an environment of ``task`` and the time limits around it hold.

    Returns:
        {"env": what its own ``get_state`` returned, "elapsed": steps of each time limit, from outside in}.

    Raises:
        NotImplementedError: If a layer that may hold state has no ``get_state``.
    """
    *limits, owner = _layers(env, task)
    return {"env": owner.get_state(), "elapsed": [limit._elapsed_steps for limit in limits]}


def set_env_state(env: gymnasium.Env[Any, Any], state: dict[str, Any], task: str) -> None:
    """Go on in ``env``, which must have been reset, from what ``get_env_state`` returned.

    Raises:
        NotImplementedError: As for ``get_env_state``.
    """
    *limits, owner = _layers(env, task)
    owner.set_state(state["env"])
    for limit, elapsed in zip(limits, state["elapsed"], strict=True):
        limit._elapsed_steps = elapsed


def _layers(env: gymnasium.Env[Any, Any], task: str) -> Iterator[Any]:
    """The time limits around ``env``, from outside in, and last the layer that saves itself."""
    while not (hasattr(env, "get_state") and hasattr(env, "set_state")):
        if isinstance(env, TimeLimit):
            yield env
        elif not isinstance(env, _STATELESS):
            raise NotImplementedError(
                f"the games of task {task!r} cannot be saved: {type(env).__name__} has no get_state and set_state; "
                "implement both there (arrays and JSON values only)"
            )
        env = env.env
    yield env
