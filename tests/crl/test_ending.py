"""How runs end before their time: the wish to stop, what a failure means, and the report of it."""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
import walk_world
from processes import Process
from stored import HeldError

import envs
from crl.ending import Interrupt, LossError, ObservationError, RolloutTime, cause, remedy, report


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_a_wish(number: signal.Signals, code: int, capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(number)
    with Interrupt() as interrupt:
        assert interrupt.code == 0
        os.kill(os.getpid(), number)
        assert interrupt.code == code
    assert signal.getsignal(number) is before
    assert capfd.readouterr().err == (
        "\nfinishing this rollout and update (none has begun yet), then saving; Ctrl-C again exits at once\n"
    )


@pytest.mark.parametrize("ignored", [False, True])
def test_the_end_of_the_terminal_is_a_wish_and_no_second_one_but_under_nohup(ignored: bool) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        with Interrupt() as interrupt:
            for _ in range(2):  # of the terminal, and of the shell that it has ended
                os.kill(os.getpid(), signal.SIGHUP)
                assert interrupt.code == (0 if ignored else 143)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_wish_needs_nobody_who_reads(tmp_path: Path) -> None:
    program = """
import os, signal
from crl.ending import Interrupt
from crl.screen import warn
reading, writing = os.pipe()
os.close(reading)  # as where Ctrl-C has ended `tee`, too
os.dup2(writing, 2)
with Interrupt() as interrupt:
    os.kill(os.getpid(), signal.SIGINT)
    warn("nobody reads this")
    print(interrupt.code, flush=True)
    os.kill(os.getpid(), signal.SIGINT)
"""
    process = Process(code=program, cwd=tmp_path)
    assert (process.wait(), process.printed()) == (130, "130\n")


def test_stopping_says_how_long_the_rollout_still_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)
    rollout = RolloutTime()
    assert rollout.left() == "none has begun yet"
    rollout.begin()
    assert rollout.left() == "the first one: how long it takes is not known yet"
    now += 300
    rollout.end()
    now += 1000  # which a checkpoint takes, and no rollout
    rollout.begin()
    assert rollout.left() == "about 5 min, as the last one"
    now += 260
    assert rollout.left() == "about 40 s, as the last one"
    now += 39.5
    assert rollout.left() == "about a second, as the last one"
    now += 1
    assert rollout.left() == "longer than the last one by now, which took 5 min"


def test_after_training_a_signal_has_nothing_to_stop(capfd: pytest.CaptureFixture[str]) -> None:
    with Interrupt() as interrupt:
        interrupt.trained = True
        os.kill(os.getpid(), signal.SIGINT)
    assert capfd.readouterr().err == "\nthe run is finished and being saved; Ctrl-C again exits at once\n"


