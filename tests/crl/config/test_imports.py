"""Where modules of the user's are found: beside the config, in the current folder, and never in a run's."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., "subprocess.CompletedProcess[str]"]

CONFIG = """
stream: {tasks: ["mine:Mine-v0"], steps_per_task: 16}
agent: {name: ppo, n_envs: 2, n_steps: 8, batch_size: 8, n_epochs: 1, net_arch: {pi: [4], vf: [4]}}
device: cpu
threads: 1
"""
WORLD = "import gymnasium\ngymnasium.register('Mine-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a config, and another one to be in."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "mine" / "c.yaml").write_text(CONFIG)
    return tmp_path


@pytest.mark.parametrize("folder", ["mine", "here"])
def test_the_module_of_a_task_lies_beside_the_config_or_in_the_current_folder(
    folder: str, home: Path, crl: Command
) -> None:
    (home / folder / "mine.py").write_text(WORLD)
    result = crl("train", "../mine/c.yaml", cwd=home / "here")
    assert result.returncode == 0, result.stderr
    (run,) = (home / "here" / "runs").iterdir()
    assert run.name.startswith("c__ppo__plain__s0__")


def test_a_run_finds_its_modules_again(home: Path, crl: Command) -> None:
    (home / "mine" / "mine.py").write_text(WORLD)
    here = home / "here"
    assert crl("train", "../mine/c.yaml", cwd=here).returncode == 0
    (run,) = (here / "runs").iterdir()
    (run / "results.json").unlink()
    (run / "checkpoints" / "16").rename(here / "gone")
    refused = crl("resume", f"runs/{run.name}", cwd=here)
    assert refused.returncode == 2
    assert refused.stderr == (
        f'crl: stream.tasks.0: "mine" is no module that can be found, as those of imports are, in {str(here)!r} or the '
        "installed packages; install it, or run crl in the folder where it lies (resume, evaluate, audit and "
        "diagnose also take --modules FOLDER)\n"
    )
    resumed = crl("resume", f"runs/{run.name}", "--modules", "../mine", cwd=here)
    assert resumed.returncode == 0, resumed.stderr
    assert f"crl: stream.tasks.0 of the run's config runs {str(home / 'mine' / 'mine.py')!r}" in resumed.stderr


def test_what_is_not_found_says_where_it_was_looked_for(home: Path, crl: Command) -> None:
    result = crl("train", "../mine/c.yaml", cwd=home / "here")
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == (
        f'crl: stream.tasks.0: "mine" is no module that can be found, as those of imports are, in '
        f"{str(home / 'here')!r} or {str(home / 'mine')!r} or the installed packages; install it, or run crl in the "
        "folder where it lies\n"
    )


@pytest.mark.parametrize("given", ["tasks", "imports"])
def test_no_module_lies_beside_the_config_of_a_run(given: str, home: Path, crl: Command) -> None:
    """Which is a stranger's, wherever in the run's folder it lies, and whichever folder is the current one."""
    run = home / "here" / "runs" / "theirs"
    shutil.copytree(home / "mine", run / "checkpoints" / "16")
    (run / ".config_hash").touch()
    trace = home / "trace"
    (run / "checkpoints" / "16" / "mine.py").write_text(
        f"{WORLD}from pathlib import Path\nPath({str(trace)!r}).touch()"
    )
    config = run / "checkpoints" / "16" / "c.yaml"
    if given == "imports":
        config.write_text(CONFIG.replace("mine:Mine-v0", "cartpole") + "imports: [mine]\n")
    for place in (home / "here", config.parent):
        result = crl("train", str(config), f"runs={home / 'out'}", cwd=place)
        assert result.returncode == 2
        assert '"mine" is no module that can be found' in result.stderr
        assert str(config.parent) not in result.stderr
    assert not trace.exists()
    assert not (home / "out").exists()


def test_no_module_of_a_runs_folder_is_named_by_the_config_of_a_run(home: Path, crl: Command) -> None:
    run = home / "here" / "theirs"
    shutil.copytree(home / "mine", run)
    (run / ".config_hash").touch()
    (run / "mine.py").write_text(f"from pathlib import Path\nPath({str(home / 'trace')!r}).touch()")
    result = crl("train", "theirs/c.yaml", "imports=[theirs.mine]", cwd=home / "here")
    assert result.returncode == 2
    assert "in a run's folder, from which no code is run; read it, and move it elsewhere" in result.stderr
    assert not (home / "trace").exists()
