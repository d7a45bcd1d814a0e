"""The parameters that a run had at the end of every visit."""

from __future__ import annotations

from typing import Any

from agents.training_state import learnt_state
from crl import storage
from crl.ending import check_finite
from crl.parts import Part
from crl.storage import State
from envs import TaskStream

FOLDER = "visits"


class VisitsPart(Part):
    """Keeps what the learner has learnt in ``visits/<step>`` at the end of the first update at or behind a visit's end.

    It is parameters and the statistics of a normaliser alone: enough to play, not to go on. Of visits that end in one
    and the same rollout the last one is kept.

    Args:
        stream: that is played, in the lengths in which it is played.
    """

    name = "visits"

    def __init__(self, stream: TaskStream) -> None:
        super().__init__()
        self._stream = stream
        self._end = self._end_of(0)

    def _end_of(self, index: int) -> int:
        segment = self._stream.segment(index)
        assert segment.steps is not None
        return segment.start + segment.steps

    def update_ended(self) -> None:
        """Keep what is there, if a visit has ended."""
        step = self.learner.num_timesteps
        if step < self._end:
            return
        check_finite(self.learner.policy, step)
        storage.write(self.run.folder / FOLDER / str(step), learnt_state(self.learner), check=self.run.claim.check)
        self._go_to(step)

    def _go_to(self, step: int) -> None:
        self._end = self._end_of(self._stream.at(step))

    def state(self) -> State:
        """The end of the visit that has not ended yet."""
        return self._end

    def restore(self, state: Any) -> None:
        """Go on from what `state` gave."""
        if type(state) is not int or state < 1:
            raise ValueError(f"a visit ends at step {state!r}")
        self._go_to(state - 1)