@pytest.mark.parametrize(
    ("saved", "number", "code", "sentence"),
    [
        ("None", "SIGINT", 130, "nothing was saved; crl resume starts this run again"),
        (
            "Path('runs/a b/checkpoints/64')",
            "SIGTERM",
            143,
            "not saved any more; crl resume goes on from runs/a b/checkpoints/64",
        ),
    ],
)
def test_a_second_one_exits_at_once(saved: str, number: str, code: int, sentence: str, tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from crl.ending import Interrupt
with Interrupt() as interrupt:
    interrupt.saved = {saved}
    os.kill(os.getpid(), signal.SIGTERM)
    print(interrupt.code, flush=True)
    os.kill(os.getpid(), signal.{number})
    print("still here", flush=True)
"""
    process = Process(code=program, cwd=tmp_path)
    assert (process.wait(), process.printed()) == (code, "143\n")
    assert process.errors().splitlines()[-1] == sentence


NAN = np.array([0.0, np.nan])
OBSERVATIONS = {
    "array": (NAN, True),
    "dict": ({"a": np.zeros(2, np.int8), "b": NAN}, True),
    "finite dict": ({"a": np.zeros(2, np.int8), "b": np.zeros(2)}, False),
    "none yet": (None, False),
}


@pytest.mark.parametrize("kind", OBSERVATIONS)
def test_observations_that_are_not_finite_are_the_cause(kind: str) -> None:
    policy = torch.nn.Linear(2, 2)
    observations, guilty = OBSERVATIONS[kind]
    error = ValueError("Expected parameter logits to satisfy the constraint, but found invalid values")
    found = cause(error, policy, observations, "walk")
    assert isinstance(found, ObservationError) == guilty
    assert (found is error) != guilty
    if guilty:
        assert str(found) == "an observation of task 'walk' is not finite"
    full = OSError(errno.ENOSPC, "full")
    assert cause(full, policy, observations, "walk") is full
    policy.bias.data[0] = torch.nan
    assert str(cause(error, policy, observations, "walk")) == "the parameter bias is not finite"


def raised_in_play(what: Any, actions: Any) -> Exception:
    """What a stream raises when it is played so."""
    env = envs.make(what, n_envs=1)
    try:
        env.reset(seed=0)
        env.step(actions)
    except Exception as error:
        return error
    finally:
        env.close()
    raise AssertionError


class Unwell(walk_world.Walk):
    def __init__(self, answer: Any = None) -> None:
        super().__init__()
        self.answer = answer

    def step(self, action: Any) -> Any:
        return Path("/no/such/file").open() if self.answer is None else self.answer


gymnasium.register("Unwell-v0", Unwell, max_episode_steps=9)
CORRECT = "correct the environment, then resume the run"


REMEDIES: dict[str, tuple[Callable[[], BaseException], str]] = {
    "loss": (lambda: LossError("train/loss is nan"), "lower agent.learning_rate"),
    "memory": (lambda: torch.OutOfMemoryError("out"), "lower agent.batch_size or agent.n_envs, or give device=cpu"),
    "disk": (lambda: OSError(errno.ENOSPC, "No space left on device"), "free some disk space, then resume the run"),
    "read-only": (
        lambda: OSError(errno.EROFS, "Read-only file system"),
        "make its place writable, then resume the run",
    ),
    "held": (HeldError, "may have the file open: close it there, then resume the run"),
    "file": (lambda: FileNotFoundError(errno.ENOENT, "gone"), "resume the run once the cause is gone"),
    "environment": (lambda: raised_in_play("Unwell-v0", [0]), CORRECT),
    "answer": (lambda: raised_in_play({"id": "Unwell-v0", "answer": (1, 2)}, [0]), CORRECT),
    "our world": (lambda: raised_in_play("cartpole", [7]), "resume the run once the cause is gone"),
    "our batch": (lambda: raised_in_play("Unwell-v0", 0), "resume the run once the cause is gone"),
    "other": (lambda: RuntimeError("what"), "resume the run once the cause is gone"),
}


@pytest.mark.parametrize("kind", REMEDIES)
def test_remedies(kind: str, tmp_path: Path) -> None:
    make, sentence = REMEDIES[kind]
    assert sentence in remedy(make(), tmp_path)


def test_a_run_without_its_folder(tmp_path: Path) -> None:
    gone = "the run's folder may have been moved or removed while it trained: put it back, then resume the run"
    assert remedy(FileNotFoundError(errno.ENOENT, "gone"), tmp_path / "gone") == gone


def test_the_report_says_which_task_raised(tmp_path: Path) -> None:
    path = report(raised_in_play("Unwell-v0", [0]), tmp_path, 1, "")
    assert path is not None
    assert "raised by an environment of task 'Unwell-v0'" in path.read_text().splitlines()


def test_a_report_holds_the_traceback_the_step_and_the_config(tmp_path: Path) -> None:
    try:
        raise ValueError("two\nlines")
    except ValueError as error:
        path = report(error, tmp_path, 1234, "seed: 3\n")
    assert path == tmp_path / "crash-1234.txt"
    text = path.read_text()
    assert text.startswith("at step 1,234: two lines\n\nTraceback")
    assert 'raise ValueError("two\\nlines")' in text
    assert text.endswith("\nseed: 3\n")
    assert report(ValueError(), tmp_path / "gone", 1, "") is None
