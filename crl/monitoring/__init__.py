"""What is seen of a run while it trains: tasks, plasticity, progress."""

from __future__ import annotations

import re
import time
from collections import defaultdict, deque
from collections.abc import Sequence
from statistics import fmean
from typing import Any

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import TensorBoardOutputFormat

from agents import PPO
from agents.plasticity import UnitReset
from agents.plasticity.diagnostics import Diagnostics
from crl.screen import is_terminal, say
from envs import TaskStream

WINDOW = 100  # episodes that the running means are over
CHARTS: dict[str, dict[str, tuple[str, ...]]] = {  # category -> title -> measures of `Diagnostics` in one chart
    "units": {
        "dormant ratio": ("dormant_ratio_0", "dormant_ratio", "dormant_ratio_0.1"),
        "GraMa ratio": ("grama_ratio",),
        "fraction of active units": ("fau",),
        "saturated fraction": ("saturated_fraction",),
    },
    "ranks": {
        "effective rank": ("effective_rank",),
        "srank": ("srank",),
        "stable rank": ("stable_rank",),
        "dominant share": ("dominant_share",),
        "NTK rank": ("ntk_rank",),
    },
    "change": {
        "value churn": ("value_churn", "value_churn_abs"),
        "learning signal": ("signal",),
        "gradient norm": ("grad_norm",),
        "update norm": ("update_norm",),
        "weight norm": ("weight_norm",),
    },
    "policy": {
        "entropy": ("entropy",),
        "saturation": ("saturation",),
        "policy churn": ("policy_churn",),
    },
}
LATE = 0.1  # share of a visit, at its end, whose episodes are its result


def tag_of(task: str) -> str:
    """A task's name as part of a tag: SB3's CSV writer does not quote its header."""
    return re.sub(r'[,"\s]+', ";", task)


class TaskCallback(BaseCallback):
    """Records ``task/*`` and collects the returns of every visit. Only steps inside the stream count.

    Args:
        stream: what is played, in the lengths in which it is played.
    """

    def __init__(self, stream: TaskStream) -> None:
        super().__init__()
        assert stream.total_steps is not None
        self.stream = stream
        self.total_steps: int = stream.total_steps
        self.segment = stream.segment(0)
        self.returns: deque[float] = deque(maxlen=WINDOW)
        self.lengths: deque[int] = deque(maxlen=WINDOW)
        self.late_returns: dict[int, list[float]] = defaultdict(list)
        """Segment's index -> returns of the episodes that ended in its last tenth."""
        self.last_returns: dict[int, list[float]] = {}
        """Segment's index -> returns of its last episodes, at most `WINDOW`; of segments that have ended."""

    def _on_step(self) -> bool:
        infos: list[dict[str, Any]] = self.locals["infos"]
        if infos[0]["segment"] != self.segment.index:
            self.last_returns[self.segment.index] = list(self.returns)
            self.segment = self.stream.segment(infos[0]["segment"])
            self.returns.clear()
            self.lengths.clear()
        if self.num_timesteps <= self.total_steps:
            for game in np.flatnonzero(self.locals["dones"]).tolist():
                if "episode" in infos[game]:
                    self._count(infos[game]["episode"])
        return True

    def _count(self, episode: dict[str, Any]) -> None:
        self.returns.append(float(episode["r"]))
        self.lengths.append(int(episode["l"]))
        assert self.segment.steps is not None
        if self.num_timesteps - self.segment.start > (1 - LATE) * self.segment.steps:
            self.late_returns[self.segment.index].append(float(episode["r"]))

    def _on_rollout_end(self) -> None:
        self.logger.record("task/index", self.segment.task_index)
        self.logger.record("task/segment", self.segment.index)
        if self.returns:
            prefix = f"task/{tag_of(self.segment.task.name)}"
            self.logger.record(f"{prefix}/ep_rew_mean", fmean(self.returns), exclude="stdout")
            self.logger.record(f"{prefix}/ep_len_mean", fmean(self.lengths), exclude="stdout")

    def mean_return(self) -> float | None:
        """Over the window; None before the first episode of the visit has ended."""
        return fmean(self.returns) if self.returns else None

    def visits(self) -> list[dict[str, Any]]:
        """One entry per segment: its place in the stream, and its mean return.

        The mean is over the episodes that ended in its last tenth or, where none did, over its last ones.
        """
        entries = []
        ended = {**self.last_returns, self.segment.index: list(self.returns)}
        for index in range(self.stream.n_segments):
            segment, late = self.stream.segment(index), self.late_returns.get(index, [])
            returns = late or ended.get(index, [])
            entries.append(
                {
                    "task": segment.task.name,
                    "visit": segment.visit,
                    "segment": index,
                    "start": segment.start,
                    "steps": segment.steps,
                    "mean_return": fmean(returns) if returns else None,
                    "episodes": len(returns),
                    "over": "last tenth" if late else "last episodes",
                }
            )
        return entries


