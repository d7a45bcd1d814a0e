"""How many threads a process may use."""

import os

import pytest

from envs.threads import available_threads


def test_threads_are_given_or_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {0, 3, 5}, raising=False)
    for given, expected in (("2", 2), ("0", 3), ("", 3), ("2,1", 3)):
        monkeypatch.setenv("OMP_NUM_THREADS", given)
        assert available_threads() == expected
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert available_threads() == 3
