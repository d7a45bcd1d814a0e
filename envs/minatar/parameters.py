"""What can be chosen about a MinAtar game, and changed while it is played."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from envs.arguments import refuse_change
from envs.catalogue import EPISODE_LIMIT
from envs.checks import check_int, check_number

MOST_STEPS = 2**31 - 1
"""The longest limit of an episode; what a batch counts with."""


@dataclass(frozen=True)
class Parameters:
    """Checked arguments.

    Args:
        sticky_prob: probability that the last action is played again in place of the one given.
        ramping: whether games become more difficult the longer they are survived.
        episode_limit: steps after which an unfinished episode is truncated (greedy Seaquest agents never die).

    Raises:
        ValueError: the limit is not a whole number from 1 to ``MOST_STEPS``, the probability is not from 0 to 1, or
            ramping is neither True nor False.
    """

    sticky_prob: float = 0.1
    ramping: bool = True
    episode_limit: int = EPISODE_LIMIT

    def __post_init__(self) -> None:
        remedy = "give a number of steps such as 2500"
        limit = check_int("episode_limit", self.episode_limit, 1, remedy)
        if limit > MOST_STEPS:
            raise ValueError(f"episode_limit must be at most {MOST_STEPS}, got {limit}; {remedy}")
        remedy = "give a probability such as 0.1, or 0 to play every action as it is given"
        sticky = check_number("sticky_prob", self.sticky_prob, remedy, low=0, high=1)
        if not isinstance(self.ramping, bool):
            raise ValueError(f"ramping must be True or False, got {self.ramping!r}; write ramping=True or False")
        object.__setattr__(self, "episode_limit", limit)
        object.__setattr__(self, "sticky_prob", sticky)

    def changed(self, **parameters: Any) -> "Parameters":
        """These with some replaced.

        Raises:
            ValueError: there is no such parameter, or a value is out of range.
        """
        known = [field.name for field in fields(self)]
        for name in parameters:
            if name not in known:
                refuse_change(name, known, "a MinAtar game")
        return replace(self, **parameters)

    def as_dict(self) -> dict[str, Any]:
        """Names and values."""
        return asdict(self)
