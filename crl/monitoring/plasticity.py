"""Measures of plasticity in the rows of logs."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from stable_baselines3.common.logger import TensorBoardOutputFormat

from agents.learner import LearnerMixin
from agents.off_policy import OffPolicyMixin
from agents.plasticity import UnitReset
from agents.plasticity.diagnostics import Diagnostics, FitProbe
from agents.plasticity.protocols import NoDataError
from crl.every import Every
from crl.monitoring.dashboard import layout, write_layout
from crl.monitoring.tasks import TaskCallback
from crl.parts import Part
from crl.storage import State
from envs import TaskStream

MEASURE_EVERY = 8192  # steps between two measures of plasticity
# Of them at least in each visit, where rollouts are short enough; DQN and SAC measure with their rows, of which there
# is one every 1,000 steps at most.
MEASURES = 16
# Of so many visits not each is measured: all measures, on a probe of its own, take as long as a fifth of a rollout.
MANY_VISITS = 100
MEASURES_OF_MANY = 500


class PlasticityRecorder(Part):
    """Records ``plasticity/*``, and with the first measure of each process how TensorBoard shall group all tags.

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
        evaluates: whether there are evaluations, to be grouped too.
        fits: whether a probe also tells how well the networks can be trained, where that costs little beside training:
            PPO's as they come into the visit, those of others once they have learnt from it.
    """

    name = "plasticity"

    def __init__(
        self,
        learner: LearnerMixin,
        tasks: TaskCallback,
        seed: int,
        every: int = 1,
        *,
        each_visit: bool = True,
        evaluates: bool = False,
        fits: bool = False,
    ) -> None:
        super().__init__()
        self._learner = learner
        self._tasks = tasks
        self._every = every
        self._each_visit = each_visit
        self._evaluates = evaluates
        self._seed = seed
        generator = torch.Generator().manual_seed(seed)
        self._replays = learner.replays
        draw, fit = self._draw_newest if self._replays else None, FitProbe(learner, seed) if fits else None
        self._diagnostics = Diagnostics(learner, generator, draw=draw, fit=fit)
        self._segment: int | None = None  # at the last measure
        self._measure = Every(every, at_once=True)
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
        self._segment = segment
        self._measure.done(self._learner.num_timesteps)
        self._space()
        for tag, value in found.items():
            self._learner.logger.record(tag, value, exclude="stdout")
        if not self._layout_written:
            self._write_layout()
            self._layout_written = True

    def _draw_newest(self, n: int, generator: torch.Generator) -> Any:
        """Transitions of this segment, of which the replay buffer is only one part."""
        seen = self._learner.num_timesteps - self._tasks.segment.start
        return cast(OffPolicyMixin, self._learner).sample_newest(n, seen, generator)

    def state(self) -> State:
        """What decides its next measures."""
        diagnostics = self._diagnostics.state()
        probe = diagnostics["probe"]
        if probe is not None:
            probe |= {key: self._learner.pack(probe[key]) for key in ("batch", "few")}
        return {"segment": self._segment, "measure": self._measure.state(), "diagnostics": diagnostics}

    def restore(self, state: Any) -> None:
        """Go on from what `state` gave."""
        self._segment = state["segment"]
        self._measure.restore(state["measure"])
        self._space()
        diagnostics = dict(state["diagnostics"])
        if diagnostics["probe"] is not None:
            batches = {key: self._learner.unpack(diagnostics["probe"][key]) for key in ("batch", "few")}
            diagnostics["probe"] = {**diagnostics["probe"], **batches}
        self._diagnostics.restore(diagnostics)

    def _is_due(self, segment: int) -> bool:
        steps = self._learner.num_timesteps
        waited = self._measure.is_due(steps)
        if self._replays:
            return waited and steps > cast(OffPolicyMixin, self._learner).learning_starts
        return waited or (self._each_visit and segment != self._segment)

    def _space(self) -> None:
        """Where not each visit is measured, the steps from one measure to the next are drawn.

        At even steps all measures could fall into visits of one and the same task.
        """
        if not self._each_visit and self._measure.last > 0:
            generator = np.random.default_rng((self._seed, self._measure.last))
            self._measure.n = max(self._every // 2 + int(generator.integers(self._every + 1)), 1)

    def _write_layout(self) -> None:
        names = list(dict.fromkeys(task.family for task in self._tasks.stream.tasks))
        interventions = self._learner.interventions
        logging = {
            "resets" if isinstance(intervention, UnitReset) else intervention.tag for intervention in interventions
        }
        found = layout(
            names,
            list(self._learner.units_reset()),
            self.tags,
            logging,
            evaluates=self._evaluates,
            comes_again=self._tasks.stream.n_segments > len(names),
        )
        for output in self._learner.logger.output_formats:
            if isinstance(output, TensorBoardOutputFormat):
                write_layout(output.writer, found)


def recorder_of_run(
    learner: LearnerMixin, tasks: TaskCallback, seed: int, *, evaluates: bool = False, fits: bool = False
) -> PlasticityRecorder:
    """The recorder of a run, with evaluations or without, which measures as often as its stream asks for."""
    visits, steps = tasks.stream.n_segments, tasks.total_steps
    many = visits > MANY_VISITS
    every = max(MEASURE_EVERY, steps // MEASURES_OF_MANY) if many else min(MEASURE_EVERY, steps // visits // MEASURES)
    fits = fits and _is_ever_due(learner, tasks.stream)
    return PlasticityRecorder(learner, tasks, seed, every, each_visit=not many, evaluates=evaluates, fits=fits)


def _is_ever_due(learner: LearnerMixin, stream: TaskStream) -> bool:
    """Whether enough is learnt before the last visit for one fit probe at least, else its charts would be empty."""
    before = stream.segment(stream.n_segments - 1).start
    steps = learner._most_gradient_steps(before)
    return steps * learner.batch_size >= FitProbe(learner, 0).due_after
