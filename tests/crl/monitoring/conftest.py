"""A stream that is played by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from stable_baselines3.common.logger import Logger

from crl.monitoring import TaskCallback
from envs import TaskStream
from envs.entries import Entry, tasks_from


class Played:
    """Feeds a `TaskCallback` with batch steps of two games, as SB3 does."""

    def __init__(self, *entries: Entry, steps_per_task: int = 20, cycles: int = 1) -> None:
        tasks = [task for entry in entries or ("breakout", "asterix") for task in tasks_from(entry)[0]]
        self.stream = TaskStream.build(tasks, steps_per_task=steps_per_task, cycles=cycles)
        self.logger = Logger(folder=None, output_formats=[])
        self.model = SimpleNamespace(num_timesteps=0, logger=self.logger)
        self.callback = TaskCallback(self.stream)
        self.callback.model = self.model  # type: ignore[assignment]

    def step(self, *ended: float | None, switched: bool = False) -> None:
        """One step of both games; a number is an episode's return, None an episode that a switch cuts."""
        segment = self.stream.segment(self.stream.at(self.model.num_timesteps))
        self.model.num_timesteps += 2
        infos: list[dict[str, Any]] = [{"segment": segment.index, "task": segment.task.name} for _ in range(2)]
        for info, value in zip(infos, ended, strict=False):
            info.update(
                {"cut_by_switch": True} if value is None else {"episode": {"r": value, "l": 10 * value, "t": 0}}
            )
        dones = np.array([game < len(ended) or switched for game in range(2)])
        self.callback.update_locals({"infos": infos, "dones": dones})
        assert self.callback.on_step()

    def recorded(self) -> dict[str, Any]:
        self.logger.name_to_value.clear()
        self.callback.record()
        return dict(self.logger.name_to_value)


@pytest.fixture
def playing() -> type[Played]:
    """Makes a stream, of two games where no tasks are given, that is played by hand."""
    return Played
