"""Eight seeds of one config on CartPole: eight runs of `crl ablate`, two at a time, against `vectorize: seeds`."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness.declared import ROOT, Repetition, Row, Side

TITLE = "Are eight seeds at once faster than eight runs?"
SEEDS = 8


def ablation(steps: int, layers: Sequence[int], vectorized: bool = False) -> Repetition:
    """So many steps of each seed, from the command to its end."""
    grid = {
        "base": str(ROOT / "configs" / "cartpole_ppo.yaml"),
        "overrides": {
            "stream.name": None, "stream.tasks": ["CartPole-v1"], "stream.steps_per_task": steps,
            "agent.net_arch": {"pi": [*layers], "vf": [*layers]},
        },
        "arms": {"none": {}},
        "seeds": SEEDS,
        **({"vectorize": "seeds"} if vectorized else {}),
    }  # fmt: skip

    def repetition() -> float:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "grid.yaml")  # of which JSON is a part
            file.write_text(json.dumps({**grid, "folder": str(Path(folder, "runs"))}), encoding="utf-8")
            words = [sys.executable, "-m", "crl.cli", "ablate", str(file), "--workers", "2"]
            subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        return SEEDS * steps

    return repetition


def _row(name: str, layers: Sequence[int], least: float) -> Row:
    sides = {"eight runs": Side(ablation), "at once": Side(ablation, {"vectorized": True}, at_least=least)}
    title = f"eight seeds of PPO, MLP of {' x '.join(map(str, (len(layers), layers[0])))}, CartPole"
    settings = {"steps": 16_000, "layers": [*layers]}
    return Row(name, title, sides, settings=settings, quick={"steps": 800}, fresh=True, threads=None)


ROWS = [_row("seeds/mlp_2x64", [64, 64], 3), _row("seeds/mlp_3x256", [256, 256, 256], 1.4)]
