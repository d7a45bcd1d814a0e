"""Entries and the tasks that they stand for."""

import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from envs.entries import task_from
from envs.games import SyncGames
from envs.minatar import MinAtarEnv, MinAtarGames
from envs.task import Task


def test_game() -> None:
    task = task_from("seaquest", episode_limit=77)
    assert task.name == "seaquest"
    env = task.make_env()
    assert isinstance(env, MinAtarEnv)
    assert (env.game, env.episode_limit) == ("seaquest", 77)
    assert task_from("seaquest").make_env().episode_limit == 2500  # type: ignore[attr-defined]


def test_game_as_mapping() -> None:
    assert task_from({"id": "seaquest"}, 9) == task_from("seaquest", 9)
    task = task_from({"id": "seaquest", "episode_limit": 5}, 9)
    assert task.name == "seaquest(episode_limit=5)"
    assert task.make_env().episode_limit == 5  # type: ignore[attr-defined]


def test_control_task() -> None:
    task = task_from("cartpole", episode_limit=3)
    assert task.name == "cartpole"
    env = task.make_env()
    env.reset(seed=0)
    assert not any(env.step(action)[3] for action in (0, 1, 0, 1))  # the limit is of MinAtar's games
    assert task == task_from("cartpole", 4)


def test_control_task_with_arguments() -> None:
    task = task_from({"id": "pendulum", "gravity": 5.0, "episode_limit": 3})
    assert task.name == "pendulum(episode_limit=3, gravity=5.0)"
    env = task.make_env()
    assert env.unwrapped.g == 5.0  # type: ignore[attr-defined]
    env.reset(seed=0)
    assert [env.step(env.action_space.sample())[3] for _ in range(3)] == [False, False, True]
    assert task == task_from({"gravity": 5.0, "episode_limit": 3, "id": "pendulum"})
    assert task != task_from({"id": "pendulum", "gravity": 6.0, "episode_limit": 3})


def test_gymnasium_id_keeps_its_time_limit() -> None:
    task = task_from("CartPole-v1", episode_limit=3)
    assert task.name == "CartPole-v1"
    env = task.make_env()
    assert env.spec is not None
    assert (env.spec.id, env.spec.max_episode_steps, env.spec.disable_env_checker) == ("CartPole-v1", 500, True)


def test_mapping_has_arguments_and_a_name_of_its_own() -> None:
    task = task_from({"id": "Pendulum-v1", "g": 5.0})
    assert task.name == "Pendulum-v1(g=5.0)"
    assert task.make_env().unwrapped.g == 5.0  # type: ignore[attr-defined]
    assert task_from({"g": 5.0, "max_episode_steps": 9, "id": "Pendulum-v1"}).name == (
        "Pendulum-v1(g=5.0, max_episode_steps=9)"
    )
    assert task != task_from({"id": "Pendulum-v1", "g": 6.0})


