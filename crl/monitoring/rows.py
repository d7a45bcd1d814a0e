"""When a row of logs is written, and what is put into it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from agents.off_policy import OffPolicyMixin
from crl.every import Every
from crl.parts import Part
from crl.storage import State

ROW_EVERY = 1000  # steps between two rows of a learner whose rollouts are short


class RowCallback(Part):
    """Has the parts of a run speak before every row, and writes the rows of learners with a replay buffer.

    PPO writes a row after each rollout. The rollouts of DQN and SAC are a few steps long: they get a row at the end of
    the first rollout that is at least `every` steps after the last row, and one at the end of training, and write none
    of their own.

    Args:
        parts: asked in this order.
        every: least number of steps between two rows of DQN and SAC.
    """

    name = "rows"

    def __init__(self, parts: Sequence[Part], every: int = ROW_EVERY) -> None:
        super().__init__()
        self._parts = parts
        self._row = Every(every)

    @property
    def _replays(self) -> bool:
        return self.learner.spec.data == "replay"

    def _on_training_start(self) -> None:
        if self._replays:
            cast(OffPolicyMixin, self.learner).writes_rows = False

    def _on_rollout_end(self) -> None:
        if not self._replays:
            self._record()  # before SB3 writes its row, so that the first one has these tags too
        elif self._row.is_due(self.num_timesteps):
            self._write()

    def _on_training_end(self) -> None:
        # Not this callback's own count of steps, which a run that is resumed at its end never gets.
        if self._replays and self.learner.num_timesteps > self._row.last:
            self._write()

    def _write(self) -> None:
        self._record()
        self.learner.dump_logs()
        self._row.done(self.learner.num_timesteps)

    def _record(self) -> None:
        for part in self._parts:
            part.record()

    def state(self) -> State:
        """When the last row of DQN and SAC was written."""
        return self._row.state()

    def restore(self, state: Any) -> None:
        """Go on from what `state` gave."""
        self._row.restore(state)
