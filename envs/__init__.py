"""Worlds for continual reinforcement learning: games, and streams of tasks that change while an agent learns.

>>> import envs
>>> stream = envs.make("minatar3", n_envs=8, steps_per_task=10_000, seed=0)
>>> observations, info = stream.reset()
>>> observations.shape, info["task"][0]
((8, 10, 10, 10), 'space_invaders')
>>> stream.close()

Importing it registers Gymnasium's ids, ``crl/minatar3-v0`` and others. Names are resolved on first use, so that no game
is loaded before it is made.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from envs.registration import register

if TYPE_CHECKING:
    from envs.making import make
    from envs.stream import Segment, TaskStream
    from envs.task import Task
    from envs.vector import StreamVectorEnv

__all__ = ["Segment", "StreamVectorEnv", "Task", "TaskStream", "make"]

_MODULES = {
    "make": "envs.making",
    "Segment": "envs.stream",
    "TaskStream": "envs.stream",
    "Task": "envs.task",
    "StreamVectorEnv": "envs.vector",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'envs' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


register()
