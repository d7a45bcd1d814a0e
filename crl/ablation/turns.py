"""Several runs in one process, which train by turns and make their updates together.

Every run goes its ordinary way, in a coroutine of its own: it is interrupted at one place alone, where it has its
rollout and comes to its update. There it waits for the others, all updates are made together (`agents.batched`), and
each goes on by itself.
"""

from __future__ import annotations

import contextvars
import random
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self, TextIO

import greenlet
import numpy as np
import torch

from agents import PPO
from agents.batched import Together
from agents.learner import LearnerMixin
from crl.ending import Interrupt
from crl.exit_codes import FAILED


class _Globals(NamedTuple):
    """What belongs to the run that has its turn, of all that a process has but once."""

    python: Any
    numpy: Mapping[str, Any]
    torch: torch.Tensor
    filters: Any
    showwarning: Any
    stdout: TextIO
    stderr: TextIO
    path: list[str]
    meta_path: list[Any]

    @classmethod
    def now(cls) -> Self:
        """As they are."""
        return cls(
            random.getstate(),
            np.random.get_state(legacy=False),
            torch.get_rng_state(),
            warnings.filters,
            warnings.showwarning,
            sys.stdout,
            sys.stderr,
            [*sys.path],
            [*sys.meta_path],
        )

    def put(self) -> None:
        """Let the process have these."""
        random.setstate(self.python)
        np.random.set_state(dict(self.numpy))
        torch.set_rng_state(self.torch)
        warnings.filters = self.filters
        warnings.showwarning = self.showwarning
        sys.stdout, sys.stderr = self.stdout, self.stderr
        sys.path[:], sys.meta_path[:] = self.path, self.meta_path


class HeardByAll(Interrupt):
    """Signals as the wish of all runs of a process.

    Args:
        wishes: of each run.
    """

    def __init__(self, wishes: Sequence[Interrupt]) -> None:
        super().__init__()
        self._wishes, self.rollout = wishes, wishes[0].rollout

    def _handle(self, number: int, frame: Any) -> None:
        super()._handle(number, frame)
        for wish in self._wishes:
            wish.code = self.code

    def _left(self) -> str:
        return "not saved any more; crl ablate goes on from what was saved"


class Told(Interrupt):
    """The wish of one of several runs, which hears no signals itself."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Seat:
    """A run that trains by turns with others.

    Args:
        name: of the run.
        work: trains it, given its wish to stop and what is entered with its learner while that trains; gives the exit
            code.
        output: file to which it appends what it prints.
    """

    def __init__(self, name: str, work: Callable[[Seat], int], output: Path) -> None:
        self.name, self.interrupt = name, Told()
        self.agent: PPO | None = None
        """That waits for its update; None where it does not wait."""
        self.code: int | None = None
        """Of its end; None while it goes on."""
        self.begun = False
        self._work, self._output = work, output
        self._together: Together | None = None
        self._coroutine = greenlet.greenlet(self._run)
        self._coroutine.gr_context = contextvars.copy_context()
        self._globals = _Globals.now()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """While this lasts the process is as the run has left it."""
        others = _Globals.now()
        self._globals.put()
        try:
            yield
        finally:
            self._globals = _Globals.now()
            others.put()

    def go_on(self, together: Together, raised: BaseException | None = None) -> None:
        """Till it waits for its next update, or ends.

        Args:
            together: makes the updates.
            raised: by the update that it has waited for.
        """
        self.begun, self.agent, self._together = True, None, together
        with self.turn():
            self._coroutine.switch(raised)

    @contextmanager
    def training(self, learner: LearnerMixin) -> Iterator[None]:
        """While this lasts a learner's updates are made together with those of others."""
        if not isinstance(learner, PPO):
            yield
            return
        learner.updater = self._wait
        try:
            yield
        finally:
            learner.updater = None
            if self._together is not None:
                self._together.release(learner)

    def _wait(self, agent: PPO) -> None:
        self.agent = agent
        hub = self._coroutine.parent
        assert hub is not None
        raised = hub.switch()
        if raised is not None:
            raise raised

    def _run(self, _: object) -> None:
        with self._output.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as output:
            sys.stdout = sys.stderr = output
            try:
                self.code = self._work(self)
            except SystemExit as error:
                self.code = error.code if isinstance(error.code, int) else FAILED
            except BaseException:  # as Python ends a process
                traceback.print_exc()
                self.code = FAILED


def train(seats: Sequence[Seat], ended: Callable[[str, int], None]) -> None:
    """Let all runs go on till each has ended, however it does.

    Args:
        seats: the runs.
        ended: told the name and the exit code of each as soon as it has.
    """
    together = Together()
    raised: Mapping[PPO, BaseException | None] = {}
    going = [*seats]
    with HeardByAll([seat.interrupt for seat in seats]):
        while going:
            for seat in going:
                if seat.interrupt.code and not seat.begun:
                    seat.code = seat.interrupt.code
                else:
                    seat.go_on(together, None if seat.agent is None else raised[seat.agent])
                if seat.code is not None:
                    ended(seat.name, seat.code)
            going = [seat for seat in going if seat.code is None]
            turns = {seat.agent: seat.turn for seat in going if seat.agent is not None}
            raised = together.update([*turns], partial(_turn_of, turns))


def _turn_of(
    turns: Mapping[PPO, Callable[[], AbstractContextManager[None]]], agent: PPO
) -> AbstractContextManager[None]:
    return turns[agent]()
