"""Refusals of impossible arguments."""

from __future__ import annotations


def check(key: str, value: object, right: bool, wanted: str) -> None:
    """Refuse `value` unless it is `right`.

    Raises:
        ValueError: the sentence names the key, the value and what is `wanted`.
    """
    if isinstance(value, bool) or not right:
        raise ValueError(f"{key} is {value!r}; give {wanted}")
