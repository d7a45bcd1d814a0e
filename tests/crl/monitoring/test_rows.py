"""When rows are written, and what is in them."""

from __future__ import annotations

from typing import Any

import pytest
from small_ppo import build, world
from stable_baselines3.common.callbacks import BaseCallback, CallbackList
from stable_baselines3.common.logger import KVWriter, Logger

from agents import DQN, SAC
from crl.monitoring import ROW_EVERY, RowCallback


class Rows(KVWriter):
    """Keeps all rows: the steps, and what a recorder said."""

    def __init__(self) -> None:
        self.found: list[tuple[int, Any]] = []

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, Any], step: int = 0) -> None:
        self.found.append((step, key_values.get("spoken")))

    def close(self) -> None:
        pass


class Speaker:
    """Says how often it was asked."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.asked = 0

    def record(self) -> None:
        self.asked += 1
        self.model.logger.record("spoken", self.asked)


class Stop(BaseCallback):
    """Ends training after some steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self._steps = steps

    def _on_step(self) -> bool:
        return self.num_timesteps < self._steps


def rows_of(model: Any, steps: int, every: int, *others: BaseCallback, **options: Any) -> list[tuple[int, Any]]:
    rows, speaker = Rows(), Speaker(model)
    model.set_logger(Logger(folder=None, output_formats=[rows]))
    model.learn(steps, callback=CallbackList([RowCallback([speaker], every), *others]), **options)
    assert speaker.asked == len(rows.found)
    return rows.found


def replaying(agent: type, kind: str, n_envs: int, **arguments: Any) -> Any:
    settings = {"learning_starts": 8, "batch_size": 4, "buffer_size": 64, "device": "cpu", "seed": 5}
    return agent("MlpPolicy", world(kind, n_envs), policy_kwargs={"net_arch": [4]}, **{**settings, **arguments})


def test_ppo_writes_a_row_after_each_rollout() -> None:
    assert rows_of(build("mlp"), 3 * 64, every=1000) == [(64, 1), (128, 2), (192, 3)]


@pytest.mark.parametrize(("agent", "kind"), [(DQN, "mlp"), (SAC, "mlp-tanh-gsde")])
def test_replaying_agents_get_a_row_every_so_many_steps_and_one_at_the_end(agent: type, kind: str) -> None:
    # Rollouts of 2 x 3 steps: rows at the first of their ends that is 20 steps after the last row.
    model = replaying(agent, kind, n_envs=2, train_freq=3)
    assert rows_of(model, 70, every=20, log_interval=None) == [(24, 1), (48, 2), (72, 3)]


def test_a_short_run_has_a_row() -> None:
    model = replaying(DQN, "mlp", n_envs=1)
    assert rows_of(model, 12, every=ROW_EVERY, log_interval=None) == [(12, 1)]


def test_a_run_that_was_stopped_has_a_last_row() -> None:
    model = replaying(DQN, "mlp", n_envs=1)
    assert rows_of(model, 100, 20, Stop(30), log_interval=None) == [(20, 1), (30, 2)]
