"""Results of runs that nobody has trained."""

from __future__ import annotations

from crl.results import PeakMemory, RunResults, Visit


def visit(task: str, number: int, mean_return: float | None, episodes: int, family: str | None = None) -> Visit:
    """A visit of which every second one had episodes in its last tenth."""
    return Visit(
        task=task, family=family or task, visit=number, segment=0, start=0, steps=100, mean_return=mean_return,
        episodes=episodes, over="last tenth" if number % 2 else "last episodes",
    )  # fmt: skip


def record(*visits: Visit) -> RunResults:
    return RunResults(
        status="done", steps=1_234_567, seconds=12.34, train_seconds=10.0, peak_memory=PeakMemory(process=545_000_000),
        gradient_steps=1000, tasks={}, visits=visits, resets={"actor": 3, "critic": 0}, idle={}, config_hash="0" * 16,
        folder="runs/x", tensorboard="tensorboard --logdir runs",
    )  # fmt: skip
