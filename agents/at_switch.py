"""What a learner forgets when its stream reveals that the task has changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal


@dataclass(frozen=True)
class AtSwitch:
    """What is done at every revealed task switch, at the end of the update that follows it.

    What a replay buffer got between the switch and that end is dropped with the rest.

    Args:
        replay: ``clear`` drops all stored transitions, and updates wait until more than `learning_starts` new ones are
            there, as they do at the start.
        exploration: ``restart`` begins it again: DQN's epsilon falls once more as it did at first; SAC's entropy
            coefficient, where it is learned, goes back to where it began; noise on actions that has a memory is reset.
        random_steps: that many steps, over all games, take random actions.
        optimizer: ``reset`` drops what every optimizer remembers (moments and step counts).
        normalizer: ``reset`` begins the statistics of a `VecNormalize` anew.
    """

    replay: Literal["keep", "clear"] = "keep"
    exploration: Literal["keep", "restart"] = "keep"
    random_steps: int = 0
    optimizer: Literal["keep", "reset"] = "keep"
    normalizer: Literal["keep", "reset"] = "keep"

    @classmethod
    def of(cls, spec: Mapping[str, Any] | None) -> AtSwitch:
        """Build it from a mapping of its arguments.

        Raises:
            ValueError: an argument is unknown or impossible; the message begins with ``at_switch``.
        """
        known = [field.name for field in fields(cls)]
        for key, value in (spec or {}).items():
            if key not in known:
                raise ValueError(f"at_switch has no key {key!r}; choose from {', '.join(known)}")
            if key == "random_steps":
                if isinstance(value, bool) or not isinstance(value, int) or value < 0:
                    raise ValueError(f"at_switch.{key} is {value!r}; give a whole number of steps of at least 0")
            elif value not in (choices := ("keep", _CHANGES[key])):
                raise ValueError(f"at_switch.{key} is {value!r}; give {' or '.join(choices)}")
        return cls(**(spec or {}))

    @property
    def changes(self) -> dict[str, Any]:
        """What is not kept, by key; empty where all is."""
        return {key: value for key, value in asdict(self).items() if value not in ("keep", 0)}


_CHANGES = {"replay": "clear", "exploration": "restart", "optimizer": "reset", "normalizer": "reset"}
