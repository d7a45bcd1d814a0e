"""What `crl` tells the shell."""

import signal

DONE = 0
FAILED = 1
REFUSED = 2  # usage or config; nothing has been written
INTERRUPTED = 130  # Ctrl-C; what was there has been saved
TERMINATED = 143  # SIGTERM; the same
OF_SIGNALS = {signal.SIGINT: INTERRUPTED, signal.SIGTERM: TERMINATED}
"""Signals that end a run with what was there saved -> the exit code of that."""
if hasattr(signal, "SIGBREAK"):  # Windows', where nothing sends SIGTERM: Ctrl-Break, and how crl ablate asks
    OF_SIGNALS[signal.SIGBREAK] = TERMINATED
HANG_UP = getattr(signal, "SIGHUP", None)  # the end of the terminal or its connection; Windows has it not


def of_signals() -> dict[signal.Signals, int]:
    """`OF_SIGNALS`, with the end of the terminal where this process is not to outlive it, as under nohup it is."""
    if HANG_UP is None or signal.getsignal(HANG_UP) is not signal.SIG_DFL:
        return OF_SIGNALS
    return {**OF_SIGNALS, HANG_UP: TERMINATED}
