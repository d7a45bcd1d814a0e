"""The folder of a run: where it is, what it is called, and the files that say how it was made."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from crl import claims
from crl.config import ConfigError, RunConfig, config_hash, load, to_yaml
from crl.config.origin import HASH
from crl.versions import versions

CONFIG = "config.yaml"
LONGEST_NAME = 100  # characters; Windows gives a whole path no more than 260


class HeldError(ConfigError):
    """Another process trains in the run's folder."""


def check_writable(runs: Path, key: str = "runs=") -> None:
    """Refuse a folder that cannot be made or written to, without making it.

    Args:
        runs: the folder.
        key: what gives it, for messages.

    Raises:
        ConfigError: the nearest thing that exists on its path is no folder, or may not be written to, or there is none.
    """
    nearest = next((path for path in (runs.absolute(), *runs.absolute().parents) if os.path.lexists(path)), None)
    if nearest is None:
        raise ConfigError(f"{key}{str(runs)!r} is on a drive that is not there; give another folder")
    if not nearest.is_dir():
        raise ConfigError(f"{key}{str(runs)!r} cannot be a folder: {str(nearest)!r} is a file; give another folder")
    if (why := unwritable(nearest)) is not None:
        raise ConfigError(f"{key}{str(runs)!r} cannot be written: {why}; give another folder")


def unwritable(folder: Path) -> str | None:
    """Why nothing can be written into a folder, None where it can."""
    if os.access(folder, os.W_OK | os.X_OK):
        return None
    return (
        f"{str(folder)!r} is read-only" if os.access(folder, os.R_OK | os.X_OK) else f"no permission in {str(folder)!r}"
    )


def run_name(config: RunConfig) -> str:
    """``<label or stream>__<algo>__<method>__s<seed>``, the name of a folder that every system can have."""
    method = "+".join(intervention.name for intervention in config.interventions) or "plain"
    label = config.stream.label or config.stream.name or "custom"
    name = re.sub(r"[^\w,()=+ -]+", "-", f"{label}__{config.agent.name}__{method}")
    return f"{name[:LONGEST_NAME]}__s{config.seed}"


def create(config: RunConfig) -> Path:
    """Make the run's folder, which no other run has.

    Raises:
        ConfigError: it cannot be made.
    """
    runs = Path(config.runs)
    name = f"{run_name(config)}__{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    missing = list(itertools.takewhile(lambda path: not path.exists(), (runs, *runs.parents)))
    try:
        runs.mkdir(parents=True, exist_ok=True)
        for suffix in itertools.chain([""], (f"-{n}" for n in itertools.count(2))):
            folder = runs / f"{name}{suffix}"
            try:
                folder.mkdir()
            except FileExistsError:
                continue
            return folder
    except OSError as error:
        for made in missing:
            with contextlib.suppress(OSError):
                made.rmdir()
        raise ConfigError(f"runs={str(runs)!r} cannot be written ({error.strerror}); give another folder") from None
    raise AssertionError("unreachable: the suffixes have no end")


def write_config(folder: Path, config: RunConfig) -> None:
    """Write down what a run trains. A kill leaves it whole, or a folder that `check_config` takes for no run."""
    from crl.storage import replace_file  # with torch, which refusals do without

    replace_file(folder / HASH, config_hash(config).encode())
    replace_file(folder / CONFIG, to_yaml(config).encode())


def check_config(folder: Path) -> RunConfig:
    """The config of a run, checked as far as that needs no code that it names.

    Raises:
        ConfigError: this is no run, or its config is refused or has been changed since the run began.
    """
    path = folder / CONFIG
    if not (folder / HASH).is_file() or not path.is_file():  # configs lie elsewhere, too
        raise ConfigError(
            f"{str(folder)!r} is no run: it has no config.yaml that crl train has written; give the folder of a run"
        )
    config = load(path)
    refuse_changed(folder, config)
    return config


def refuse_changed(folder: Path, config: RunConfig) -> None:
    """Refuse a config with which a run did not begin.

    Raises:
        ConfigError: it is one.
    """
    path, known = folder / CONFIG, config_hash(config).encode()
    with (folder / HASH).open("rb") as file:
        begun_with = file.read(len(known) + 1)
    if begun_with != known:
        raise ConfigError(
            f"{str(path)!r} has been changed since the run began, or this version of crl or a module of imports has "
            "other arguments; put the file back (every checkpoint holds a copy), go on with the versions that began "
            "the run, or train the config as a new run"
        )


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[claims.Claim]:
    """Keep other processes from training in a run's folder; the end of this process frees it, whatever ends it.

    Raises:
        HeldError: another process trains there.
        ConfigError: the folder cannot be written.
    """
    try:
        claim = claims.take(folder)
    except OSError as error:
        there = unwritable(folder) if folder.is_dir() else None
        why = there or f"{str(folder)!r} cannot be written ({error.strerror})"
        raise ConfigError(f"{why}, and a run goes on in its folder; copy it to a place that can be written") from None
    if claim is None:
        raise HeldError(f"the run in {str(folder)!r} is being trained; wait until that ends, or stop it")
    try:
        yield claim
    finally:
        claim.release()


def describe(folder: Path, command: str, threads: int, device: str) -> None:
    """Write down how a run is trained, each time that it is begun or gone on with."""
    # A path need not be valid text.
    with (folder / "command.txt").open("a", encoding="utf-8", errors="surrogateescape") as file:
        file.write(f"{command}\n")
    found = versions(threads, device)
    with (folder / "versions.txt").open("a", encoding="utf-8") as file:
        file.write(f"\n{found}" if file.tell() else found)


# ------------------------------------------------------------------ what is found out about a run


def check_run(folder: Path) -> None:
    """Refuse a folder that is not there, or is no run's.

    Raises:
        ConfigError: it is one of these.
    """
    given = repr(str(folder))
    if not folder.is_dir():
        problem = "is no folder" if folder.exists() else "does not exist"
        raise ConfigError(f"the run folder {given} {problem}; give one that crl train has made")
    if not (folder / "config.yaml").is_file():
        raise ConfigError(f"{given} is no run folder: it has no config.yaml; give one that crl train has made")


def check_trained(folder: Path) -> None:
    """Refuse a folder that is not there, is no run's, or has no checkpoint.

    Raises:
        ConfigError: it is one of these.
    """
    check_run(folder)
    # A checkpoint appears whole or not at all; one that is being written has another name.
    if not any(path.name.isdecimal() and path.is_dir() for path in (folder / "checkpoints").glob("*")):
        raise ConfigError(f"the run folder {str(folder)!r} has no checkpoint yet; give one that has come further")


def check_home(home: Path) -> None:
    """Refuse a folder, which need not be there, that results cannot be written to.

    Raises:
        ConfigError: it is a file, or nothing can be written there.
    """
    nearest = home if home.exists() else home.parent
    if not nearest.is_dir():
        raise ConfigError(f"{str(home)!r} is a file, where the results would go; move it away")
    if (why := unwritable(nearest)) is not None:
        raise ConfigError(f"{why}, where the results would go; copy the run to a place that can be written")
