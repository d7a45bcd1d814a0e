"""Runs as tasks of Ray whose nodes are lost, in a cluster of several nodes on this machine."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import small_checkpoints
from compared import assert_equal, checkpoints_of
from processes import Process
from small_checkpoints import CHECKPOINTED

from crl import claims

pytest.importorskip("ray")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),  # Ray's
]

STEPS = 400  # of each visit
GRID = f"""
base: tiny.yaml
overrides: {{stream.steps_per_task: {STEPS}}}
arms: {{plain: {{}}}}
seeds: [3]
folder: all
"""
ABLATE = """
import os, sys
os.environ["RAY_ADDRESS"] = {address!r}
sys.argv = ["crl", "ablate", "grid.yaml", "--launcher", "ray"]
from crl import cli
cli.main()
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head that takes no task, and one node."""
    from ray.cluster_utils import Cluster

    found = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    found.add_node(num_cpus=1)
    yield found
    found.shutdown()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_checkpoints.train(tmp_path_factory.mktemp("undisturbed"), f"stream.steps_per_task={STEPS}")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of the run."""
    return tmp_path / "all" / "plain__s3"


@pytest.fixture
def ablation(tmp_path: Path, cluster: Any) -> Process:
    """A process that works off an ablation of one run on the cluster."""
    (tmp_path / "tiny.yaml").write_text(CHECKPOINTED)
    (tmp_path / "grid.yaml").write_text(GRID)
    return Process(code=ABLATE.format(address=cluster.address), cwd=tmp_path)


def wait(happened: Callable[[], object]) -> None:
    """Till something has happened; a cluster takes its time."""
    deadline = time.monotonic() + 240
    while not happened():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.1)


def worker_of(run: Path, process: Process) -> psutil.Process:
    """The worker of a run, once that has a checkpoint."""
    wait(lambda: checkpoints_of(run) or process.ended())
    return psutil.Process(claims.look(run).told["pid"])


def node_of(worker: psutil.Process, cluster: Any) -> Any:
    """The node that has started a worker."""
    above = {each.pid for each in worker.parents()}
    (node,) = [each for each in cluster.worker_nodes if each.all_processes["raylet"][0].process.pid in above]
    return node


def assert_done(ablation: Process, run: Path, undisturbed: Path, *, begun: int) -> None:
    """The run has ended as if alone, after workers have begun to train it so often."""
    wait(ablation.ended)
    assert ablation.wait() == 0, ablation.errors()
    assert ablation.printed().splitlines()[-2:] == [
        "plain__s3: done; 1 of 1 done", "results: all/runs.csv and visits.csv beside it",
    ]  # fmt: skip
    assert_equal(run, undisturbed)
    assert (run / "command.txt").read_text() == "crl ablate grid.yaml\n" * begun
    assert [path.name for path in (run.parent / ".workers").iterdir()] == ["plain__s3.txt"]


def test_a_run_whose_node_is_lost_goes_on_on_another(
    ablation: Process, cluster: Any, undisturbed: Path, run: Path
) -> None:
    cluster.add_node(num_cpus=1)
    worker = worker_of(run, ablation)
    cluster.remove_node(node_of(worker, cluster), allow_graceful=False)
    with contextlib.suppress(psutil.NoSuchProcess):
        worker.kill()  # which ends with its machine
    assert_done(ablation, run, undisturbed, begun=2)
    lines = ablation.printed().splitlines()
    assert lines[:3] == [
        "1 run in all, by ray, at most 1 at once; Ctrl-C saves them and stops",
        "plain__s3: queued at step 0 of 2,000; 0 of 1 done, 1 queued",
        "plain__s3: running at step 0 of 2,000; 0 of 1 done, 1 running",
    ]
    assert lines[3].startswith("plain__s3: queued at step ")


def test_a_worker_that_runs_on_without_its_raylet_is_left_alone(
    ablation: Process, cluster: Any, undisturbed: Path, run: Path
) -> None:
    """Its claim keeps away the one that Ray starts in its place, till which it stands still.

    On a machine so busy that this takes minutes the other one follows, and the first finds that and ends.
    """
    worker, followed = worker_of(run, ablation), run / ".claims" / "2"
    node, task = node_of(worker, cluster), worker.parent()
    assert task is not None
    task.kill()  # when its raylet is lost it would end, and the worker with it
    task.wait(60)  # what stands still when its parent ends is hung up
    worker.suspend()
    node.kill_raylet()
    cluster.add_node(num_cpus=1)
    wait(lambda: "plain__s3: waiting at step " in ablation.printed() or followed.exists())
    worker.resume()
    assert_done(ablation, run, undisturbed, begun=2 if followed.exists() else 1)


@pytest.mark.parametrize(("number", "code", "status"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGKILL, -9, "")])
def test_runs_end_with_the_command(
    ablation: Process, run: Path, number: signal.Signals, code: int, status: str
) -> None:
    worker = worker_of(run, ablation)
    ablation.send(number)
    wait(ablation.ended)
    assert ablation.wait() == code, ablation.errors()
    wait(lambda: not worker.is_running())
    results = run / "results.json"
    assert (json.loads(results.read_text())["status"] if results.exists() else "") == status
