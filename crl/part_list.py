"""All parts of a run together: what they may be beside each other, and how they are saved and put back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from crl.config import ConfigError
from crl.config.messages import one_line, shown
from crl.logs import is_csv
from crl.parts import Part
from crl.storage import State


class PartsError(ValueError):
    """A checkpoint is of other parts than the run has, or a part from outside does not take its state back."""


def check_parts(parts: Sequence[Part | type[Part]]) -> None:
    """Refuse parts that cannot be together in a run.

    Raises:
        ConfigError: one is not built as a part is, two have one name or one log file, or a log file is not a CSV file
            in the run's folder.
    """
    for each in parts:
        _check_built(each)
    for kind, names in (("name", [each.name for each in parts]), ("log file", log_files(parts))):
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise ConfigError(f"two parts of the run have the {kind} {shown(twice[0])}; give one of them another")
    for each in parts:
        for file in each.log_files:
            if not is_csv(file):
                raise ConfigError(
                    f"the part {shown(each.name)} of the run has the log file {shown(file)}; give the name of a CSV "
                    "file, such as played.csv"
                )


def _check_built(part: Any) -> None:
    """Refuse what lacks something that all parts have."""
    if isinstance(part, type):
        return
    owner = type(part).__qualname__
    if not isinstance(part, Part):
        raise ConfigError(f"the part {owner} of the run is no Part of crl.parts; derive its class from that")
    if not hasattr(part, "n_calls"):
        raise ConfigError(f"the part {owner} of the run is half built; let its __init__ call super().__init__()")
    if not isinstance(getattr(part, "name", None), str):
        raise ConfigError(f"the part {owner} of the run has no name; give its class one, such as name = 'mine'")


def log_files(parts: Sequence[Part | type[Part]]) -> list[str]:
    """The CSV files of all parts."""
    return [file for part in parts for file in part.log_files]


def states_of(parts: Sequence[Part]) -> dict[str, State]:
    """Name -> state of all parts."""
    return {part.name: part.state() for part in parts}


def restore_all(parts: Sequence[Part], saved: Mapping[str, State]) -> None:
    """Put back what `states_of` gave.

    Raises:
        PartsError: it is of other parts, and nothing has been put back; or a part from outside raised something. What
            parts of crl raise is passed on.
    """
    names = {each.name for each in parts}
    if lacking := sorted(saved.keys() - names):
        raise PartsError(f"it holds what this run has no part for: {shown(', '.join(lacking))}; give it these parts")
    if unknown := sorted(names - saved.keys()):
        raise PartsError(f"it lacks parts of this run: {shown(', '.join(unknown))}; leave them out, or train anew")
    for each in parts:
        try:
            each.restore(saved[each.name])
        except Exception as error:
            if type(each).__module__.startswith("crl."):
                raise
            raise PartsError(
                f"the part {shown(each.name)} cannot take its state back ({type(error).__name__}: {one_line(error)}); "
                "correct its restore, or train anew"
            ) from error
