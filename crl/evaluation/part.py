"""Evaluation as a part of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from statistics import fmean
from typing import Any

import envs
from crl.config import RunConfig
from crl.csv_log import CsvLog
from crl.ending import check_finite
from crl.evaluation import FILE
from crl.evaluation.rows import Row, places_of, rows
from crl.evaluation.schedule import Schedule
from crl.monitoring.tasks import EVALUATED_LENGTH, EVALUATED_RETURN, draw, tag_of
from crl.monitoring.usage import LONGEST, UsagePart
from crl.parts import Part
from crl.screen import warn
from crl.storage import State

LEAST = {"last": 0, "learning_since": 0, "every": 1, "visits": 1}  # of its state: what counts, and from where on


class EvaluationPart(Part):
    """Plays every task of the stream beside training, which does not notice: see `crl.evaluation`.

    Evaluations take their share of the run's time at most. As soon as those that are still to come would take more, as
    long as the last one took, they are made less often, once; and from then on one that is due waits until the share is
    kept. The first one, before training, is no measure: it builds and compiles what later ones find; and neither is the
    time before learning begins, in which steps are quicker.

    Args:
        config: of the run, with evaluations.
        stream: that is played, in the lengths in which it is played.
        usage: knows the run's time.
    """

    name = "evaluation"
    log_files = (FILE,)

    def __init__(self, config: RunConfig, stream: envs.TaskStream, usage: UsagePart) -> None:
        super().__init__()
        assert config.evaluation.every is not None
        assert stream.total_steps is not None
        self._config, self._stream, self._usage = config, stream, usage
        self._total: int = stream.total_steps
        self._places = places_of(config, stream)
        self._schedule = Schedule(stream, config.evaluation.every, config.evaluation.dense)
        self._log: CsvLog | None = None
        self._last = -1  # step of the last evaluation
        self._next = 0
        self._spent = 0.0  # seconds, on all of them
        self._cost = 0.0  # seconds that the last one took; 0 for the first
        self._learning_since, self._idle = 0, 0.0  # the step at which learning began, and seconds of training till then

    def _on_training_start(self) -> None:
        self._log = CsvLog(self.run.folder / FILE)
        if self._last < 0:
            self._evaluate(self.learner.num_timesteps)

    def update_ended(self) -> None:
        """Evaluate, if that is due."""
        step = self.learner.num_timesteps
        # An agent that was trained before has made steps, and fills its buffer anew before it learns.
        if not self.learner.optimizer_steps or step <= getattr(self.learner, "learning_starts", 0):
            self._learning_since, self._idle = step, self._trained()
        if step >= self._next > self._last and self._may_take_time(step):
            self._evaluate(step)

    def record(self) -> None:
        """Put the time that evaluations have taken into the row of logs."""
        self.logger.record("time/evaluation", self._spent, exclude="stdout")

    # ------------------------------------------------------------------ evaluating

    def _evaluate(self, step: int) -> None:
        check_finite(self.learner.policy, step)
        assert self._log is not None
        before, found = self._usage.seconds(), []
        for row in rows(self.learner, self._config, self._stream, self._places, step):
            self.run.claim.check_again()
            self._log.append(row)
            found.append(row)
        self._draw(found)
        seconds = self._usage.seconds() - before
        self._spent += seconds
        self._cost = 0.0 if self._last < 0 else seconds
        self._last = found[0]["step"]
        self._next = self._schedule.after(self._last)

    def _draw(self, found: Iterable[Row]) -> None:
        """Give TensorBoard alone the means of each task, of variants all together; the file has all."""
        families: dict[str, list[Row]] = {}
        for row in found:
            families.setdefault(row["family"], []).append(row)
        for family, of_it in families.items():
            for tag, column in ((EVALUATED_RETURN, "return_mean"), (EVALUATED_LENGTH, "length_mean")):
                value = fmean(row[column] for row in of_it)
                draw(self.logger, tag.format(tag_of(family)), value, of_it[0]["step"])

    # ------------------------------------------------------------------ time

    def _trained(self) -> float:
        """Seconds of training without evaluations."""
        return self._usage.seconds() - self._spent

    def _may_take_time(self, step: int) -> bool:
        """Whether an evaluation keeps to the share of time; may make all that follow less frequent, the first time."""
        share, total = self._config.evaluation.share, self._total
        if share == 1 or not self._cost or step >= total or step <= self._learning_since:
            return True
        allowed, trained = share / (1 - share), self._trained()
        if self._is_widened:
            return self._spent + self._cost <= allowed * trained
        left = 1 - self._last / total
        seconds = trained + (trained - self._idle) / (step - self._learning_since) * (total - step)
        most = (allowed * seconds - self._spent) / self._cost / left
        if self._schedule.count > max(most, 1):
            wanted = self._spent + self._schedule.count * left * self._cost
            self._widen(most, wanted / (wanted + seconds), step)
        return step >= self._next

    @property
    def _is_widened(self) -> bool:
        return self._schedule.visits > 1 or self._schedule.every > (self._config.evaluation.every or 0)

    def _widen(self, most: float, share: float, step: int) -> None:
        """Make evaluations less frequent, and say so.

        Args:
            most: how many there may be on the whole stream.
            share: of the run's time that they would take else.
            step: from which this is so.
        """
        before, found = self._schedule, self._schedule.widened(most)
        self._schedule, self._next = found, found.after(self._last)
        warn(
            f"evaluations would take {share:.0%} of the run's time, beyond evaluation.share="
            f"{self._config.evaluation.share:g}: from step {step:,} on they are made {found.rule}; a whole stream has "
            f"{found.count:,} so, not {before.count:,}"
        )

    # ------------------------------------------------------------------ going on

    def state(self) -> State:
        """When the last evaluation was, how often they are made, and what they have taken."""
        return {
            "last": self._last,
            "every": self._schedule.every,
            "visits": self._schedule.visits,
            "learning_since": self._learning_since,
            "seconds": {"spent": self._spent, "cost": self._cost, "idle": self._idle},
        }

    def restore(self, state: Any) -> None:
        """Go on from what `state` gave."""
        seconds = [state["seconds"][key] for key in ("spent", "cost", "idle")]
        if any(type(state[key]) is not int or state[key] < least for key, least in LEAST.items()):
            raise ValueError("it is of no step or interval")
        if any(type(each) not in (int, float) or not 0 <= each < LONGEST for each in seconds):
            raise ValueError(f"it is of {seconds!r} seconds")
        self._last, self._learning_since = state["last"], state["learning_since"]
        self._spent, self._cost, self._idle = map(float, seconds)
        self._schedule = replace(self._schedule, every=state["every"], visits=state["visits"])
        self._next = self._schedule.after(self._last)

    def close(self) -> None:
        """Close the file."""
        if self._log is not None:
            self._log.close()
