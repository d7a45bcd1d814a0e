"""Infos of a batch give back what every game has said."""

from __future__ import annotations

import threading
from copy import deepcopy
from typing import Any

import numpy as np
import pytest

from envs.infos import add_info, info_of, merge_infos

LOCK = threading.Lock()
SAID: dict[str, tuple[Any, Any]] = {
    "a number and nothing": (1, None),
    "ragged arrays": (np.zeros(2), np.ones(3)),
    "arrays of two types": (np.zeros(2, np.int8), np.ones(2)),
    "a number and a dict": (1, {"k": 2}),
    "a dict and a number": ({"k": 2}, 1),
    "a dict and nothing": ({"k": {"l": 2}}, None),
    "a whole number and another": (0, 0.75),
    "a truth and a number": (False, 0.75),
    "small and large": (1, 2**70),
    "beyond 64 bits": (2**63, 2**63),
    "numpy's small numbers": (np.float32(0.1), np.int8(3)),
    "an array without axes": (np.array(3), np.array(4)),
    "text": ("a", 1),
    "lists": ([1, 2], (3,)),
    "arrays of objects": (np.array([None, 1]), np.array([2, "x"])),
    "nothing at all": ({}, {"a": 1}),
    "dicts that differ": ({"a": 1, "b": None}, {"a": "x", "c": {"d": 2.5}}),
    "what cannot be copied": (LOCK, 1),
}


def assert_said(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_said(found[key], expected[key])
    elif isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    else:
        assert found == expected


def batch(said: dict[int, dict[str, Any]], size: int = 3) -> dict[str, Any]:
    infos: dict[str, Any] = {}
    for game, own in said.items():
        add_info(infos, own, game, size)
    return infos


@pytest.mark.parametrize("kind", SAID)
def test_every_game_gets_back_what_it_said(kind: str) -> None:
    one, other = SAID[kind]
    infos = batch({0: {"x": one}, 2: {"x": other}})
    assert_said(info_of(infos, 0), {"x": one})
    assert info_of(infos, 1) == {}
    assert_said(info_of(infos, 2), {"x": other})


@pytest.mark.parametrize("kind", SAID)
def test_what_two_batches_say_is_merged(kind: str) -> None:
    one, other = SAID[kind]
    merged: dict[str, Any] = {}
    before = batch({0: {"x": one}, 1: {"x": other}})
    kept = info_of(before, 1)
    merge_infos(merged, before, np.array([True, True, False]))
    merge_infos(merged, batch({1: {"x": one}, 2: {"x": other}}), np.array([False, False, True]))
    for game, expected in enumerate((one, other, other)):
        assert_said(info_of(merged, game), {"x": expected})
    assert_said(info_of(before, 1), kept)


def test_what_is_alike_is_one_array() -> None:
    infos = batch({0: {"n": 3, "f": np.float32(1), "a": np.ones((2, 2), np.int8)}, 1: {"n": 4, "d": {"b": True}}})
    assert (infos["n"].dtype, infos["n"].tolist()) == (np.int64, [3, 4, 0])
    assert infos["f"].dtype == np.float32
    assert (infos["a"].dtype, infos["a"].shape) == (np.int8, (3, 2, 2))
    assert infos["d"]["b"].tolist() == [False, True, False]
    assert infos["_n"].tolist() == [True, True, False]
    assert infos["_d"].tolist() == infos["d"]["_b"].tolist() == [False, True, False]


def test_a_game_can_change_nothing_that_it_has_said() -> None:
    said: dict[str, Any] = {"list": [1], "array": np.zeros(2), "dict": {"inner": [2]}, "objects": np.full(2, None)}
    said["objects"][0] = [3]
    expected = deepcopy(said)
    infos = batch({0: said, 1: {"dict": None}})
    said["list"].append(5)
    said["array"][0] = 5
    said["dict"]["inner"].append(5)
    said["objects"][0].append(5)
    assert_said(info_of(infos, 0), expected)


@pytest.mark.parametrize("keys", [("x", "_x"), ("_x", "x")])
def test_a_key_that_is_anothers_mask_is_refused(keys: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=f"has the key '{keys[1]}' beside one that differs by an underscore"):
        batch({0: {keys[0]: 1}, 1: {keys[1]: 2}})
    assert info_of(batch({0: {"_x": 1}}), 0) == {"_x": 1}
