"""Runs as jobs of Slurm: submitit's local executor in its place, and a stand-in for its commands."""

from __future__ import annotations

import inspect
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from stub_worker import STEPS, Job, undisturbed

from crl.ablation import elsewhere, launching, loop
from crl.ablation.loop import Loop
from crl.ablation.settings import SlurmConfig
from crl.config import ConfigError

pytest.importorskip("submitit")

from submitit.local.local import LocalExecutor
from submitit.slurm import slurm

from crl.ablation import slurm_jobs
from crl.ablation.slurm_jobs import Slurm, SlurmWorker

SUPPORT = Path(__file__).parents[2] / "support"
# The stub of a worker, which saves at SIGTERM; of the first one that is begun a step lasts as good as for ever.
WORKER = f"""
import os, signal, sys, time
sys.path[:0] = {[str(SUPPORT), str(SUPPORT.parents[1])]!r}
import pathlib, stub_worker
path = pathlib.Path(sys.argv[1])
def leave(*_):
    open("saved", "a").write("saved\\n")
    os._exit(143)
signal.signal(signal.SIGTERM, leave)
if not pathlib.Path("begun").exists() and len(sys.argv) > 2:
    step = stub_worker.time.sleep
    def slow(seconds):
        pathlib.Path("begun").touch()
        step(60)
    stub_worker.time.sleep = slow
sys.exit(stub_worker.work(path))
"""
Command = Callable[[str], Sequence[str]]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, seconds in {"TICK": 0.02, "LOOK": 0.1, "AGAIN": 0.1}.items():
        monkeypatch.setattr(loop, name, seconds)
    monkeypatch.setattr(slurm_jobs, "LOOK", 0.0)
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "all").mkdir()
    return tmp_path


def command(*more: str) -> Command:
    return lambda name: ["python", "-P", "worker.py", str(Path("all", name)), *more]


def worked_off(launcher: Slurm, *names: str, during: Callable[[Loop], None] = lambda _: None) -> int:
    """The exit code of a loop over runs of these names, beside which a function runs."""
    jobs = {name: Job(Path("all", name).absolute()) for name in names}
    with launcher:
        found = Loop(jobs, launcher, len(names), lambda *_: None, lambda name: launching.last_words(Path("all"), name))
        beside = threading.Thread(target=during, args=(found,), daemon=True)
        beside.start()
        code = found.run(lambda: None)
        beside.join(60)
    assert {name: each.why for name, each in found.statuses.items() if each.why} == {}
    return code


def job_of(found: Loop) -> psutil.Process:
    """The process of the one job, which has started the worker, once that has begun."""
    while not Path("begun").exists():
        time.sleep(0.01)
    (worker,) = found.workers.values()
    assert isinstance(worker, SlurmWorker)
    (process,) = psutil.Process(int(worker.job.job_id)).children()  # beside it there is submitit's controller
    return process


def local(**settings: int) -> Slurm:
    def executor(folder: Path, max_num_timeout: int) -> LocalExecutor:
        assert max_num_timeout > 1000
        return LocalExecutor(folder, max_num_timeout)

    return Slurm(Path("all"), command("slow"), SlurmConfig(**settings), executor)


def test_at_the_end_of_its_time_a_job_saves_and_is_queued_again(place: Path) -> None:
    """The signal is what submitit's controller sends then."""
    seen: list[int] = []

    def time_out(found: Loop) -> None:
        process = job_of(found)
        seen.append(process.pid)
        process.send_signal(signal.SIGUSR2)

    assert worked_off(local(), "a", during=time_out) == 0
    assert len(seen) == 1
    assert Path("saved").read_text() == "saved\n"
    assert Path("all", "a", "checkpoints", str(STEPS)).read_text() == str(undisturbed())
    assert [path.name for path in place.iterdir() if ".slurm" in path.name] == []  # nothing of the jobs is left
    assert [path.name for path in (place / "all" / ".workers").iterdir()] == ["a.txt"]


def test_what_is_killed_is_begun_again_from_its_claim(place: Path) -> None:
    def kill(found: Loop) -> None:
        process = job_of(found)
        for each in [process, *process.children()]:
            each.kill()

    assert worked_off(local(), "a", during=kill) == 0
    assert not Path("saved").exists()
    assert Path("all", "a", "checkpoints", str(STEPS)).read_text() == str(undisturbed())
    assert "its job" in Path("all", ".workers", "a.txt").read_text()


