"""The folder of a run that a stranger made: nothing in it is run, nothing leads out of it, what was changed is seen."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from forged import forge_hash
from small_run import trained_run

from crl import run as runs
from crl.audit import audit, measuring
from crl.config import ConfigError
from crl.config.origin import code_kept_out
from crl.opening import opened

Command = Callable[..., "subprocess.CompletedProcess[str]"]

TINY = """
stream: {tasks: [cartpole], steps_per_task: 80}
agent: {name: ppo, n_envs: 2, n_steps: 20, batch_size: 20, n_epochs: 1, net_arch: {pi: [4], vf: [4]}}
seed: 3
device: cpu
threads: 1
"""

EVIL = "from pathlib import Path\nPath({trace!r}).touch()\n"
WORLD = EVIL + "import gymnasium\ngymnasium.register('Evil-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
MODULES = ("best", "evil", "helper", "mine", "runs")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, which all tests share."""
    return trained_run(tmp_path_factory.mktemp("trained"), TINY)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of it that has not ended."""
    found = Path(shutil.copytree(trained, tmp_path / "runs" / "run1"))
    (found / "results.json").unlink()
    return found


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    """Modules of one test are not there in another one, and Python's path is as it was."""
    path, finders = list(sys.path), list(sys.meta_path)
    yield
    assert sys.meta_path == finders
    sys.path[:] = path
    for name in [*sys.modules]:
        if name.partition(".")[0] in MODULES:
            del sys.modules[name]


def change(run: Path, **changes: object) -> None:
    """Give the run another config, as if it had begun with that."""
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, **changes}))
    forge_hash(run)


def refused(act: Callable[[Path], object], run: Path) -> str:
    """The sentence that refuses the folder, in which nothing is changed."""
    before = contents(run)
    with pytest.raises(ConfigError, match=r"^[^\n]*$") as caught:
        act(run)
    assert contents(run) == before
    return str(caught.value).replace(str(run), "RUN")


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and ".claims" not in path.parts
    }


def resume(run: Path) -> int:
    return runs.resume(run, ["crl"])


VERBS = {"audit": audit, "resume": resume}

# ---------------------------------------------------------------------- code


def as_module(run: Path, code: str) -> str:
    (run / "evil.py").write_text(code)
    return "evil"


def as_package(run: Path, code: str) -> str:
    (run / "best" / "evil").mkdir()
    (run / "best" / "evil" / "__init__.py").write_text(code)
    return "best.evil"


def in_a_namespace(run: Path, code: str) -> str:
    (run / "evil").mkdir()
    (run / "evil" / "deep.py").write_text(code)
    return "evil.deep"


def in_a_zip(run: Path, code: str) -> str:
    with zipfile.ZipFile(run / "evil.zip", "w") as file:
        file.writestr("evil.py", code)
    return "evil"


