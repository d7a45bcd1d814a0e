"""Every stream of the catalogue is built, stepped, switched, saved and gone on with."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from fake_pool import install

import envs
from envs.catalogue import STREAMS

NEEDED = {"slippery_ant": "mujoco", "cchain/lunarlander": "Box2D", "trac/lunarlander": "Box2D"}
PLAYED = ("cchain/quadruped", "cw10")
"""Those that envpool itself plays here; the others of a suite differ in names and numbers."""
OTHERS = [name for name, stream in STREAMS.items() if not stream.restores and name not in (*PLAYED, *NEEDED)]


@pytest.mark.parametrize(
    ("name", "player"),
    [
        *((name, "fake") for name in STREAMS),
        *((name, "envpool") for name in PLAYED),
        *(pytest.param(name, "envpool", marks=pytest.mark.slow) for name in OTHERS),
    ],
)
def test_walk(name: str, player: str, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = "envpool" if player == "envpool" else NEEDED.get(name)
    if needed is not None and not find_spec(needed):
        pytest.skip(f"{needed} is not installed")
    if player == "fake":
        install(monkeypatch)
    stream = envs.make(name, n_envs=2, steps_per_task=4, cycles=2, seed=3)
    last = stream.stream.n_segments - 1
    stream.reset()
    stream.action_space.seed(0)
    for step in range(5):
        observations, rewards, terminations, truncations, info = stream.step(stream.action_space.sample())
        assert observations in stream.observation_space
        assert np.isfinite(rewards).all()
        switched = step % 2 == 1 and step // 2 < last
        assert info["task_switched"].tolist() == [switched] * 2
        if switched:
            assert (terminations | truncations).all()
    assert (stream.steps, stream.segment.index) == (10, min(2, last))
    if not stream.saves_games:
        stream.rebuild(10)
        stream.reset()
    state = stream.get_state()
    other = envs.make(name, n_envs=2, steps_per_task=4, cycles=2, seed=3)
    other.set_state(state)
    actions = stream.action_space.sample()
    for one, another in zip(stream.step(actions)[:4], other.step(actions)[:4], strict=True):
        np.testing.assert_array_equal(one, another)
    assert (other.task, other.segment.index) == (stream.task, stream.segment.index)
    stream.close()
    other.close()
