"""Which gradient steps are scored where only one in so many is."""

from __future__ import annotations

GOLDEN = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio


def scorings(steps: int, every: int) -> int:
    """How many of the first `steps` gradient steps are scored: one in each window of `every`.

    Always at the same place of a window, scorings would meet the same minibatches of every iteration wherever `every`
    and the iteration's length have a common factor (16 and PPO's 32: the last ones of epochs 2 and 4). The places of
    successive windows are therefore fractions of multiples of the golden ratio, which no length has a common factor
    with: all places of an iteration come equally often, and two scorings are 0.62 to 1.62 windows apart. They depend on
    the step alone, so that what is scored is known before the forward pass, to a resumed run too.

    Args:
        steps: gradient steps since training began.
        every: the windows' length.
    """
    windows, rest = divmod(steps, every)
    place = (windows * GOLDEN % 2**64) * every >> 64  # of the window that has begun, counted from 0
    return windows + (place < rest)


def is_scored(step: int, every: int) -> bool:
    """Whether gradient step `step`, of which the first one is 1, is scored."""
    return scorings(step, every) > scorings(step - 1, every)
