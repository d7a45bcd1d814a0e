"""A segment of a stream while it is played: its games, what drifts in them, and what infos say of it."""

from __future__ import annotations

import math

from envs.drifting import Drifting
from envs.games import Games
from envs.standing import Standing
from envs.stream import Segment, TaskStream
from envs.task import making


class Visit:
    """The games of a segment, which are not reset yet.

    Args:
        stream: that is played.
        segment: of the stream.
        games: of the segment's task.
        n_envs: games played side by side.

    Attributes:
        end: of the stream's steps, at which the next segment begins; infinity where none does.
        standing: what infos say of it.
    """

    def __init__(self, stream: TaskStream, segment: Segment, games: Games, n_envs: int) -> None:
        self.segment, self.games = segment, games
        self.standing = Standing(segment, n_envs)
        last = segment.steps is None or segment.index == stream.n_segments - 1
        self.end = math.inf if last else segment.start + (segment.steps or 0)
        self._drifting: Drifting | None = None

    @classmethod
    def of(
        cls, stream: TaskStream, index: int, n_envs: int, render_mode: str | None, before: Visit | None = None
    ) -> Visit:
        """The visit of segment ``index``, with games made anew.

        Args:
            stream: that is played.
            index: of the segment.
            n_envs: games played side by side.
            render_mode: of the games.
            before: whose batch goes on where the two tasks differ in arguments of shifts alone; else it is closed.

        Raises:
            ValueError: the games cannot be made.
        """
        segment = stream.segment(index)
        # What cannot be saved may hold more than a reset tells it to forget.
        if before is not None and before.games.saves and segment.task.plays_as(before.segment.task):
            segment.task.remake(before.games)
            return cls(stream, segment, before.games, n_envs)
        if before is not None:
            before.games.close()
        with making(segment.task):
            return cls(stream, segment, segment.task.make_games(n_envs, render_mode), n_envs)

    def begin(self, seed: int, steps: int) -> None:
        """Let drift what drifts in it.

        Args:
            seed: of the stream.
            steps: of the stream so far.
        """
        task = self.segment.task
        self._drifting = Drifting(self.games, task, seed, self.segment.index) if task.drift else None
        self.drift(steps)

    def drift(self, steps: int) -> None:
        """Move what drifts to where it is after so many steps of the stream."""
        if self._drifting is not None:
            self._drifting.move(steps - self.segment.start)
