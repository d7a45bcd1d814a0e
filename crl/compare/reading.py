"""What the folders of runs say of their results: read as data, and with suspicion."""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from crl.compare.places import not_begun, places_of
from crl.config import ConfigError
from crl.config.messages import one_line, shown
from crl.config.reading import read_yaml
from crl.evaluation import FILE as EVALUATIONS
from crl.metrics import Scores, Segment
from crl.metrics.scores import in_order
from crl.opening import check_entries
from crl.results import FILE, RunResults
from crl.screen import warn
from crl.storage.files import DamagedError, read_whole

MAX_LOG = 1 << 28  # bytes
MAX_SCORES = 1 << 24  # evaluations times tasks; crl writes a row for each
LONGEST = 2**62  # steps of a stream
REMEDY = "compare runs of one stream"
COLUMNS = ("step", "task", "return_mean")
FEW_MORE = 1.1  # times as many evaluations as another run's, which change no worst score by much
# What the agent sees of the stream, what it is called, and which of its kind it is.
OF_THE_RUN = ("boundary", "frame_stack", "label", "seed")


@dataclass(frozen=True)
class Run:
    """What a run that has ended has come to.

    Attributes:
        folder: of the run.
        config: as its file has it.
        seed: of the run.
        results: what it has brought.
        scores: mean return of each task at each evaluation; None where the run had none.
        arm: name that an ablation has given to its arm.
    """

    folder: Path
    config: Mapping[str, Any]
    seed: int
    results: RunResults
    scores: Scores | None
    arm: str | None = None

    @property
    def stream(self) -> Mapping[str, Any]:
        """Its section of the config, without what belongs to the run alone."""
        return stream_of(self.config)

    @property
    def evaluation(self) -> Mapping[str, Any]:
        """How it was evaluated: that section of its config, without what a clock has decided."""
        found = self.config.get("evaluation")
        return {key: value for key, value in found.items() if key != "share"} if isinstance(found, dict) else {}

    @property
    def segments(self) -> list[Segment]:
        """What was trained when."""
        return [Segment(visit.task, visit.start, visit.start + visit.steps) for visit in self.results.visits]

    @property
    def families(self) -> dict[str, str]:
        """Task -> the name that it shares with its variants."""
        return {visit.task: visit.family for visit in self.results.visits}


def stream_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """That section of a run's config, without what belongs to the run alone."""
    found = config.get("stream")
    return {key: value for key, value in found.items() if key not in OF_THE_RUN} if isinstance(found, dict) else {}


def read_all(folders: Sequence[Path]) -> list[Run]:
    """The runs that have ended, of one stream.

    Args:
        folders: of runs, and of ablations, which stand for all of their runs.

    Raises:
        ConfigError: a folder is neither, something in it is a link or damaged, no run has ended, or the runs are of
            different streams.
    """
    places, waiting = places_of(folders)
    found = [read(place.folder, place.arm) for place in places]
    runs = [run for run in found if run is not None]
    unfinished = [str(place.folder) for place, run in zip(places, found, strict=True) if run is None]
    if unfinished:
        others = f" and {len(unfinished) - 1} more have" if len(unfinished) > 1 else " has"
        said = f"{unfinished[0]!r}{others} not ended"
        if not runs:
            raise ConfigError(
                f"{said}, and there is nothing to compare; end a run by crl resume, or wait until one has"
            )
        warn(f"{said}, and is left out" if len(unfinished) == 1 else f"{said}, and are left out")
    if waiting:
        warn(not_begun(waiting, len(places)))
    check_same_stream(runs)
    for sentence in (*without_returns(runs), *other_evaluations(runs)):
        warn(sentence)
    return runs


def read(folder: Path, arm: str | None = None) -> Run | None:
    """A run; None of one that has not ended.

    Args:
        folder: of the run.
        arm: name that an ablation has given to its arm.

    Raises:
        ConfigError: it is none, something in it is a link, or a file is damaged.
    """
    config = read_config(folder)
    seed = config["seed"]
    if not (folder / FILE).is_file():
        return None
    try:
        results = RunResults.read(folder)
        if results.status != "done":
            return None
        scores = read_scores(folder)
    except DamagedError as error:
        raise ConfigError(f"{error}; put it back as it was, or leave the run out") from None
    run = Run(folder, config, seed, results, scores, arm)
    try:
        last = in_order(run.segments)[-1]
    except ValueError as error:
        raise ConfigError(f"{str(folder / FILE)!r} is no record of a run: {error}") from None
    if last.stop >= LONGEST:
        raise ConfigError(f"{str(folder / FILE)!r} is no record of a run: it has {last.stop:.3g} steps")
    return run


def read_config(folder: Path) -> dict[str, Any]:
    """The config of a run as its file has it, with a seed.

    Raises:
        ConfigError: the folder is no run's, or something in it is a link.
    """
    if not (folder / "config.yaml").is_file():
        raise ConfigError(f"{str(folder)!r} is no run: it has no config.yaml; give a folder that crl train has made")
    check_entries(folder)
    config = read_yaml(folder / "config.yaml")
    if not isinstance(config, dict) or not isinstance(config.get("seed"), int):
        raise ConfigError(f"the config of {str(folder)!r} has no seed; give a folder that crl train has made")
    return config


