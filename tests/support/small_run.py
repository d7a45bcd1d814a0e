"""A small run, trained in this process."""

from __future__ import annotations

from pathlib import Path

from crl import run as runs
from crl.config import check_arguments, load


def trained_run(parent: Path, config: str) -> Path:
    """The folder of the run that a config describes, which has ended."""
    (parent / "tiny.yaml").write_text(config)
    assert runs.train(check_arguments(load(parent / "tiny.yaml", [f"runs={parent / 'runs'}"])), ["crl"]) == 0
    (found,) = (parent / "runs").iterdir()
    return found
