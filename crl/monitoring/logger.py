"""The logger of a run."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from stable_baselines3.common.logger import TensorBoardOutputFormat

from crl.logs import CSV, CsvWriter, EventWriter
from crl.mirroring.mirror import Mirror
from crl.parts import Part
from crl.storage import State


class LoggerPart(Part):
    """What SB3's logger writes to, and what has been recorded for a row that is not written yet."""

    name = "logger"
    log_files = (CSV,)

    def _on_training_start(self) -> None:
        folder, config = self.run.folder, self.run.config
        self.logger.output_formats += [CsvWriter(folder / CSV), EventWriter(folder)]
        self._mirrors = [Mirror(service, folder, config) for service in config.services]
        self.logger.output_formats += self._mirrors

    def _on_training_end(self) -> None:
        for mirror in self._mirrors:
            mirror.finished = True

    def state(self) -> State:
        """The row that is being filled."""
        logger = self.logger
        for output in logger.output_formats:
            if isinstance(output, TensorBoardOutputFormat):
                output.writer.flush()
        return {
            "values": dict(logger.name_to_value),
            "counts": dict(logger.name_to_count),
            "excluded": {tag: list(names or ()) for tag, names in logger.name_to_excluded.items()},
        }

    def restore(self, state: Any) -> None:
        """Go on with the row."""
        values, counts, excluded = state["values"], state["counts"], state["excluded"]
        if any(type(tag) is not str for tags in (values, counts, excluded) for tag in tags):
            raise TypeError("a tag that is no text")
        self.logger.name_to_value.update(values)
        self.logger.name_to_count.update(counts)
        self.logger.name_to_excluded.update({tag: tuple(names) for tag, names in excluded.items()})

    def close(self) -> None:
        """Close all writers, also where one of them fails."""
        with ExitStack() as stack:
            for output in self.run.model.logger.output_formats:
                stack.callback(output.close)