class PlasticityCallback(BaseCallback):
    """Records ``plasticity/*``, and once how TensorBoard shall group all tags.

    Measures at the end of the first rollout of a segment, and then of every rollout that ends at least `every` steps
    after the last measured one.

    A new segment brings a new probe, drawn from the rollout at whose end it is first seen.

    Args:
        seed: of the generator that draws the probe observations; no other randomness is touched.
        tasks: names of the stream's tasks.
        every: least number of steps between two measures. Measuring takes as long after short rollouts as after long
            ones.
    """

    def __init__(self, seed: int, tasks: list[str], every: int = 1) -> None:
        super().__init__()
        self._every = every
        self._generator = torch.Generator().manual_seed(seed)
        self._tasks = tasks
        self._segment: int | None = None
        self._measured = 0  # steps at the last measure
        self._layout_written = False

    def _init_callback(self) -> None:
        assert isinstance(self.model, PPO)
        self._diagnostics = Diagnostics(self.model, self._generator)

    def _on_step(self) -> bool:
        return True

    def _on_rollout_end(self) -> None:
        assert isinstance(self.model, PPO)
        segment = self.locals["infos"][0]["segment"]
        if segment != self._segment:
            self._diagnostics.renew_probe()
            self._segment = segment
        elif self.num_timesteps - self._measured < self._every:
            return
        self._measured = self.num_timesteps
        # Before SB3 dumps its row, so that the first row has these tags too.
        for tag, value in self._diagnostics.measure().items():
            self.logger.record(tag, value, exclude="stdout")
        if not self._layout_written:
            self._write_layout(list(self.model.networks))
            self._layout_written = True

    def _write_layout(self, networks: list[str]) -> None:
        """Group the dashboard: a chart per quantity, with a curve per task or network."""
        assert isinstance(self.model, PPO)
        layout = {
            "tasks": {
                "mean return": _chart([f"task/{tag_of(task)}/ep_rew_mean" for task in self._tasks]),
                "mean length": _chart([f"task/{tag_of(task)}/ep_len_mean" for task in self._tasks]),
                "task index": _chart(["task/index"]),
            },
            **plasticity_charts(self._diagnostics.tags),
        }
        if networks:
            layout["resets"] = {"units reset": _chart([f"reset/{network}/units" for network in networks])}
            if any(isinstance(intervention, UnitReset) for intervention in self.model.interventions):
                # TensorBoard takes regular expressions; the first part is the intervention's name.
                layout["resets"]["cost, predicted and realised"] = ["Multiline", [r"[^/]+/(predicted|realised)_cost$"]]
        for output in self.logger.output_formats:
            if isinstance(output, TensorBoardOutputFormat):
                output.writer.add_custom_scalars(layout)


def plasticity_charts(tags: Sequence[str]) -> dict[str, dict[str, list[Any]]]:
    """Category -> title -> chart of those of the tags that it shows, a curve per network; without empty charts."""
    found: dict[str, dict[str, list[Any]]] = {}
    for category, charts in CHARTS.items():
        for title, measures in charts.items():
            shown = [tag for measure in measures for tag in tags if tag.rpartition("/")[2] == measure]
            if shown:
                found.setdefault(f"plasticity: {category}", {})[title] = _chart(shown)
    return found


def _chart(tags: list[str]) -> list[Any]:
    # TensorBoard takes each tag as a regular expression.
    return ["Multiline", [re.escape(tag) for tag in tags]]


class ProgressCallback(BaseCallback):
    """A bar over the whole stream, or a line per segment where the output is no terminal.

    Args:
        tasks: which knows the current task and its returns; it stands before this in the list of callbacks.
    """

    def __init__(self, tasks: TaskCallback) -> None:
        super().__init__()
        self._tasks = tasks
        self._started = 0.0
        self._ended = -1  # index of the last segment whose line is printed
        self._bar = _bar() if is_terminal() else None

    def _on_training_start(self) -> None:
        self._started = time.perf_counter()
        if self._bar is not None:
            self._bar.start()
            self._bar.add_task("", total=self._tasks.total_steps, result="-")

    def _on_step(self) -> bool:
        segment = self._tasks.segment
        steps = min(self.num_timesteps, self._tasks.total_steps)
        result = self._tasks.mean_return()
        text = "-" if result is None else f"{result:.2f}"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=steps, description=segment.task.name, result=text)
        elif steps - segment.start >= (segment.steps or 0) and segment.index > self._ended:
            self._ended = segment.index
            seconds = time.perf_counter() - self._started
            place = f"segment {segment.index + 1}/{self._tasks.stream.n_segments} {segment.task.name}"
            say(f"{place}: done at {steps:,} steps, return {text}, {seconds:.0f} s")
        return True

    def close(self) -> None:
        """Give the terminal back; called also when training fails."""
        if self._bar is not None:
            self._bar.stop()


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} steps"),
        TextColumn("return {task.fields[result]}"),
        TimeRemainingColumn(),
    )
