"""Streams of MuJoCo's walking robots."""

from collections.abc import Mapping
from types import MappingProxyType

from envs.catalogue.streams.named import NamedStream, variants

_SLIPPERY, _SLIPPERY_WORLDS = variants("ant(friction=*)", 10, {"id": "ant", "friction": {"log_uniform": [0.02, 2.0]}})

STREAMS: Mapping[str, NamedStream] = {
    "mujoco3": NamedStream(
        ("hopper", "walker2d", "halfcheetah"),
        1_000_000,
        1,
        "three robots of MuJoCo with bodies of their own, one after the other",
        "this project",
        config="mujoco3_sac.yaml",
        spaces=MappingProxyType({"observations": "pad", "actions": "pad"}),
    ),
    "slippery_ant": NamedStream(
        _SLIPPERY,
        2_000_000,
        1,
        "Ant-v5 with a friction of its own in each task, log-uniform from 0.02 to 2",
        "SlipperyAnt, Nature 632:768 (2024), arXiv 2306.13812 (there Ant-v3, switched at the end of an episode)",
        _SLIPPERY_WORLDS,
        "Ant-v5, there Ant-v3; a switch truncates the episodes in flight, there it waits for their end; frictions are "
        "drawn from the stream's seed, there they are read from a file",
        "slippery_ant_ppo.yaml",
    ),
}
