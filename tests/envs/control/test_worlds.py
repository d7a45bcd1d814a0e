"""The control tasks: Gymnasium's physics, their arguments, their state and their drawing."""

import inspect
import json
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from envs.catalogue import CONTROL, TASKS
from envs.control.acrobot import Acrobot, acrobot
from envs.control.cartpole import CartPole, cartpole
from envs.control.mountain_car import MountainCar, mountain_car
from envs.control.mountain_car_continuous import MountainCarContinuous
from envs.control.pendulum import Pendulum, pendulum
from envs.state import get_env_state, set_env_state

WORLDS = {name: TASKS[name].resolve() for name in CONTROL}
IDS = {
    "cartpole": "CartPole-v1",
    "acrobot": "Acrobot-v1",
    "mountain_car": "MountainCar-v0",
    "mountain_car_continuous": "MountainCarContinuous-v0",
    "pendulum": "Pendulum-v1",
}
OFFSETS = {
    "cartpole": [1.0, -0.5, 2.5, 0.1],
    "acrobot": [1.0, 2.0, -3.0, 4.0, 0.0, -0.1],
    "mountain_car": [0.5, -2.0],
    "mountain_car_continuous": [0.5, -2.0],
    "pendulum": [0.0, 1.0, -7.5],
}


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
    assert {name: world.name for name, world in WORLDS.items()} == {name: name for name in CONTROL}
    for world in WORLDS.values():
        # How a world is drawn is no part of a task.
        assert tuple(inspect.signature(world).parameters) == (*world.arguments, "render_mode")


@pytest.mark.parametrize("name", CONTROL)
def test_without_arguments_a_world_is_gymnasium_s(name: str) -> None:
    env, stock = WORLDS[name](), gymnasium.make(IDS[name], disable_env_checker=True)
    actions = _actions(stock, 2100)
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


@pytest.mark.parametrize("name", CONTROL)
def test_an_offset_is_all_that_differs(name: str) -> None:
    offset = np.array(OFFSETS[name], np.float32)
    env, stock = WORLDS[name](offset=OFFSETS[name]), gymnasium.make(IDS[name], disable_env_checker=True)
    actions = _actions(stock, 1100)
    expected = [(step[0] + offset, *step[1:]) for step in _play(stock, actions, seed=2)]
    _assert_same(_play(env, actions, seed=2), expected)


def test_spaces_do_not_depend_on_arguments() -> None:
    for name, size in (("cartpole", 4), ("acrobot", 6), ("mountain_car", 2), ("mountain_car_continuous", 2)):
        unbounded = gymnasium.spaces.Box(-np.inf, np.inf, (size,), np.float32)
        assert WORLDS[name]().observation_space == WORLDS[name](offset=OFFSETS[name]).observation_space == unbounded
    stock = gymnasium.make("Pendulum-v1", disable_env_checker=True)
    assert pendulum(gravity=1.0, length=2.0).observation_space == stock.observation_space
    unbounded = gymnasium.spaces.Box(-np.inf, np.inf, (3,), np.float32)
    assert pendulum(offset=[0.0] * 3).observation_space == unbounded


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
        ("mountain_car", {"offset": OFFSETS["mountain_car"], "force": 0.002, "episode_limit": 50}),
        ("mountain_car_continuous", {"power": 0.003, "episode_limit": 50}),
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
    assert state["env"]["world"] == "Pendulum"
    assert state["env"]["physics"] == {"gravity": 10.0, "length": 1.0, "mass": 1.0}
    assert (state["elapsed"], state["shifts"]) == ([1], [])
    assert state["env"]["variables"]["last_u"] == 0.5


def test_a_state_of_another_world_is_refused() -> None:
    swinging, cart = pendulum(), cartpole()
    for env in (swinging, cart):
        env.reset(seed=0)
    state = swinging.unwrapped.get_state()  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"^a state of Pendulum cannot be set on CartPole; make the world that it is"):
        cart.unwrapped.set_state(state)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", CONTROL)
