"""Runs from Python: the same as from the command line, without its exit codes, signals and prints."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from compared import assert_equal
from small_run import trained_run

import crl
from crl.config import check_arguments, load
from crl.parts import Part

CONFIG = """
stream: {tasks: [{id: cartpole}, {id: cartpole, gravity: 12}], steps_per_task: 120}
agent: {name: ppo, n_envs: 2, n_steps: 20, batch_size: 20, n_epochs: 1, net_arch: [8]}
checkpoint: {every: 80}
seed: 3
device: cpu
threads: 1
"""


class Acts(Part):
    """Calls something at one step."""

    name = "acts"

    def __init__(self, step: int, act: Callable[[], None]) -> None:
        super().__init__()
        self._at, self._act = step, act

    def _on_step(self) -> bool:
        if self.num_timesteps == self._at:
            self._act()
        return True


@pytest.fixture
def config(tmp_path: Path) -> dict[str, Any]:
    return {**yaml.safe_load(CONFIG), "runs": str(tmp_path / "runs")}


def test_a_run_is_that_of_the_command_line(
    tmp_path: Path, config: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    expected = trained_run(tmp_path, CONFIG)
    capfd.readouterr()
    torch.set_num_threads(2)
    results = crl.train(tmp_path / "tiny.yaml", [f"runs={tmp_path / 'mine'}"])
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    folder = Path(results.folder)
    assert capfd.readouterr() == ("", "")
    assert results == crl.RunResults.read(folder)
    assert (results.status, results.steps) == ("done", 240)
    assert_equal(folder, expected)
    command = (folder / "command.txt").read_text()
    assert command.startswith("python -c 'import crl; crl.train(")
    again = crl.train({**config, "runs": str(tmp_path / "dict")})
    assert_equal(Path(again.folder), expected)
    checked = check_arguments(load(tmp_path / "tiny.yaml"))
    for each in (crl.train(checked, [f"runs={tmp_path / 'object'}", "seed=4"]),):
        assert load(Path(each.folder) / "config.yaml").seed == 4


def test_progress_is_printed_where_that_is_wanted(config: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    results = crl.train(config, verbose=True)
    lines = capfd.readouterr().out.splitlines()
    assert f"run folder: {results.folder}" in lines
    assert any(line.startswith("visit 2 of 2: cartpole(gravity=12)") for line in lines)


def test_refusals_leave_nothing(config: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(crl.ConfigError, match=r"^agent\.n_env=2 is not a known key; did you mean 'n_envs'\?$"):
        crl.train({**config, "agent": {"name": "ppo", "n_env": 2}})
    with pytest.raises(crl.ConfigError, match=r"^the config file 'no.yaml' does not exist"):
        crl.train("no.yaml")
    with pytest.raises(crl.ConfigError, match=r"does not exist|is no run"):
        crl.resume(tmp_path)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("overrides", ["seed=1", {"seed": 1}, [("seed", 1)], None])
def test_overrides_are_a_list(config: dict[str, Any], overrides: Any) -> None:
    with pytest.raises(crl.ConfigError, match=r"^the overrides are .*; give a list, such as \['seed=3'\]$"):
        crl.train(config, overrides)


def test_numbers_of_numpy_and_torch_are_numbers(config: dict[str, Any], tmp_path: Path) -> None:
    given = {
        **config,
        "seed": np.int64(3),
        "stream": MappingProxyType(
            {**config["stream"], "tasks": ({"id": "cartpole"}, {"id": "cartpole", "gravity": np.int64(12)})}
        ),
        "agent": {**config["agent"], "n_steps": torch.tensor(20), "net_arch": np.array([8])},
        "runs": tmp_path / "runs",
    }
    results = crl.train(given)
    run = Path(results.folder)
    saved = yaml.safe_load((run / "config.yaml").read_text())
    assert saved["stream"]["tasks"] == config["stream"]["tasks"]
    assert (saved["agent"]["n_steps"], saved["agent"]["net_arch"]["pi"], saved["seed"]) == (20, [8], 3)
    assert "int64" not in (run / "command.txt").read_text()


def test_a_failure_is_raised_with_its_cause(config: dict[str, Any], tmp_path: Path) -> None:
    def fail() -> None:
        raise ArithmeticError("broken")

    message = r"^the run failed at step 150 with ArithmeticError: broken; resume"
    with pytest.raises(crl.RunError, match=message) as found:
        crl.train(config, parts=[Acts(150, fail)])
    assert isinstance(found.value.__cause__, ArithmeticError)
    (folder,) = (tmp_path / "runs").iterdir()
    assert (folder / "crash-150.txt").is_file()
    results = crl.resume(folder, parts=[Acts(0, fail)])
    assert results.status == "done"
    with pytest.raises(crl.ConfigError, match=r"is finished; train a new one"):
        crl.resume(folder, parts=[Acts(0, fail)])


@pytest.mark.parametrize("signals", [1, 2])
def test_an_interrupted_run_is_saved_and_goes_on(config: dict[str, Any], tmp_path: Path, signals: int) -> None:
    def interrupt() -> None:
        for _ in range(signals):
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    if signals == 1:
        results = crl.train(config, parts=[Acts(150, interrupt)])
        assert (results.status, results.steps) == ("interrupted", 160)
    else:
        with pytest.raises(KeyboardInterrupt, match=r"^not saved any more; crl resume goes on from .*checkpoints.80$"):
            crl.train(config, parts=[Acts(150, interrupt)])
    assert signal.getsignal(signal.SIGINT) is before
    (folder,) = (tmp_path / "runs").iterdir()
    assert crl.resume(folder, parts=[Acts(0, interrupt)]).status == "done"
    whole = crl.train({**config, "runs": str(tmp_path / "whole")}, parts=[Acts(0, interrupt)])
    assert_equal(folder, Path(whole.folder))


def test_a_run_in_another_thread(config: dict[str, Any]) -> None:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(crl.train(config)))
    thread.start()
    thread.join(60)
    assert found[0].status == "done"


def test_two_runs_at_once_in_one_process_are_told_that_they_share_its_generators(
    config: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    found: list[Any] = []

    def another() -> None:
        thread = threading.Thread(target=lambda: found.append(crl.train({**config, "seed": 2})))
        thread.start()
        thread.join(60)

    crl.train(config, parts=[Acts(40, another)])
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("crl: warning: another run trains in this process")
    assert found[0].status == "done"
    crl.train(config)
    assert capfd.readouterr().err == ""


def test_importing_crl_is_light(python: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path) -> None:
    program = "import sys, crl; crl.train; print([m for m in ('torch', 'stable_baselines3') if m in sys.modules])"
    assert python("-c", program, cwd=tmp_path).stdout == "[]\n"
