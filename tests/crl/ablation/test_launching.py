"""Workers as processes of this machine."""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from crl.ablation.launching import Local, last_words

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(300)"


def test_a_worker_that_hears_no_signal_ends_when_it_is_stopped_again(tmp_path: Path) -> None:
    worker = Local(tmp_path, lambda _name: [sys.executable, "-c", DEAF], {}).start("a")
    deadline = time.monotonic() + 60
    while last_words(tmp_path, "a") != "deaf":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    worker.stop()
    time.sleep(0.1)
    assert worker.poll() is None
    worker.stop()
    assert worker.process.wait(60) == -signal.SIGKILL
