"""How tests run the command line."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import small_checkpoints
from processes import Process

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

TINY_DQN = """
stream: {tasks: [breakout, asterix], steps_per_task: 1250, boundary: revealed}
agent:
  {name: dqn, n_envs: 4, buffer_size: 400, learning_starts: 100, train_freq: 5, batch_size: 8, net_arch: [8],
   target_update_interval: 64, exploration_final_eps: 0.2, double_q: true, epsilon_per_env: true}
at_switch: {random_steps: 40, optimizer: reset}
interventions:
  - {name: gxd, networks: paper, rate: 1e-2, period: 10, maturity: 5, score_every: 1}
seed: 3
device: cpu
threads: 1
"""
"""Two visits of 63 rollouts of 20 steps; a gradient step in each after step 100."""

TINY_SAC = """
stream: {name: pendulum5, steps_per_task: 230}
agent:
  {name: sac, buffer_size: 400, learning_starts: 50, train_freq: 10, gradient_steps: 2, batch_size: 8,
   net_arch: {pi: [8], qf: [8]}}
normalize: {obs: true, reward: true}
interventions:
  - {name: redo, networks: [actor, critic], period: 20, tau: 0.5}
seed: 3
device: cpu
threads: 1
"""
"""Five visits of 23 rollouts of 10 steps; 2 gradient steps in each after step 50."""


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
def crl(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Run ``crl`` with some arguments in a folder, in a process of its own: what it exits with and prints."""
    spoken = tmp_path_factory.mktemp("spoken")
    numbers = itertools.count()

    def run(*arguments: str, cwd: Path, paths: tuple[Path, ...] = ()) -> subprocess.CompletedProcess[str]:
        process = Process(*arguments, cwd=cwd, name=str(spoken / str(next(numbers))), paths=paths)
        return subprocess.CompletedProcess(arguments, process.wait(), process.printed(), process.errors())

    return run


def _tiny(parent: Path, config: str = TINY) -> Path:
    folder = parent / "odd [name] with spaces"
    folder.mkdir()
    (folder / "tiny.yaml").write_text(config, encoding="utf-8")
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


@pytest.fixture(scope="session")
def checkpointed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run with several checkpoints, which all tests share."""
    return small_checkpoints.train(tmp_path_factory.mktemp("checkpointed"))


@pytest.fixture(scope="session", params=["dqn", "sac"])
def replaying(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, crl: Command
) -> tuple[str, Path, subprocess.CompletedProcess[str]]:
    """A finished run of DQN and one of SAC, which all tests share: the agent, the folder, and what the run printed."""
    config = {"dqn": TINY_DQN, "sac": TINY_SAC}[request.param]
    folder = _tiny(tmp_path_factory.mktemp(request.param), config)
    result = crl("train", "tiny.yaml", "runs=my runs", cwd=folder)
    (run,) = (folder / "my runs").iterdir()
    return request.param, run, result


@pytest.fixture
def tiny_dqn(tmp_path: Path) -> Path:
    """A folder that holds ``tiny.yaml`` for DQN."""
    return _tiny(tmp_path, TINY_DQN)
