"""Measures of plasticity: when they are taken, on what, and that nobody notices."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import small_checkpoints
from small_ppo import assert_same, build, parameters, world
from stable_baselines3.common.callbacks import BaseCallback, CallbackList

import envs
from agents import DQN
from agents.plasticity.diagnostics.fit import probe
from agents.plasticity.protocols import NoDataError
from crl import run
from crl.monitoring import PlasticityRecorder, RowCallback, TaskCallback, plasticity

CHURN = {f"plasticity/{tag}" for tag in ("actor/policy_churn", "critic/value_churn", "critic/value_churn_abs")}


def tasks(segment: int = 0) -> Any:
    """Stands for a `TaskCallback` that is in some segment of a stream of one task."""
    stream = SimpleNamespace(tasks=[SimpleNamespace(family="breakout")], n_segments=1)
    return SimpleNamespace(stream=stream, segment=SimpleNamespace(index=segment, start=0), record=lambda: None)


def churn_of(model: Any) -> set[str]:
    """Tags of churn in the row that is being filled; the row is emptied."""
    found = {tag for tag in model.logger.name_to_value if "churn" in tag}
    model.logger.name_to_value.clear()
    return found


def test_a_segment_begins_with_a_new_probe() -> None:
    model, current = build("board", n_envs=2), tasks()
    drawn: list[int] = []
    sample = model.sample
    model.sample = lambda n, generator: (drawn.append(n), sample(n, generator))[1]
    recorder = PlasticityRecorder(model, current, seed=1)
    seen: list[tuple[int, set[str]]] = []

    class Rollouts(BaseCallback):
        """Two rollouts of each segment."""

        def _on_step(self) -> bool:
            return True

        def _on_rollout_end(self) -> None:
            current.segment.index = (self.num_timesteps - 1) // 128
            recorder.record()
            seen.append((len(drawn), churn_of(model)))
            drawn.clear()

    model.learn(5 * 64, callback=Rollouts())
    assert seen == [(3, set()), (0, CHURN), (3, set()), (0, CHURN), (3, set())]


def test_a_rollouts_learner_is_measured_in_new_segments_and_every_so_many_steps() -> None:
    model, current = build("mlp").learn(64), tasks()
    recorder = PlasticityRecorder(model, current, seed=1, every=100)
    measured = []
    for steps, segment in ((64, 0), (128, 0), (164, 0), (192, 1), (256, 1), (300, 1)):
        model.num_timesteps, current.segment.index = steps, segment
        recorder.record()
        if model.logger.name_to_value:
            measured.append(steps)
        model.logger.name_to_value.clear()
    assert measured == [64, 164, 192, 300]


def test_of_many_visits_all_tasks_are_measured_about_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tasks in turn, 4,096 steps each: measures at every 8,192 steps would all be of the first."""
    model, current = build("mlp").learn(64), tasks()
    recorder = PlasticityRecorder(model, current, seed=1, every=8192, each_visit=False)
    monkeypatch.setattr(recorder._diagnostics, "measure", lambda: {"plasticity/x": 1.0})
    measured = [0, 0]
    for steps in range(1024, 400 * 4096 + 1, 1024):
        model.num_timesteps, current.segment.index = steps, (steps - 1) // 4096
        recorder.record()
        measured[current.segment.index % 2] += bool(model.logger.name_to_value)
        model.logger.name_to_value.clear()
    assert 170 < sum(measured) < 210
    assert min(measured) > 70
    # When the next is due follows from when the last was.
    other = PlasticityRecorder(model, current, seed=1, every=8192, each_visit=False)
    before = repr(other._measure)
    other.restore(other.state())
    assert repr(other._measure) == before
    other.restore(recorder.state())
    assert repr(other._measure) == repr(recorder._measure) != before


def small_dqn(**arguments: Any) -> Any:
    """Learns on CartPole after 32 steps."""
    settings = {"learning_starts": 32, "batch_size": 8, "buffer_size": 200, "device": "cpu", "seed": 5}
    return DQN("MlpPolicy", world("mlp"), policy_kwargs={"net_arch": [8]}, **{**settings, **arguments})


def test_a_replay_learner_is_measured_once_it_learns_and_every_so_many_steps() -> None:
    model, current = small_dqn().learn(64, log_interval=None), tasks()
    recorder = PlasticityRecorder(model, current, seed=1, every=50)
    measured = []
    for steps, segment in ((16, 0), (32, 0), (34, 0), (60, 1), (84, 1), (120, 1), (134, 1), (150, 2), (184, 2)):
        model.num_timesteps, current.segment.index = steps, segment
        model.logger.name_to_value.clear()
        recorder.record()
        if model.logger.name_to_value:
            measured.append((steps, bool(churn_of(model))))
    # A new segment brings a new probe at its first measure: without churn.
    assert measured == [(34, False), (84, False), (134, True), (184, False)]


