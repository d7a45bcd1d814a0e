"""What is done with the numbers of a run at each service, in the process that sends them."""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from crl.mirroring.memory import Memory

PROJECT = "crl"  # where the service's own variables name no other
BY_VISIT = "Return_by_visit/"  # `crl.monitoring.tasks.RETURN_BY_VISIT`, which loads torch
AT_ONCE = 100  # parameters of a request to MLflow, which takes no more


class Service(Protocol):
    """A service that has been reached, and knows the run. All of it may raise whatever its package does."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Send numbers of a step."""

    def close(self, finished: bool) -> None:
        """Send what is left; whether the run has come to its end."""


class Wandb:
    """Weights & Biases: a run of the project in WANDB_PROJECT, or else ``crl``.

    Its steps never fall, so that results over visits, whose step is the number of the visit, get an axis of their own.

    Args:
        memory: holds the run's id, or gets one.
        name: of the run.
        group: in which it is shown.
        config: of the run.
    """

    def __init__(self, memory: Memory, name: str, group: str, config: dict[str, Any]) -> None:
        import wandb

        if memory.id is None:
            memory.name(secrets.token_hex(8))
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=memory.id,
            resume="allow",
            name=name,
            group=group,
            config=config,
            allow_val_change=True,
            settings=wandb.Settings(silent=True, console="off"),
        )
        self._run.define_metric(f"{BY_VISIT}*", step_metric="visit")
        self._step = self._run.step
        self._visit: int | None = None  # which that step has got: it holds one

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See `Service`."""
        if all(tag.startswith(BY_VISIT) for tag in values):
            if self._visit not in (None, step):  # visits shorter than what a row is written after
                self._step += 1
            self._visit = step
            self._run.log({**values, "visit": step}, step=self._step)
        else:
            if step > self._step:
                self._step, self._visit = step, None
            self._run.log(dict(values), step=step)

    def close(self, finished: bool) -> None:
        """See `Service`."""
        self._run.finish(exit_code=0 if finished else 1)


class Mlflow:
    """MLflow: a run of the experiment in MLFLOW_EXPERIMENT_ID or MLFLOW_EXPERIMENT_NAME, or else ``crl``.

    Args:
        memory: holds the run's id, or gets it.
        name: of the run.
        group: a tag of it.
        config: of the run, whose values become parameters with dotted names.
    """

    def __init__(self, memory: Memory, name: str, group: str, config: dict[str, Any]) -> None:
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")  # of itself it tries for many minutes
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
        import mlflow
        from mlflow.entities import Metric, Param
        from mlflow.tracking import MlflowClient

        self._metric, self._client = Metric, MlflowClient()
        if memory.id is None:
            experiment = os.environ.get("MLFLOW_EXPERIMENT_ID")
            if experiment is None:
                experiment = mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)).experiment_id
            run = self._client.create_run(experiment, run_name=name, tags={"group": group})
            memory.name(run.info.run_id)
            params = [Param(metric_name(key), value) for key, value in flat(config)]
            for first in range(0, len(params), AT_ONCE):
                self._client.log_batch(memory.id, params=params[first : first + AT_ONCE])
        else:
            self._client.update_run(memory.id, status="RUNNING")
        self._id = memory.id

    def log(self, values: Mapping[str, float], step: int) -> None:
        """See `Service`."""
        now = time.time_ns() // 1_000_000
        metrics = [self._metric(metric_name(tag), value, now, step) for tag, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def close(self, finished: bool) -> None:
        """See `Service`."""
        self._client.set_terminated(self._id, "FINISHED" if finished else "KILLED")


SERVICES: dict[str, type[Wandb] | type[Mlflow]] = {"wandb": Wandb, "mlflow": Mlflow}


def metric_name(tag: str) -> str:
    """A tag with what MLflow refuses in names written as ``_``: other marks, and parts that no file could have."""
    parts = re.sub(r"[^\w\-. :/]", "_", tag).split("/")
    return "/".join(re.sub(r"^\.*$", lambda dots: "_" * max(len(dots[0]), 1), part) for part in parts)


def flat(config: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Dotted key and text of each value of a config; of an empty list or mapping, too."""
    items = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    inner = [(f"{key}.{name}" if key else str(name), value) for name, value in items]
    if not inner:
        yield key, str(config)
    for name, value in inner:
        yield from flat(value, name)