PLACES = [as_module, as_package, in_a_namespace, in_a_zip]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("given", ["imports", "tasks"])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_no_module_comes_from_the_folder(
    place: Callable[[Path, str], str], given: str, verb: str, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace"
    name = place(run, WORLD.format(trace=str(trace)))
    stream = {"tasks": [f"{name}:Evil-v0"], "steps_per_task": 64}
    change(run, **({"imports": [name]} if given == "imports" else {"stream": stream}))
    if verb == "resume":  # the checkpoint is of another config
        shutil.rmtree(run / "checkpoints")
    sys.path[:0] = [str(run), os.path.relpath(run), str(run / "evil.zip")]
    sentence = refused(VERBS[verb], run)
    assert "in a run's folder, from which no code is run; read it, and move it elsewhere if you trust it" in sentence
    assert sentence.startswith("imports.0=" if given == "imports" else "stream.tasks.0: ")
    assert not trace.exists()


def test_no_module_comes_from_below_the_current_folder(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_module(run, EVIL.format(trace=str(tmp_path / "trace")))
    change(run, imports=["runs.run1.evil"])
    monkeypatch.chdir(tmp_path)
    assert refused(resume, run).startswith("imports.0=\"runs.run1.evil\" is refused: 'runs.run1' is 'RUN' in a run's f")
    assert not (tmp_path / "trace").exists()


def test_no_module_comes_from_another_run(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = run.with_name("run2")
    other.mkdir()
    (other / ".config_hash").touch()
    as_module(other, EVIL.format(trace=str(tmp_path / "trace")))
    change(run, imports=["runs.run2.evil"])
    monkeypatch.chdir(tmp_path)
    assert "run2' in a run's folder, from which no code is run" in refused(resume, run)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("place", [".", "checkpoints"])
def test_a_run_is_not_opened_from_inside(place: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run / place)
    for act in VERBS.values():
        assert "lies in 'RUN', where programs would look for settings of theirs; go elsewhere" in refused(act, run)


def test_links_lead_no_module_out_of_the_folder(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    as_module(run, EVIL.format(trace=str(tmp_path / "trace")))
    change(run, imports=["evil"])
    (tmp_path / "evil.py").symlink_to(run / "evil.py")
    monkeypatch.chdir(tmp_path)
    assert "'evil' is '" in refused(resume, run)
    (tmp_path / "evil.py").unlink()
    (tmp_path / "link").symlink_to(run)
    sys.path.insert(0, str(tmp_path / "link"))
    assert "'evil' is '" in refused(audit, tmp_path / "link")
    assert not (tmp_path / "trace").exists()


def test_a_module_that_was_imported_from_the_folder(run: Path, tmp_path: Path) -> None:
    as_module(run, "")
    sys.path.insert(0, str(run))
    __import__("evil")
    change(run, imports=["evil"])
    for act in VERBS.values():
        assert refused(act, run).startswith("imports.0: 'evil' is 'RUN/evil.py' in a run's folder")


def test_modules_of_the_users_are_told_before_they_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One of the same name in the folder does not stand before it, wherever the user is and whatever it imports."""
    as_module(run, EVIL.format(trace=str(tmp_path / "trace")))
    (run / "helper.py").write_text(EVIL.format(trace=str(tmp_path / "trace")))
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "evil.py").write_text("import os\nimport helper\nos.write(2, b'it runs\\n')\n")
    (mine / "helper.py").touch()
    change(run, imports=["evil"])
    sys.path[:0] = [str(run), str(mine)]
    monkeypatch.setattr(measuring, "draw", lambda *_: None)  # a figure imports nothing, and takes a second
    assert audit(run) == 0
    assert capfd.readouterr().err == f"crl: imports.0 of the run's config runs '{mine / 'evil.py'}'\nit runs\n"
    assert sys.path[0] == str(run)
    assert not (tmp_path / "trace").exists()
    (mine / "helper.py").unlink()
    del sys.modules["helper"], sys.modules["evil"]
    sentence = refused(audit, run)
    assert sentence.startswith("imports.0=\"evil\" is refused: 'helper' is 'RUN/helper.py' in a run's folder")
    assert not (tmp_path / "trace").exists()


def test_tasks_of_the_users_are_told_before_they_run(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(WORLD.format(trace=str(tmp_path / "trace")).replace("Evil", "Mine"))
    change(run, stream={"tasks": [{"id": "mine:Mine-v0"}], "steps_per_task": 64})
    sys.path.insert(0, str(tmp_path))
    monkeypatch.setattr(measuring, "draw", lambda *_: None)
    assert audit(run) == 0
    assert capsys.readouterr().err == f"crl: stream.tasks.0 of the run's config runs '{tmp_path / 'mine.py'}'\n"
    assert (tmp_path / "trace").exists()


def test_plugins_that_lie_in_the_folder_are_not_seen(run: Path, tmp_path: Path, python: Command) -> None:
    """Not even those of torch, which imports them where it is imported."""
    info = run / "evil-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[torch.backends]\nevil = evil:go\n[crl.plugins]\ncriteria.gxd = evil:go\n")
    as_module(run, EVIL.format(trace=str(tmp_path / "trace")))
    program = f"""
import sys
from pathlib import Path
from crl.opening import opened
sys.path.append({str(run)!r})
with opened(Path({str(run)!r})):
    import torch
"""
    result = python("-c", program, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert not (tmp_path / "trace").exists()


def test_a_folder_that_holds_crl_is_refused() -> None:
    root = Path(__file__).parents[2]
    with pytest.raises(ConfigError, match="holds the code that is to read it"), code_kept_out(root):
        pass


# ---------------------------------------------------------------------- links


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "name",
    ["progress.csv", "model.zip", ".claims", "audit", "best", "checkpoints/80/learner.json", "new", "checkpoints/new"],
)
def test_links_are_refused(name: str, verb: str, run: Path, tmp_path: Path) -> None:
    path = run / name
    target = tmp_path / "target"
    if path.exists():
        path.rename(target)
    path.symlink_to(target)
    before = target.read_bytes() if target.is_file() else None
    with pytest.raises(ConfigError) as caught:
        VERBS[verb](run)
    assert str(caught.value) == (
        f"'{path}' is a link, and a run's folder has none; remove it, or put what it leads to in its place"
    )
    assert before == (target.read_bytes() if target.is_file() else None)


def test_the_folder_itself_may_be_given_by_a_link(run: Path, tmp_path: Path) -> None:
    (tmp_path / "newest").symlink_to(run)
    with opened(tmp_path / "newest") as config:
        assert config.seed == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here that have a name")
def test_what_would_be_waited_for_is_refused(run: Path) -> None:
    os.mkfifo(run / "checkpoints" / "pipe")
    for act in VERBS.values():
        with pytest.raises(ConfigError, match=r"pipe' is neither a file nor a folder; remove it$"):
            act(run)


# ---------------------------------------------------------------------- config


@pytest.mark.parametrize("verb", VERBS)
def test_a_changed_config_is_refused_before_its_modules_run(verb: str, run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(EVIL.format(trace=str(tmp_path / "trace")))
    sys.path.insert(0, str(tmp_path))
    path = run / "config.yaml"
    path.write_text(path.read_text().replace("imports: []", "imports: [mine]"))
    assert refused(VERBS[verb], run) == (
        "'RUN/config.yaml' has been changed since the run began, or this version of crl or a module of imports has "
        "other arguments; put the file back (every checkpoint holds a copy), go on with the versions that began the "
        "run, or train the config as a new run"
    )
    assert not (tmp_path / "trace").exists()


def test_a_hash_may_be_long(run: Path) -> None:
    with (run / ".config_hash").open("ab") as file:
        file.truncate(1 << 40)
    with pytest.raises(ConfigError, match="has been changed"):
        resume(run)


def test_refusals_of_a_folder_load_nothing_heavy(run: Path, python: Command, tmp_path: Path) -> None:
    (run / "link").symlink_to("nowhere")
    program = f"""
import sys
from crl.cli import app
from typer.testing import CliRunner
for verb in ("audit", "resume"):
    for folder in {[str(run), str(tmp_path), str(tmp_path / "nowhere")]!r}:
        result = CliRunner().invoke(app, [verb, folder])
        assert result.exit_code == 2, result.output
        assert len(result.stderr.splitlines()) == 1, result.stderr
assert not {{"torch", "stable_baselines3", "numba", "filelock"}} & set(sys.modules)
"""
    result = python("-c", program, cwd=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")


def test_results_that_are_no_json_are_half_written(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in ("[" * 100_000, json.dumps({"status": 1}), "\0"):
        (run / "results.json").write_text(content)
        assert resume(run) == 0
