"""How the kernels are compiled. Only this module and the kernels import numba."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def kernel(function: F) -> F:
    """Compile a function that Python calls: on its first call, to run without the interpreter lock, kept on disk.

    The copy on disk is renewed when the function's own file changes, not when a file does whose helpers it calls: a
    game's rules therefore stand in one file with the kernels that play it.
    """
    try:
        return cast(F, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:  # neither this folder nor the user's cache folder can be written
        return cast(F, numba.njit(nogil=True)(function))


def helper(function: F) -> F:
    """Compile a function that kernels call, as part of them."""
    return cast(F, numba.njit(function))
