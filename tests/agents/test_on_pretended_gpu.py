"""The tests that need a GPU, on one that is pretended: every tensor is where it is needed, and nobody waits."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pretended_gpu
import pytest
import torch

HERE = Path(__file__).parent
PLUGIN = ["-p", "pretended_gpu", "-p", "no:cacheprovider"]


@pytest.mark.slow
@pytest.mark.skipif(torch.backends.cuda.is_built(), reason="torch knows of GPUs by itself")
@pytest.mark.skipif(not sys.platform.startswith("linux") or shutil.which("g++") is None, reason="needs Linux and g++")
@pytest.mark.parametrize("tests", ["test_on_gpu.py", "plasticity/test_host_sync.py"])
def test_what_needs_a_gpu_passes_on_a_pretended_one(tests: str, tmp_path: Path) -> None:
    support = str(Path(pretended_gpu.__file__).parent)
    environment = {**os.environ, "PRETENDED_GPU": str(pretended_gpu.library(tmp_path)), "PYTHONPATH": support}
    found = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGIN, "-m", "", "-k", "gpu", str(HERE / tests)],
        capture_output=True, text=True, timeout=600, env=environment, cwd=HERE.parents[1], check=False,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout[-4000:] + found.stderr[-2000:]
    assert "skipped" not in found.stdout
