"""What a new run begins with: what another run, or an agent in SB3's zip, has learnt.

Anybody may have made either. Of a run the checkpoint is read, of a zip its tensors and plain JSON: nothing is unpickled
but tensors, by torch's ``weights_only``.
"""

from __future__ import annotations

import json
import os
import struct
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError

from agents.learner import LearnerMixin
from agents.training_state import begin_with
from crl import checkpoints, storage
from crl.config import ConfigError, RunConfig
from crl.config.messages import in_words, one_line
from crl.config.origin import HASH
from crl.opening import check_entries
from crl.sources.keeping import learnt, titles
from crl.sources.reading import NEEDED, from_checkpoint, from_zip
from crl.sources.telling import told
from crl.sources.weights import MisfitError, fitted
from crl.storage.states import MANIFEST

FOLDER = "begin"  # in the run's folder: what it began with
PART = "learnt"
RECORD = "source.json"  # there: whose that was
UNREADABLE = (*checkpoints.UNFIT, OSError, EOFError, zipfile.BadZipFile, zlib.error, struct.error, SafetensorError)


class Beginning(NamedTuple):
    """What a learner begins with, and what is said of it."""

    learnt: Mapping[str, Any]
    """See `agents.training_state.begin_with`."""
    record: Mapping[str, Any]
    """Whose it was: ``path`` of a checkpoint or a zip, its ``step``, and the ``sha256`` of its policy's parameters."""
    news: list[str]
    """Lines on what is kept, and what begins anew."""
    warnings: list[str]

    @property
    def path(self) -> str:
        """Of the checkpoint or the zip."""
        found: str = self.record["path"]
        return found


def beginning(given: str, model: LearnerMixin) -> Beginning:
    """Have a learner begin with what a source has learnt.

    Args:
        given: what the config says: a run, one of its checkpoints or a zip.
        model: that has not been trained.

    Raises:
        ConfigError: the source is not there, cannot be read or does not fit.
    """
    path = located(given)
    told_as = f"from={str(path)!r}"
    anew = ["replay"] if model.spec.data == "replay" else []
    try:
        source = from_zip(path, model) if path.is_file() else from_checkpoint(path)
        policy = fitted(model, source)
        kept = learnt(model, source, policy, anew)
        begin_with(model, kept)
    except MisfitError as error:
        raise ConfigError(f"{told_as} does not fit: {error}") from error
    except storage.DamagedError as error:
        raise ConfigError(f"{told_as} cannot be read: {error}; give another one") from error
    except UNREADABLE as error:
        raise ConfigError(
            f"{told_as} cannot be read ({type(error).__name__}: {one_line(error)}): it is damaged, or none of SB3's or "
            "ours; give another one"
        ) from error
    parameters = "the parameters that both worlds have" if policy.moved else "parameters"
    sentence = f"beginning with {path}: {in_words([parameters, *titles(model, kept)])} are kept; "
    news = [f"{sentence}{in_words([*anew, 'steps'])} begin anew", *told(model, source.modules["policy"], policy)]
    record = {"path": str(path), "step": source.step, "sha256": source.sha256}
    return Beginning(kept, record, news, source.lost)


def transfer(source: str | os.PathLike[str], model: Any) -> str:
    """Have an agent begin with what another one has learnt, in whatever world, as `crl train --from` does.

    Of a run's folder its newest checkpoint is taken. Nothing in the source is unpickled or executed.

    Args:
        source: a run, one of its checkpoints or best parameters, or a zip of SB3's or ours.
        model: one of `agents`, that has not been trained. It learns on from there, with moments, states of
            interventions and statistics of a normalizer where they still fit.

    Returns:
        Lines on what is kept, and what begins anew.

    Raises:
        ConfigError: the source is not there, cannot be read or does not fit, or the model is none of `agents`.

    Example::

        model = PPO("CnnPolicy", envs.make("breakout", n_envs=16))
        print(crl.transfer("runs/minatar3__ppo__gxd__s1__20261122T103256Z", model))
        model.learn(200_000)
    """
    if not isinstance(model, LearnerMixin):
        raise ConfigError(f"{type(model).__module__}.{type(model).__name__} is not one of ours; make it of agents")
    found = beginning(os.fspath(source), model)
    for sentence in found.warnings:
        warnings.warn(sentence, stacklevel=2)
    return "\n".join(found.news)


def begun(config: RunConfig, found: Beginning) -> RunConfig:
    """The config of a run that begins with that: it names the checkpoint or the zip that was read."""
    return config.model_copy(update={"from": found.path})


def keep(folder: Path, found: Beginning) -> None:
    """Write down what a run begins with, so that it never needs its source again, and whose it was."""
    record = json.dumps(found.record, indent=1)
    storage.write(folder / FOLDER, {PART: dict(found.learnt)}, {RECORD: f"{record}\n"})


def begin_again(folder: Path, model: LearnerMixin) -> None:
    """Have a learner begin with what its run began with.

    Raises:
        ConfigError: it cannot be read or does not fit.
    """
    try:
        begin_with(model, storage.read(folder / FOLDER, [PART])[PART])
    except (storage.DamagedError, *UNREADABLE) as error:
        raise ConfigError(
            f"{str(folder / FOLDER)!r}, with which the run began, cannot be read ({one_line(error)}); train the config "
            "as a new run"
        ) from error


def located(source: str) -> Path:
    """The zip or the checkpoint that a source stands for: of a run its newest one.

    Raises:
        ConfigError: it is neither, or has a link in it.
    """
    path, given = Path(source), f"from={source!r}"
    if path.is_file():
        return path
    if not path.is_dir():
        raise ConfigError(f"{given} does not exist; give the folder of a run, one of its checkpoints, or SB3's zip")
    check_entries(path)
    if (path / MANIFEST).is_file():
        return path
    if not (path / HASH).is_file():
        raise ConfigError(
            f"{given} is neither a run nor a checkpoint; give a folder that crl train has made, such as "
            "RUN, RUN/checkpoints/100000 or RUN/best/TASK, or SB3's zip"
        )
    found, _ = storage.newest(path / checkpoints.FOLDER, NEEDED)
    if found is None:
        raise ConfigError(f"{given} has no checkpoint that is whole; give a run that has come further")
    return found