def test_module_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "worlds_of_a_user.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Mine-v3', entry_point='gymnasium.envs.classic_control:CartPoleEnv', max_episode_steps=4)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        with pytest.raises(ValueError, match=r"unknown task 'worlds_of_a_user:Mine-v2'; did you mean '.*:Mine-v3'"):
            task_from("worlds_of_a_user:Mine-v2")
        task = task_from("worlds_of_a_user:Mine-v3")
        assert task.name == "worlds_of_a_user:Mine-v3"
        env = task.make_env()
        assert env.spec is not None
        assert env.spec.max_episode_steps == 4
    finally:
        gymnasium.registry.pop("Mine-v3", None)
        sys.modules.pop("worlds_of_a_user", None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [("raise RuntimeError('no licence')\n", "RuntimeError: no licence"), ("def (:\n", "SyntaxError: ")],
)
def test_a_module_that_cannot_be_imported_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, reason: str
) -> None:
    (tmp_path / "broken_world.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match="the module 'broken_world' of task 'broken_world:A-v0' cannot be") as refusal:
        task_from("broken_world:A-v0")
    assert f"({reason}" in str(refusal.value)
    assert str(refusal.value).endswith("; install it, or correct it or its name")


def test_make_games() -> None:
    games = task_from("breakout", 50).make_games(3)
    assert isinstance(games, MinAtarGames)
    assert games.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert games.num_envs == 3
    first, _ = games.reset(seed=0)
    kept = first.copy()
    games.step(np.array([1, 2, 3]))
    assert (first == kept).all()  # SB3 stores the previous observations after the next step
    others = Task("mine", lambda: MinAtarEnv("breakout")).make_games(3)
    assert isinstance(others, SyncGames)
    assert len({id(env) for env in others.envs}) == 3
    np.testing.assert_array_equal(others.reset(seed=0)[0], kept)


def test_tasks_are_values() -> None:
    assert task_from("breakout") == task_from("breakout")
    assert task_from("breakout", 10) != task_from("breakout", 20)
    assert len({task_from("breakout"), task_from("breakout"), task_from({"id": "Pendulum-v1", "g": 1.0})}) == 2
    with pytest.raises(AttributeError):
        task_from("breakout").name = "x"  # type: ignore[misc]
    assert Task("mine", lambda: MinAtarEnv("asterix")).make_env().game == "asterix"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("Space_Invaders", "unknown task 'Space_Invaders'; did you mean 'space_invaders'?"),
        ("minatar4", "unknown task 'minatar4'; did you mean 'minatar"),
        ("CartPole", "unknown task 'CartPole'; did you mean 'cartpole'?"),
        ("CartPole-v", "unknown task 'CartPole-v'; did you mean 'CartPole-v"),
        ("pendulm", "unknown task 'pendulm'; did you mean 'pendulum'?"),
        ("cchain/cartpol", "unknown task 'cchain/cartpol'; did you mean 'cchain/cartpole'?"),
        ("CartPole-v9", "unknown task 'CartPole-v9'; did you mean 'CartPole-v1'?"),
        (
            "qqq",
            "unknown task 'qqq'; give a game (asterix, breakout, freeway, seaquest, space_invaders), a control task (",
        ),
        ("no_such_module:A-v0", "the module 'no_such_module' of task 'no_such_module:A-v0' cannot be imported"),
        (":A-v0", "the module '' of task ':A-v0' cannot be imported"),
        ("minatar3", "'minatar3' is a stream and cannot be one task among others; list its games instead"),
        (7, "a task must be a name or a mapping with an id, got 7; write"),
        ({"g": 5.0}, "a task given as a mapping needs an id and arguments by name, got {'g': 5.0}; write"),
        ({"id": "Pendulum-v1", 3: 4}, "a task given as a mapping needs an id and arguments by name"),
        ("cchain/acrobot", "'cchain/acrobot' is a stream and cannot be one task among others; give it alone"),
        (
            {"id": "pendulum", "gravty": 5.0},
            "the task 'pendulum' takes no argument 'gravty', only gravity, length, mass, offset, "
            "episode_limit, reward_scale; did you mean 'gravity'?",
        ),
        (
            {"id": "cartpole", "torque": 5.0},
            "the task 'cartpole' takes no argument 'torque', only gravity, length, masscart, masspole, "
            "force_mag, offset, episode_limit, reward_scale; remove",
        ),
        ({"id": "pendulum", "gravity": "5"}, "gravity must be a finite number, got '5'; give"),
        ({"id": "cartpole", "offset": [1.0]}, "offset must have the observations' shape (4,), got [1.0] of (1,); give"),
        (
            {"id": "breakout", "g": 5.0},
            "the task 'breakout' takes no argument 'g', only sticky_prob, ramping, ",
        ),
        ({"id": "breakout", "episode_limit": 0}, "episode_limit must be a whole number of at least 1, got 0"),
    ],
)
def test_refusals(entry: object, message: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the message is compared below)
        task_from(entry)  # type: ignore[arg-type]
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)
