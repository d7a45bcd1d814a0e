"""How the kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compiled on its first call, to run without the interpreter lock, and kept on disk where that can be written.

    What is divided by 0 is infinite, or no number, as in torch.
    """
    try:
        return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:  # neither this folder nor the user's cache folder can be written
        return cast(F, numba.njit(nogil=True, error_model="numpy")(function))
