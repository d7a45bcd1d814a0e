"""When Python looks for garbage: not among the modules that a process has loaded."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Around imports of much, in a process that is crl's own: what there is then stays as long as that does.

    To go through it takes a fifth of the imports' time, as they go on, and most of a second where the process ends.
    Where all is loaded already nothing is kept: what an earlier run has left in this process would never be freed.
    """
    enabled, loaded = gc.isenabled(), len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > loaded:
            gc.freeze()
        if enabled:
            gc.enable()
