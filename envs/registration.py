"""Gymnasium's ids of the named streams, the games and the control tasks."""

import gymnasium

from envs.catalogue import STREAMS, TASKS

NAMESPACE = "crl"


def register() -> None:
    """Let Gymnasium know ``crl/minatar3-v0`` and the others: ``gymnasium.make`` makes one game, ``make_vec`` a batch.

    A slash in a stream's name becomes "-". ``crl/stream-v0`` takes the tasks as ``what``, as ``envs.make`` does.
    """
    for name in (*STREAMS, *TASKS):
        _register(name.replace("/", "-"), {"what": name})
    _register("stream", {})


def _register(name: str, arguments: dict[str, str]) -> None:
    gymnasium.register(
        f"{NAMESPACE}/{name}-v0",
        entry_point="envs.single:StreamEnv",
        vector_entry_point="envs.single:make_vector",
        kwargs=arguments,
    )
