"""An agent that is trained from Python logs what `crl train` logs, at the same rows."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import gymnasium
import pytest
from gymnasium.vector import AutoresetMode
from small_run import trained_run
from stable_baselines3 import PPO as StockPPO
from stable_baselines3.common.logger import Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import crl
import envs
from agents import DQN, PPO
from agents.plasticity import GXD, ReDo
from crl.logs import CsvWriter, EventWriter

RUNS = {
    "ppo": """
stream: {tasks: [breakout, asterix], steps_per_task: 150, cycles: 1}
agent: {name: ppo, n_envs: 4, n_steps: 16, batch_size: 32, n_epochs: 2, net_arch: [8]}
interventions: [{name: gxd, rate: 1e-2, period: 5, maturity: 5}]
""",
    "dqn": """
stream: {tasks: [breakout, asterix], steps_per_task: 520, boundary: revealed}
agent: {name: dqn, n_envs: 4, buffer_size: 400, learning_starts: 96, train_freq: 2, batch_size: 8, net_arch: [8]}
interventions: [{name: redo, period: 20, tau: 0.5}]
""",
}
COMMON = "seed: 3\ndevice: cpu\nthreads: 1\n"
Rows = list[dict[str, str]]


def rows_of(folder: Path) -> Rows:
    with (folder / "progress.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{tag: value for tag, value in row.items() if not tag.startswith("time/")} for row in rows]


def layouts_of(folder: Path) -> list[Any]:
    events = EventAccumulator(str(folder)).Reload()
    tag = "custom_scalars__config__"
    return [each.tensor_proto.string_val for each in events.Tensors(tag)] if tag in events.Tags()["tensors"] else []


def trained(folder: Path, model: Any, steps: int, **arguments: Any) -> Rows:
    folder.mkdir()
    model.set_logger(Logger(None, [CsvWriter(folder / "progress.csv"), EventWriter(folder)]))
    model.learn(steps, **arguments)
    model.logger.close()
    return rows_of(folder)


def ppo() -> tuple[Any, int]:
    stream = envs.make(["breakout", "asterix"], n_envs=4, steps_per_task=150, cycles=1, seed=3, round_to=64)
    kwargs = {"net_arch": {"pi": [8], "vf": [8]}}
    gxd = GXD(rate=1e-2, period=5, maturity=5)
    model = PPO("CnnPolicy", stream, n_steps=16, batch_size=32, n_epochs=2, policy_kwargs=kwargs,
                interventions=[gxd], seed=3, device="cpu")  # fmt: skip
    return model, stream.stream.total_steps


def dqn() -> tuple[Any, int]:
    stream = envs.make(["breakout", "asterix"], n_envs=4, steps_per_task=520, seed=3, boundary="revealed", round_to=8)
    redo = ReDo(period=20, tau=0.5)
    model = DQN("CnnPolicy", stream, buffer_size=400, learning_starts=96, train_freq=2, batch_size=8,
                policy_kwargs={"net_arch": [8]}, interventions=[redo], seed=3, device="cpu")  # fmt: skip
    return model, stream.stream.total_steps


@pytest.mark.parametrize("agent", RUNS)
def test_rows_are_those_of_the_run_of_the_same_config(agent: str, tmp_path: Path) -> None:
    run = trained_run(tmp_path, RUNS[agent] + COMMON)
    model, steps = {"ppo": ppo, "dqn": dqn}[agent]()
    found = trained(tmp_path / "python", model, steps, callback=crl.Recorder())
    assert found == rows_of(run)
    assert any(tag.startswith("plasticity/") for tag in found[-1])
    assert layouts_of(tmp_path / "python") == layouts_of(run) != []


def test_an_environment_that_is_no_stream_is_one_task(tmp_path: Path) -> None:
    model = DQN("MlpPolicy", gymnasium.make("CartPole-v1"), learning_starts=20, train_freq=20, seed=0, device="cpu")
    recorder = crl.Recorder()
    rows = trained(tmp_path / "first", model, 1200, callback=recorder)
    assert [row["rollout/exploration_rate"] != "" for row in rows] == [True] * 2  # at 1,000 and the end
    returns = [tag for tag in rows[0] if "CartPole-v1" in tag]
    assert returns
    assert all(row[tag] for row in rows for tag in (*returns, "plasticity/critic/dormant_ratio", "task/index"))
    again = trained(tmp_path / "second", model, 200, callback=recorder, reset_num_timesteps=False)
    assert again[0]["plasticity/critic/update_norm"] != ""  # the change since the measure before
    plain = trained(tmp_path / "third", model, 200, log_interval=1)  # and without it rows are SB3's again
    assert len(plain) > 2
    assert not any(tag.startswith("task/") for tag in plain[0])


def test_several_games_of_stable_baselines(tmp_path: Path) -> None:
    mode = {"autoreset_mode": AutoresetMode.SAME_STEP}
    games = gymnasium.make_vec("CartPole-v1", 2, "sync", vector_kwargs=mode)
    model = PPO("MlpPolicy", games, n_steps=32, seed=0, device="cpu")
    rows = trained(tmp_path / "python", model, 256, callback=crl.Recorder())
    assert len(rows) == 4
    assert all(row[tag] for row in rows[1:] for tag in row if "CartPole-v1" in tag or tag == "task/segment")


def test_a_game_that_goes_through_a_stream_alone(tmp_path: Path) -> None:
    env = gymnasium.make("envs:crl/pendulum5-v0", steps_per_task=64, seed=1)
    model = PPO("MlpPolicy", env, n_steps=32, batch_size=32, seed=0, device="cpu")
    rows = trained(tmp_path / "python", model, 320, callback=crl.Recorder())
    assert [row["task/segment"] for row in rows] == [str(segment) for segment in (0, 0, 1, 1, 2, 2, 3, 3, 4, 4)]


def test_agents_of_stable_baselines_are_refused() -> None:
    model = StockPPO("MlpPolicy", "CartPole-v1", device="cpu")
    with pytest.raises(ValueError, match=r"train agents\.PPO instead$"):
        model.learn(10, callback=crl.Recorder())
