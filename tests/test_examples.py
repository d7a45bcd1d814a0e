"""The examples run as they stand."""

from __future__ import annotations

import ast
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
from saved import leaves

from agents.training_state import training_state

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
EXAMPLE = EXAMPLES / "own_loop.py"
REPLAY = EXAMPLES / "torch_replay.py"

WATCHED = """
import runpy, sys
runpy.run_path(sys.argv[1], run_name="__main__")
print([name for name in ("stable_baselines3", "gymnasium", "torch") if name in sys.modules])
"""


def test_the_loop_of_ones_own_learns_and_resets_units() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", WATCHED, str(EXAMPLE)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    found = re.fullmatch(r"loss ([\d.]+), units reset (\{.*\})\n(\[.*\])\n", run.stdout)
    assert found, run.stdout
    assert float(found[1]) < 0.05  # the targets' mean square is about .4
    # 20 times .1 of 2 x 64 units, all of which are old enough whenever a period ends.
    assert ast.literal_eval(found[2]) == {"net": 256}
    assert ast.literal_eval(found[3]) == ["torch"]


def test_it_is_twenty_lines_of_code() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith('"""')
    assert lines[0].endswith('"""')
    code = [line for line in lines[1:] if line.strip() and not line.lstrip().startswith("#")]
    assert 10 < len(code) <= 20


def test_a_replay_buffer_of_tensors_survives_a_kill(tmp_path: Path) -> None:
    example = runpy.run_path(str(REPLAY), run_name="torch_replay")
    settings = {"steps": 900, "every": 300}
    whole, stock, killed = (tmp_path / name for name in ("whole", "stock", "killed"))
    code = f"import torch_replay, pathlib; torch_replay.train(pathlib.Path({str(killed)!r}), **{settings})"
    path = os.pathsep.join(map(str, (REPLAY.parents[1], REPLAY.parent)))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(torch.get_num_threads())}
    with subprocess.Popen([sys.executable, "-c", code], env=environment) as process:
        model = example["train"](whole, **settings)
        expected = dict(leaves(training_state(model)))
        deadline = time.monotonic() + 60
        while not list(killed.glob("[0-9]*/manifest.json")):
            assert process.poll() is None, "it has ended without a checkpoint"
            assert time.monotonic() < deadline, "it writes no checkpoint"
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert isinstance(model.replay_buffer.observations, torch.Tensor)
    assert model.replay_buffer.full
    assert model.optimizer_steps > 30
    again = dict(leaves(training_state(example["train"](killed, **settings))))
    assert [place for place in expected if again[place] != expected[place]] == []
    same = dict(leaves(training_state(example["train"](stock, example["ReplayBuffer"], **settings))))
    assert same == expected  # as with SB3's own buffer
