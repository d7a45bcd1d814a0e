"""Several runs in one process, which train by turns, and act and learn together.

Every run goes its ordinary way, in a coroutine of its own. It is interrupted at two places alone: in its rollout where
its policy is asked what to do, and where it comes to its update. There it waits for the others, the networks of all are
asked, or updated, together (`agents.batched`), and each goes on by itself.
"""

from __future__ import annotations

import contextvars
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias

import greenlet

from agents import PPO
from agents.acting import Actor
from agents.batched import Look, Member, Together
from agents.learner import LearnerMixin
from crl.ablation.launching import RUN_FAILED
from crl.ablation.once import Process
from crl.ablation.watch import Watch
from crl.ending import Interrupt


class Update(NamedTuple):
    """An agent waits for its update."""

    agent: PPO


Ask: TypeAlias = Look | Update


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
    """A run that trains by turns with others: a `agents.on_policy.Team` of its learner.

    Args:
        name: of the run.
        work: trains it, given its wish to stop and what is entered with its learner while that trains; gives the exit
            code.
        output: file to which it appends what it prints.
    """

    def __init__(self, name: str, work: Callable[[Seat], int], output: Path) -> None:
        self.name, self.interrupt = name, Told()
        self.asks: Ask | None = None
        """What it waits for; None before its first turn."""
        self.code: int | None = None
        """Of its end; None while it goes on."""
        self._work, self._output = work, output
        self._together: Together | None = None
        self._coroutine = greenlet.greenlet(self._run)
        self._coroutine.gr_context = contextvars.copy_context()

    @property
    def begun(self) -> bool:
        """Whether it has had a turn."""
        return self._together is not None

    def go_on(self, together: Together, answer: Any = None) -> None:
        """Till it asks for the next thing, or ends.

        Args:
            together: acts and learns for all.
            answer: to what it has asked for.
        """
        self.asks, self._together = None, together
        self._coroutine.switch(answer)

    @contextmanager
    def training(self, learner: LearnerMixin) -> Iterator[None]:
        """While this lasts a learner acts and learns together with those of others."""
        if not isinstance(learner, PPO):
            yield
            return
        learner.team = self
        try:
            yield
        finally:
            learner.team = None
            if self._together is not None:
                self._together.release(learner)

    def actor(self, agent: PPO) -> Actor:
        """See `Team`."""
        place = None if self._together is None else self._together.place(agent)
        if place is None:
            return Actor(agent)
        return Member(agent, place, self._ask)

    def update(self, agent: PPO) -> None:
        """See `Team`."""
        raised = self._ask(Update(agent))
        if raised is not None:
            raise raised

    def _ask(self, asked: Ask) -> Any:
        self.asks = asked
        hub = self._coroutine.parent
        assert hub is not None
        return hub.switch()

    def _run(self, _: object) -> None:
        with self._output.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as output:
            sys.stdout = sys.stderr = output
            try:
                self.code = self._work(self)
            except BaseException:  # SystemExit is of a module that the run imports
                traceback.print_exc()
                self.code = RUN_FAILED


def train(seats: Sequence[Seat], ended: Callable[[str, int], None], watch: Watch) -> None:
    """Let all runs go on till each has ended, however it does.

    Args:
        seats: the runs.
        ended: told the name and the exit code of each as soon as it has.
        watch: told whose turn it is.
    """
    together, process = Together(), Process()
    answers: Mapping[Seat, Any] = dict.fromkeys(seats)
    going = [*seats]
    with HeardByAll([seat.interrupt for seat in seats]):
        while going:
            for seat, answer in answers.items():
                if seat.interrupt.code and not seat.begun:
                    seat.code = seat.interrupt.code
                else:
                    watch.begin(seat.name)
                    process.give(seat)
                    seat.go_on(together, answer)
                if seat.code is not None:
                    process.forget(seat)
                    ended(seat.name, seat.code)
            watch.end()
            going = [seat for seat in going if seat.code is None]
            answers = _answers(going, together, process, watch)


def _answers(going: Sequence[Seat], together: Together, process: Process, watch: Watch) -> Mapping[Seat, Any]:
    """What the runs are given that go on next: those in a rollout, or else all of them, who wait for their updates."""
    looks = {seat: seat.asks for seat in going if isinstance(seat.asks, Look)}
    if looks:
        return dict(zip(looks, together.act([*looks.values()]), strict=True))
    seats = {seat.asks.agent: seat for seat in going if isinstance(seat.asks, Update)}

    @contextmanager
    def within(agent: PPO) -> Iterator[None]:
        watch.begin(seats[agent].name)
        process.give(seats[agent])
        try:
            yield
        finally:
            watch.end()

    raised = together.update([*seats], within)
    return {seats[agent]: error for agent, error in raised.items()}
