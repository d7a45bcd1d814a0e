"""The type of what is saved."""

from __future__ import annotations

from typing import Any, TypeAlias

State: TypeAlias = dict[str, Any]
"""Nested dicts and lists of JSON values, arrays and tensors."""
