"""Lists of what swims and flies in Seaquest: an array of entries, of which the first n count.

The reference walks such lists from the back and removes entries by value: of two equal ones the first goes, wherever
the walk stands. That decides which bullet and which diver is next, so it is kept here for these. An enemy that goes has
no equal before it: it would have met the bullet first, or be outside.
"""

from typing import Any

from envs.minatar.compiling import helper

X, Y, DIRECTION, MOVE_TIMER, SHOT_TIMER = range(5)  # DIRECTION is 1 to the right, -1 to the left
COLUMNS = 5


@helper
def append(entries: Any, n: int, x: int, y: int, direction: int, move_timer: int, shot_timer: int) -> int:
    """Add an entry, except to a full list, which no play fills but a state made by hand can; the new ``n``."""
    if n == len(entries):
        return n
    entry = entries[n]
    entry[X], entry[Y], entry[DIRECTION] = x, y, direction
    entry[MOVE_TIMER], entry[SHOT_TIMER] = move_timer, shot_timer
    return n + 1


@helper
def _equal(one: Any, other: Any) -> bool:
    equal = True
    for column in range(COLUMNS):
        equal = equal and one[column] == other[column]
    return equal


@helper
def delete(entries: Any, n: int, index: int) -> None:
    """Close the gap at ``index``."""
    for i in range(index, n - 1):
        for column in range(COLUMNS):
            entries[i, column] = entries[i + 1, column]


@helper
def remove(entries: Any, n: int, index: int) -> None:
    """Remove the first entry that equals the one at ``index``."""
    first = 0
    while not _equal(entries[first], entries[index]):
        first += 1
    delete(entries, n, first)


@helper
def find(entries: Any, n: int, x: int, y: int) -> int:
    """The first entry in a cell, -1 without one."""
    for i in range(n):
        if entries[i, X] == x and entries[i, Y] == y:
            return i
    return -1


@helper
def blocked(entries: Any, n: int, y: int, direction: int) -> bool:
    """Whether something comes the other way in a row."""
    found = False
    for i in range(n):
        found = found or (entries[i, Y] == y and entries[i, DIRECTION] != direction)
    return found
