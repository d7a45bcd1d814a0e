"""What is known of a stream by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from envs.catalogue.tasks import TASKS

Worlds = Callable[[int], tuple[str | Mapping[str, Any], ...]]


@dataclass(frozen=True)
class NamedStream:
    """A stream known by name.

    Args:
        tasks: names of the tasks in the order in which they are visited, as often as they are; of a stream that draws
            its visits, those that are drawn from.
        steps_per_task: default length of a segment, in transitions of one game.
        cycles: default number of times that the list is gone through.
        description: one line for listings.
        source: where this sequence comes from.
        worlds: from the stream's seed, the entries that the tasks are made from, which name them (see
            ``envs.entries.tasks_from``); None where the names are the entries.
        differs: what is not as in the original; empty where nothing is known to be, or there is none.
        config: the file in configs/ with the settings of an agent that go with it, and behind it what of it changes
            beside ``stream.name``; None where there is none.
        spaces: how tasks of different spaces become one (see ``envs.spaces.SpaceMapping``); None where they are alike.
    """

    tasks: tuple[str, ...]
    steps_per_task: int
    cycles: int
    description: str
    source: str
    worlds: Worlds | None = None
    differs: str = ""
    config: str | None = None
    spaces: Mapping[str, Any] | None = None

    def entries(self, seed: int) -> tuple[str | Mapping[str, Any], ...]:
        """What the tasks are made from, in their order, in a stream with this seed."""
        return self.tasks if self.worlds is None else self.worlds(seed)

    @property
    def restores(self) -> bool:
        """Whether a resumed run finds the games as they were; others are rebuilt at every checkpoint."""
        ids = [entry if isinstance(entry, str) else entry["id"] for entry in self.entries(0)]
        return all(id in TASKS and TASKS[id].restores for id in ids)


def fixed(entries: Mapping[str, Mapping[str, Any]]) -> Worlds:
    """The same entries for every seed, from each task's name and what it is made of."""
    named = tuple({"name": name, **entry} for name, entry in entries.items())
    return lambda seed: named


def repeated(visits: tuple[str, ...], entries: Mapping[str, Mapping[str, Any]]) -> Worlds:
    """As `fixed`, of tasks that are visited in this order, some more than once."""
    named = tuple({"name": name, **entries[name]} for name in visits)
    return lambda seed: named


def variants(label: str, count: int, entry: Mapping[str, Any]) -> tuple[tuple[str, ...], Worlds]:
    """Names and entries of one entry's variants, which are called ``label`` and their number."""
    return tuple(f"{label}#{variant}" for variant in range(count)), lambda seed: ({"variants": count, **entry},)