def test_a_state_brings_its_physics(name: str) -> None:
    env, other = WORLDS[name](), WORLDS[name]()
    world: Any = env.unwrapped
    actions = _actions(env, 60)
    _play(env, actions[:20], seed=4)
    first = next(iter(CHANGES[name]))
    world.configure(**{first: world.physics[first] * 0.7})
    state = get_env_state(env, name)
    expected = _play(env, actions[20:])
    other.reset(seed=9)
    set_env_state(other, state, name)
    _assert_same(_play(other, actions[20:]), expected)
    assert other.unwrapped.physics == world.physics  # type: ignore[attr-defined]
    # What the env was made with would have led elsewhere.
    other.unwrapped.set_state(state["env"] | {"physics": WORLDS[name]().unwrapped.physics})  # type: ignore[attr-defined]
    assert any((one[0] != two[0]).any() for one, two in zip(_play(other, actions[20:]), expected, strict=False))


CHANGES: dict[str, dict[str, float]] = {
    "cartpole": {"gravity": 3.7, "length": 0.8, "masscart": 2.0, "masspole": 0.3, "force_mag": 6.0},
    "acrobot": {"gravity": 3.7, "length_1": 1.4, "length_2": 0.8, "mass_1": 0.6, "mass_2": 1.7},
    "mountain_car": {"gravity": 0.002, "force": 0.0015, "goal_velocity": 0.02},
    "mountain_car_continuous": {"power": 0.002, "goal_velocity": 0.02},
    "pendulum": {"gravity": 3.7, "length": 1.8, "mass": 0.6},
}


@pytest.mark.parametrize("name", CONTROL)
def test_configured_in_play_equals_made_so(name: str) -> None:
    changed, made = WORLDS[name](), WORLDS[name](**CHANGES[name])
    actions = _actions(made, 80)
    _play(changed, actions[:30], seed=2)
    changed.get_wrapper_attr("configure")(**CHANGES[name])
    _assert_same(_play(changed, actions, seed=7), _play(made, actions, seed=7))
    assert changed.unwrapped.physics == CHANGES[name]  # type: ignore[attr-defined]
    # One at a time, the others stay.
    first = next(iter(CHANGES[name]))
    made.unwrapped.configure(**{first: WORLDS[name]().unwrapped.physics[first]})  # type: ignore[attr-defined]
    assert made.unwrapped.physics != CHANGES[name]  # type: ignore[attr-defined]
    assert {**made.unwrapped.physics, first: CHANGES[name][first]} == CHANGES[name]  # type: ignore[attr-defined]


def test_cartpole_follows_its_equation() -> None:
    """With theta = 0 and no speeds the force alone acts: the terms with sin(theta) and theta' vanish."""
    env = CartPole(gravity=5.0, length=0.8, masscart=1.5, masspole=0.5, force_mag=4.0)
    env.reset(seed=0)
    env.state = np.zeros(4)
    env.step(1)
    # temp = 4 / 2 = 2; theta'' = -2 / (0.8 (4/3 - 0.5 / 2)) = -2.3077; x'' = 2 - 0.5 x 0.8 x theta'' / 2 = 2.4615.
    np.testing.assert_allclose(env.state, [0.0, 0.02 * 32 / 13, 0.0, -0.02 * 30 / 13], rtol=1e-12)
    # At 0.1 rad gravity turns the pole: theta'' changes by 5 sin / (0.8 (4/3 - cos^2 / 4)).
    env.state = np.array([0.0, 0.0, 0.1, 0.0])
    env.step(1)
    turning = (5 * np.sin(0.1) - 2 * np.cos(0.1)) / (0.8 * (4 / 3 - np.cos(0.1) ** 2 / 4))
    assert env.state[3] == pytest.approx(0.02 * turning, rel=1e-12)


def test_a_continuous_mountain_car_has_its_power() -> None:
    env = MountainCarContinuous(power=0.004, goal_velocity=0.05)
    env.reset(seed=0)
    env.state = np.array([0.0, 0.01])
    assert env.step(np.array([0.5]))[1] == pytest.approx(-0.025)
    # cos(0) = 1: 0.01 + 0.5 * 0.004 - 0.0025 = 0.0095.
    np.testing.assert_allclose(env.state, [0.0095, 0.0095], rtol=1e-6)
    for speed, reached in ((0.03, False), (0.06, True)):
        env.state = np.array([0.5, speed])
        assert env.step(np.array([0.0]))[2] is reached