def read_scores(folder: Path, *, going_on: bool = False) -> Scores | None:
    """Mean returns in a run's evaluations; None where there is none yet.

    Args:
        folder: of the run.
        going_on: whether it may be writing the last row.

    Raises:
        DamagedError: they cannot be read, or are no log of evaluations.
    """
    path = folder / EVALUATIONS
    if not path.is_file():
        return None
    content = read_whole(path, MAX_LOG)
    whole = content[: content.rfind(b"\n") + 1]
    if not going_on and whole != content:  # half a number is one, too
        raise DamagedError(f"{str(path)!r} is no log of evaluations (its last row is not whole)")
    content = whole
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode("utf-8", "replace"), newline="")))
        if not rows:
            return None
        cells = {
            (int(step), task): _finite(score) for step, task, score in (map(row.__getitem__, COLUMNS) for row in rows)
        }
        steps, tasks = sorted({step for step, _ in cells}), [*dict.fromkeys(task for _, task in cells)]
        if len(steps) * len(tasks) > MAX_SCORES:
            raise ValueError(f"{len(steps)} evaluations of {len(tasks)} tasks")
        return Scores(steps, {task: [cells.get((step, task), math.nan) for step in steps] for task in tasks})
    except KeyError as error:
        problem = f"it has no column {error}"
    except (TypeError, ValueError, OverflowError, csv.Error) as error:
        problem = one_line(error)
    raise DamagedError(f"{str(path)!r} is no log of evaluations ({problem})")


def _finite(cell: str) -> float:
    value = float(cell)
    if not np.isfinite(value):
        raise ValueError(f"a return of {cell}")
    return value


def check_same_config(runs: Sequence[tuple[Path, Mapping[str, Any]]]) -> None:
    """Refuse runs whose configs are of different streams.

    Args:
        runs: folder and config of each.

    Raises:
        ConfigError: they are.
    """
    for (one, mine), (other, theirs) in itertools.pairwise((folder, stream_of(config)) for folder, config in runs):
        for key in {**mine, **theirs}:
            if mine.get(key) != theirs.get(key):
                raise ConfigError(
                    f"{str(one)!r} and {str(other)!r} are runs of different streams (stream.{key} is "
                    f"{shown(mine.get(key))} and {shown(theirs.get(key))}); {REMEDY}"
                )


def check_same_stream(runs: Sequence[Run]) -> None:
    """Refuse runs of different streams: of different configs or, with one seed, of different tasks.

    Raises:
        ConfigError: they are.
    """
    check_same_config([(run.folder, run.config) for run in runs])
    first: dict[int, Run] = {}
    for run in runs:
        known = first.setdefault(run.seed, run)
        for mine, theirs in itertools.zip_longest(known.results.visits, run.results.visits):
            names = [None if visit is None else visit.task for visit in (mine, theirs)]
            if names[0] != names[1]:
                raise ConfigError(
                    f"visit {(mine or theirs).segment + 1} is of {names[0]} in {str(known.folder)!r} and of {names[1]} "
                    f"in {str(run.folder)!r}, which has the same seed; {REMEDY}"
                )
        worlds, others = known.results.tasks, run.results.tasks
        for task in worlds.keys() & others.keys():
            if worlds[task] != others[task]:  # variants, which are drawn with stream.seed
                raise ConfigError(
                    f"{task} is another world in {str(known.folder)!r} than in {str(run.folder)!r}, which has the same "
                    f"seed; {REMEDY}, with one stream.seed"
                )


def without_returns(runs: Sequence[Run]) -> Iterator[str]:
    """What is said of runs in which no episode of some task has ended, so that they have no return there."""
    ended = [{visit.family for visit in run.results.visits if visit.mean_return is not None} for run in runs]
    missing = [
        (run, family)
        for run, known in zip(runs, ended, strict=True)
        for family in dict.fromkeys(run.families.values())
        if family not in known
    ]
    if missing:
        (run, family), *others = missing
        more = f" ({len(others)} more such tasks of runs)" if others else ""
        yield f"no episode of {family} has ended in {str(run.folder)!r}, which is left out of its returns{more}"


def other_evaluations(runs: Sequence[Run]) -> Iterator[str]:
    """What is said of runs that were evaluated in different ways, or not equally often, which their measures show."""
    evaluated = [run for run in runs if run.scores is not None]
    for one, other in itertools.pairwise(evaluated):
        for key in {**one.evaluation, **other.evaluation}:
            mine, theirs = one.evaluation.get(key), other.evaluation.get(key)
            if mine != theirs:
                yield (
                    f"{str(one.folder)!r} and {str(other.folder)!r} were evaluated in different ways (evaluation.{key} "
                    f"is {shown(mine)} and {shown(theirs)}), so that measures of evaluations differ by that, too"
                )
                return
    counts = {len(run.scores.steps): run for run in evaluated if run.scores is not None}
    least, most = min(counts, default=0), max(counts, default=0)
    if most > FEW_MORE * least:
        yield (
            f"{str(counts[least].folder)!r} was evaluated {least:,} times, and {str(counts[most].folder)!r} {most:,} "
            "times, so that a worst score is lower by chance in the one that has more; where time was short, "
            "evaluation.share=1 has as many in all"
        )
