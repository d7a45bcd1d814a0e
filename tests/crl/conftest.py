"""How tests run the command line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

Command = Callable[..., "subprocess.CompletedProcess[str]"]

TINY = """
stream: {tasks: [breakout, asterix], steps_per_task: 250, cycles: 2}
agent:
  {name: ppo, n_envs: 4, n_steps: 16, batch_size: 32, n_epochs: 2, features: minatar_cnn, net_arch: {pi: [8], vf: [8]}}
interventions:
  - {name: gxd, networks: [actor, critic, features], rate: 1e-2, period: 5, maturity: 5, score_every: 1}
seed: 3
device: cpu
"""
"""Four visits of 4 rollouts, 256 steps each after rounding; 4 gradient steps a rollout."""


@pytest.fixture(scope="session")
def python() -> Command:
    """Run Python with some arguments in a folder where crl, and what lies in `paths` before it, can be imported."""

    def run(*arguments: str, cwd: Path, paths: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
        found = os.pathsep.join(map(str, (*paths, ROOT)))
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": found}
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=120, check=False)

    return run


@pytest.fixture(scope="session")
def crl(python: Command) -> Command:
    """Run ``crl`` with some arguments in a folder: what it exits with and prints."""

    def run(*arguments: str, cwd: Path, paths: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
        return python("-m", "crl.cli", *arguments, cwd=cwd, paths=paths)

    return run


def _tiny(parent: Path) -> Path:
    folder = parent / "odd [name] with spaces"
    folder.mkdir()
    (folder / "tiny.yaml").write_text(TINY, encoding="utf-8")
    return folder


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder with an odd name that holds ``tiny.yaml``."""
    return _tiny(tmp_path)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, crl: Command) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The folder of a finished run of ``tiny.yaml``, which all tests share, and what it printed."""
    folder = _tiny(tmp_path_factory.mktemp("trained"))
    result = crl("train", "tiny.yaml", "runs=my runs", cwd=folder)
    (run,) = (folder / "my runs").iterdir()
    return run, result
