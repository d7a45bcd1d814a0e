"""Torch's compiler, which stays unloaded where nobody compiles: 800 modules, 75 MB, and more than a second to load.

Torch's optimizers load it when they are made and at every step, and `torch.compiler.set_stance` does, though what they
tell it means nothing before something is compiled.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import wraps
from typing import Any

import torch
from torch.optim import Optimizer

NAME = "torch._dynamo"
UNCOMPILED = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
"""Methods of optimizers that torch keeps from being compiled."""
_KEPT = "__dynamo_disable"
"""Attribute in which `torch._compile` keeps a function as it is called uncompiled, to make that once."""


def is_loaded() -> bool:
    """Whether something may be, or may have been, compiled."""
    return NAME in sys.modules


def eagerly() -> AbstractContextManager[Any]:
    """Around forward passes that hooks must see: graphs that `torch.compile` made before do not run them."""
    return torch.compiler.set_stance("force_eager") if is_loaded() else nullcontext()


def leave_unloaded() -> None:
    """Let optimizers load the compiler no more only to be kept from it, in this process; once it is loaded, they are.

    Nothing is changed where torch keeps them from it in another way than the known ones do.
    """
    for name in UNCOMPILED:
        method: Any = getattr(Optimizer, name)
        function: Any = getattr(method, "__wrapped__", None)
        if function is not None and not is_loaded() and not hasattr(function, _KEPT):
            setattr(function, _KEPT, _until_loaded(method, function))


def _until_loaded(method: Callable[..., Any], function: Any) -> Callable[..., Any]:
    """The function itself until the compiler is loaded, then torch's method anew, which keeps the function from it."""

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if not is_loaded():
            return function(*args, **kwargs)
        vars(function).pop(_KEPT, None)
        return method(*args, **kwargs)

    return called
