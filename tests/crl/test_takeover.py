"""A run whose holder was given up for dead and comes back: it writes nothing beside its successor, or behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from compared import assert_equal
from processes import Process
from small_checkpoints import contents, train

from agents import PPO

TAKE_OVER = """
import sys
from crl import claims, cli
claims.LEASE, claims.WATCH = -1.0, 0.0  # whoever gave its last sign of life is dead
sys.argv = ["crl", "resume", {!r}]
cli.main()
"""


@pytest.mark.parametrize("step", [80, 200, 400])
def test_a_run_that_was_taken_over(
    step: int, checkpointed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Step 200 ends in a checkpoint, step 400 is the last."""
    real, seen = PPO.train, dict[str, bytes]()

    def update(model: Any) -> None:
        if model.num_timesteps == step:
            (found,) = (tmp_path / "runs").iterdir()
            process = Process(code=TAKE_OVER.format(str(found)), cwd=tmp_path)
            assert process.wait() == 0, process.errors()
            seen.update(contents(found))
        real(model)

    monkeypatch.setattr(PPO, "train", update)
    found = train(tmp_path, code=1)
    taken_over = f"the run in {str(found)!r} has been taken over by another process, to which this one was dead"
    assert capsys.readouterr().err.splitlines()[-1] == f"crl: {taken_over}; it goes on there"
    assert contents(found) == seen
    assert_equal(found, checkpointed)
