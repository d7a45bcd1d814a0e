"""The runs of a grid, all of their configs checked before one starts, and what is known of each."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from agents import batched
from agents.learner import LearnerMixin
from crl import checkpoints, claims, models, resuming, sources
from crl.ablation.grid import Cell, Grid
from crl.config import ConfigError, RunConfig
from crl.config.imports import beside
from crl.models.memory import available_bytes, replay_bytes
from crl.results import RunResults
from crl.screen import GIGA
from crl.storage.files import DamagedError
from crl.training import checked_config
from envs import StreamVectorEnv

GROWTH = 1.25  # of a process from where it is built to its most


@dataclass(frozen=True)
class Planned:
    """One run of an ablation.

    Attributes:
        cell: its place in the grid.
        config: checked.
        folder: of the run.
    """

    cell: Cell
    config: RunConfig
    folder: Path

    @property
    def steps(self) -> int:
        """Steps from its beginning to its end."""
        return self.config.stream.total_steps

    def is_finished(self) -> bool:
        """Whether it has nothing left to train."""
        return resuming.is_finished(self.folder)

    def reached(self) -> int:
        """The step of its newest checkpoint, 0 where there is none."""
        names = (path.name for path in (self.folder / checkpoints.FOLDER).glob("*"))
        return max((int(name) for name in names if name.isdecimal() and len(name) < 19), default=0)

    def look(self) -> claims.Sight:
        """Whether a process trains it, and what that tells."""
        return claims.look(self.folder)

    def results(self) -> RunResults | None:
        """What it has brought, None where it has not or that cannot be read."""
        try:
            return RunResults.read(self.folder)
        except DamagedError:
            return None


@contextmanager
def modules_of(grid: Grid) -> Iterator[None]:
    """While this lasts the modules are found that lie beside the ablation's file or beside its base config."""
    with ExitStack() as stack:
        for path in dict.fromkeys((grid.file, grid.base)):
            stack.enter_context(beside(path))
        yield


def config_of(raw: Mapping[str, Any], folder: Path) -> RunConfig:
    """The config of a run of the ablation in a folder, checked.

    Raises:
        ConfigError: something is refused.
    """
    return checked_config({**raw, "runs": str(folder), "threads": 1})


def planned(grid: Grid) -> dict[str, Planned]:
    """Name -> run, for all runs of a grid.

    Raises:
        ConfigError: the config of one is refused.
    """
    found = {}
    for cell in grid.cells:
        try:
            found[cell.name] = Planned(cell, config_of(cell.raw, grid.folder), grid.folder / cell.name)
        except ConfigError as error:
            raise ConfigError(f"run {cell.name}: {error}") from None
    return found


def memory_needed(runs: Sequence[Planned]) -> dict[str, int]:
    """Arm -> bytes that a run of it takes at most, about: as those of the arm have taken that are done, or built once.

    Raises:
        ConfigError: one cannot be built here.
    """
    needed: dict[str, int] = {}
    for run in runs:
        if (results := run.results()) is not None and results.status == "done":
            needed[run.cell.arm] = max(needed.get(run.cell.arm, 0), results.peak_memory.process)
    for run in runs:
        if run.cell.arm not in needed:
            needed[run.cell.arm] = _built(run)
    return needed


def _built(run: Planned) -> int:
    """Bytes of a process that has built a run and filled its replay; what it grows by is estimated."""
    with _build(run, "cpu") as (config, _, env):
        return int(psutil.Process().memory_info().rss * GROWTH) + replay_bytes(config.agent, env)


def why_alone(run: Planned) -> str | None:
    """Why a run can be trained by itself alone, None where its updates can be made together with others'.

    Raises:
        ConfigError: it cannot be built here.
    """
    with _build(run, run.config.device) as (_, model, _):
        return batched.why_alone(model)


@contextmanager
def _build(run: Planned, device: str) -> Iterator[tuple[RunConfig, LearnerMixin, StreamVectorEnv]]:
    """A run built on a device, to be looked at."""
    try:
        models.check_device(run.config.device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the run itself gives them
            config, model, env = models.build(run.config.model_copy(update={"device": device}))
        try:
            if config.source is not None:
                sources.beginning(config.source, model)
            yield config, model, env
        finally:
            env.close()
            del model
            gc.collect()
    except ConfigError as error:
        raise ConfigError(f"run {run.cell.name}: {error}") from None


def memory_together(needed: int, runs: int) -> int:
    """Bytes of a process that trains several runs, of which each takes `needed` in one for itself.

    What this process takes, which has built runs and holds none, they have but once.
    """
    return needed + (runs - 1) * max(needed - psutil.Process().memory_info().rss, 0)


def workers_that_fit(wanted: int | None, cores: int, needed: int) -> int:
    """How many runs at once.

    Args:
        wanted: as many, if that is possible; None for one on each core, or as many as fit.
        cores: that this process may use.
        needed: bytes that a run takes.

    Raises:
        ConfigError: `wanted` runs take more memory than there is, or one does.
    """
    there = available_bytes()
    fitting = there // max(needed, 1)
    if fitting < (wanted or 1):
        count = f"workers={wanted} runs at once take" if wanted else "a run takes"
        remedy = f"give --workers {fitting}" if fitting else "lower agent.n_envs or agent.buffer_size"
        raise ConfigError(
            f"{count} about {needed * (wanted or 1) / GIGA:.1f} GB, but only {there / GIGA:.1f} GB of memory are "
            f"there; {remedy}"
        )
    return wanted or min(cores, fitting)
