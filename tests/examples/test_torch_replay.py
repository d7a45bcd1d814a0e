"""A replay buffer of tensors survives a kill."""

from __future__ import annotations

import runpy
from pathlib import Path

import torch
from processes import Process
from saved import leaves

from agents.training_state import training_state

REPLAY = Path(__file__).resolve().parents[2] / "examples" / "torch_replay.py"


def test_a_replay_buffer_of_tensors_survives_a_kill(tmp_path: Path) -> None:
    example = runpy.run_path(str(REPLAY), run_name="torch_replay")
    settings = {"steps": 900, "every": 300}
    whole, stock, killed = (tmp_path / name for name in ("whole", "stock", "killed"))
    code = f"import torch_replay, pathlib; torch_replay.train(pathlib.Path({str(killed)!r}), **{settings})"
    process = Process(code=code, cwd=tmp_path, paths=(REPLAY.parent,))
    process.until(lambda: list(killed.glob("[0-9]*/manifest.json")))
    process.kill()
    assert process.wait() == -9
    model = example["train"](whole, **settings)
    expected = dict(leaves(training_state(model)))
    assert isinstance(model.replay_buffer.observations, torch.Tensor)
    assert model.replay_buffer.full
    assert model.optimizer_steps > 30
    again = dict(leaves(training_state(example["train"](killed, **settings))))
    assert [place for place in expected if again[place] != expected[place]] == []
    own = type("Own", (example["ReplayBuffer"],), {})  # SB3's keeps boards as bits
    same = dict(leaves(training_state(example["train"](stock, own, **settings))))
    assert same == expected
