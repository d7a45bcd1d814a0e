"""How the kernels are compiled. Only this module and the kernels import numba."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast
from zlib import crc32

import numba

F = TypeVar("F", bound=Callable[..., Any])

_SHARED_FILES = ("compiling.py", "lists.py", "loops.py", "pace.py", "random.py")
_SHARED = b"".join((Path(__file__).parent / name).read_bytes() for name in _SHARED_FILES)
SHARED_VERSION = f"{crc32(_SHARED):08x}"
"""Changes with what kernels take from other files than their own."""

_NOT_FOR_C: dict[str, Any] = {"no_cfunc_wrapper": True}
_FOR_KERNELS: dict[str, Any] = {**_NOT_FOR_C, "no_cpython_wrapper": True}
"""Without ways in for callers that there are not, compiling takes a quarter less time."""


def kernel(function: F) -> F:
    """Compile a function that Python calls: on its first call, to run without the interpreter lock, kept on disk."""
    # numba renews the copy on disk when the function's own file changes, and looks for it under this name.
    function.__qualname__ += f"_{SHARED_VERSION}"
    try:
        return cast(F, numba.njit(cache=True, nogil=True, **_NOT_FOR_C)(function))
    except RuntimeError:  # neither this folder nor the user's cache folder can be written
        return cast(F, numba.njit(nogil=True, **_NOT_FOR_C)(function))


def helper(function: F) -> F:
    """Compile a function into the kernels that use it, at every place: half of Seaquest's time would be calls."""
    return cast(F, numba.njit(forceinline=True, **_FOR_KERNELS)(function))


def subroutine(function: F) -> F:
    """Compile a function that kernels call: for what is rare, or would be unrolled and take seconds to compile."""
    return cast(F, numba.njit(**_FOR_KERNELS)(function))
