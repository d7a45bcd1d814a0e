"""The streams known by name, a file for each family of worlds."""

from collections.abc import Mapping
from types import MappingProxyType

from envs.catalogue.streams import atari, control, dmc, metaworld, minatar, mujoco, procgen
from envs.catalogue.streams.named import NamedStream

__all__ = ["STREAMS", "NamedStream"]

STREAMS: Mapping[str, NamedStream] = MappingProxyType(
    {
        name: stream
        for family in (minatar, control, mujoco, procgen, atari, dmc, metaworld)
        for name, stream in family.STREAMS.items()
    }
)
"""The named streams."""
