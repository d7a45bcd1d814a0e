"""Workers as jobs of a Slurm cluster, which begin as one array.

A job starts the worker as a process of its own. At the end of its time, or where it is preempted, the worker saves and
the job is queued again; of what was killed the run's claim says that it is free.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Self

from submitit.core.core import Job, PicklingExecutor
from submitit.core.utils import DelayedSubmission, FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmExecutor

from crl.ablation.elsewhere import Answer, Errand, Errands
from crl.ablation.launching import LOST, RUN_FAILED, Launcher
from crl.ablation.settings import SlurmConfig
from crl.config import ConfigError
from crl.config.messages import one_line
from crl.exit_codes import INTERRUPTED, REFUSED, TERMINATED

REQUEUES = 1_000_000  # of a job at the end of its time: a run that saves comes further each time
LOOK = 10.0  # seconds between two looks at a job: many look into a folder that all machines share
TICK = 0.2  # seconds between two looks of a job at its worker
NOTICE = 60.0  # seconds in which a preempted job, which gets SIGTERM first, gets the signal to queue again


class WorkerJob:
    """A job: the worker of a run, from its beginning to its end.

    Args:
        errand: what is started.
    """

    def __init__(self, errand: Errand) -> None:
        self.errand = errand
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> Answer:
        if refusal := self.errand.refusal():
            return Answer(REFUSED, refusal)
        # One of them comes before the end of a job's time, to all of its processes, and would end the worker unsaved.
        signals = (signal.SIGUSR1, signal.SIGUSR2)
        signal.pthread_sigmask(signal.SIG_BLOCK, signals)
        process = self._process = self.errand.begin()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
        while process.poll() is None:  # `wait` holds a lock that `checkpoint` would wait for
            time.sleep(TICK)
        if process.returncode == TERMINATED:
            time.sleep(NOTICE)
        return Answer(process.returncode)

    def checkpoint(self) -> DelayedSubmission:
        """What is queued again: the same, which goes on from what the worker has saved by then."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(ChildProcessError):  # it has been waited for
                os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
        return DelayedSubmission(WorkerJob(self.errand))


class SlurmWorker:
    """A job of Slurm.

    Args:
        job: of submitit.
        note: takes what is known of its end.
    """

    def __init__(self, job: Job[Answer], note: Callable[[str], None]) -> None:
        self.job, self._note = job, note
        self.ended, self._left, self._look = False, False, 0.0

    def poll(self) -> int | None:
        """See `crl.ablation.launching.Worker`; one that was left counts as interrupted, though its job goes on."""
        if self._left:
            return INTERRUPTED
        if time.monotonic() < self._look:
            return None
        self._look = time.monotonic() + LOOK
        self.ended = self.job.done()
        return self._code() if self.ended else None

    def stop(self) -> None:
        """Leave the job to Slurm, where it goes on."""
        self._left = True

    def _code(self) -> int:
        if not self.job.paths.result_pickle.exists():
            state, log = self.job.state, self.job.paths.stderr
            self._note(f"its job {self.job.job_id} has ended without an answer ({state}); its log: {log}")
            return RUN_FAILED if state.startswith("CANCELLED") else LOST
        try:
            code, refusal = self.job.result()
        except FailedJobError as error:
            self._note(f"its job {self.job.job_id} failed: {one_line(str(error))}")
            return RUN_FAILED
        if refusal:
            raise ConfigError(refusal)
        return int(code)


class Slurm(Launcher):
    """Starts workers as jobs, which go on when this process ends.

    Args:
        folder: of the ablation.
        command: the command line for a run.
        settings: of the jobs.
        executor: makes what submits them, from a folder of its own.
    """

    queues: ClassVar[bool] = True
    on_interrupt: ClassVar[str] = "Ctrl-C leaves the jobs to Slurm, where they go on"
    stopping: ClassVar[str] = "leaving the jobs to Slurm, where they go on; scancel ends them"

    def __init__(
        self,
        folder: Path,
        command: Callable[[str], Sequence[str]],
        settings: SlurmConfig,
        executor: Callable[..., PicklingExecutor] = SlurmExecutor,
    ) -> None:
        self._folder, self._errands = folder.absolute(), Errands(folder, command)
        self._settings = {"job_name": self._folder.name, **settings.model_dump(exclude_none=True)}
        self._make = executor
        self._workers: list[SlurmWorker] = []

    def __enter__(self) -> Self:
        parent = self._folder.parent
        if not str(self._folder).isprintable():  # a second line would be a command of the job's script
            raise ConfigError(
                f"the folder {str(self._folder)!r} is not one line of text, which jobs of Slurm need; give another one"
            )
        try:
            # Beside the runs and not among them: it has links, and pickles, which nobody may have put there before.
            self._place = Path(tempfile.mkdtemp(prefix=f".{self._folder.name}.slurm-", dir=parent))
        except OSError as error:
            raise ConfigError(
                f"{str(parent)!r}, where the jobs are described, cannot be written ({error.strerror}); give another "
                "folder for the runs"
            ) from None
        logging.getLogger("submitit").setLevel(logging.CRITICAL)  # it prints
        try:
            self._executor = self._make(self._place, max_num_timeout=REQUEUES)
        except RuntimeError:
            self._place.rmdir()
            raise ConfigError(
                "--launcher slurm needs Slurm's srun, which is not found here; type it on a machine of the cluster"
            ) from None
        self._executor.update_parameters(**self._settings)
        self._errands.begin()
        return self

    def __exit__(self, *_: object) -> None:
        if all(worker.ended for worker in self._workers):
            self._errands.end()
            shutil.rmtree(self._place, ignore_errors=True)

    def start(self, name: str) -> SlurmWorker:
        """See `Launcher`."""
        job = self._executor.submit(WorkerJob(self._errands.of(name)))
        self._workers.append(SlurmWorker(job, lambda words: self._errands.note(name, words)))
        return self._workers[-1]

    @contextmanager
    def together(self) -> Iterator[None]:
        """See `Launcher`: the jobs of one array.

        Raises:
            ConfigError: Slurm does not take them.
        """
        before = len(self._workers)
        try:
            with contextlib.redirect_stderr(io.StringIO()), self._executor.batch():  # what sbatch says is printed, too
                yield
        except (FailedJobError, FailedSubmissionError, OSError) as error:
            del self._workers[before:]  # none of them became a job
            raise ConfigError(
                f"Slurm does not take the jobs: {one_line(error)}; change slurm in the file, or give fewer --workers"
            ) from None
