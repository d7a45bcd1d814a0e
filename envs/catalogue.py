"""The games and the named streams: plain data, read without importing Gymnasium or a game."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

GAMES: tuple[str, ...] = ("asterix", "breakout", "freeway", "seaquest", "space_invaders")
"""The five MinAtar games, by the names that the ``minatar`` package gives them."""


@dataclass(frozen=True)
class NamedStream:
    """A stream known by name.

    Args:
        tasks: Entries in the order in which they are visited.
        steps_per_task: Default length of a segment, in transitions of one game.
        cycles: Default number of times that the list is gone through.
        description: One line for listings.
        source: Where this sequence comes from.
    """

    tasks: tuple[str, ...]
    steps_per_task: int
    cycles: int
    description: str
    source: str


STREAMS: Mapping[str, NamedStream] = MappingProxyType(
    {
        "minatar3": NamedStream(
            tasks=("space_invaders", "asterix", "seaquest"),
            steps_per_task=500_000,
            cycles=1,
            description="three MinAtar games, one after the other",
            source="C-CHAIN, arXiv 2506.00592 (its order; the paper trains 2,000,000 steps a game)",
        ),
        "minatar5": NamedStream(
            tasks=("space_invaders", "asterix", "seaquest", "breakout", "freeway"),
            steps_per_task=500_000,
            cycles=1,
            description="all five MinAtar games, one after the other",
            source="minatar3 followed by the two remaining games of MinAtar, arXiv 1903.03176",
        ),
    }
)
