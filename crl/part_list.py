"""All parts of a run together: what they may be beside each other, and how they are saved and put back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from crl.config import ConfigError, RunConfig
from crl.config.messages import shown
from crl.config.parts import PARTS
from crl.logs import is_csv
from crl.parts import Part
from crl.storage import State


class PartsError(ValueError):
    """A checkpoint is of other parts than the run has."""


def configured(config: RunConfig) -> list[Part]:
    """The parts that a config names, which has been checked."""
    return [PARTS[each.name].resolve()(**each.arguments()) for each in config.parts]


def check_parts(parts: Sequence[Part | type[Part]]) -> None:
    """Refuse parts that cannot be together in a run.

    Raises:
        ConfigError: two have one name or one log file, or a log file is not a CSV file in the run's folder.
    """
    for kind, names in (("name", [each.name for each in parts]), ("log file", log_files(parts))):
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ConfigError(f"two parts of the run have the {kind} {shown(twice[0])}; give one of them another")
    for each in parts:
        for file in each.log_files:
            if not is_csv(file):
                raise ConfigError(
                    f"the part {shown(each.name)} of the run has the log file {shown(file)}; give the name of a CSV "
                    "file, such as evaluations.csv"
                )


def log_files(parts: Sequence[Part | type[Part]]) -> list[str]:
    """The CSV files of all parts."""
    return [file for part in parts for file in part.log_files]


def states_of(parts: Sequence[Part]) -> dict[str, State]:
    """Name -> state of all parts."""
    return {part.name: part.state() for part in parts}


def restore_all(parts: Sequence[Part], saved: Mapping[str, State]) -> None:
    """Put back what `states_of` gave.

    Raises:
        PartsError: it is of other parts. Nothing has been put back.
    """
    names = {each.name for each in parts}
    if lacking := sorted(saved.keys() - names):
        raise PartsError(f"it holds what this run has no part for: {shown(', '.join(lacking))}; give it these parts")
    if unknown := sorted(names - saved.keys()):
        raise PartsError(f"it lacks parts of this run: {shown(', '.join(unknown))}; leave them out, or train anew")
    for each in parts:
        each.restore(saved[each.name])
