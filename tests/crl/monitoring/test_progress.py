"""What the terminal shows."""

from __future__ import annotations

from typing import Any

import pytest

from crl.monitoring import ProgressCallback


def test_progress_prints_a_line_when_a_segment_ends(playing: Any, capsys: pytest.CaptureFixture[str]) -> None:
    played = playing()
    progress = ProgressCallback(played.callback)
    progress.model = played.model  # type: ignore[assignment]
    progress.on_training_start({}, {})
    for number in range(12):
        played.step(*([5.0] if number == 4 else []), switched=number == 9)
        assert progress.on_step()
    for _ in range(10):
        played.step()
        progress.on_step()
    progress.close()
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("segment 1/2 breakout: done at 20 steps, return 5.00, ")
    assert second.startswith("segment 2/2 asterix: done at 40 steps, return -, ")


def test_progress_prints_about_a_hundred_lines_for_thousands_of_segments(
    playing: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    played = playing({"id": "breakout", "shifts": ["pixel_permutation"], "variants": 1200}, steps_per_task=2)
    progress = ProgressCallback(played.callback)
    progress.model = played.model  # type: ignore[assignment]
    progress.on_training_start({}, {})
    for _ in range(1200):
        played.step(switched=True)
        progress.on_step()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 100
    assert lines[0].startswith("segment 12/1200 breakout+pixel_permutation#11: done at 24 steps")
    assert lines[-1].startswith("segment 1200/1200 ")
