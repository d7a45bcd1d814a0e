"""The best parameters that a run had for each of its tasks."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Mapping
from typing import Any

from crl import storage
from crl.config.messages import in_words
from crl.monitoring import TaskCallback
from crl.parts import Part
from crl.run_folder import LONGEST_NAME
from crl.storage import State
from envs import Segment, TaskStream

FOLDER = "best"
NAMED = 3  # tasks in a warning
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
        step, check = self.learner.num_timesteps, self.run.claim.check
        storage.write(self.run.folder / FOLDER / folder_name(task), parts, texts, step, check)

    def state(self) -> State:
        """Task -> its highest mean return."""
        return dict(self._best)

    def restore(self, state: Any) -> None:
        """Go on from what `state` gave."""
        self._best = {task: float(found) for task, found in state.items()}


def unkept(stream: TaskStream, every: int, rollout: int = 1) -> str | None:
    """A sentence that names the tasks in none of whose visits a checkpoint is due; None where there is none.

    Args:
        stream: in the lengths in which it is played.
        every: steps between two checkpoints.
        rollout: steps of one; checkpoints are written at the ends of rollouts, which need not be those of visits.
    """
    segments = [stream.segment(index) for index in range(stream.n_segments)]
    seen = [(each.start // rollout * rollout, _end(each) // rollout * rollout) for each in segments]
    kept = {segments[-1].task.family}  # a run ends with a checkpoint
    kept |= {
        each.task.family for each, (start, end) in zip(segments, seen, strict=True) if end // every > start // every
    }
    lacking = list(dict.fromkeys(each.task.family for each in segments if each.task.family not in kept))
    if not lacking:
        return None
    more = len(lacking) - NAMED
    shown = in_words([*lacking[:NAMED], f"{more:,} more"] if more > 0 else lacking)
    shortest = min(end - start for start, end in seen)
    remedy = f"checkpoint.every={shortest} or less" if shortest else "stream.align=rollout: no rollout ends in a visit"
    return (
        f"no checkpoint falls due in a visit of {shown}, so that {FOLDER}/ will have no parameters for "
        f"{'it' if len(lacking) == 1 else 'them'}; give {remedy}"
    )


def _end(segment: Segment) -> int:
    assert segment.steps is not None
    return segment.start + segment.steps


def folder_name(task: str) -> str:
    """A task's name as that of a folder; where it must be changed, its checksum is behind it."""
    name = re.sub(r"[^A-Za-z0-9_,()=-]+", "-", task)[:LONGEST_NAME]
    kept = name == task and not DEVICES.fullmatch(name)
    return name if kept else f"{name}-{zlib.crc32(task.encode()):08x}"
