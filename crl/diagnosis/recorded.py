"""The diagnoses that `crl diagnose` has left in a run, whose folder anybody may have made."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, NonNegativeInt, ValidationError

from agents.plasticity.findings import Finding, Trial
from crl.config.messages import one_line
from crl.diagnosis import FOLDER
from crl.diagnosis.continuation import Continuation
from crl.diagnosis.source import Source
from crl.storage.files import DamagedError, parsed, read_whole

MAX_SIZE = 1 << 24  # bytes
MOST = 20  # of a run, the newest


class Score(BaseModel):
    """See `agents.plasticity.findings.Comparison`."""

    value: float
    fresh: Annotated[tuple[float, ...], Field(min_length=1)]


Known: TypeAlias = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A number, nan where JSON has none."""


class Candidate(BaseModel):
    """An intervention, and its arguments that are not the defaults."""

    model_config = ConfigDict(extra="allow")

    name: str


class Tried(BaseModel):
    """See `agents.plasticity.findings.Trial`."""

    candidate: Candidate
    hindrance: str = ""
    before: Mapping[str, Known] = {}
    after: Mapping[str, Known] = {}
    changes: Mapping[str, Known] = {}
    at_switches: bool = False

    @property
    def trial(self) -> Trial:
        """As it was made, but for what is not shown."""
        return Trial(**{**dict(self), "candidate": self.candidate.model_dump()})


class WentOn(BaseModel):
    """See `crl.diagnosis.continuation.Continuation`."""

    candidate: Candidate | None
    returns: Annotated[tuple[Known, ...], Field(min_length=1)]
    episodes: tuple[NonNegativeInt, ...]

    @property
    def continuation(self) -> Continuation:
        """As it was."""
        candidate = None if self.candidate is None else self.candidate.model_dump()
        return Continuation(candidate, self.returns, self.episodes)


class Further(BaseModel):
    """See `crl.diagnosis.continuation.Continued`."""

    task: str
    steps: NonNegativeInt
    found: tuple[WentOn, ...]


class Diagnosed(BaseModel):
    """A diagnosis as `crl.diagnosis.report` writes it: what of it is shown."""

    model_config = ConfigDict(frozen=True)

    steps: NonNegativeInt
    task: str
    findings: tuple[Finding, ...]
    unexplained: tuple[str, ...]
    untold: tuple[str, ...]
    unmissed: tuple[Finding, ...] = ()
    trainability: Mapping[str, Score]
    sources: tuple[Source, ...] = ()
    settings: Mapping[str, Mapping[str, Any]] = {}
    trials: tuple[Tried, ...] = ()
    continued: Further | None = None

    @property
    def tried(self) -> tuple[Trial, ...]:
        """What could be tried on copies, as they were ordered."""
        return tuple(each.trial for each in self.trials if not each.hindrance)


class Diagnoses(NamedTuple):
    """Of a run, the newest first, and a sentence for each that cannot be read."""

    found: tuple[Diagnosed, ...]
    problems: tuple[str, ...]


def diagnoses_in(folder: Path) -> Diagnoses:
    """The newest diagnoses of a run, which has none where `crl diagnose` was not there."""
    paths = [path for path in (folder / FOLDER).glob("*.json") if path.stem.isascii() and path.stem.isdecimal()]
    found, problems = list[Diagnosed](), list[str]()
    for path in sorted(paths, key=lambda path: int(path.stem[:18]), reverse=True)[:MOST]:
        try:
            found.append(Diagnosed.model_validate(parsed(read_whole(path, MAX_SIZE))))
        except DamagedError as error:
            problems.append(f"{error}; it is left out")
        except (ValidationError, ValueError, RecursionError) as error:
            first = error.errors()[0] if isinstance(error, ValidationError) else None
            why = "it is no JSON" if first is None else f"{'.'.join(map(str, first['loc']))}: {one_line(first['msg'])}"
            problems.append(f"{str(path)!r} is no diagnosis ({why}) and is left out; crl diagnose writes it anew")
    return Diagnoses(tuple(found), tuple(problems))
