"""Replay buffers that are larger than memory are refused before anything is built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from crl.config import ConfigError
from crl.models import build
from crl.models.memory import available_bytes, transition_bytes

SPACES = {
    "vectors": {"observations": gymnasium.spaces.Box(-1, 1, (3,), np.float64)},
    "images": {"observations": gymnasium.spaces.Box(0, 255, (12, 10, 3), np.uint8)},
    "boards": {"observations": gymnasium.spaces.Box(0, 1, (5, 5), np.bool_)},
    "states": {"observations": gymnasium.spaces.Discrete(5)},
    "pairs": {"observations": gymnasium.spaces.MultiDiscrete([5, 2])},
    "doubles": {"actions": gymnasium.spaces.Box(-1, 1, (2,), np.float64)},
}

NOWHERE = Path("/nowhere")


def nbytes(buffer: ReplayBuffer) -> int:
    names = ("observations", "next_observations", "actions", "rewards", "dones", "timeouts")
    return sum(getattr(buffer, name).nbytes for name in names)


@pytest.mark.parametrize("kind", SPACES)
@pytest.mark.parametrize("n_steps", [1, 3])
def test_the_bytes_are_those_of_stable_baselines(config: Any, register_odd: Any, kind: str, n_steps: int) -> None:
    register_odd(**SPACES[kind])
    _, model, env = build(config("stream.name=Odd-v0", f"agent.n_steps={n_steps}", agent="sac"))
    assert isinstance(model, OffPolicyAlgorithm)
    assert model.replay_buffer is not None
    assert nbytes(model.replay_buffer) == 64 * transition_bytes(env)
    env.close()


def machine(monkeypatch: pytest.MonkeyPatch, available: Callable[[], int], cgroup: Path = NOWHERE) -> None:
    """Let the machine have so many bytes available, and its container what the files in `cgroup` say."""
    monkeypatch.setattr("crl.models.memory.psutil.virtual_memory", lambda: SimpleNamespace(available=available()))
    monkeypatch.setattr("crl.models.memory.CGROUP", cgroup)


def test_a_buffer_larger_than_memory_is_refused(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    each = 2 * 125 + 8 + 3 * 4  # two boards of bits, an action of 8 bytes, three scalars
    available = 20_000_001 * each
    machine(monkeypatch, lambda: available)
    with pytest.raises(ConfigError) as error:
        build(config("agent.buffer_size=1_000_000_000", agent="dqn"))
    assert str(error.value) == (
        'agent.buffer_size=1000000000 transitions of stream.name="breakout" take 270.0 GB, but only 5.4 GB of memory '
        "are there; give 20000000 at most"
    )
    available = 63 * each
    with pytest.raises(ConfigError, match=r"; give 62 at most$"):
        build(config("agent.buffer_size=64", agent="dqn"))
    _, _, env = build(config("agent.buffer_size=63", agent="dqn"))  # SB3 rounds down to steps of both games
    env.close()
    available = 64 * each
    with pytest.raises(ConfigError, match=r"; give 60 at most$"):  # 9 bytes more each, even
        build(config("agent={buffer_size: 64, replay: prioritized}", agent="dqn"))
    available = each  # of two games
    with pytest.raises(ConfigError, match=r" are there; lower agent.n_envs=2: one step of all is too much$"):
        build(config("agent.buffer_size=64", agent="dqn"))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 1000),
        ({"memory.max": "max\n", "memory.current": "300\n"}, 1000),
        ({"memory.max": "900\n"}, 1000),
        ({"memory.max": "900\n", "memory.current": "300\n"}, 600),
        ({"memory.max": "9000\n", "memory.current": "300\n"}, 1000),
        ({"memory.max": "900\n", "memory.current": "950\n"}, 0),
        ({"memory.max": "900\n", "memory.current": "300\n", "memory.stat": "anon 90\ninactive_file 200\n"}, 800),
    ],
)
def test_the_limit_of_a_container_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: int
) -> None:
    machine(monkeypatch, lambda: 1000, tmp_path)
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    assert available_bytes() == expected


def test_a_buffer_that_the_system_refuses(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise MemoryError

    monkeypatch.setattr("stable_baselines3.common.buffers.ReplayBuffer.__init__", full)
    with pytest.raises(ConfigError, match=r"^agent.n_envs=2 games and a replay buffer of agent.buffer_size=64 transit"):
        build(config(agent="dqn"))
