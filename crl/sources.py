"""What a new run begins with: what another run, or an agent in SB3's zip, has learnt.

Anybody may have made either. Of a run the checkpoint is read, of a zip its tensors and plain JSON: nothing is unpickled
but tensors, by torch's ``weights_only``.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from stable_baselines3.common.save_util import recursive_getattr
from torch import Tensor

from agents.learner import LearnerMixin
from agents.plasticity.hooks import fits
from agents.plasticity.moments import remembered
from agents.saving import TENSORS_MEMBER, TREE_MEMBER, merge
from agents.training_state import begin_with, statistics_of
from crl import checkpoints, storage
from crl.config import ConfigError, RunConfig
from crl.config.messages import in_words, one_line
from crl.config.origin import HASH
from crl.config.reading import read_yaml
from crl.opening import check_entries
from crl.storage.states import MANIFEST
from crl.weights import misfit

FOLDER = "begin"  # in the run's folder: what it began with
PART = "learnt"
NEEDED = ("learner", "world")
SPARE = 1 << 26  # bytes that a zip may have beside the agent's tensors
COPIES = 8  # of the policy's parameters that it may hold: with both moments, in double precision, there are six
UNREADABLE = (*checkpoints.UNFIT, OSError, EOFError, zipfile.BadZipFile, zlib.error, struct.error, SafetensorError)


@dataclass
class Source:
    """What is there to begin with, under the names that SB3's zips have."""

    modules: Mapping[str, Any]
    """Of the policy and the optimizers: name -> state dict."""
    tensors: Mapping[str, Any]
    interventions: Sequence[tuple[str, Any]] = ()
    """Name and state of each, in their order."""
    gradient_steps: int = 0
    normalizer: Mapping[str, Any] | None = None
    lost: list[str] = field(default_factory=list)
    """Sentences on what cannot be read."""


class Beginning(NamedTuple):
    """What a run begins with, and what is said of it."""

    config: RunConfig
    """Names what was read, a checkpoint or a zip."""
    learnt: dict[str, Any]
    """See `agents.training_state.begin_with`."""
    kept: str
    """The sentence on what was kept, and what begins anew."""
    warnings: list[str]


def beginning(config: RunConfig, model: LearnerMixin) -> Beginning:
    """Have a learner begin with what the config's source has learnt.

    Raises:
        ConfigError: it is not there, cannot be read or does not fit.
    """
    assert config.source is not None
    path = located(config.source)
    given = f"from={str(path)!r}"
    anew = ["replay"] if model.spec.data == "replay" else []
    try:
        source = _from_zip(path, model) if path.is_file() else _from_checkpoint(path)
        problem = misfit(model, source.modules["policy"])
        if problem is not None:
            raise ConfigError(f"{given} does not fit: {problem}")
        learnt = _learnt(model, source, anew)
        begin_with(model, learnt)
    except ConfigError:
        raise
    except storage.DamagedError as error:
        raise ConfigError(f"{given} cannot be read: {error}; give another one") from error
    except UNREADABLE as error:
        raise ConfigError(
            f"{given} cannot be read ({type(error).__name__}: {one_line(error)}): it is damaged, or none of SB3's or "
            "ours; give another one"
        ) from error
    kept = ["parameters", *_titles(model, learnt)]
    sentence = f"beginning with {path}: {in_words(kept)} are kept; {in_words([*anew, 'steps'])} begin anew"
    return Beginning(config.model_copy(update={"from": str(path)}), learnt, sentence, source.lost)


def keep(folder: Path, learnt: Mapping[str, Any]) -> None:
    """Write down what a run begins with, so that it never needs its source again."""
    storage.write(folder / FOLDER, {PART: dict(learnt)})


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


# ------------------------------------------------------------------ reading


