"""The package's lazy exports."""

import subprocess
import sys

import pytest

import envs
import envs.making
import envs.stream
import envs.task
import envs.vector


def _modules_after(code: str) -> set[str]:
    program = f"import sys; {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_import_is_light() -> None:
    loaded = _modules_after("import envs, envs.catalogue")
    assert "envs.catalogue" in loaded
    assert not loaded & {"torch", "stable_baselines3", "minatar", "matplotlib", "numba", "mujoco"}


def test_games_are_imported_only_when_one_is_built() -> None:
    heavy = {"torch", "stable_baselines3", "minatar", "matplotlib", "numba", "mujoco"}
    loaded = _modules_after("import envs; envs.make; envs.StreamVectorEnv; envs.TaskStream; envs.make('cartpole')")
    assert "envs.vector" in loaded
    assert not loaded & heavy
    assert "numba" in _modules_after("import envs; envs.make('breakout')")


def test_exports() -> None:
    assert envs.make is envs.making.make
    assert envs.Task is envs.task.Task
    assert envs.TaskStream is envs.stream.TaskStream
    assert envs.Segment is envs.stream.Segment
    assert envs.StreamVectorEnv is envs.vector.StreamVectorEnv
    assert set(envs.__all__) <= set(dir(envs))
    with pytest.raises(AttributeError, match="'envs' has no attribute 'makes'"):
        envs.makes  # noqa: B018
