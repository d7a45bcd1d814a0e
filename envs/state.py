"""The state of one environment and of the wrappers around it, as arrays and JSON."""

from collections.abc import Iterator, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

# Wrappers of gymnasium.make that hold nothing but that reset was called, which restoring does anyway.
_STATELESS = (OrderEnforcing, PassiveEnvChecker)


class Layer(gymnasium.Wrapper[Any, Any, Any, Any]):
    """A wrapper with a state of its own, apart from that of the environment inside: each layer is saved by itself."""

    def get_state(self) -> dict[str, Any]:
        """What this one wrapper holds: arrays, numbers, text, lists and dicts of these."""
        raise NotImplementedError

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``get_state`` returned."""
        raise NotImplementedError


def get_env_state(env: gymnasium.Env[Any, Any], task: str) -> dict[str, Any]:
    """What an environment of ``task`` and the time limits and shifts around it hold.

    Returns:
        {"env": what its own ``get_state`` returned, "elapsed": steps of each time limit, "shifts": states of each
        shift}, both lists from outside in.

    Raises:
        NotImplementedError: a layer that may hold state has no ``get_state``.
    """
    *wrappers, owner = _layers(env, task)
    return {
        "env": owner.get_state(),
        "elapsed": [limit._elapsed_steps for limit in wrappers if isinstance(limit, TimeLimit)],
        "shifts": [shift.get_state() for shift in wrappers if isinstance(shift, Layer)],
    }


def set_env_state(env: gymnasium.Env[Any, Any], state: dict[str, Any], task: str) -> None:
    """Go on in ``env``, which must have been reset, from what ``get_env_state`` returned.

    Raises:
        NotImplementedError: as for ``get_env_state``.
        ValueError: the state is of another world.
    """
    *wrappers, owner = _layers(env, task)
    owner.set_state(state["env"])
    elapsed, shifts = iter(state["elapsed"]), iter(state["shifts"])
    for wrapper in wrappers:
        if isinstance(wrapper, TimeLimit):
            wrapper._elapsed_steps = next(elapsed)
        else:
            wrapper.set_state(next(shifts))


def random_state(env: gymnasium.Env[Any, Any]) -> dict[str, Any]:
    """The generator that Gymnasium gives an environment, and its seed."""
    return {"np_random": copied(env.np_random.bit_generator.state), "np_random_seed": env.np_random_seed}


def restore_random(env: gymnasium.Env[Any, Any], state: dict[str, Any]) -> None:
    """Put back what ``random_state`` gave."""
    env.np_random.bit_generator.state = state["np_random"]
    env._np_random_seed = state["np_random_seed"]


def can_save(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether ``get_env_state`` and ``set_env_state`` work on an environment."""
    try:
        list(_layers(env, ""))
    except NotImplementedError:
        return False
    return True


def copied(value: Any) -> Any:
    """A copy of nested dicts, lists, arrays and numbers, with numpy's numbers made Python's."""
    if isinstance(value, dict):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [copied(item) for item in value]
    if isinstance(value, np.ndarray):
        return value.copy()
    return value.item() if isinstance(value, np.generic) else value


def json_value(value: Any) -> Any:
    """Nested mappings, sequences, arrays and numbers as what they are after they have been JSON text."""
    if isinstance(value, Mapping):
        return {str(key): json_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _layers(env: gymnasium.Env[Any, Any], task: str) -> Iterator[Any]:
    """The time limits and shifts around ``env``, from outside in, and last the layer that saves itself."""
    while isinstance(env, Layer) or not (hasattr(env, "get_state") and hasattr(env, "set_state")):
        if isinstance(env, TimeLimit | Layer):
            yield env
        elif not isinstance(env, _STATELESS):
            raise NotImplementedError(
                f"the games of task {task!r} cannot be saved: {type(env).__name__} has no get_state and set_state; "
                "implement both there (arrays and JSON values only)"
            )
        env = env.env
    yield env
