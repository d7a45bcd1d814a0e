"""The control tasks: Gymnasium's physics, their arguments and their state."""

import inspect
import json
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import TimeLimit

from envs.catalogue import ARGUMENTS, CONTROL
from envs.control import WORLDS, Pendulum, acrobot, cartpole, pendulum
from envs.state import get_env_state, set_env_state

IDS = {"cartpole": "CartPole-v1", "acrobot": "Acrobot-v1", "pendulum": "Pendulum-v1"}
OFFSETS = {"cartpole": [1.0, -0.5, 2.5, 0.1], "acrobot": [1.0, 2.0, -3.0, 4.0, 0.0, -0.1]}


def _play(env: gymnasium.Env, actions: list[Any], seed: int | None = None) -> list[tuple[Any, ...]]:
    """What every step gave; the first of a new episode follows its end."""
    trace: list[tuple[Any, ...]] = [env.reset(seed=seed)] if seed is not None else []
    for action in actions:
        trace.append(env.step(action))
        if trace[-1][2] or trace[-1][3]:
            trace.append(env.reset())
    return trace


def _actions(env: gymnasium.Env, n: int) -> list[Any]:
    env.action_space.seed(5)
    return [env.action_space.sample() for _ in range(n)]


def _assert_same(found: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1:] == other[1:]


def test_there_is_a_world_for_every_name() -> None:
    assert tuple(WORLDS) == CONTROL
    assert {task: tuple(inspect.signature(world).parameters) for task, world in WORLDS.items()} == ARGUMENTS


@pytest.mark.parametrize("name", CONTROL)
def test_without_arguments_a_world_is_gymnasium_s(name: str) -> None:
    env, stock = WORLDS[name](), gymnasium.make(IDS[name], disable_env_checker=True)
    actions = _actions(stock, 1100)
    trace = _play(stock, actions, seed=11)
    _assert_same(_play(env, actions, seed=11), trace)
    assert sum(len(step) == 2 for step in trace) >= 3  # that many episodes began
    assert env.action_space == stock.action_space
    # The default limit is Gymnasium's.
    limit = next(layer for layer in _layers(env) if isinstance(layer, TimeLimit))
    assert stock.spec is not None
    assert limit._max_episode_steps == stock.spec.max_episode_steps


def _layers(env: gymnasium.Env) -> list[gymnasium.Env]:
    return [env, *_layers(env.env)] if isinstance(env, gymnasium.Wrapper) else [env]


@pytest.mark.parametrize("name", ["cartpole", "acrobot"])
def test_an_offset_is_all_that_differs(name: str) -> None:
    offset = np.array(OFFSETS[name], np.float32)
    env, stock = WORLDS[name](offset=OFFSETS[name]), gymnasium.make(IDS[name], disable_env_checker=True)
    actions = _actions(stock, 1100)
    expected = [(step[0] + offset, *step[1:]) for step in _play(stock, actions, seed=2)]
    _assert_same(_play(env, actions, seed=2), expected)


def test_spaces_do_not_depend_on_arguments() -> None:
    for name, size in (("cartpole", 4), ("acrobot", 6)):
        unbounded = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        assert WORLDS[name]().observation_space == WORLDS[name](offset=OFFSETS[name]).observation_space == unbounded
    stock = gymnasium.make("Pendulum-v1", disable_env_checker=True)
    assert pendulum(gravity=1.0, length=2.0).observation_space == stock.observation_space


def test_the_limit_truncates_and_never_terminates() -> None:
    # Acrobot's random play does not reach its goal in 400 steps here.
    env = acrobot(episode_limit=400, reward_scale=1 / 20)
    steps = _play(env, _actions(env, 400), seed=0)[1:-1]
    assert [(step[2], step[3]) for step in steps] == [(False, False)] * 399 + [(False, True)]
    assert [step[1] for step in steps] == [-0.05] * 400
    assert [info for *_, info in steps] == [{}] * 399 + [{"unscaled_return": -400.0}]


def test_a_fall_terminates_and_is_no_truncation() -> None:
    env = cartpole(episode_limit=400, reward_scale=1 / 20)
    steps = _play(env, [1] * 60, seed=0)
    episodes = [step[4]["unscaled_return"] for step in steps if len(step) == 5 and step[2]]
    assert len(episodes) >= 5
    assert sum(episodes) == sum(len(step) == 5 for step in steps[: _last_end(steps) + 1])
    assert not any(step[3] for step in steps if len(step) == 5)
    assert {step[1] for step in steps if len(step) == 5} == {0.05}


def _last_end(steps: list[tuple[Any, ...]]) -> int:
    return max(place for place, step in enumerate(steps) if len(step) == 5 and step[2])


