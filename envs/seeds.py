"""Seeds of a stream: the one that it is given, and those that are drawn of it for each of its segments."""

import numpy as np

from envs.checks import check_int

DRIFT, REBUILD = 1, 2  # keys that keep the draws for these apart from those of the games


def check_seed(seed: object, n_envs: int) -> int:
    """Return a stream's seed as an int.

    Raises:
        ValueError: it is none, or too large for so many games.
    """
    limit = 2**32 - n_envs  # RandomState takes 32 bits, and the games take seed, seed + 1, ...
    checked = check_int("seed", seed, 0, "give one number, game i of the first segment gets seed + i")
    if checked > limit:
        raise ValueError(f"seed must be at most {limit:,} with {n_envs} games, got {seed!r}; give a smaller one")
    return checked


def fresh_seed() -> int:
    """A seed that nobody has given."""
    return int(np.random.SeedSequence().generate_state(1)[0] >> 1)


def seeds_of(seed: int, segment: int, count: int, *key: int) -> list[int]:
    """Seeds for a segment, drawn from its stream's; others for every ``key``."""
    drawn: list[int] = np.random.SeedSequence((seed, segment), spawn_key=key).generate_state(count).tolist()
    return drawn
