"""The games, the control tasks and the named streams: plain data, read without importing Gymnasium or a game."""

from envs.catalogue.changes import ACTIONS, DRAWS, DRIFTS, OBSERVATIONS, SHIFTS, SPACES, NamedChange, is_draw
from envs.catalogue.streams import STREAMS, NamedStream
from envs.catalogue.suites import ATARI, DMC, METAWORLD, PROCGEN, PROCGEN_GAMES
from envs.catalogue.tasks import (
    ABOUT,
    CONTROL,
    EPISODE_LIMIT,
    GAMES,
    LIMIT,
    MUJOCO,
    TASKS,
    WHOLE,
    NamedWorld,
    is_game,
)

__all__ = [
    "ABOUT",
    "ACTIONS",
    "ATARI",
    "CONTROL",
    "DMC",
    "DRAWS",
    "DRIFTS",
    "EPISODE_LIMIT",
    "GAMES",
    "LIMIT",
    "METAWORLD",
    "MUJOCO",
    "OBSERVATIONS",
    "PROCGEN",
    "PROCGEN_GAMES",
    "SHIFTS",
    "SPACES",
    "STREAMS",
    "TASKS",
    "WHOLE",
    "NamedChange",
    "NamedStream",
    "NamedWorld",
    "is_draw",
    "is_game",
]