def _from_checkpoint(path: Path) -> Source:
    state = storage.read(path, NEEDED)
    learner = state["learner"]
    held = learner.get("interventions")  # which the end of a visit does not have
    # A checkpoint holds the run's config, and one of the best lies two folders below it.
    names = next((_names(each) for each in (path, path.parent.parent) if (each / "config.yaml").is_file()), [])
    states = held["interventions"] if held else []
    return Source(
        learner["modules"],
        learner["tensors"],
        list(zip(names, states, strict=True)) if len(names) == len(states) else [],
        _whole(learner["counters"].get("optimizer_steps")),
        next((layer for layer in state["world"]["wrappers"] if "ret_rms" in layer), None),
    )


def _names(folder: Path) -> list[str]:
    """Of the interventions that the config in a folder names."""
    try:
        given = read_yaml(folder / "config.yaml")["interventions"]
        return [str(each["name"]) for each in given]
    except (ConfigError, *checkpoints.UNFIT):
        return []


def _from_zip(path: Path, model: LearnerMixin) -> Source:
    most = SPARE + COPIES * sum(tensor.numel() * tensor.element_size() for tensor in model.policy.state_dict().values())
    modules, tensors = model._get_torch_save_params()
    if path.stat().st_size > COPIES * most:  # the list of its members is read whole
        raise ValueError(f"{path.stat().st_size:,} bytes are more than such an agent has")
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        if "policy.pth" not in names:
            raise ValueError("it has no policy.pth")
        found = {name: _loaded(archive, f"{name}.pth", most) for name in modules if f"{name}.pth" in names}
        variables = _loaded(archive, "pytorch_variables.pth", most) if tensors else None
        data = storage.parsed(_read(archive, "data", most)) if "data" in names else {}
        states: list[Any] = []
        if {TENSORS_MEMBER, TREE_MEMBER} <= names:
            held = safetensors.load(_read(archive, TENSORS_MEMBER, most))
            states = merge(storage.parsed(_read(archive, TREE_MEMBER, most)), held)["interventions"]
    specs = data.get("intervention_specs") or []
    named = [(str(spec["name"]), state) for spec, state in zip(specs, states, strict=False)]
    lost = []
    if model._vec_normalize_env is not None:
        lost.append(
            "the statistics of a normalizer beside a zip are pickle (vecnormalize.pkl), which crl never reads: "
            "normalization begins anew"
        )
    return Source(found, variables or {}, named, _whole(data.get("optimizer_steps")), lost=lost)