def test_mountain_car_follows_its_equation() -> None:
    env = MountainCar(gravity=0.002, force=0.004, goal_velocity=0.05)
    env.reset(seed=0)
    env.state = np.array([0.0, 0.01])
    env.step(2)
    # cos(0) = 1: 0.01 + 0.004 - 0.002 = 0.012.
    np.testing.assert_allclose(env.state, [0.012, 0.012], rtol=1e-12)
    for speed, reached in ((0.03, False), (0.06, True)):
        env.state = np.array([0.5, speed])
        assert env.step(1)[2] is reached


def test_acrobot_follows_its_equations() -> None:
    """The book's equations, Sutton and Barto, with each link's mass in its middle and moments of inertia of 1."""
    gravity, l1, l2, m1, m2 = 3.7, 1.4, 0.8, 0.6, 1.7
    env: Any = Acrobot(gravity=gravity, length_1=l1, length_2=l2, mass_1=m1, mass_2=m2)
    one, two, speed_1, speed_2, torque = 0.4, -0.7, 0.9, -1.1, 1.0
    c1, c2 = l1 / 2, l2 / 2
    d1 = m1 * c1**2 + m2 * (l1**2 + c2**2 + 2 * l1 * c2 * np.cos(two)) + 2
    d2 = m2 * (c2**2 + l1 * c2 * np.cos(two)) + 1
    phi2 = m2 * c2 * gravity * np.sin(one + two)
    phi1 = (
        -m2 * l1 * c2 * speed_2**2 * np.sin(two)
        - 2 * m2 * l1 * c2 * speed_2 * speed_1 * np.sin(two)
        + (m1 * c1 + m2 * l1) * gravity * np.sin(one)
        + phi2
    )
    second = (torque + d2 / d1 * phi1 - m2 * l1 * c2 * speed_1**2 * np.sin(two) - phi2) / (m2 * c2**2 + 1 - d2**2 / d1)
    first = -(d2 * second + phi1) / d1
    found = env._dsdt(np.array([one, two, speed_1, speed_2, torque]))
    np.testing.assert_allclose(found, [speed_1, speed_2, first, second, 0.0], rtol=1e-12)
    # Without gravity a hanging acrobot and one turned by any angle move alike.
    env.configure(gravity=0.0)
    turned = env._dsdt(np.array([one + 1.3, two, speed_1, speed_2, torque]))
    np.testing.assert_allclose(turned, env._dsdt(np.array([one, two, speed_1, speed_2, torque])), rtol=1e-12)


@pytest.mark.parametrize("name", CONTROL)
def test_both_checkers_pass(name: str) -> None:
    with warnings.catch_warnings():
        for advice in (
            ".*is different from the unwrapped version",
            ".*infinity. This is probably too",
            ".*symmetric and",
        ):
            warnings.filterwarnings("ignore", advice, UserWarning)
        check_env(WORLDS[name](reward_scale=0.5), skip_render_check=True)
        sb3_check_env(WORLDS[name]())


@pytest.mark.parametrize("name", CONTROL)
def test_equal_seeds_give_equal_games(name: str) -> None:
    env, other = WORLDS[name](), WORLDS[name]()
    actions = _actions(env, 120)
    _play(other, actions[:50], seed=1)
    trace = _play(env, actions, seed=8)
    _assert_same(_play(other, actions, seed=8), trace)
    different = _play(env, actions, seed=9)
    assert any((one[0] != two[0]).any() for one, two in zip(different, trace, strict=False))


@pytest.mark.parametrize("name", CONTROL)
def test_frames(name: str) -> None:
    pytest.importorskip("pygame")
    env = WORLDS[name](render_mode="rgb_array")
    env.reset(seed=0)
    frame: Any = env.render()
    assert frame.dtype == np.uint8
    assert frame.shape in ((400, 600, 3), (500, 500, 3))
    for action in _actions(env, 9):
        env.step(action)
    assert (env.render() != frame).any()
    env.close()


def test_pygame_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    env = cartpole(render_mode="rgb_array")
    env.reset(seed=0)
    with pytest.raises(ImportError) as refusal:
        env.render()
    assert str(refusal.value) == (
        "CartPole is drawn with pygame, which is not installed; run pip install -e '.[video]'"
    )


