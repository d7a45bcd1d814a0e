"""What a process has but once, of runs that have their turns in it."""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
import torch

from crl.ablation.once import Process


@pytest.fixture
def process() -> Iterator[Process]:
    found = Process()
    yield found
    found.give(None)


def draws(n: int = 3) -> list[float]:
    """Of all three global generators; of numpy an odd count of normal numbers, so that one waits."""
    return [f() for _ in range(n) for f in (random.random, np.random.randn, np.random.rand, torch.rand(1).item)]


def test_each_draws_as_by_itself(process: Process) -> None:
    before = np.random.get_state()
    expected = {}
    for name, seed in (("a", 1), ("b", 2)):
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
        expected[name] = draws() + draws() + draws()
    np.random.set_state(before)
    home = draws(0), np.random.get_state()[1].tolist(), np.random.get_bit_generator()
    found: dict[str, list[float]] = {"a": [], "b": []}
    for name, seed in (("a", 1), ("b", 2)):
        process.give(name)
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
    for name in "abbabaa":
        process.give(name)
        if len(found[name]) < len(expected[name]):
            found[name] += draws()
    assert found == expected
    process.give(None)
    assert np.random.get_state()[1].tolist() == home[1]
    assert np.random.get_bit_generator() is home[2]


def test_a_run_begins_as_the_process_stood_and_its_end_changes_nothing(process: Process) -> None:
    np.random.seed(5)
    np.random.randn()  # and one waits
    state = np.random.get_state(legacy=False)
    process.give("a")
    assert np.random.get_state(legacy=False)["gauss"] == state["gauss"]
    first = np.random.randn(4).tolist()
    sys.path.append("nowhere")
    warnings.simplefilter("ignore")
    process.give("b")
    assert "nowhere" not in sys.path
    assert np.random.randn(4).tolist() == first
    process.forget("b")
    assert np.random.randn(4).tolist() == first
    process.give("a")
    assert sys.path[-1] == "nowhere"
    process.forget("a")
    assert "nowhere" not in sys.path


def test_bit_generators_of_other_kinds_are_kept(process: Process) -> None:
    own = np.random.PCG64(3)
    expected = np.random.RandomState(np.random.PCG64(3)).rand(4).tolist()
    process.give("a")
    np.random.set_bit_generator(own)
    found = [np.random.rand(), np.random.rand()]
    process.give("b")
    assert np.random.get_bit_generator() is not own
    process.give("a")
    found += [np.random.rand(), np.random.rand()]
    assert found == expected
