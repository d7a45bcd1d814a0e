"""The runs of a report: what each has come to, or has logged till now, and what is missing of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crl.compare import reading
from crl.compare.places import Place, not_begun
from crl.config import ConfigError
from crl.config.messages import in_words
from crl.diagnosis.recorded import Diagnoses, diagnoses_in
from crl.metrics import Scores
from crl.plot.reading import Curves
from crl.plot.reading import read as read_curves
from crl.plot.thinning import bounded
from crl.results import RunResults
from crl.storage.files import DamagedError, read_whole

MAX_TEXT = 1 << 20  # bytes of a file that is shown
COMMAND, VERSIONS = "command.txt", "versions.txt"
MAX_ROWS = 4096  # of a run's logs that are kept, so that memory stays flat however long it is
LISTED = 3  # runs that a sentence names


@dataclass(frozen=True)
class Reported:
    """A run in a report.

    Attributes:
        folder: of the run.
        arm: name that an ablation has given to its arm.
        config: as its file has it.
        curves: rows of its logs, None where there is none yet.
        ended: what it has come to, None where it has not ended or that cannot be read.
        scores: its evaluations till now.
        results: what it has brought, also of one that was interrupted.
        command: the lines by which it was begun and gone on with.
        versions: what it was trained with.
        problems: a sentence for each file that cannot be read.
        diagnoses: that were made of it.
    """

    folder: Path
    arm: str | None
    config: Mapping[str, Any]
    curves: Curves | None
    ended: reading.Run | None
    scores: Scores | None
    results: RunResults | None
    command: str
    versions: str
    problems: tuple[str, ...]
    diagnoses: Diagnoses

    @property
    def seed(self) -> int:
        """Of the run."""
        return int(self.config["seed"])


def read(place: Place) -> Reported:
    """A run, of which files may be missing or damaged.

    Raises:
        ConfigError: it is none, something in it is a link, or its config cannot be read.
    """
    folder, problems = place.folder, list[str]()
    config = reading.read_config(folder)
    curves = ended = scores = results = None
    try:
        if (folder / "progress.csv").is_file() and (folder / "progress.csv").stat().st_size:
            curves = bounded(read_curves(folder, plasticity=True), MAX_ROWS)
    except ConfigError as error:
        problems.append(f"{error}; its curves are left out")
    try:
        ended = reading.read(folder, place.arm)
        results = ended.results if ended else _interrupted(folder)
        scores = ended.scores if ended else reading.read_scores(folder, going_on=True)
    except (ConfigError, DamagedError) as error:
        problems.append(f"{error}; its measures are left out")
    command, versions = _text(folder / COMMAND), _text(folder / VERSIONS)
    found = curves, ended, scores, results, command, versions, tuple(problems), diagnoses_in(folder)
    return Reported(folder, place.arm, config, *found)


def _interrupted(folder: Path) -> RunResults | None:
    return RunResults.read(folder) if (folder / "results.json").is_file() else None


def _text(path: Path) -> str:
    """What is shown of a file; nothing where there is none."""
    try:
        return read_whole(path, MAX_TEXT).decode("utf-8", "replace").strip()
    except DamagedError:
        return ""


def notes_of(runs: Sequence[Reported], waiting: int) -> Iterator[str]:
    """What is missing, a sentence each.

    Args:
        runs: of the report.
        waiting: how many runs have not begun.
    """
    if waiting:
        yield not_begun(waiting, len(runs))
    going_on = [run for run in runs if run.ended is None and not run.problems]
    if going_on:
        one = len(going_on) == 1
        yield (
            f"{_named(going_on, len(runs))} {'has' if one else 'have'} not ended, and {'is' if one else 'are'} drawn "
            "as far as that goes, and in no measure"
        )
    ended = [run for run in runs if run.ended is not None]
    bare = [run for run in ended if run.scores is None]
    if bare:
        some = f"{_named(bare, len(runs))} {'was' if len(bare) == 1 else 'were'} not"
        which = "no run that has ended was" if len(bare) == len(ended) > 1 else some
        yield f"{which} evaluated, so that measures of evaluations are without; train with evaluation.every"
    yield from (problem for run in runs for problem in (*run.problems, *run.diagnoses.problems))
    compared = [run.ended for run in runs if run.ended is not None]
    yield from reading.without_returns(compared)
    yield from reading.other_evaluations(compared)


def _named(runs: Sequence[Reported], all_runs: int) -> str:
    """Such as ``'a', 'b', 'c' and 3 more of 40 runs``."""
    names = [repr(run.folder.name) for run in runs[:LISTED]]
    text = in_words([*names, f"{len(runs) - LISTED} more"] if len(runs) > LISTED else names)
    return f"{text} of {all_runs} runs" if all_runs > 1 else text


def check_one_stream(runs: Sequence[Reported]) -> None:
    """Refuse runs of different streams, be they ended or not.

    Raises:
        ConfigError: they are.
    """
    reading.check_same_config([(run.folder, run.config) for run in runs])
    reading.check_same_stream([run.ended for run in runs if run.ended is not None])
