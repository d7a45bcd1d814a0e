"""Measures of plasticity in the rows of logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.logger import TensorBoardOutputFormat

from agents.learner import LearnerMixin
from agents.off_policy import OffPolicyMixin
from agents.plasticity.diagnostics import Diagnostics
from agents.plasticity.protocols import NoDataError
from crl.monitoring.dashboard import layout
from crl.monitoring.tasks import TaskCallback


class PlasticityRecorder:
    """Records ``plasticity/*``, and once how TensorBoard shall group all tags.

    A measure is due at least `every` steps after the last one. Where rollouts are learnt from and dropped, it is also
    due in the first row of a segment; where a replay buffer keeps the segments before, it is not, and the first one of
    all waits until learning has begun. A measure that nothing can be drawn for, because the replay buffer has just been
    cleared, is left out.

    A new segment brings a new probe, drawn at its first measure from what was seen in it.

    Args:
        learner: that is measured.
        tasks: knows the segment.
        seed: of the generator that draws the probe observations; no other randomness is touched.
        every: least number of steps between two measures. Measuring takes as long after short rollouts as after long
            ones.
        each_visit: whether the first row of a segment is due even so; where not, `every` is the mean.
    """

    def __init__(
        self, learner: LearnerMixin, tasks: TaskCallback, seed: int, every: int = 1, *, each_visit: bool = True
    ) -> None:
        self._learner = learner
        self._tasks = tasks
        self._every = every
        self._each_visit = each_visit
        self._seed = seed
        generator = torch.Generator().manual_seed(seed)
        replays = isinstance(learner, OffPolicyMixin)
        self._diagnostics = Diagnostics(learner, generator, draw=self._draw_newest if replays else None)
        self._segment: int | None = None
        self._measured: int | None = None  # steps at the last measure
        self._layout_written = False

    @property
    def tags(self) -> tuple[str, ...]:
        """All that it records; known after the first measure."""
        return self._diagnostics.tags

    def record(self) -> None:
        """Measure and put what is found into the row of logs, if a measure is due."""
        segment = self._tasks.segment.index
        if not self._is_due(segment):
            return
        if segment != self._segment:
            self._diagnostics.renew_probe()
        try:
            found = self._diagnostics.measure()
        except NoDataError:
            return
        self._segment, self._measured = segment, self._learner.num_timesteps
        for tag, value in found.items():
            self._learner.logger.record(tag, value, exclude="stdout")
        if not self._layout_written:
            self._write_layout()
            self._layout_written = True

    def _draw_newest(self, n: int, generator: torch.Generator) -> Any:
        """Transitions of this segment, of which the replay buffer is only one part."""
        assert isinstance(self._learner, OffPolicyMixin)
        seen = self._learner.num_timesteps - self._tasks.segment.start
        return self._learner.sample_newest(n, seen, generator)

    def state(self) -> dict[str, Any]:
        """What decides its next measures: nested dicts and lists of JSON values and tensors."""
        diagnostics = self._diagnostics.state()
        probe = diagnostics["probe"]
        if probe is not None:
            probe |= {key: self._learner.pack(probe[key]) for key in ("batch", "few")}
        return {
            "segment": self._segment,
            "measured": self._measured,
            "layout_written": self._layout_written,
            "diagnostics": diagnostics,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` gave."""
        self._segment, self._measured = state["segment"], state["measured"]
        self._layout_written = state["layout_written"]
        diagnostics = dict(state["diagnostics"])
        if diagnostics["probe"] is not None:
            batches = {key: self._learner.unpack(diagnostics["probe"][key]) for key in ("batch", "few")}
            diagnostics["probe"] = {**diagnostics["probe"], **batches}
        self._diagnostics.restore(diagnostics)

    def _is_due(self, segment: int) -> bool:
        steps = self._learner.num_timesteps
        waited = self._measured is None or steps - self._measured >= self._wait()
        if isinstance(self._learner, OffPolicyMixin):
            return waited and steps > self._learner.learning_starts
        return waited or (self._each_visit and segment != self._segment)

    def _wait(self) -> int:
        """Steps from the last measure to the next. Where not each visit is measured they are drawn.

        At even steps all measures could fall into visits of one and the same task.
        """
        if self._each_visit:
            return self._every
        generator = np.random.default_rng((self._seed, self._measured or 0))
        return self._every // 2 + int(generator.integers(self._every + 1))

    def write_layout_again(self) -> None:
        """Tell TensorBoard how to group the tags once more: the file that said so is gone."""
        self._layout_written = False

    def _write_layout(self) -> None:
        names = list(dict.fromkeys(task.family for task in self._tasks.stream.tasks))
        for output in self._learner.logger.output_formats:
            if isinstance(output, TensorBoardOutputFormat):
                output.writer.add_custom_scalars(layout(self._learner, names, self.tags))
