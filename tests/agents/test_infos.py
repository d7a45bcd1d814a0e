"""Infos that are made when they are read are a list of dicts to whoever reads them."""

from __future__ import annotations

import copy
import json
import operator
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

import envs
from agents import PPO, StreamMonitor, VectorEnvAdapter
from agents.infos import ConstantInfos, Infos
from envs.infos import constant

EXPECTED = [
    {"task": "a", "TimeLimit.truncated": False, "x": 0.5, "deep": {"y": 1}},
    {"task": "a", "TimeLimit.truncated": False},
    {"task": "a", "TimeLimit.truncated": False, "x": 1.5},
]


def said() -> dict[str, Any]:
    return {
        "task": constant("a", 3),
        "_task": constant(True, 3),
        "x": np.array([0.5, 9, 1.5]),
        "_x": np.array([True, False, True]),
        "deep": {"y": np.array([1, 9, 9]), "_y": np.array([True, False, False])},
        "_deep": np.array([True, False, False]),
    }


def made(vector_infos: dict[str, Any] | None = None) -> Infos:
    vector_infos = vector_infos or said()
    return Infos(3, ConstantInfos(vector_infos), vector_infos)


def unread(infos: Infos) -> list[int]:
    return [game for game in range(3) if list.__getitem__(infos, game) is None]


READERS: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "slice": lambda infos: infos[:],
    "loop": lambda infos: [infos[game] for game in range(-3, 0)],
    "star": lambda infos: [*infos],
    "map": lambda infos: list(map(dict, infos)),
    "backwards": lambda infos: list(reversed(infos))[::-1],
    "sum": lambda infos: operator.add([], infos),
    "sum of two": lambda infos: (infos + infos)[:3],
    "extended": lambda infos: (many := [], many.extend(infos))[0],
    "copy": lambda infos: infos.copy(),
    "copy.copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda infos: pickle.loads(pickle.dumps(infos)),
    "json": lambda infos: json.loads(json.dumps(infos)),
    "numpy": lambda infos: np.array(infos).tolist(),
    "numpy's row": lambda infos: _row(infos),
    "sorted": lambda infos: sorted(infos, key=lambda info: 0),
    "taken apart": lambda infos: [infos.pop(0), infos.pop(0), infos.pop()],
    "longer": lambda infos: (infos.append({}), infos.insert(0, {}), infos[1:4])[2],
}


def _row(infos: Any) -> Any:
    rows = np.array([[{} for _ in range(3)] for _ in range(2)])
    rows[1] = infos  # as hindsight replay keeps them
    return rows[1].tolist()


@pytest.mark.parametrize("read", READERS)
def test_it_is_a_list_of_dicts(read: str) -> None:
    infos = made()
    assert isinstance(infos, list)
    assert len(infos) == 3
    found = READERS[read](infos)
    assert type(found) is list
    assert found == EXPECTED
    assert all(type(info) is dict for info in found)


def test_it_equals_and_shows_what_it_holds() -> None:
    assert made() == EXPECTED
    assert made() == EXPECTED
    assert made() != EXPECTED[:2]
    assert repr(made()) == repr(EXPECTED)
    assert EXPECTED[1] in made()
    assert made().index(EXPECTED[2]) == 2
    with pytest.raises(IndexError):
        made()[3]
    with pytest.raises(TypeError):
        made()["task"]  # type: ignore[call-overload]


def test_what_is_not_read_is_not_made() -> None:
    infos = made()
    assert unread(infos) == [0, 1, 2]
    assert infos[1] is infos[1]
    assert unread(infos) == [0, 2]
    infos[-1] = {"mine": 1}
    assert unread(infos) == [0]
    assert infos.may_have("episode", "is_success") == [1, 2]
    assert list(infos.may_have("x")) == list(infos.may_have("task")) == [0, 1, 2]
    assert infos == [EXPECTED[0], EXPECTED[1], {"mine": 1}]


def test_what_is_written_to_one_stays_there() -> None:
    vector_infos = said()
    always = ConstantInfos(vector_infos)
    first, second = (Infos(3, always, vector_infos) for _ in range(2))
    first[0]["task"] = "mine"
    first[0]["deep"]["y"] = 2
    vector_infos["x"][:] = 7  # the next step
    vector_infos["deep"]["y"][:] = 7
    assert first[1:] == EXPECTED[1:]
    assert second == EXPECTED
    assert first[0] == {**EXPECTED[0], "task": "mine", "deep": {"y": 2}}


class OnDevice:
    """As a CUDA tensor is to numpy."""

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


def test_what_no_mask_tells_of_is_not_looked_at() -> None:
    infos = made({**said(), "names": [[1], [1, 2]], "image": OnDevice()})
    assert infos == EXPECTED
    deep = {"y": np.ones(3), "_y": np.ones(3, bool), "names": [[1], [1, 2]]}
    assert made({"deep": deep, "_deep": np.ones(3, bool)})[2]["deep"] == {"y": 1}


@pytest.mark.parametrize("kind", ["rows", "objects"])
def test_what_can_be_written_to_is_each_steps_own(kind: str) -> None:
    values = np.zeros((3, 2))
    if kind == "objects":
        values = np.empty(3, object)
        values[:] = [[0, 0] for _ in range(3)]
    values.flags.writeable = False
    vector_infos = {"x": values, "_x": constant(True, 3)}
    always = ConstantInfos(vector_infos)
    assert "x" not in always
    if kind == "rows":
        Infos(3, always, vector_infos)[0]["x"][:] = 7
        assert Infos(3, always, vector_infos)[0]["x"].tolist() == [0, 0]


def test_a_step_makes_infos_of_those_alone_that_end() -> None:
    env = StreamMonitor(VectorEnvAdapter(envs.make("breakout", n_envs=8, seed=0)))
    env.reset()
    for _ in range(30):
        *_, dones, infos = env.step(np.zeros(8, int))
        kept = [game for game in range(8) if list.__getitem__(infos, game) is not None]
        assert kept == np.flatnonzero(dones).tolist()
        assert all(("episode" in infos[game]) == dones[game] for game in range(8))


def test_episodes_are_those_of_sb3s_own_monitor() -> None:
    def told(wrapper: type[VecMonitor]) -> list[Any]:
        env = wrapper(VectorEnvAdapter(envs.make("breakout", n_envs=4, seed=0)), info_keywords=("task",))
        env.reset()
        model = PPO("MlpPolicy", env, n_steps=8, batch_size=32, device="cpu", seed=0).learn(64)
        found = [{key: info[key] for key in ("r", "l", "task")} for info in model.ep_info_buffer or ()]
        return [found, env.episode_count, env.episode_returns.tolist(), env.episode_lengths.tolist()]

    ours, stock = told(StreamMonitor), told(VecMonitor)
    assert ours == stock
    assert len(ours[0]) == ours[1] > 2


class Same(gymnasium.Wrapper):
    """Gives the same dict in every step."""

    info: dict[str, Any] = {}  # noqa: RUF012

    def step(self, action: Any) -> Any:
        *rest, _ = super().step(action)
        return *rest, self.info


def test_the_infos_of_other_environments_are_left_alone() -> None:
    game = Same(gymnasium.make("CartPole-v1"))
    monitor = StreamMonitor(DummyVecEnv([lambda: game]))
    monitor.reset()
    lengths = [info[0]["episode"]["l"] for *_, done, info in (monitor.step([0]) for _ in range(30)) if done[0]]
    assert sum(lengths) + int(monitor.episode_lengths[0]) == 30
    assert len(lengths) > 1
    assert "episode" not in game.info
