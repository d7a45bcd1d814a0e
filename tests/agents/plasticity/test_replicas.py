"""Copies of a network in several processes stay copies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from processes import Process

from agents.plasticity.replicas import ALONE, process_group


@pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(), reason="torch has no gloo"
)
def test_two_processes_reset_the_same_units_alike(tmp_path: Path) -> None:
    jobs = [
        Process(code=f"import replica\nreplica.main({rank}, {str(tmp_path)!r})", cwd=tmp_path, name=f"copy {rank}")
        for rank in (0, 1)
    ]
    try:
        assert [job.wait() for job in jobs] == [0, 0], [job.errors() for job in jobs]
    finally:
        for job in jobs:
            job.kill()
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1))
    assert one["count"] == other["count"] > 0
    assert one["seed"] == other["seed"] == 0
    for key, tensor in one["net"].items():
        assert torch.equal(tensor, other["net"][key]), key
    assert one["decided"] == other["decided"]
    decided = json.loads(one["decided"])
    assert decided["decisions"] == 3
    assert decided["acts"] == 3
    (last,) = decided["last"]
    assert last["trials"]["shrink_and_perturb"] == {"trainability": last["trainability"], "cost": 0.0}
    assert one["mean"].tolist()[:2] == other["mean"].tolist()[:2] == [2.0, 5.0]
    assert one["mean"][2].isnan()


def test_one_process_agrees_with_itself() -> None:
    tensors = {"it": torch.tensor([1.0, float("nan")])}
    assert ALONE.mean(tensors)["it"] is tensors["it"]
    assert ALONE.first(3, torch.device("cpu")) == 3
    assert process_group() is None
