"""What the terminal shows of an ablation while it is worked off: one live table, or plain lines where none can be."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from crl.ablation.launching import Launcher
from crl.ablation.loop import GOING, Status
from crl.ablation.watch import TURN, TURN_OF
from crl.config.messages import printable, shortened
from crl.screen import GIGA, is_terminal, say

SHOW_EVERY = 0.5  # seconds between two tables
LINE_EVERY = 300.0  # seconds between two lines where the output is no terminal
MOST = 1e18  # of what a run tells
COLUMNS = ("run", "task", "step", "", "steps/s", "memory", "time left")


class Board:
    """Shows the runs that go on, and the sum of all.

    Args:
        statuses: name of each run -> what is known of it.
        stopping: what is going on once it is asked to stop.
        clock: in seconds.
    """

    def __init__(
        self,
        statuses: Mapping[str, Status],
        stopping: str = Launcher.stopping,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._statuses, self._told, self._clock = statuses, stopping, clock
        self._live = Live(auto_refresh=False, console=Console()) if is_terminal() else None
        self._shown, self._line, self._stopping = -math.inf, clock(), False
        self._held_up: set[str] = set()  # by whom, as far as it was said

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.update(self.table(), refresh=True)
            self._live.stop()

    def changed(self, name: str, status: Status) -> None:
        """Print that the state of a run has changed, where there is no table that shows it."""
        if self._live is None:
            at = f" at step {status.step:,} of {status.steps:,}" if status.state != "done" else ""
            why = f": {status.why}" if status.why else ""
            say(f"{name}: {status.state}{at}{why}; {summary(self._statuses)}")

    def show(self, stopping: bool = False) -> None:
        """Show how things are, if that is due.

        Args:
            stopping: the runs have been asked to save and end.
        """
        now = self._clock()
        if stopping and not self._stopping:
            self._stopping, self._shown = True, -math.inf
            if self._live is None:
                say(self._told)
        if self._live is None:
            held_up = holding_up(self._statuses)
            for sentence in [held_up[name] for name in held_up if name not in self._held_up]:
                say(sentence)
            self._held_up = {*held_up}
        if self._live is None and now - self._line >= LINE_EVERY:
            self._line = now
            say(summary(self._statuses))
        elif self._live is not None and now - self._shown >= SHOW_EVERY:
            self._shown = now
            self._live.update(self.table(), refresh=True)

    def table(self) -> Group:
        """The runs that go on or have failed, a row each, and the sum of all."""
        table = Table()
        for column in COLUMNS:
            table.add_column(column, justify="left" if column in ("run", "task") else "right", overflow="ellipsis")
        for name, status in self._statuses.items():
            if status.state == "running":
                table.add_row(*map(Text, row(name, status)))
        failed = [
            Text(f"failed: {name}: {printable(status.why)}")
            for name, status in self._statuses.items()
            if status.state == "failed"
        ]
        stopping = [Text(self._told)] if self._stopping else []
        held_up = map(Text, holding_up(self._statuses).values())
        return Group(table, *failed, *held_up, Text(summary(self._statuses)), *stopping)


def row(name: str, status: Status) -> list[str]:
    """What the table shows of a run that goes on."""
    task, rate, memory = status.told.get("task"), speed(status), _number(status.told, "memory")
    return [
        name if status.here else f"{name} (elsewhere)",
        shortened(printable(task)) if isinstance(task, str) else "-",
        f"{status.step:,} of {status.steps:,}",
        f"{status.step / max(status.steps, 1):.0%}",
        f"{rate:,.0f}" if rate else "-",
        f"{memory / GIGA:.2f} GB" if memory else "-",
        clock((status.steps - status.step) / rate) if rate else "-",
    ]


def summary(statuses: Mapping[str, Status]) -> str:
    """Such as ``3 of 50 done, 2 running, 1 failed, about 5:02:10 left``."""
    counts = Counter(status.state for status in statuses.values())
    words = [f"{counts['done']} of {len(statuses)} done"]
    words += [f"{counts[state]} {state}" for state in ("running", "queued", "failed") if counts[state]]
    left = seconds_left(statuses)
    return ", ".join(words if left is None else [*words, f"about {clock(left)} left"])


def seconds_left(statuses: Mapping[str, Status]) -> float | None:
    """Till all runs are done, if those that wait are as fast as those that go on; None where that is not known."""
    rates = [rate for status in statuses.values() if status.state == "running" and (rate := speed(status))]
    steps = sum(each.steps - each.step for each in statuses.values() if each.state in GOING)
    return steps / sum(rates) if rates else None


def holding_up(statuses: Mapping[str, Status]) -> dict[str, str]:
    """Run whose turn lasts -> a sentence for those that wait for it in its process, and for whoever may end that."""
    found: dict[str, list[Status]] = {}
    for status in statuses.values():
        name = status.told.get(TURN_OF)
        if status.state == "running" and isinstance(name, str) and name in statuses:
            found.setdefault(name, []).append(status)
    return {name: _held_up(name, those[0].told, len(those) - 1) for name, those in found.items()}


def _held_up(name: str, told: Mapping[str, Any], others: int) -> str:
    where = f"process {_number(told, 'pid'):.0f} of {printable(str(told.get('machine')).partition(' ')[0])}"
    return (
        f"{name} has had its turn for {clock(_number(told, TURN))}, and {others} {'run' if others == 1 else 'runs'} of "
        f"its team wait for it; if its environment hangs, kill {where}: all go on from their checkpoints"
    )


def speed(status: Status) -> float:
    """Steps a second, 0 where that is not known."""
    return _number(status.told, "speed")


def _number(told: Mapping[str, Any], key: str) -> float:
    """A number that anybody may have written; 0 where it is none."""
    value = told.get(key)
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < MOST
    return float(value) if good and value is not None else 0.0


def clock(seconds: float) -> str:
    """Such as ``1:02:03``."""
    return str(timedelta(seconds=round(min(max(seconds, 0.0), 1e9))))
