"""A GPU that is none, as a plugin of pytest: tensors say that they are on ``cuda``, and the CPU computes their values.

What a GPU refuses is refused: tensors of two devices in one operation, a generator of another device, numpy's look at
a tensor that is not on the host. What waits for a GPU is refused where `torch.cuda.set_sync_debug_mode` says so. A copy
to page-locked memory is there once the event that was recorded behind it was asked for, and not before.

    pytest -p pretended_gpu tests/agents/test_on_gpu.py

with ``PRETENDED_GPU`` the library that `library` has built; the plugin must be there before torch is.

Not as on a GPU: ``tensor.data = other`` and subclasses of tensors, pickles, rounding, and how long anything takes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

if "PRETENDED_GPU" in os.environ:
    ctypes.CDLL(os.environ["PRETENDED_GPU"], mode=ctypes.RTLD_GLOBAL)

import pytest
import torch
from torch import Tensor, nn
from torch.optim import optimizer
from torch.utils import _foreach_utils
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

BETWEEN = ("_to_copy", "copy_", "_foreach_copy_")
"""Operations on tensors of two devices."""
INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_")
"""Operations by indices, which may be on the host."""
WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "unique_dim")
FREE = 2**36
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
_places: dict[int, torch.device] = {}  # of generators
_generators: list[torch.Generator] = []  # which must not be freed, or others would have their addresses
_late: list[Callable[[], object]] = []  # copies to the host that have been begun
_mode = "default"


def library(folder: Path) -> Path:
    """Build what torch must know of a GPU; `FileNotFoundError` where there is no compiler."""
    found, torchs = folder / "pretended_gpu.so", Path(torch.__file__).parent
    source = Path(__file__).with_suffix(".cpp")
    places = [f"-I{torchs / 'include'}", f"-L{torchs / 'lib'}", f"-Wl,-rpath,{torchs / 'lib'}"]
    command = ["g++", "-shared", "-fPIC", "-std=c++20", *places, str(source), "-o", str(found)]
    subprocess.run([*command, "-Wl,--no-as-needed", "-lc10", "-ltorch_cpu"], check=True, timeout=120)
    return found


class OnGPU(Tensor):
    """A tensor of which `held`, on the host, has the values."""

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> Any:
        made = Tensor._make_wrapper_subclass(
            cls, held.shape, held.stride(), held.storage_offset(), dtype=held.dtype, device=CUDA
        )  # fmt: skip
        made.held = held
        return made

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(function, args, kwargs or {})

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        made = OnGPU(self.held.detach().clone())
        memo[id(self)] = nn.Parameter(made) if isinstance(self, nn.Parameter) else made
        return memo[id(self)].requires_grad_(self.requires_grad)


class Computing(TorchDispatchMode):
    """Makes tensors there, where it is asked for by their device alone."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return computed(function, args, kwargs or {})


class Generator(torch.Generator):
    """Of another device than it says."""

    def __new__(cls, device: Any = "cpu") -> Any:
        made = super().__new__(cls, "cpu")
        _places[made._cdata] = torch.device(device)
        _generators.append(made)
        return made


class Event:
    """What was begun before it was recorded has ended once it is asked for."""

    def record(self, stream: Any = None) -> None:
        self._behind = [*_late]
        _late.clear()

    def synchronize(self) -> None:
        while self._behind:
            self._behind.pop()()


