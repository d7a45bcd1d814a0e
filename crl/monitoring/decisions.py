"""What a closed loop decides, in a log of its own."""

from __future__ import annotations

from collections.abc import Sequence

from stable_baselines3.common.logger import TensorBoardOutputFormat

from agents.plasticity import Auto, Intervention
from crl.csv_log import CsvLog
from crl.parts import Part
from crl.screen import say

FILE = "decisions.csv"
TAG = "auto/decision"


class DecisionsPart(Part):
    """Writes every decision of an `Auto` to ``decisions.csv``; of an ill agent also to the screen and TensorBoard.

    Args:
        auto: an intervention of the run's agent.
    """

    name = "decisions"
    log_files = (FILE,)

    def __init__(self, auto: Auto) -> None:
        super().__init__()
        self._auto = auto
        self._log: CsvLog | None = None
        self._written = 0

    def _on_training_start(self) -> None:
        self._log = CsvLog(self.run.folder / FILE)
        self._written = self._auto.decisions  # by the run that this one goes on from, or begins with

    def update_ended(self) -> None:
        """Write the decision that this update has brought, if it has: there is one at most."""
        decision = self._auto.last
        if decision is None or self._auto.decisions == self._written:
            return
        assert self._log is not None
        self._log.append(decision.row())
        self._written = self._auto.decisions
        if decision.is_healthy:
            return
        say(f"auto, step {decision.timesteps:,}: {decision.reason}")
        for output in self.logger.output_formats:
            if isinstance(output, TensorBoardOutputFormat):
                output.writer.add_text(TAG, f"**{decision.applied}**: {decision.reason}", decision.timesteps)

    def close(self) -> None:
        """Close the file."""
        if self._log is not None:
            self._log.close()


def decisions_of(interventions: Sequence[Intervention]) -> list[DecisionsPart]:
    """The part that a run has for its closed loop; none where it has none."""
    return [DecisionsPart(each) for each in interventions if isinstance(each, Auto)]
