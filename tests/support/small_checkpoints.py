"""A small run that writes checkpoints, trained in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from crl import run, storage
from crl.config import check_arguments, load

CHECKPOINTED = """
stream:
  tasks:
    - {id: cartpole, name: level_0}
    - {id: cartpole, name: level_1, gravity: 7}
    - {id: cartpole, name: level_2, gravity: 8}
    - {id: cartpole, name: level_3, gravity: 9}
    - {id: cartpole, name: level_4, gravity: 11}
  steps_per_task: 80
agent: {name: ppo, n_envs: 2, n_steps: 20, batch_size: 20, n_epochs: 1, net_arch: {pi: [8], vf: [8]}}
normalize: {obs: true}
checkpoint: {every: 100, keep: 3}
seed: 3
device: cpu
threads: 1
"""
"""Five visits of two rollouts of 40 steps."""


def train(parent: Path, *overrides: str, code: int = 0, config: str = CHECKPOINTED) -> Path:
    """The folder of the run that a config describes, which has ended with that code."""
    (parent / "tiny.yaml").write_text(config)
    checked = check_arguments(load(parent / "tiny.yaml", [f"runs={parent / 'runs'}", *overrides]))
    assert run.train(checked, ["crl"]) == code
    (found,) = (parent / "runs").iterdir()
    return found


def rewritten(checkpoint: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Give a checkpoint other content, with the checksums of that."""
    state = storage.read(checkpoint)
    change(state)
    storage.write(checkpoint, state, {"config.yaml": (checkpoint / "config.yaml").read_text()})


def contents(folder: Path) -> dict[str, bytes]:
    """Everything in a folder but the lock, which is free."""
    return {
        str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and ".claims" not in path.parts
    }


def steps_of(found: Path) -> list[int]:
    """Of its checkpoints; nothing else lies beside them."""
    place = found / "checkpoints"
    return sorted(int(path.name) for path in place.iterdir()) if place.exists() else []
