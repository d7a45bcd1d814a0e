"""What a run has brought: the record that ``results.json`` holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, ValidationError

from crl.config.messages import one_line
from crl.storage.files import DamagedError, parsed, read_whole, replace_file

FILE = "results.json"
MAX_RESULTS = 1 << 28  # bytes

Bytes = Annotated[NonNegativeInt, Field(lt=2**63)]
Over = Literal["last tenth", "last episodes"]
"""Which episodes of a visit its mean return is over."""


class Record(BaseModel):
    """Base of all that is in the file: each field is there, none beside them, and numbers are finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Result(Record):
    """What a visit has come to: a mean over the episodes that ended in its last tenth or, where none did, its last."""

    mean_return: float | None
    episodes: NonNegativeInt
    over: Over


NOTHING = Result(mean_return=None, episodes=0, over="last episodes")
"""The result where no episode has ended."""


class Visit(Result):
    """A segment of the stream, and what it has come to."""

    task: str
    family: str
    visit: NonNegativeInt
    segment: NonNegativeInt
    start: NonNegativeInt
    steps: NonNegativeInt


class PeakMemory(Record):
    """The most bytes that a run has held: of its processes, and of a GPU where it has one."""

    process: Bytes
    device: Bytes | None = None


class RunResults(Record):
    """All that ``results.json`` says of a run."""

    status: Literal["done", "interrupted"]
    steps: NonNegativeInt
    seconds: NonNegativeFloat
    """Of training in the processes before the last, and of all that the last one has done."""
    train_seconds: NonNegativeFloat
    """Of these, those of training, from the first step of each process to the end of its last update."""
    peak_memory: PeakMemory
    gradient_steps: NonNegativeInt
    tasks: dict[str, dict[str, Any]]
    """Name -> the arguments that make its world."""
    visits: tuple[Visit, ...]
    resets: dict[str, NonNegativeInt]
    """Network -> units that were reset."""
    idle: dict[str, str]
    """Where none were: intervention -> why it has reset nothing, as far as it knows."""
    config_hash: str
    folder: str
    tensorboard: str
    """The command that shows its curves."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Those of a run, whose folder anybody may have made.

        Raises:
            DamagedError: it has none, or they are damaged or of another version of crl.
        """
        path = folder / FILE
        content = read_whole(path, MAX_RESULTS)
        try:
            return cls.model_validate(parsed(content))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            problem = f"{key}: {one_line(first['msg'])}; it was changed, or written by another version of crl"
        except (ValueError, RecursionError):
            problem = "it is no JSON"
        raise DamagedError(f"{str(path)!r} is no record of a run ({problem})")

    def write(self, folder: Path) -> None:
        """Write the file; a kill leaves it whole, or as it was."""
        text = json.dumps(self.model_dump(mode="json"), indent=1, allow_nan=False)
        replace_file(folder / FILE, f"{text}\n".encode())