def _read(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    info = archive.getinfo(name)
    with archive.open(info) as file:
        content = file.read(most + 1)  # whatever the list of members says of its size
    if len(content) > most:
        raise ValueError(f"{name} has more than {most:,} bytes, which is more than such an agent has")
    return content


def _loaded(archive: zipfile.ZipFile, name: str, most: int) -> Any:
    """The tensors of a member, which torch has written as a zip of its own."""
    content = _read(archive, name, most)
    with zipfile.ZipFile(io.BytesIO(content)) as inner:
        for info in inner.infolist():
            if info.compress_type != zipfile.ZIP_STORED or info.file_size > len(content):
                raise ValueError(f"{name} is compressed, as torch never writes it")
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # torch does not say what it raises
        raise ValueError(f"{name}: {one_line(error)}") from error


def _whole(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 2**62 else 0


# ------------------------------------------------------------------ what is kept


def _learnt(model: LearnerMixin, source: Source, anew: list[str]) -> dict[str, Any]:
    """What of a source fits a learner, as `begin_with` takes it; what begins anew is told in a list."""
    learnt: dict[str, Any] = {
        "policy": dict(source.modules["policy"]),
        "moments": dict(_moments(model, source, anew)),
        "tensors": dict(_tensors(model, source, anew)),
        "normalizer": _normalizer(model, source, anew),
        "interventions": dict(_interventions(model, source, anew)),
    }
    # Their ages and periods are counted from there.
    return {**learnt, "gradient_steps": source.gradient_steps if learnt["interventions"] else 0}


def _moments(model: LearnerMixin, source: Source, anew: list[str]) -> Iterator[tuple[str, Any]]:
    """Name of each optimizer whose memory fits -> that memory."""
    names, _ = model._get_torch_save_params()
    for name in names:
        if name == "policy":
            continue
        optimizer = recursive_getattr(model, name)
        saved = source.modules.get(name)
        moments = saved.get("state") if isinstance(saved, Mapping) else None
        if isinstance(moments, Mapping) and moments and _remembers(optimizer, moments):
            yield name, dict(moments)
        else:
            anew.append(f"the moments of {name}")


def _remembers(optimizer: torch.optim.Optimizer, moments: Mapping[Any, Any]) -> bool:
    """Whether an optimizer could have these moments, of its parameters by number."""
    own = remembered(optimizer)
    return all(
        number in own
        and isinstance(slots, Mapping)
        and fits(slots, own[number])
        and all(map(_is_sound, slots.values()))
        for number, slots in moments.items()
    )


def _is_sound(slot: Any) -> bool:
    """Whether an optimizer could go on with this, whatever it stands for."""
    return _is_finite(slot) or (type(slot) is int and 0 <= slot < 2**62)


def _tensors(model: LearnerMixin, source: Source, anew: list[str]) -> Iterator[tuple[str, Tensor]]:
    _, names = model._get_torch_save_params()
    for name in names:
        own, found = recursive_getattr(model, name), source.tensors.get(name)
        if own.requires_grad:  # what is learned
            if _is_finite(found) and found.shape == own.shape:
                yield name, found.detach()
            else:
                anew.append(name)


def _normalizer(model: LearnerMixin, source: Source, anew: list[str]) -> dict[str, Any] | None:
    """The statistics that go on, of what both normalise."""
    env, found = model._vec_normalize_env, source.normalizer
    if env is None:
        if found is not None and found["obs_rms"]:
            source.lost.append("the source saw normalized observations, and this run does not; give normalize.obs=true")
        return None
    own = statistics_of(env)
    if found is None or not all(_is_alike(found["obs_rms"].get(key), rms) for key, rms in own["obs_rms"].items()):
        anew.append("the normalizer")
        return None
    if not _is_alike(found["ret_rms"], own["ret_rms"]):
        raise ValueError("its normalizer has no statistics of returns")
    return {"obs_rms": {key: found["obs_rms"][key] for key in own["obs_rms"]}, "ret_rms": found["ret_rms"]}


def _is_alike(found: Any, own: Mapping[str, Any]) -> bool:
    """Whether these are statistics of observations of the same shape."""
    if not isinstance(found, Mapping) or found.keys() != own.keys():
        return False
    return all(np.shape(found[key]) == np.shape(own[key]) and np.isfinite(found[key]).all() for key in own)


def _interventions(model: LearnerMixin, source: Source, anew: list[str]) -> Iterator[tuple[int, Any]]:
    """Number of each intervention that the source had, too -> its state there; the second of a name has the second."""
    waiting = list(source.interventions)
    held = model.intervention_state().get("interventions", [])
    for number, (intervention, own) in enumerate(zip(model.interventions, held, strict=True)):
        place = next((i for i, (name, _) in enumerate(waiting) if name == intervention.name), None)
        state = None if place is None else waiting.pop(place)[1]
        if state is not None and fits(state, own):
            yield number, state
        else:
            anew.append(f"the state of {intervention.name}")


def _titles(model: LearnerMixin, learnt: Mapping[str, Any]) -> Iterator[str]:
    if learnt["moments"]:
        yield "optimizer moments"
    yield from learnt["tensors"]
    if learnt["normalizer"] is not None:
        yield "the normalizer"
    for number in learnt["interventions"]:
        yield f"the state of {model.interventions[number].name}"


def _is_finite(value: Any) -> TypeGuard[Tensor]:
    plain = isinstance(value, Tensor) and value.layout == torch.strided and value.device.type == "cpu"
    return plain and bool(value.isfinite().all())
