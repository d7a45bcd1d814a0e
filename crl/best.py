"""The best parameters that a run had for each of its tasks."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping
from typing import Any

from crl import storage
from crl.monitoring import TaskCallback
from crl.parts import Part
from crl.run_folder import LONGEST_NAME
from crl.storage import State

FOLDER = "best"
DEVICES = re.compile("con|prn|aux|nul|com[0-9]|lpt[0-9]", re.IGNORECASE)  # which Windows takes for no files


class BestPart(Part):
    """Keeps the parameters with which each task's mean return was highest, of all checkpoints in that task.

    Args:
        tasks: knows the current task and its returns.
    """

    name = "best"

    def __init__(self, tasks: TaskCallback) -> None:
        super().__init__()
        self._tasks = tasks
        self._best: dict[str, float] = {}

    def keep(self, state: Mapping[str, State]) -> None:
        """Keep the parameters of a learner if they are the best.

        Args:
            state: of the learner, see `agents.training_state.training_state`.
        """
        found, task = self._tasks.mean_return(), self._tasks.segment.task.family
        if found is None or found <= self._best.get(task, -math.inf):
            return
        self._best[task] = found
        parts = {part: state[part] for part in ("learner", "world")}
        texts = {"return.txt": f"{found}\n"}
        storage.write(self.run.folder / FOLDER / folder_name(task), parts, texts, step=self.learner.num_timesteps)

    def state(self) -> State:
        """Task -> its highest mean return."""
        return dict(self._best)

    def restore(self, state: Any) -> None:
        """Go on from what `state` gave."""
        self._best = {task: float(found) for task, found in state.items()}


def folder_name(task: str) -> str:
    """A task's name as that of a folder; where it must be changed, its checksum is behind it."""
    name = re.sub(r"[^A-Za-z0-9_,()=-]+", "-", task)[:LONGEST_NAME]
    kept = name == task and not DEVICES.fullmatch(name)
    return name if kept else f"{name}-{zlib.crc32(task.encode()):08x}"
