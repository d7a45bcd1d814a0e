"""What a run's checkpoint, or an agent's zip, holds of what was learnt; anybody may have made either.

Of a zip tensors and plain JSON are read: nothing is unpickled but tensors, by torch's ``weights_only``.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import torch as safetensors

from agents.learner import LearnerMixin
from agents.mapping import Actions
from agents.networks.builder import ACTIVATIONS
from agents.plasticity.layers import kind_of
from agents.saving import TENSORS_MEMBER, TREE_MEMBER, merge
from crl import checkpoints, storage
from crl.config import ConfigError
from crl.config.messages import one_line
from crl.config.reading import read_yaml

NEEDED = ("learner", "world")
VARIABLES = "pytorch_variables.pth"  # in a zip: what is learned beside the policy
SPARE = 1 << 26  # bytes that a zip may have beside the agent's tensors
COPIES = 8  # of the policy's parameters that it may hold: with both moments, in double precision, there are six


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
    actions: Actions | None = None
    """Those of its world, where they are known."""
    step: int | None = None
    activation: str | None = None
    """The class of its activation functions, by name, where that is known."""
    lost: list[str] = field(default_factory=list)
    """Sentences on what cannot be read."""

    @property
    def sha256(self) -> str:
        """Of the policy's parameters: their names, types, shapes and numbers."""
        found = hashlib.sha256()
        for name, tensor in sorted(self.modules["policy"].items()):
            found.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
            found.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
        return found.hexdigest()


def from_checkpoint(path: Path) -> Source:
    """What a checkpoint holds.

    Raises:
        DamagedError: it is not as it was written.
        LookupError, TypeError, ValueError and other errors of values: it is none of ours.
    """
    state = storage.read(path, NEEDED)
    learner = state["learner"]
    held = learner.get("interventions")  # which the end of a visit does not have
    # A checkpoint holds the run's config, and one of the best lies two folders below it.
    config: Any = next((_config(each) for each in (path, path.parent.parent) if (each / "config.yaml").is_file()), {})
    names = _names(config)
    states = held["interventions"] if held else []
    return Source(
        learner["modules"],
        learner["tensors"],
        list(zip(names, states, strict=True)) if len(names) == len(states) else [],
        _whole(learner["counters"].get("optimizer_steps")),
        next((layer for layer in state["world"]["wrappers"] if "ret_rms" in layer), None),
        _actions(**learner.get("actions", {})),
        storage.Manifest.load(path).step,
        _activation(config),
    )


def _config(folder: Path) -> Any:
    """What the config in a folder says, unchecked."""
    try:
        return read_yaml(folder / "config.yaml")
    except ConfigError:
        return {}


def _names(config: Any) -> list[str]:
    """Of the interventions that a config names."""
    try:
        return [str(each["name"]) for each in config["interventions"]]
    except checkpoints.UNFIT:
        return []


def _activation(config: Any) -> str | None:
    """Of a config's agent: the class of its activation functions."""
    try:
        name: str = kind_of(ACTIVATIONS[config["agent"]["activation"]]).__name__
    except checkpoints.UNFIT:
        return None
    return name


def from_zip(path: Path, model: LearnerMixin) -> Source:
    """What a zip holds of an agent like `model`.

    Raises:
        BadZipFile, DamagedError, LookupError, TypeError, ValueError and other errors: it is damaged, or none of these.
    """
    most = SPARE + COPIES * sum(tensor.numel() * tensor.element_size() for tensor in model.policy.state_dict().values())
    modules, tensors = model._get_torch_save_params()
    if path.stat().st_size > COPIES * most:  # the list of its members is read whole
        raise ValueError(f"{path.stat().st_size:,} bytes are more than such an agent has")
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        if "policy.pth" not in names:
            raise ValueError("it has no policy.pth")
        found = {name: _loaded(archive, f"{name}.pth", most) for name in modules if f"{name}.pth" in names}
        variables = _loaded(archive, VARIABLES, most) if tensors and VARIABLES in names else None
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
    space = data.get("action_space") or {}
    return Source(
        found,
        variables or {},
        named,
        _whole(data.get("optimizer_steps")),
        actions=_actions(_class_name(space.get(":type:")), data.get("action_meanings"), space.get("nvec")),
        step=_whole(data.get("num_timesteps")),
        activation=_class_name((data.get("policy_kwargs") or {}).get("activation_fn")),
        lost=lost,
    )


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


def _class_name(written: Any) -> str | None:
    """Of a class as SB3 writes it, such as ``<class 'gymnasium.spaces.discrete.Discrete'>``."""
    found = re.fullmatch(r"<class '(?:\w+\.)*(\w+)'>", str(written))
    return None if found is None else found[1]


def _actions(kind: Any = None, names: Any = None, several: Any = None) -> Actions | None:
    """What is known of actions, by what somebody has written of them."""
    if not isinstance(kind, str):
        return None
    known = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return Actions(kind if several is None else f"{kind} {several}", tuple(names) if known else None)
