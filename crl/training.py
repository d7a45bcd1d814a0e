"""Runs from Python, as from the command line. What can be refused at once is refused before torch is loaded."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from crl.config import ConfigError, RunConfig, check_arguments, checked, load
from crl.config.imports import beside
from crl.config.messages import shortened
from crl.mirroring import check_installed
from crl.opening import opened
from crl.run_folder import check_writable
from crl.screen import quiet, warn

if TYPE_CHECKING:
    from crl.parts import Part
    from crl.results import RunResults

_TRAINING = threading.Lock()
"""Held by a run that trains in this process."""
Config: TypeAlias = str | os.PathLike[str] | Mapping[str, Any] | RunConfig


def train(
    config: Config, overrides: Sequence[str] = (), *, parts: Sequence[Part] = (), verbose: bool = False
) -> RunResults:
    """Train a run into a folder of its own below ``runs``, as `crl train` does.

    Ctrl-C ends it after the update that is being made and saves it, where it has Python's main thread: then the
    results' status is ``interrupted``, and `resume` goes on. A second one raises KeyboardInterrupt.

    Args:
        config: path of a YAML file, what such a file says as a dict, or a checked config.
        overrides: changes to it, such as ``["seed=3", "agent.learning_rate=1e-3"]``.
        parts: that the run has beside its own, see `crl.parts`.
        verbose: also print what the command line prints: progress and a summary.

    Raises:
        ConfigError: something is refused, in one sentence; nothing has been written.
        RunError: the run has failed; its cause is what was raised.

    Example::

        import crl

        results = [crl.train("configs/cartpole_ppo.yaml", [f"seed={seed}"]) for seed in range(3)]
        print([result.visits[-1].mean_return for result in results])
    """
    given = config.model_dump(mode="json") if isinstance(config, RunConfig) else _plain(config)
    with beside(Path(given)) if isinstance(given, str) else nullcontext():
        found = checked_config(config if isinstance(config, RunConfig) else given, overrides)
        with _embedded(verbose):
            from crl import run
            from crl.ending import Interrupt

            words = _words("train", given, [*overrides])
            return run.begin(found, words, parts, Interrupt(exits=False)).results


def resume(folder: str | os.PathLike[str], *, parts: Sequence[Part] = (), verbose: bool = False) -> RunResults:
    """Go on with a run from its newest checkpoint, as `crl resume` does.

    Args:
        folder: of the run.
        parts: as it was begun with.
        verbose: as for `train`.

    Raises:
        ConfigError: it cannot be gone on with; nothing has been changed.
        RunError: as for `train`.
    """
    with _embedded(verbose), opened(Path(folder)) as config:
        from crl import run
        from crl.ending import Interrupt

        words = _words("resume", str(folder))
        return run.go_on(Path(folder), config, words, parts, Interrupt(exits=False)).results


def checked_config(config: Config, overrides: Sequence[str] = ()) -> RunConfig:
    """The config of a run that is about to begin, with all that can be refused before it is built.

    Raises:
        ConfigError: something is refused.
    """
    listed = isinstance(overrides, Sequence) and not isinstance(overrides, str)
    if not listed or not all(isinstance(each, str) for each in overrides):
        raise ConfigError(f"the overrides are {shortened(repr(overrides))}; give a list, such as ['seed=3']")
    if isinstance(config, str | os.PathLike):
        found = load(Path(config), overrides)
    elif isinstance(config, RunConfig) and not overrides:
        found = config.resolved()
    else:
        found = checked(config.model_dump() if isinstance(config, RunConfig) else config, overrides)
    check_writable(Path(found.runs))
    if found.source is not None and not Path(found.source).exists():
        zip = f"{found.source}.zip"
        remedy = f"did you mean {zip!r}?" if Path(zip).exists() else "give the folder of a run, or SB3's zip"
        raise ConfigError(f"from={found.source!r} does not exist; {remedy}")
    check_installed(found.services)
    return check_arguments(found)


def _plain(given: Any) -> Any:
    """What somebody gives in Python as YAML would: numbers and arrays of numpy's or torch's, paths, any mapping."""
    if isinstance(given, Mapping):
        return {_plain(key): _plain(value) for key, value in given.items()}
    if isinstance(given, list | tuple):
        return [*map(_plain, given)]
    if isinstance(given, os.PathLike):
        return os.fspath(given)
    return given.tolist() if hasattr(given, "tolist") else given


def _words(function: str, *arguments: Any) -> list[str]:
    """The command line that does the same."""
    given = ", ".join(repr(each) for each in arguments if each != [])
    return ["python", "-c", f"import crl; crl.{function}({given})"]


@contextmanager
def _embedded(verbose: bool) -> Iterator[None]:
    """In a process that is somebody else's, who gets the number of threads back."""
    import torch

    threads = torch.get_num_threads()
    alone = _TRAINING.acquire(blocking=False)
    if not alone:
        warn(
            "another run trains in this process, and both draw from its random generators: neither can be repeated "
            "or resumed exactly; give each a process of its own, as crl ablate does"
        )
    try:
        with quiet(not verbose):
            yield
    finally:
        torch.set_num_threads(threads)
        if alone:
            _TRAINING.release()
