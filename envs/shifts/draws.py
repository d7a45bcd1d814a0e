"""Random numbers of a batch of games, each game's from a generator of its own, drawn many at a time."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from envs.state import copied

if TYPE_CHECKING:
    from envs.games import Seeds

_BLOCK = 256  # numbers that one call of a generator draws, where a game needs fewer at a time


class Draws:
    """A stream of random numbers for each game, which depends on the game's seed and on nothing else.

    A game's generator is ``default_rng(SeedSequence((seed, crc32(name))))``: apart from the world's own draws, and the
    same whether one game is played or many. Numbers are drawn in blocks ahead; this changes speed and no number.

    Args:
        name: of the shift that draws, and of no other around the same games.
        n_games: games in the batch.
        size: numbers that one game takes at a time.
        kind: "random" (uniform in [0, 1), 64 bits) or "standard_normal" (32 bits).
    """

    def __init__(self, name: str, n_games: int, size: int, kind: Literal["random", "standard_normal"]) -> None:
        self._key = zlib.crc32(name.encode())
        self._kind = kind
        self._rows = max(1, _BLOCK // max(1, size))
        dtype = np.float64 if kind == "random" else np.float32
        self._blocks = np.empty((n_games, self._rows, size), dtype)
        self._next = np.full(n_games, self._rows)  # row of the block that comes next; past the end, nothing is left
        self._generators = [np.random.default_rng() for _ in range(n_games)]
        self._begun: list[dict[str, Any] | None] = [None] * n_games  # generators as they were before their blocks
        self._all = np.arange(n_games)

    def seed(self, seed: Seeds) -> None:
        """Begin the streams anew, as ``Games.reset`` seeds games; those without a seed go on."""
        if seed is None:
            return
        seeds = [seed + game for game in self._all.tolist()] if isinstance(seed, int | np.integer) else seed
        for game, own in enumerate(seeds):
            if own is not None:
                self._generators[game] = np.random.default_rng(np.random.SeedSequence((int(own), self._key)))
                self._next[game] = self._rows

    def take(self, games: NDArray[np.intp] | None = None) -> NDArray[Any]:
        """The next numbers of each of ``games`` (None: of all), as a fresh array of shape (games, size)."""
        games = self._all if games is None else games
        rows = self._next[games]
        for game in games[rows == self._rows].tolist():
            self._fill(game)
        rows[rows == self._rows] = 0
        self._next[games] = rows + 1
        drawn: NDArray[Any] = self._blocks[games, rows]
        return drawn

    def _fill(self, game: int) -> None:
        generator, block = self._generators[game], self._blocks[game]
        if self._rows > 1:  # a block of one row is used up at once, and no state lies inside it
            self._begun[game] = dict(generator.bit_generator.state)
        getattr(generator, self._kind)(out=block, dtype=block.dtype.type)

    def get_state(self) -> dict[str, Any]:
        """The generators where their blocks began, and how far the blocks are used."""
        spent = self._next == self._rows
        generators = [
            generator.bit_generator.state if done else begun
            for generator, begun, done in zip(self._generators, self._begun, spent, strict=True)
        ]
        return {"generators": copied(generators), "next": self._next.copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``get_state`` returned."""
        taken = np.array(state["next"])
        for game, generator in enumerate(self._generators):
            generator.bit_generator.state = state["generators"][game]
            if taken[game] < self._rows:
                self._fill(game)
        self._next = taken
