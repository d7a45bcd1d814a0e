"""How the kernels are compiled."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast
from zlib import crc32

import numba

F = TypeVar("F", bound=Callable[..., Any])

_HERE = Path(__file__).parent
_FILES = (*sorted(_HERE.glob("*.py")), *(_HERE.parent / name for name in ("floats.py", "pairs.py", "vectors.py")))
VERSION = f"{crc32(b''.join(path.read_bytes() for path in _FILES)):08x}"
"""Changes with any of the files that kernels are made of: they take functions from one another."""


def compiled(function: F) -> F:
    """Compiled on its first call, to run without the interpreter lock, and kept on disk where that can be written.

    What is divided by 0 is infinite, or no number, as in torch.
    """
    # numba renews the copy on disk when the function's own file changes alone, and looks for it under this name.
    function.__qualname__ += f"_{VERSION}"
    try:
        return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
    except RuntimeError:  # neither this folder nor the user's cache folder can be written
        return cast(F, numba.njit(nogil=True, error_model="numpy")(function))
