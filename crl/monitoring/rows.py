"""When a row of logs is written, and what is put into it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from stable_baselines3.common.callbacks import BaseCallback

from agents.off_policy import OffPolicyMixin

ROW_EVERY = 1000  # steps between two rows of a learner whose rollouts are short


class Recorder(Protocol):
    """Something that has numbers for a row of logs."""

    def record(self) -> None:
        """Give them to the learner's logger."""
        ...


class RowCallback(BaseCallback):
    """Has the recorders speak before every row, and writes the rows of learners with a replay buffer.

    PPO writes a row after each rollout. The rollouts of DQN and SAC are a few steps long: they get a row at the end of
    the first rollout that is at least `every` steps after the last row, and one at the end of training; `learn` must be
    told ``log_interval=None``, so that they write none of their own.

    Args:
        recorders: asked in this order.
        every: least number of steps between two rows of DQN and SAC.
    """

    def __init__(self, recorders: Sequence[Recorder], every: int = ROW_EVERY) -> None:
        super().__init__()
        self._recorders = recorders
        self._every = every
        self.written = 0
        """Steps at the last row that was written here."""

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        if not isinstance(self.model, OffPolicyMixin):
            self._record()  # before SB3 writes its row, so that the first one has these tags too
        elif self.num_timesteps - self.written >= self._every:
            self._write(self.model)

    def _on_training_end(self) -> None:
        # Not this callback's own count of steps, which a run that is resumed at its end never gets.
        if isinstance(self.model, OffPolicyMixin) and self.model.num_timesteps > self.written:
            self._write(self.model)

    def _write(self, model: OffPolicyMixin) -> None:
        self._record()
        model.dump_logs()
        self.written = model.num_timesteps

    def _record(self) -> None:
        for recorder in self._recorders:
            recorder.record()