def computed(function: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What an operation gives, which is computed on the CPU."""
    name, given = function.overloadpacket.__name__, tree_leaves((args, kwargs))
    there = [each for each in given if isinstance(each, OnGPU)]
    target = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
    to_gpu = target.type == "cuda" if target is not None else bool(there)
    _refuse(function, name, args, given, there, to_gpu)
    if there or to_gpu:
        _look(name, args, kwargs, there, to_gpu)
    if name == "_pin_memory":
        return args[0].clone()
    plain_args, plain = tree_map(_held, args), {key: _held(value) for key, value in kwargs.items()}
    plain.pop("pin_memory", None)
    if target is not None:
        plain["device"] = CPU
    if name == "copy_" and isinstance(args[1], OnGPU) and not isinstance(args[0], OnGPU) and _begun(args, kwargs):
        copied = args[1].held.clone()
        _late.append(lambda: args[0].copy_(copied))
        return args[0].fill_(1)
    found = function(*plain_args, **plain)
    if name == "_to_copy" and to_gpu != bool(there) and found is plain_args[0]:
        found = found.clone()
    if not to_gpu:
        return found
    found = tree_map(lambda each: OnGPU(each) if type(each) is Tensor else each, found)
    return return_and_correct_aliasing(function, args, kwargs, found) if there else found


def _held(value: Any) -> Any:
    return tree_map(lambda each: each.held if isinstance(each, OnGPU) else each, value)


def _begun(args: Any, kwargs: dict[str, Any]) -> bool:
    """Whether nobody waits for a copy."""
    return bool(args[2] if len(args) > 2 else kwargs.get("non_blocking", False))


def _refuse(function: Any, name: str, args: Any, given: list[Any], there: list[Tensor], to_gpu: bool) -> None:
    for each in given:
        if isinstance(each, torch._C.Generator) and (_places.get(each._cdata, CPU).type == "cuda") is not to_gpu:
            raise RuntimeError(f"{function} on {'cuda' if to_gpu else 'cpu'} is given a generator of another device")
    others = [each for each in given if isinstance(each, Tensor) and not isinstance(each, OnGPU)]
    if not (there and others) or name in BETWEEN or (name in INDEXED and isinstance(args[0], OnGPU)):
        return
    scalars = torch.Tag.pointwise in function.tags or name.startswith("_foreach") or name == "fill_"
    if not scalars or any(each.dim() for each in others):
        shapes = [(each.device.type, *each.shape) for each in [*there, *others]]
        raise RuntimeError(f"{function}: expected all tensors to be on the same device, but got {shapes}")


def _look(name: str, args: Any, kwargs: dict[str, Any], there: list[Tensor], to_gpu: bool) -> None:
    indices = [each for each in tree_leaves(args[1:2]) if isinstance(each, Tensor)] if name in INDEXED else []
    crosses = (name == "_to_copy" and to_gpu is not bool(there)) or (
        name == "copy_" and isinstance(args[0], OnGPU) is not isinstance(args[1], OnGPU)
    )
    waits = (
        name in WAITING
        or any(each.dtype in (torch.bool, torch.uint8) or not isinstance(each, OnGPU) for each in indices)
        or (crosses and not _begun(args, kwargs))
    )
    if waits and _mode == "error":
        raise RuntimeError(f"{name} waits for the GPU")
    if name == "_to_copy" and there and not to_gpu and kwargs.get("non_blocking"):
        raise RuntimeError("a copy to the host is read before it may be there")


def _set_mode(mode: str) -> None:
    global _mode
    _mode = mode


def _made(build: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Of values on the host first, as torch does it."""

    def make(data: Any, *args: Any, device: Any = None, **kwargs: Any) -> Tensor:
        made = build(data, *args, **kwargs)
        return made if device is None else made.to(device)

    return make


@contextlib.contextmanager
def pretended() -> Iterator[None]:
    """There is a GPU, as long as this is open."""
    state = torch.zeros(16, dtype=torch.uint8)
    tolist = Tensor.tolist

    def told(tensor: Tensor) -> Any:
        return tolist(tensor.cpu() if isinstance(tensor, OnGPU) else tensor)

    answers: dict[str, Any] = {
        "_lazy_init": lambda: None, "is_available": lambda: True, "device_count": lambda: 1,
        "current_device": lambda: 0, "current_stream": lambda device=None: None,
        "mem_get_info": lambda device=None: (FREE, FREE), "max_memory_allocated": lambda device=None: 0,
        "get_rng_state": lambda device=None: state.clone(), "set_rng_state": lambda state, device=None: None,
        "manual_seed": lambda seed: None, "manual_seed_all": lambda seed: None,
        "device": lambda device: contextlib.nullcontext(), "is_bf16_supported": lambda **kwargs: True,
        "set_sync_debug_mode": _set_mode, "Event": Event,
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, answer in answers.items():
            patch.setattr(torch.cuda, name, answer)
        patch.setattr(torch, "Generator", Generator)
        patch.setattr(torch, "tensor", _made(torch.tensor))
        patch.setattr(torch, "as_tensor", _made(torch.as_tensor))
        patch.setattr(Tensor, "tolist", told)
        for module in (_foreach_utils, optimizer):
            patch.setattr(module, "_foreach_supported_types", [*module._foreach_supported_types, OnGPU])
        torch.__future__.set_swap_module_params_on_conversion(True)  # for ``.data =`` would lose `held`
        try:
            yield
        finally:
            torch.__future__.set_swap_module_params_on_conversion(False)


# ---------------------------------------------------------------------------------------------------- the plugin


def pytest_configure(config: pytest.Config) -> None:
    """Before anything is collected, which may ask whether there is a GPU."""
    there = pretended()
    there.__enter__()
    config.add_cleanup(lambda: there.__exit__(None, None, None))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """Tests alone have it: all else of pytest's is left alone."""
    _late.clear()
    with Computing():
        return (yield)
