"""Hooks on modules that several threads run: an agent may be asked for actions while it learns."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import Any


def in_this_thread(hook: Callable[..., Any]) -> Callable[..., Any]:
    """The hook of a module, which leaves the forwards alone that other threads than this one make."""
    own = threading.get_ident()

    @wraps(hook)
    def called(*args: Any, **kwargs: Any) -> Any:
        return hook(*args, **kwargs) if threading.get_ident() == own else None

    return called