def test_drawing_is_refused_where_it_was_not_asked_for() -> None:
    env = pendulum()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"^Pendulum was made without a render_mode; give render_mode='rgb_array'$"):
        env.render()


@pytest.mark.parametrize("name", CONTROL)
def test_batches(name: str) -> None:
    games = WORLDS[name].make_games(3, offset=OFFSETS[name], **dict(list(CHANGES[name].items())[:1]))
    assert games.num_envs == 3
    single = [WORLDS[name](offset=OFFSETS[name], **CHANGES[name]) for _ in range(3)]
    first, _ = games.reset(seed=5)
    games.configure(**CHANGES[name])
    np.testing.assert_array_equal(first, [env.reset(seed=5 + game)[0] for game, env in enumerate(single)])
    games.action_space.seed(0)
    for _ in range(5):
        actions = games.action_space.sample()
        steps = [env.step(action) for env, action in zip(single, actions, strict=True)]
        observations, rewards, *_ = games.step(actions)
        np.testing.assert_array_equal(observations, [step[0] for step in steps])
        assert rewards.tolist() == [step[1] for step in steps]


def test_there_are_no_other_arguments() -> None:
    for make in (cartpole, partial(pendulum.make_games, 2)):
        with pytest.raises(TypeError, match="got an unexpected keyword argument 'gravty'"):
            make(gravty=1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"gravty": 1.0},
            "Pendulum cannot change 'gravty' while it is played, only gravity, length, mass; did you mean",
        ),
        (
            {"offset": [1.0]},
            "Pendulum cannot change 'offset' while it is played, only gravity, length, mass; leave it out",
        ),
        ({"gravity": 1.0, "mass": 0}, "mass must be a finite number above 0, got 0; give kilograms such as 1.0"),
    ],
)
def test_refused_changes_change_nothing(change: dict[str, Any], message: str) -> None:
    env = Pendulum()
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the message is compared below)
        env.configure(**change)
    assert str(refusal.value).startswith(message)
    assert env.physics == {"gravity": 10.0, "length": 1.0, "mass": 1.0}
    assert (env.g, env.l, env.m) == (10.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (
            cartpole,
            {"offset": [1.0] * 6},
            "offset must have the observations' shape (4,), got [1.0, 1.0, 1.0, 1.0, 1.0",
        ),
        (acrobot, {"offset": "none"}, "offset must be finite numbers, got 'none'; give as many"),
        (cartpole, {"episode_limit": 0}, "episode_limit must be a whole number of at least 1, got 0; give"),
        (acrobot, {"episode_limit": 2.5}, "episode_limit must be a whole number of at least 1, got 2.5; give"),
        (pendulum, {"episode_limit": True}, "episode_limit must be a whole number of at least 1, got True; give"),
        (acrobot, {"reward_scale": 0}, "reward_scale must be a finite number above 0, got 0; give a factor"),
        (pendulum, {"reward_scale": "x"}, "reward_scale must be a finite number above 0, got 'x'; give a factor"),
        (pendulum, {"gravity": float("nan")}, "gravity must be a finite number, got nan; give m/s^2"),
        (pendulum, {"length": 0.0}, "length must be a finite number above 0, got 0.0; give metres"),
        (pendulum, {"mass": -1}, "mass must be a finite number above 0, got -1; give kilograms"),
        (cartpole, {"length": 0}, "length must be a finite number above 0, got 0; give half of the pole's length"),
        (cartpole, {"masspole": 0}, "masspole must be a finite number above 0, got 0; give kilograms"),
        (cartpole, {"force_mag": True}, "force_mag must be a finite number above 0, got True; give newtons"),
        (acrobot, {"length_2": -1.0}, "length_2 must be a finite number above 0, got -1.0; give metres"),
        (mountain_car, {"force": 0.0}, "force must be a finite number above 0, got 0.0; give speed per step"),
        (mountain_car, {"gravity": "x"}, "gravity must be a finite number, got 'x'; give speed per step"),
        (cartpole, {"render_mode": "rgb"}, "render_mode must be None or one of human, rgb_array, got 'rgb'"),
    ],
)
def test_refusals(make: Callable[..., gymnasium.Env], arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the message is compared below)
        make(**arguments)
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)
