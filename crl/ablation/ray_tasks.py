"""Workers as tasks of a Ray cluster.

A task takes one CPU, or a share of a GPU beside it, and starts the worker as a process of its own. Ray repeats it as
often as its node is lost; whether the worker before it still trains the run, the run's claim decides.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from crl.ablation.elsewhere import Answer, Errand, Errands
from crl.ablation.launching import LOST, RUN_FAILED, Launcher
from crl.ablation.settings import RayConfig
from crl.config import ConfigError
from crl.config.messages import one_line
from crl.exit_codes import REFUSED, TERMINATED
from crl.screen import warn

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # read when Ray is imported
import ray
from ray.exceptions import RayError, RayTaskError, TaskCancelledError

TICK = 0.2  # seconds between two looks of a task at its worker
LISTENS = 10.0  # seconds in which a cluster has to answer
GRACE = 60.0  # seconds in which workers save when the launcher ends before them


def train(errand: Errand) -> Answer:
    """A task: the worker of a run, from its beginning to its end."""
    if refusal := errand.refusal():
        return Answer(REFUSED, refusal)
    process = errand.begin()
    try:
        while process.poll() is None:
            time.sleep(TICK)  # in which the task can be cancelled
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
    return Answer(process.returncode)


def _check_address(address: str) -> None:
    """Make sure that somebody listens at an address, for which Ray itself waits many minutes.

    Raises:
        OSError: nobody does.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), timeout=LISTENS).close()


class RayWorker:
    """A task of Ray.

    Args:
        reference: to its answer.
        note: takes what is known of its end.
    """

    def __init__(self, reference: Any, note: Callable[[str], None]) -> None:
        self._reference, self._note = reference, note
        self._asked = False

    def poll(self) -> int | None:
        """See `crl.ablation.launching.Worker`."""
        if not ray.wait([self._reference], timeout=0)[0]:
            return None
        try:
            code, refusal = ray.get(self._reference)
        except TaskCancelledError:
            return TERMINATED
        except RayTaskError as error:
            self._note(f"its task on Ray failed: {one_line(error.cause or error)}")
            return RUN_FAILED
        except RayError as error:
            self._note(f"its task on Ray was lost: {one_line(error)}")
            return LOST
        if refusal:
            raise ConfigError(refusal)
        return int(code)

    def stop(self) -> None:
        """See `crl.ablation.launching.Worker`."""
        ray.cancel(self._reference, force=self._asked)
        self._asked = True


class Ray(Launcher):
    """Starts workers as tasks of the cluster that ``RAY_ADDRESS`` names, else of this machine's, which it may start.

    Args:
        folder: of the ablation.
        command: the command line for a run.
        settings: what a task takes.
    """

    queues: ClassVar[bool] = True

    def __init__(self, folder: Path, command: Callable[[str], Sequence[str]], settings: RayConfig) -> None:
        self._errands, self._settings = Errands(folder, command), settings
        self._task: Any = None
        self._references: list[Any] = []

    def __enter__(self) -> Self:
        self._errands.begin()
        try:
            _check_address(os.environ.get("RAY_ADDRESS", ""))
            # Whatever its daemons tell, pages of it, would be printed; Ray has no switch for that.
            ray._private.worker.print_to_stdstream = lambda *_args, **_keywords: None
            ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        except (OSError, RuntimeError, ValueError) as error:
            self._errands.end()
            raise ConfigError(
                f"Ray gives no cluster: {one_line(error)}; set RAY_ADDRESS to the address of one that runs, or to local"
            ) from None
        share = self._settings.num_gpus
        if share and not ray.cluster_resources().get("GPU"):
            warn(f"no node of the Ray cluster has a GPU yet, and runs wait for one; leave ray.num_gpus={share:g} out")
        self._task = ray.remote(num_cpus=1, num_gpus=share, max_retries=-1)(train)
        return self

    def __exit__(self, *_: object) -> None:
        if self._references:
            ray.wait(self._references, num_returns=len(self._references), timeout=GRACE)
        ray.shutdown()
        self._errands.end()

    def start(self, name: str) -> RayWorker:
        """See `Launcher`."""
        reference = self._task.remote(self._errands.of(name))
        self._references.append(reference)
        return RayWorker(reference, lambda words: self._errands.note(name, words))
