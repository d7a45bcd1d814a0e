"""Agents in Stable-Baselines3's zip format, with what their interventions hold."""

from __future__ import annotations

import io
import json
import pathlib
import warnings
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import torch
from safetensors import torch as safetensors
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.save_util import json_to_data, open_path
from stable_baselines3.common.vec_env import VecTransposeImage, is_vecenv_wrapped
from torch import Tensor

from agents import zips
from agents.plasticity.compatibility import listed
from agents.plasticity.hooks import Hooks
from agents.plasticity.protocols import Intervention
from agents.plasticity.registry import INTERVENTIONS
from agents.serving import ServingMixin
from agents.spaces import going_on_with
from agents.vec_env import action_meanings

TENSORS_MEMBER, TREE_MEMBER = "interventions.safetensors", "interventions.json"
MARK = "$"
"""First letter of the keys of the dicts that stand, in a zip's JSON, for what JSON has not."""


class SavingMixin(ServingMixin):
    """The part of a learner that holds its interventions, and saves and loads them with it.

    Attributes:
        interventions: called in this order.
        intervention_specs: what a zip holds of the interventions: plain data that builds them again.
        hooks: by which they are called.
        units_logged: what `units_reset` gave for the last row of logs.
        action_meanings: what each action is called in its world; None where that is not known.
    """

    COUNTERS: ClassVar[tuple[str, ...]] = ("units_logged",)
    hooks: Hooks
    action_meanings: list[str] | None = None

    def __init__(self, *args: Any, interventions: Sequence[Intervention] = (), **kwargs: Any) -> None:
        self.interventions = listed(interventions)
        self.intervention_specs: list[dict[str, Any]] = []
        self.units_logged: dict[str, int] = {}
        super().__init__(*args, **kwargs)

    def units_reset(self) -> dict[str, int]:
        """How many units have been reset in each network since training began, rounded to whole units."""
        return self.hooks.units_reset()

    def idle(self) -> dict[str, str]:
        """Intervention -> why it has reset nothing, as far as it knows; empty where a unit has been reset."""
        return self.hooks.idle()

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: all but where the logs go, which are files and threads; `learn` opens others."""
        return {**vars(self), "_logger": Logger(None, []), "_custom_logger": False}

    def _setup_model(self) -> None:
        super()._setup_model()  # type: ignore[safe-super]  # the algorithm comes after this class
        if self.env is not None:
            self.action_meanings = action_meanings(self.env)
        if not self.interventions:  # those of a zip that was loaded came as plain data
            self.interventions = [_build(spec) for spec in self.intervention_specs]

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "interventions", "hooks", "units_logged"]

    def save(
        self,
        path: str | pathlib.Path | io.BufferedIOBase,
        exclude: Iterable[str] | None = None,
        include: Iterable[str] | None = None,
    ) -> None:
        """SB3's zip; what the interventions hold lies in it as members that stock SB3 passes over.

        One of that name is whole until the new one is: a kill, a full disk or what cannot be pickled loses no agent.
        Any thread may save; while another one is in the middle of an update, it waits for the end of that.
        """
        archive = io.BytesIO()
        with self._at_rest() as model:
            model.intervention_specs = [{"name": i.name, **i.arguments()} for i in self.interventions]
            super(SavingMixin, model).save(archive, exclude, include)
            tree, tensors = split(self.intervention_state())
        if self.interventions:
            with zipfile.ZipFile(archive, mode="a") as members:
                members.writestr(TENSORS_MEMBER, safetensors.save(tensors))
                members.writestr(TREE_MEMBER, json.dumps(tree))
        zips.put(path, archive.getbuffer())

    def intervention_state(self) -> dict[str, Any]:
        """What all interventions hold, nested; the tensors are their own. Empty without interventions."""
        return self.hooks.state_dict() if self.interventions else {}

    def load_intervention_state(self, state: Mapping[str, Any]) -> None:
        """Take over what `intervention_state` gave.

        Raises:
            ValueError: it is of other interventions.
        """
        if self.interventions or state:
            self.hooks.load_state_dict(state)

    @classmethod
    def load(
        cls,
        path: str | pathlib.Path | io.BufferedIOBase,
        env: Any = None,
        device: torch.device | str = "auto",
        custom_objects: dict[str, Any] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Self:
        """SB3's `load`, a stock zip's too. Interventions come back with what they held.

        As SB3's own, it is pickle: load only files from people you trust. Where the environment's observations differ
        in wider bounds alone, the agent goes on with them, and a warning says so.

        Args:
            path: of the zip, or an open file.
            env: the new environment; None for prediction alone.
            device: as in SB3.
            custom_objects: as in SB3.
            args: as in SB3.
            kwargs: as in SB3; ``interventions=[...]`` begins anew with these.

        Raises:
            ValueError: ``optimizer`` is given.
        """
        if "optimizer" in kwargs:
            raise ValueError(f"optimizer is {kwargs['optimizer']!r}, but a zip comes with its own; leave it out")
        if "interventions" in kwargs:
            kwargs = {**kwargs, "interventions": list(kwargs["interventions"]), "intervention_specs": []}
        if env is not None:
            saved = _saved(path, custom_objects)
            env = cls._wrap_env(env, saved.get("verbose", 0))
            if "observation_space" in saved:
                observations = going_on_with(saved["observation_space"], env.observation_space)
                custom_objects = {**(custom_objects or {}), "observation_space": observations}
        model = super().load(path, env, device, custom_objects, *args, **kwargs)
        if model.env is not None and is_vecenv_wrapped(model.env, VecTransposeImage):
            model._last_obs = _in_transposed_layout(model._last_obs)
        if "interventions" not in kwargs and model.interventions:
            tensors, tree = _member(path, TENSORS_MEMBER), _member(path, TREE_MEMBER)
            if tensors is None or tree is None:
                # Stock SB3 has saved it again: it keeps plain data and drops members that it does not know.
                known = (
                    "no state of its interventions" if tensors is None else "its interventions' state in an old form"
                )
                warnings.warn(f"{path} holds {known}, they begin anew", stacklevel=2)
            else:
                model.load_intervention_state(merge(json.loads(tree), safetensors.load(tensors)))
                model.units_logged = model.units_reset()
        return model


def split(state: Any) -> tuple[Any, dict[str, Tensor]]:
    """A nested state as JSON with marks in place of its tensors and arrays, and copies of these on the CPU.

    Raises:
        TypeError: it holds something else than dicts (keys: str or int), lists, tensors, arrays and scalars of numbers,
            and JSON values.
    """
    tensors: dict[str, Tensor] = {}

    def kept(tensor: Tensor, path: str) -> str:
        name = f"{len(tensors)}{path}"
        tensors[name] = tensor
        return name

    def without(value: Any, path: str) -> Any:
        match value:
            case Tensor():
                copied = value.detach().cpu().clone(memory_format=torch.contiguous_format)
                return {"$tensor": kept(copied, path)}
            case np.ndarray():
                return {"$array": kept(_copied(value), path)}
            case np.generic():  # before float and str, which some of them are too
                return {"$scalar": kept(_copied(value), path)}
            case Mapping():
                if wrong := [key for key in value if type(key) not in (str, int)]:
                    raise TypeError(f"an intervention's state has the key {wrong[0]!r}, which cannot be saved")
                items = {key: without(held, f"{path}/{key}") for key, held in value.items()}
                plain = all(isinstance(key, str) and not key.startswith(MARK) for key in items)
                return items if plain else {"$items": [*items.items()]}
            case list() | tuple():
                return [without(held, f"{path}/{index}") for index, held in enumerate(value)]
            case None | bool() | int() | float() | str():
                return value
        raise TypeError(f"an intervention's state holds a {type(value).__name__}, which cannot be saved")

    return without(state, ""), tensors


def merge(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    """What `split` was given.

    Raises:
        ValueError: a tensor is missing, or it is nothing that `split` gives.
    """
    match tree:
        case {"$tensor": str(name)} if len(tree) == 1:
            return _found(name, tensors)
        case {"$array": str(name)} if len(tree) == 1:
            return _found(name, tensors).numpy()
        case {"$scalar": str(name)} if len(tree) == 1:
            return _found(name, tensors).numpy()[()]
        case {"$items": list(items)} if len(tree) == 1:
            if not all(isinstance(item, list) and len(item) == 2 and isinstance(item[0], str | int) for item in items):
                raise ValueError("the saved state of the interventions has a dict without keys")
            return {key: merge(held, tensors) for key, held in items}
        case dict():
            return {key: merge(held, tensors) for key, held in tree.items()}
        case list():
            return [merge(held, tensors) for held in tree]
    return tree


def _found(name: str, tensors: Mapping[str, Tensor]) -> Tensor:
    if name not in tensors:
        raise ValueError(f"the saved state of the interventions lacks its tensor {name!r}")
    return tensors[name]


def _copied(array: Any) -> Tensor:
    try:
        return torch.from_numpy(np.array(array, order="C"))
    except (TypeError, ValueError):
        raise TypeError(f"an intervention's state holds an array of {array.dtype}, which cannot be saved") from None


def _member(path: str | pathlib.Path | io.BufferedIOBase, name: str) -> bytes | None:
    """What a zip holds under a name, None where there is no such member."""
    file = open_path(path, "r", verbose=0, suffix="zip")
    try:
        with zipfile.ZipFile(file) as members:
            return members.read(name) if name in members.namelist() else None
    finally:
        if isinstance(path, str | pathlib.Path):
            file.close()


def _saved(path: str | pathlib.Path | io.BufferedIOBase, custom_objects: dict[str, Any] | None) -> dict[str, Any]:
    """What a zip says of the agent's observations and of how much it prints; what it does not say is left to SB3."""
    try:
        data = json.loads(_member(path, "data") or "{}")
    except zipfile.BadZipFile:
        return {}
    asked = {key: data[key] for key in ("observation_space", "verbose") if key in data}
    return json_to_data(json.dumps(asked), custom_objects)


def _in_transposed_layout(observations: Any) -> Any:
    """Images as `VecTransposeImage` lays them in memory, which a pickle forgets: convolutions round by layout."""
    if isinstance(observations, dict):
        return {key: _in_transposed_layout(value) for key, value in observations.items()}
    if observations is None or observations.ndim != 4:
        return observations
    return observations.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2)


def _build(spec: Mapping[str, Any]) -> Intervention:
    arguments = dict(spec)
    name = arguments.pop("name")
    if name not in INTERVENTIONS:
        raise ValueError(
            f"the zip holds the intervention {name!r}, which is not registered; pass load(interventions=[...])"
        )
    intervention: Intervention = INTERVENTIONS[name].resolve()(**arguments)
    return intervention
