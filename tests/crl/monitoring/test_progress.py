"""What the terminal shows."""

from __future__ import annotations

import io
import re
import sys
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
    pace = r"after 0:00:00, [\d,]+ steps/s, 0:00:00 left"
    assert re.fullmatch(f"visit 1 of 2: breakout, return 5.00, done at 20 steps {pace}", first)
    assert re.fullmatch(f"visit 2 of 2: asterix, return -, done at 40 steps {pace}", second)


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
    assert lines[0].startswith("visit 12 of 1,200: breakout+pixel_permutation#11, return -, done at 24 steps after ")
    assert lines[-1].startswith("visit 1,200 of 1,200: ")


class Terminal(io.StringIO):
    """What a person looks at."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("columns", ["80", "120"])
def test_the_bar_says_where_the_run_is_how_fast_it_goes_and_how_long_it_takes(
    columns: str, playing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, clock = Terminal(), iter(range(0, 10_000, 2))
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("TERM", "dumb")
    played = playing(steps_per_task=3600)
    played.model.num_timesteps = 1000  # a run that is gone on with
    progress = ProgressCallback(played.callback)
    progress.model = played.model  # type: ignore[assignment]
    assert progress._bar is not None
    progress._bar.get_time = lambda: float(next(clock))
    progress.on_training_start({}, {})
    for _ in range(100):
        played.step(5.0)
        assert progress.on_step()
    bar = progress._bar.tasks[0]
    assert (bar.completed, bar.total) == (1200, 7200)
    with progress._bar.console.capture() as captured:
        progress._bar.console.print(progress._bar.make_tasks_table([bar]))
    progress.close()
    (line,) = captured.get().splitlines()
    assert line.startswith("visit 1 of 2: breakout ")
    assert re.search(r" 17% return 5.00 \d steps/s, [\d:]+ left$", line.rstrip())
    assert len(line) <= int(columns)


def test_the_bar_s_speed_is_of_rollouts_and_updates(playing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    played, now = playing(steps_per_task=60_000), [0.0]
    progress = ProgressCallback(played.callback)
    progress.model = played.model  # type: ignore[assignment]
    assert progress._bar is not None
    progress._bar.get_time = lambda: now[0]
    progress.on_training_start({}, {})
    for step in range(6000):
        now[0] += 0.001 if step % 2000 else 4.0  # rollouts of 2 seconds, updates of 4
        played.step()
        progress.on_step()
    progress.close()
    bar = progress._bar.tasks[0]
    assert bar.completed >= 11_600  # not more than 0.2 seconds behind
    assert bar.speed is not None
    assert 600 < bar.speed < 1100  # 12,000 steps in 18 seconds; 2,000 a second in a rollout alone