def test_an_empty_replay_buffer_puts_the_measure_off() -> None:
    model, current = small_dqn().learn(64, log_interval=None), tasks()
    recorder = PlasticityRecorder(model, current, seed=1, every=50)
    model.logger.name_to_value.clear()
    model.replay_buffer.reset()
    with pytest.raises(NoDataError):
        recorder._diagnostics.measure()
    recorder.record()
    assert dict(model.logger.name_to_value) == {}
    model.learn(8, log_interval=None, reset_num_timesteps=False)
    model.logger.name_to_value.clear()
    recorder.record()
    assert "plasticity/critic/dormant_ratio" in model.logger.name_to_value


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit probes are short, and due in every visit."""
    monkeypatch.setattr(probe, "SPARSE", 0)
    monkeypatch.setattr(plasticity, "FitProbe", partial(probe.FitProbe, steps=3, observations=16))


def watched(model: Any, steps: int, **options: Any) -> Any:
    """The model after training that was measured in every row, and the recorder."""
    stream = model.env.get_attr("stream")[0]
    callback = TaskCallback(stream.__class__.build(stream.tasks, steps_per_task=steps))
    recorder = PlasticityRecorder(model, callback, seed=1, fits=True)
    rows = RowCallback([callback, recorder], every=16)
    model.learn(steps, callback=CallbackList([callback, rows]), **options)
    assert len(recorder.tags) > 13
    assert any(tag.endswith("/trainability") for tag in recorder.tags)
    return model


def test_a_run_is_the_same_without_diagnostics(fits: None) -> None:
    plain = build("board").learn(256)
    assert_same(parameters(plain), parameters(watched(build("board"), 256)))


def test_a_run_from_replay_is_the_same_without_diagnostics(fits: None) -> None:
    def board() -> Any:
        settings = {"learning_starts": 32, "batch_size": 8, "buffer_size": 200, "device": "cpu", "seed": 5}
        return DQN("CnnPolicy", world("board", 2), **settings)

    plain = board().learn(160, log_interval=None)
    assert plain.optimizer_steps > 10
    assert_same(parameters(plain), parameters(watched(board(), 160, log_interval=None)))


def test_the_probe_of_a_replay_learner_is_of_the_segment_at_hand() -> None:
    env = envs.make([{"id": "cartpole", "offset": [0.0] * 4}, {"id": "cartpole", "offset": [50.0] * 4}],
                    n_envs=2, steps_per_task=200, seed=1)  # fmt: skip
    model = DQN("MlpPolicy", env, learning_starts=20, policy_kwargs={"net_arch": [8]}, device="cpu").learn(240)
    current = SimpleNamespace(stream=env.stream, segment=env.segment, record=lambda: None)
    recorder = PlasticityRecorder(model, current, seed=1)
    recorder.record()
    probe = recorder._diagnostics._probe
    assert probe is not None
    assert probe.batch.observations.shape == (40, 4)  # the steps of this segment
    assert (probe.batch.observations.mean(1) > 20).all()


def test_a_run_that_goes_on_logs_the_same_trainability(fits: None, tmp_path: Path) -> None:
    """Five visits, the fresh network's share taken in the first one."""
    whole = small_checkpoints.train(tmp_path, "checkpoint.keep=9")
    cut = Path(shutil.copytree(whole, tmp_path / "cut"))
    (cut / "results.json").unlink()
    for step in small_checkpoints.steps_of(cut):
        if step > 200:
            shutil.rmtree(cut / "checkpoints" / str(step))
    assert run.resume(cut, ["crl"]) == 0
    rows, again = (pd.read_csv(each / "progress.csv") for each in (whole, cut))
    tags = [f"plasticity/{tag}" for tag in ("actor/trainability", "actor/policy_trainability", "critic/trainability")]
    assert rows[tags].notna().sum().tolist() == [5] * 3
    pd.testing.assert_frame_equal(again[tags], rows[tags], check_exact=True)
    (tmp_path / "off").mkdir()
    off = small_checkpoints.train(tmp_path / "off", "diagnostics.trainability=false")
    assert not any("trainability" in column for column in pd.read_csv(off / "progress.csv"))


@pytest.mark.parametrize(("visits", "fits"), [(24, False), (25, True)])
def test_a_run_that_is_too_short_for_a_fit_probe_has_none(
    visits: int, fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A visit learns from 64 transitions twice, and 4 measures with 3 steps of 16 observations are due after 3,072."""
    monkeypatch.setattr(plasticity, "FitProbe", partial(probe.FitProbe, steps=3, observations=16))
    model = build("board")
    (task, *_) = model.env.get_attr("stream")[0].tasks
    stream = envs.TaskStream.build([task], steps_per_task=64, cycles=visits)
    recorder = plasticity.recorder_of_run(model, TaskCallback(stream), 1, fits=True)
    assert (recorder._diagnostics._fit is not None) == fits
