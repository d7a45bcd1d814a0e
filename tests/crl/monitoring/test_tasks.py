"""Callbacks, driven by hand: windows, results of visits, tags."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_ppo import assert_same, build, parameters
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import Logger, configure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.plasticity.diagnostics import Diagnostics
from crl.monitoring import (
    CHARTS,
    PlasticityCallback,
    ProgressCallback,
    TaskCallback,
    _chart,
    plasticity_charts,
    tag_of,
)
from envs import TaskStream
from envs.task import task_from


class Played:
    """Feeds a `TaskCallback` with batch steps of two games, as SB3 does."""

    def __init__(self, steps_per_task: int = 20, cycles: int = 1) -> None:
        tasks = [task_from("breakout"), task_from("asterix")]
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
        self.callback.on_rollout_end()
        return dict(self.logger.name_to_value)


def test_window_starts_empty_at_every_switch() -> None:
    played = Played()
    assert played.recorded() == {"task/index": 0, "task/segment": 0}
    played.step(2.0)
    played.step(4.0, 9.0)
    assert played.recorded() == {
        "task/index": 0, "task/segment": 0, "task/breakout/ep_rew_mean": 5.0, "task/breakout/ep_len_mean": 50.0,
    }  # fmt: skip
    for _ in range(7):
        played.step()
    played.step(1.0, None, switched=True)  # the last step of the visit still belongs to breakout
    assert played.recorded()["task/breakout/ep_rew_mean"] == 4.0
    played.step()
    assert played.recorded() == {"task/index": 1, "task/segment": 1}
    played.step(3.0)
    assert played.recorded()["task/asterix/ep_rew_mean"] == 3.0


def test_window_holds_a_hundred_episodes() -> None:
    played = Played(steps_per_task=1000)
    for number in range(120):
        played.step(float(number))
    assert played.recorded()["task/breakout/ep_rew_mean"] == np.mean(range(20, 120))


def test_result_of_a_visit_is_its_last_tenth() -> None:
    played = Played(steps_per_task=20, cycles=2)
    for _ in range(9):
        played.step(7.0)  # steps 2 to 18 of 20: too early
    played.step(1.0, 2.0)
    for _ in range(10):
        played.step()  # asterix: no episode ends
    for _ in range(9):
        played.step(7.0)
    played.step(6.0)
    for _ in range(10):
        played.step()
    played.step(100.0)  # after the end of the stream: counts for nothing
    assert [(v["task"], v["visit"], v["start"], v["mean_return"], v["episodes"]) for v in played.callback.visits()] == [
        ("breakout", 1, 0, 1.5, 2),
        ("asterix", 1, 20, None, 0),
        ("breakout", 2, 40, 6.0, 1),
        ("asterix", 2, 60, None, 0),
    ]
    assert played.callback.mean_return() is None


def test_a_visit_without_late_episodes_shows_its_last_ones() -> None:
    played = Played(steps_per_task=20, cycles=2)
    played.step(3.0, 5.0)
    for _ in range(9):
        played.step()
    for _ in range(10):
        played.step()  # asterix: no episode ends at all
    played.step(8.0)  # breakout again, and the run stops here
    found = [(v["mean_return"], v["episodes"], v["over"]) for v in played.callback.visits()]
    none = (None, 0, "last episodes")
    assert found == [(4.0, 2, "last episodes"), none, (8.0, 1, "last episodes"), none]


def test_the_dashboard_finds_tags_of_tasks_with_arguments(tmp_path: Path) -> None:
    tag = f"task/{tag_of('Pendulum-v1(g=5.0, mode=[a]*)')}/ep_rew_mean"
    logger = configure(str(tmp_path), ["tensorboard"])
    logger.record(tag, 1.0)
    logger.dump(1)
    logger.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    kind, patterns = _chart([tag])
    assert kind == "Multiline"
    assert [name for name in events.Tags()["scalars"] if re.fullmatch(patterns[0], name)] == [tag]


def test_progress_prints_a_line_when_a_segment_ends(capsys: pytest.CaptureFixture[str]) -> None:
    played = Played()
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


MEASURES = {measure for charts in CHARTS.values() for measures in charts.values() for measure in measures}


def test_charts_group_the_measures_of_all_networks() -> None:
    tags = [f"plasticity/{name}/{measure}" for name in ("actor", "critic") for measure in ("dormant_ratio_0.1", "fau")]
    assert plasticity_charts([*tags, "plasticity/actor/dormant_ratio", "plasticity/actor/entropy"]) == {
        "plasticity: units": {
            "dormant ratio": _chart(
                [
                    "plasticity/actor/dormant_ratio",
                    "plasticity/actor/dormant_ratio_0.1",
                    "plasticity/critic/dormant_ratio_0.1",
                ]
            ),
            "fraction of active units": _chart(["plasticity/actor/fau", "plasticity/critic/fau"]),
        },
        "plasticity: policy": {"entropy": _chart(["plasticity/actor/entropy"])},
    }


def test_every_measure_has_a_chart_and_every_chart_a_measure() -> None:
    found = set()
    for kind in ("mlp", "mlp-tanh-gsde"):  # discrete, and bounded activations
        model = build(kind).learn(64)
        diagnostics = Diagnostics(model, torch.Generator())
        diagnostics.measure()
        found |= {tag.rpartition("/")[2] for tag in diagnostics.tags}
    assert found == MEASURES


def test_a_segment_begins_with_a_new_probe() -> None:
    model = build("board", n_envs=2)
    drawn: list[int] = []
    sample = model.sample
    model.sample = lambda n, generator: (drawn.append(n), sample(n, generator))[1]
    callback = PlasticityCallback(1, ["breakout"])
    seen: list[tuple[int, set[str]]] = []

    class Segments(BaseCallback):
        """Stands before the other: two rollouts of each segment."""

        def _on_step(self) -> bool:
            return True

        def _on_rollout_end(self) -> None:
            for info in self.locals["infos"]:
                info["segment"] = (self.num_timesteps - 1) // 128

    class After(Segments):
        def _on_rollout_end(self) -> None:
            tags = {tag for tag in self.logger.name_to_value if tag.startswith("plasticity/")}
            seen.append((len(drawn), {tag for tag in tags if "churn" in tag}))
            drawn.clear()

    model.learn(5 * 64, callback=CallbackList([Segments(), callback, After()]))
    churn = {f"plasticity/{tag}" for tag in ("actor/policy_churn", "critic/value_churn", "critic/value_churn_abs")}
    assert seen == [(3, set()), (0, churn), (3, set()), (0, churn), (3, set())]


def test_a_run_is_the_same_without_diagnostics() -> None:
    plain = build("board").learn(256)
    callback = PlasticityCallback(1, ["breakout"])
    watched = build("board").learn(256, callback=callback)
    assert len(callback._diagnostics.tags) > 40
    assert_same(parameters(plain), parameters(watched))


def test_tags_hold_no_separator_of_csv() -> None:
    assert tag_of('Pendulum-v1(g=5.0, name="a b")') == "Pendulum-v1(g=5.0;name=;a;b;)"
    assert tag_of("space_invaders") == "space_invaders"
