"""When something is due that is done once in so many steps."""

from __future__ import annotations

from typing import Any


class Every:
    """Something that is due once in `n` steps. Asking changes nothing: `done` says that it was done.

    Steps are looked at where training has a moment for it, and seldom at a number that was meant. Two rules differ in
    what a late look does to all later ones:

    - By default it is due as soon as `n` steps have passed since it was last done. A look that comes late moves all
      that follows, so that two times are never closer than `n` steps.
    - With `multiples` it is due as soon as a multiple of `n` has been reached or passed since. A late look moves
      nothing, so that two times can be closer than `n` steps, and their number is known beforehand.

    Args:
        n: steps, at least 1. It may be changed on the way.
        multiples: which of the two.
        at_once: whether the first look finds it due. Else it is as if it had been done at step 0.
    """

    def __init__(self, n: int, *, multiples: bool = False, at_once: bool = False) -> None:
        self.n = n
        self.last = -n if at_once else 0
        """Step at which it was last done."""
        self._multiples = multiples

    def __repr__(self) -> str:
        return f"Every({self.n}{', multiples=True' if self._multiples else ''}), last at step {self.last}"

    def is_due(self, step: int) -> bool:
        """Whether it shall be done at this step."""
        return step // self.n > self.last // self.n if self._multiples else step - self.last >= self.n

    def done(self, step: int) -> None:
        """It was done at this step."""
        self.last = step

    def state(self) -> int:
        """What decides when it is due next: `last`. An `n` that is changed on the way is for its owner to save."""
        return self.last

    def restore(self, state: Any) -> None:
        """Go on from what `state` gave.

        Raises:
            ValueError: it gave something else.
        """
        if type(state) is not int:
            raise ValueError(f"it was last done at step {state!r}")
        self.last = state