def test_ctrl_c_leaves_the_jobs_where_they_are(place: Path) -> None:
    def interrupt(found: Loop) -> None:
        left.extend([job_of(found), *found.workers.values()])
        found.wish.count, found.wish.code = 1, 130

    left: list[Any] = []
    assert worked_off(local(), "a", during=interrupt) == 130
    job, worker = left
    (process,) = job.children()
    assert process.is_running()
    assert len([path for path in place.iterdir() if ".slurm" in path.name]) == 1
    assert len(list((place / "all" / ".workers").glob(".token*"))) == 1
    process.kill()
    worker.job.wait()


def test_storage_that_is_not_shared_ends_it_all_with_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elsewhere, "PATIENCE", 0.0)
    launcher = local()
    with pytest.raises(ConfigError, match=r"^\S+ does not see '\S+/all' as \S+ does; begin in a folder, and give one"):
        worked_off(launcher, "a", "b", during=lambda _: launcher._errands.end())
    for worker in launcher._workers:
        worker.job.wait()  # here they are processes of the test's


# What Slurm's commands do as far as they are used here: an array whose jobs run at once.
SBATCH = """#!/bin/bash
cp "$1" "{place}/submitted"
count=$(sed -n 's/#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$1")
for i in $(seq 0 "$count"); do
  (SLURM_JOB_ID=7 SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$i bash "$1" >/dev/null 2>&1 &)
done
echo Submitted batch job 7
"""
SRUN = """#!/bin/bash
while [[ "$1" == --* ]]; do [[ "$1" == --unbuffered ]] || shift; shift; done
exec "$@"
"""
SACCT = """#!/bin/bash
echo 'JobID|State|NodeList'
"""


@pytest.fixture
def cluster(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of commands, which can be changed."""
    folder = place / "commands"
    folder.mkdir()
    for name, text in {"sbatch": SBATCH, "srun": SRUN, "sacct": SACCT}.items():
        (folder / name).write_text(text.replace("{place}", str(place)))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_runs_are_one_array_with_the_settings_that_are_given(cluster: Path, place: Path) -> None:
    settings = SlurmConfig(partition="gpu", time=240, gpus_per_node=1, mem="8GB", array_parallelism=1)
    assert worked_off(Slurm(Path("all"), command(), settings), "a", "b") == 0
    for name in "ab":
        assert Path("all", name, "checkpoints", str(STEPS)).read_text() == str(undisturbed())
    options = {line.removeprefix("#SBATCH --") for line in (place / "submitted").read_text().splitlines()}
    expected = {"partition=gpu", "time=240", "gpus-per-node=1", "mem=8GB", "array=0-1%1", "cpus-per-task=1"}
    assert expected | {"job-name=all", "signal=USR2@90"} <= options


def test_what_sbatch_refuses_is_told_in_one_sentence(
    cluster: Path, place: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (cluster / "sbatch").write_text("#!/bin/bash\necho 'sbatch: error: invalid partition specified: gpu' >&2; exit 1\n")
    with pytest.raises(ConfigError) as caught:
        worked_off(Slurm(Path("all"), command(), SlurmConfig()), "a", "b")
    assert str(caught.value) == (
        "Slurm does not take the jobs: sbatch: error: invalid partition specified: gpu; change slurm in the file, or "
        "give fewer --workers"
    )
    assert capfd.readouterr() == ("", "")
    assert sorted(path.name for path in place.iterdir()) == ["all", "commands", "worker.py"]
    assert [*Path("all", launching.OUTPUTS).iterdir()] == []


def test_a_folder_of_two_lines_is_refused(cluster: Path, place: Path) -> None:
    with pytest.raises(ConfigError, match=r"all\\ntouch here' is not one line of text, which jobs of Slurm need"):
        Slurm(Path("all\ntouch here"), command(), SlurmConfig()).__enter__()
    assert sorted(path.name for path in place.iterdir()) == ["all", "commands", "worker.py"]


def test_without_slurm(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setenv("PATH", str(place))
    with pytest.raises(ConfigError, match=r"needs Slurm's srun, which is not found here; type it on a machine of"):
        Slurm(Path("all"), command(), SlurmConfig()).__enter__()
    assert sorted(path.name for path in place.iterdir()) == ["all", "worker.py"]


def test_every_setting_is_one_of_submitit() -> None:
    known = inspect.signature(slurm._make_sbatch_string).parameters
    assert SlurmConfig.model_fields.keys() <= known.keys()