def test_pendulum_follows_its_equation() -> None:
    """angle'' = 3 g / (2 l) sin(angle) + 3 torque / (m l^2), in steps of 0.05 s."""
    env = pendulum(gravity=4.0, length=1.5, mass=0.5)
    env.reset(seed=0)
    world: Any = env.unwrapped
    world.state = np.array([np.pi / 6, 0.2])
    # 3 x 4 / (2 x 1.5) x 1/2 = 2, and 3 x 0.75 / (0.5 x 2.25) = 2: the speed grows by 4 x 0.05 = 0.2.
    observation, reward, *_ = env.step(np.array([0.75], np.float32))
    np.testing.assert_allclose(world.state, [np.pi / 6 + 0.4 * 0.05, 0.4], rtol=1e-12)
    angle = np.pi / 6 + 0.02
    np.testing.assert_allclose(observation, [np.cos(angle), np.sin(angle), 0.4], rtol=1e-6)
    assert reward == pytest.approx(-((np.pi / 6) ** 2 + 0.1 * 0.2**2 + 0.001 * 0.75**2), rel=1e-6)


def test_pendulum_defaults_are_gymnasium_s() -> None:
    world: Any = Pendulum()
    stock: Any = gymnasium.make("Pendulum-v1", disable_env_checker=True).unwrapped
    assert (world.g, world.l, world.m) == (stock.g, stock.l, stock.m) == (10.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cartpole", {"offset": OFFSETS["cartpole"], "reward_scale": 0.05, "episode_limit": 30}),
        ("acrobot", {"offset": OFFSETS["acrobot"], "reward_scale": 0.05, "episode_limit": 50}),
        ("pendulum", {"gravity": 5.0, "length": 1.5, "episode_limit": 30, "reward_scale": 0.1}),
    ],
)
@pytest.mark.parametrize("steps", [0, 25])
def test_from_a_state_it_goes_on_exactly(name: str, arguments: dict[str, Any], steps: int) -> None:
    env = WORLDS[name](**arguments)
    actions = _actions(env, 150)
    _play(env, actions[:steps], seed=4)
    state = get_env_state(env, name)
    expected = _play(env, actions[steps:])
    assert any(len(step) == 2 for step in expected)
    other = WORLDS[name](**arguments)
    other.reset(seed=99)
    set_env_state(other, state, name)
    _assert_same(_play(other, actions[steps:]), expected)
    assert other.unwrapped.np_random_seed == 4


def test_a_state_is_a_copy_of_arrays_and_json() -> None:
    env = pendulum()
    env.reset(seed=0)
    env.step(np.array([0.5], np.float32))
    state = get_env_state(env, "pendulum")
    text = json.dumps(state, default=lambda array: array.tolist())
    for _ in range(3):
        env.step(np.array([1.5], np.float32))
    assert json.dumps(state, default=lambda array: array.tolist()) == text
    assert state["env"]["world"] == {"class": "Pendulum", "g": 10.0, "l": 1.0, "m": 1.0}
    assert (state["elapsed"], state["shifts"]) == ([1], [])
    assert state["env"]["variables"]["last_u"] == 0.5


def test_a_state_of_another_world_is_refused() -> None:
    light, heavy, cart = pendulum(), pendulum(gravity=12.0), cartpole()
    for env in (light, heavy, cart):
        env.reset(seed=0)
    state = light.unwrapped.get_state()  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"^a state of .*'g': 10.0.* cannot be set on .*'g': 12.0.*; make an env with"):
        heavy.unwrapped.set_state(state)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"^a state of .*'Pendulum'.* cannot be set on .*'CartPole'"):
        cart.unwrapped.set_state(state)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (
            cartpole,
            {"offset": [1.0] * 6},
            "offset must have the observations' shape (4,), got [1.0, 1.0, 1.0, 1.0, 1.0",
        ),
        (acrobot, {"offset": "none"}, "offset must have the observations' shape (6,), got 'none' of (); give"),
        (cartpole, {"episode_limit": 0}, "episode_limit must be a whole number of at least 1, got 0; give"),
        (acrobot, {"episode_limit": 2.5}, "episode_limit must be a whole number of at least 1, got 2.5; give"),
        (pendulum, {"episode_limit": True}, "episode_limit must be a whole number of at least 1, got True; give"),
        (acrobot, {"reward_scale": 0}, "reward_scale must be a finite number above 0, got 0; give a factor"),
        (pendulum, {"reward_scale": "x"}, "reward_scale must be a finite number above 0, got 'x'; give a factor"),
        (pendulum, {"gravity": float("nan")}, "gravity must be a finite number, got nan; give m/s^2"),
        (pendulum, {"length": 0.0}, "length must be a finite number above 0, got 0.0; give metres"),
        (pendulum, {"mass": -1}, "mass must be a finite number above 0, got -1; give kilograms"),
    ],
)
def test_refusals(make: Callable[..., gymnasium.Env], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the message is compared below)
        make(**arguments)
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)
