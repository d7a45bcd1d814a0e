"""How long runs will take: each arm trained for a few seconds, in a folder that is thrown away."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable

from crl import run as runs
from crl.ablation.plan import Planned
from crl.config import ConfigError
from crl.ending import Interrupt, RunError
from crl.exit_codes import INTERRUPTED
from crl.parts import Part
from crl.screen import each_warning_once, quiet

SECONDS = 3.0  # of each arm, after its first update


class Trial(Part):
    """Measures how fast a run trains, and ends it after a while.

    The longest of its updates is left out, as a run has one such in a long while: an intervention's first look, or
    something that is compiled or loaded when it is first needed.

    Args:
        interrupt: by which it does.
        seconds: how long.
    """

    name = "trial"

    def __init__(self, interrupt: Interrupt, seconds: float = SECONDS) -> None:
        super().__init__()
        self._interrupt, self._seconds = interrupt, seconds
        self._before: tuple[int, float] | None = None  # steps and time at the end of the last update
        self._longest = self._others = (0, 0.0)  # steps and seconds of the longest update, and of all others together
        self.enough = False

    @property
    def speed(self) -> float:
        """Steps a second, 0 where too little was seen."""
        steps, seconds = self._others
        return steps / seconds if seconds else 0.0

    def update_ended(self) -> None:
        """Measure from the end of the first update: till there code is compiled and memory taken."""
        step, now = self.learner.num_timesteps, time.perf_counter()
        if not self.learner.optimizer_steps:
            return
        if self._before is not None:
            took = step - self._before[0], now - self._before[1]
            shorter, self._longest = sorted((took, self._longest), key=lambda update: update[1])
            self._others = self._others[0] + shorter[0], self._others[1] + shorter[1]
            if self._others[1] >= self._seconds:
                self.enough, self._interrupt.code = True, INTERRUPTED
        self._before = step, now


def speeds(planned: Iterable[Planned], seconds: float = SECONDS) -> dict[str, float]:
    """Arm -> steps a second of a run of it that has the machine for itself.

    Of learners with replay the random steps before learning begins are passed over.

    Raises:
        ConfigError: a run is refused, or fails at once.
        KeyboardInterrupt: it was stopped.
    """
    found: dict[str, float] = {}
    with each_warning_once():  # most arms give the same
        for run in planned:
            if run.cell.arm not in found:
                found[run.cell.arm] = _speed(run, seconds)
    return found


def _speed(run: Planned, seconds: float) -> float:
    interrupt = Interrupt(exits=False)
    trial = Trial(interrupt, seconds)
    with tempfile.TemporaryDirectory() as folder, quiet():
        agent, config = run.config.agent, run.config
        if agent.spec.data == "replay":
            soon = min(agent.settings["learning_starts"], agent.settings["batch_size"])
            config = config.model_copy(update={"agent": agent.model_copy(update={"learning_starts": soon})})
        try:
            config = config.model_copy(update={"runs": folder, "logger": ()})  # which nobody else is told of
            ended = runs.begin(config, ["crl", "ablate"], [trial], interrupt)
        except RunError as error:
            raise ConfigError(f"run {run.cell.name}: {error}") from error
    if ended.code and not trial.enough:  # somebody else's wish
        raise KeyboardInterrupt
    return trial.speed or ended.results.steps / max(ended.results.train_seconds, 1e-3)
