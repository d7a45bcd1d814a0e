"""Runs as tasks of Ray whose nodes are lost, in a cluster of several nodes on this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator
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
def ablation(tmp_path: Path, cluster: Any) -> Process:
    """A process that works off an ablation of one run on the cluster."""
    (tmp_path / "tiny.yaml").write_text(CHECKPOINTED)
    (tmp_path / "grid.yaml").write_text(GRID)
    return Process(code=ABLATE.format(address=cluster.address), cwd=tmp_path)


def worker_of(run: Path, process: Process) -> psutil.Process:
    """The worker of a run, once that has a checkpoint."""
    process.until(lambda: checkpoints_of(run))
    return psutil.Process(claims.look(run).told["pid"])


def node_of(worker: psutil.Process, cluster: Any) -> Any:
    """The node that has started a worker."""
    above = {each.pid for each in worker.parents()}
    (node,) = [each for each in cluster.worker_nodes if each.all_processes["raylet"][0].process.pid in above]
    return node


def assert_done(ablation: Process, run: Path, undisturbed: Path) -> None:
    deadline = time.monotonic() + 200
    while not ablation.ended() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ablation.wait() == 0, ablation.errors()
    assert "0 of 1 done, 1 queued" in ablation.printed()
    assert "1 of 1 done" in ablation.printed()
    assert_equal(run, undisturbed)
    assert not list((run.parent / ".workers").glob(".token*"))


def test_a_run_whose_node_is_lost_goes_on_on_another(
    ablation: Process, cluster: Any, undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "all" / "plain__s3"
    cluster.add_node(num_cpus=1)
    worker = worker_of(run, ablation)
    cluster.remove_node(node_of(worker, cluster), allow_graceful=False)
    print("worker alive:", worker.is_running())
    if worker.is_running():  # else Ray has ended it with the node
        worker.kill()
    assert_done(ablation, run, undisturbed)
    print((run / "command.txt").read_text(), ablation.printed(), ablation.errors())


def test_a_worker_that_has_lost_its_raylet_is_alone_with_its_run(
    ablation: Process, cluster: Any, undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "all" / "plain__s3"
    worker = worker_of(run, ablation)
    node_of(worker, cluster).kill_raylet()
    cluster.add_node(num_cpus=1)
    print("worker alive:", worker.is_running())
    assert_done(ablation, run, undisturbed)
    print((run / "command.txt").read_text(), ablation.printed(), ablation.errors())
