"""The MuJoCo tasks: Gymnasium's robots, what their arguments do to the physics, their state and their drawing."""

import copy
import inspect
import json
import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.env_checker import check_env as sb3_check_env

from envs.catalogue import MUJOCO, TASKS
from envs.games import SyncGames
from envs.mujoco import ant, halfcheetah, hopper
from envs.shifts import layers_of
from envs.state import get_env_state, set_env_state

mujoco = pytest.importorskip("mujoco")
HopperEnv = pytest.importorskip("gymnasium.envs.mujoco.hopper_v5").HopperEnv

ROOT = Path(__file__).parents[2]
WORLDS = {name: TASKS[name].resolve() for name in MUJOCO}
IDS = {"ant": "Ant-v5", "halfcheetah": "HalfCheetah-v5", "hopper": "Hopper-v5", "walker2d": "Walker2d-v5"}
OTHER = {"friction": 0.3, "gravity": 5.0, "mass": 1.5, "stiffness": 2.0}


def _actions(env: gymnasium.Env, n: int) -> list[Any]:
    env.action_space.seed(5)
    return [env.action_space.sample() for _ in range(n)]


def _play(env: gymnasium.Env, actions: list[Any], seed: int | None = None) -> list[tuple[Any, ...]]:
    """What every step gave; the first of a new episode follows its end."""
    trace: list[tuple[Any, ...]] = [env.reset(seed=seed)] if seed is not None else []
    for action in actions:
        trace.append(env.step(action))
        if trace[-1][2] or trace[-1][3]:
            trace.append(env.reset())
    return trace


def _assert_same(found: list[tuple[Any, ...]], expected: list[tuple[Any, ...]]) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1:] == other[1:]


def test_there_is_a_world_for_every_name() -> None:
    assert {name: world.name for name, world in WORLDS.items()} == {name: name for name in MUJOCO}
    for world in WORLDS.values():
        assert tuple(inspect.signature(world).parameters) == (*world.arguments, "render_mode")


def test_nothing_is_imported_before_a_world_is_made() -> None:
    code = (
        "import sys, envs.mujoco; print('mujoco' in sys.modules); envs.mujoco.hopper(); print('mujoco' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=ROOT)
    assert run.stdout.split() == ["False", "True"]


def test_making_a_world_prints_and_logs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """MuJoCo's warnings about the cheetah's model go to standard error and into MUJOCO_LOG.TXT, wherever that is."""
    monkeypatch.chdir(tmp_path)
    halfcheetah()
    assert capfd.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []
    assert mujoco.get_mju_user_warning() is None


def test_other_warnings_of_mujoco_are_python_s(monkeypatch: pytest.MonkeyPatch) -> None:
    made = HopperEnv.__init__

    def warned(*args: Any, **kwargs: Any) -> None:
        mujoco.get_mju_user_warning()("the model is odd")
        made(*args, **kwargs)

    monkeypatch.setattr(HopperEnv, "__init__", warned)
    with pytest.warns(RuntimeWarning, match=r"^the model is odd$"):
        hopper()


@pytest.mark.parametrize("name", MUJOCO)
def test_without_arguments_a_world_is_gymnasium_s(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where MuJoCo logs what it says of Gymnasium's own
    env, stock = WORLDS[name](), gymnasium.make(IDS[name], disable_env_checker=True)
    actions = _actions(stock, 1100)
    trace = _play(stock, actions, seed=11)
    _assert_same(_play(env, actions, seed=11), trace)
    assert sum(len(step) == 2 for step in trace) >= 2  # that many episodes began
    assert (env.action_space, env.observation_space) == (stock.action_space, stock.observation_space)
    assert isinstance(env, TimeLimit)
    assert stock.spec is not None
    assert env._max_episode_steps == stock.spec.max_episode_steps == 1000


@pytest.mark.parametrize("name", MUJOCO)
@pytest.mark.parametrize("friction", [0.02, 1.7])
def test_friction_is_that_of_every_contact_in_play(name: str, friction: float) -> None:
    env = WORLDS[name](friction=friction)
    data: Any = env.unwrapped.data  # type: ignore[attr-defined]
    env.reset(seed=0)
    found = set()
    for action in _actions(env, 120):
        if env.step(action)[2]:
            env.reset()
        for contact in data.contact:
            if contact.dim == 3:  # the others are of surfaces without friction
                found |= set(contact.friction[:2].tolist())
    assert found == {friction}


def test_friction_of_the_models() -> None:
    """SlipperyAnt sets the sliding friction of all surfaces alike; None gives Gymnasium's back."""
    env: Any = hopper(friction=0.5).unwrapped
    assert env.model.geom_friction[:, 0].tolist() == [0.5] * 5
    assert env.model.geom_friction[:, 1].tolist() == [0.005] * 5
    env.configure(friction=None)
    assert env.model.geom_friction[:, 0].tolist() == [1.0, 0.9, 0.9, 0.9, 2.0]


@pytest.mark.parametrize("name", MUJOCO)
@pytest.mark.parametrize("gravity", [0.0, 3.7])
def test_gravity_is_the_acceleration_of_a_fall(name: str, gravity: float) -> None:
    env: Any = WORLDS[name](gravity=gravity).unwrapped
    env.reset(seed=0)
    height = 1 if name != "ant" else 2
    position = env.init_qpos.copy()
    position[height] += 10.0
    env.set_state(position, np.zeros_like(env.init_qvel))
    # Springs and limits turn the joints and so shake the trunk; the centre of all masses falls freely.
    mujoco.mj_subtreeVel(env.model, env.data)
    before = env.data.subtree_linvel[0, 2]
    mujoco.mj_step(env.model, env.data, 5)
    mujoco.mj_forward(env.model, env.data)
    mujoco.mj_subtreeVel(env.model, env.data)
    fall = (before - env.data.subtree_linvel[0, 2]) / (5 * env.model.opt.timestep)
    # Ant's joints begin beyond their limits, and what pushes them back integrates with an error of 0.0016.
    assert fall == pytest.approx(gravity, abs=2e-3 if name == "ant" else 1e-12)


@pytest.mark.parametrize("name", MUJOCO)
def test_mass_scales_what_is_moved(name: str) -> None:
    env, stock = (WORLDS[name](mass=mass).unwrapped for mass in (2.5, 1.0))
    light: Any = stock.model  # type: ignore[attr-defined]
    heavy: Any = env.model  # type: ignore[attr-defined]
    np.testing.assert_allclose(heavy.body_mass, 2.5 * light.body_mass, rtol=1e-15)
    np.testing.assert_allclose(heavy.body_inertia, 2.5 * light.body_inertia, rtol=1e-15)
    # What MuJoCo derives from them has followed.
    np.testing.assert_allclose(heavy.body_subtreemass, 2.5 * light.body_subtreemass, rtol=1e-12)
    inertia = [model.dof_M0 - model.dof_armature for model in (heavy, light)]  # rotors are no bodies
    np.testing.assert_allclose(inertia[0], 2.5 * inertia[1], rtol=1e-9, atol=1e-12)
    assert (heavy.body_invweight0[1:] < light.body_invweight0[1:]).all()
    # And back: every number of the model is Gymnasium's again.
    env.configure(mass=1.0)  # type: ignore[attr-defined]
    for attribute in dir(light):
        if isinstance(getattr(light, attribute), np.ndarray):
            np.testing.assert_array_equal(getattr(heavy, attribute), getattr(light, attribute), err_msg=attribute)
    assert heavy.stat.meaninertia == light.stat.meaninertia


def test_stiffness_is_a_factor_on_springs() -> None:
    env: Any = halfcheetah(stiffness=0.5).unwrapped
    assert env.model.jnt_stiffness.tolist() == [0, 0, 0, 120, 90, 60, 90, 60, 30]
    env.configure(stiffness=0)
    assert not env.model.jnt_stiffness.any()
    env.configure(stiffness=None)
    assert env.model.jnt_stiffness.tolist() == [0, 0, 0, 240, 180, 120, 180, 120, 60]


@pytest.mark.parametrize("name", ["ant", "hopper", "walker2d"])
def test_stiffness_where_there_are_no_springs(name: str) -> None:
    env: Any = WORLDS[name](stiffness=7.0).unwrapped
    driven = env.model.actuator_trnid[:, 0]
    assert env.model.jnt_stiffness[driven].tolist() == [7.0] * env.model.nu
    assert env.model.jnt_stiffness.sum() == 7.0 * env.model.nu
    # The force of a spring is stiffness times deflection from the pose of zeros.
    env.reset(seed=0)
    env.data.qvel[:] = 0
    mujoco.mj_forward(env.model, env.data)
    deflection = env.data.qpos[env.model.jnt_qposadr[driven]]
    np.testing.assert_allclose(
        env.data.qfrc_spring[env.model.jnt_dofadr[driven]], -7.0 * deflection, rtol=1e-12, atol=1e-15
    )


@pytest.mark.parametrize("name", MUJOCO)
def test_a_change_in_play_leaves_the_state_alone(name: str) -> None:
    env = WORLDS[name]()
    world: Any = env.unwrapped
    actions = _actions(env, 40)
    _play(env, actions[:20], seed=3)
    before = world.get_state()
    world.configure(**OTHER)
    after = world.get_state()
    assert after.pop("physics") == OTHER
    assert before.pop("physics") == {"friction": None, "gravity": 9.81, "mass": 1.0, "stiffness": None}
    for key in before:
        np.testing.assert_array_equal(before[key], after[key])
    # From there it goes on as an env that was made so.
    made = WORLDS[name](**OTHER)
    made.reset(seed=0)
    made.unwrapped.set_state(after | {"physics": OTHER})  # type: ignore[attr-defined]
    _assert_same(_play(env, actions[20:]), _play(made, actions[20:]))


@pytest.mark.parametrize("name", MUJOCO)
@pytest.mark.parametrize("steps", [0, 7])
def test_from_a_state_it_goes_on_exactly(name: str, steps: int) -> None:
    env = WORLDS[name](**OTHER, episode_limit=60, reward_scale=0.1)
    actions = _actions(env, 130)
    _play(env, actions[:steps], seed=4)
    state = get_env_state(env, name)
    text = json.dumps(state, default=lambda array: array.tolist())  # arrays and JSON values alone
    expected = _play(env, actions[steps:])
    assert any(len(step) == 2 for step in expected)
    other = WORLDS[name](episode_limit=60, reward_scale=0.1)
    _play(other, actions[:5], seed=99)
    set_env_state(other, state, name)
    _assert_same(_play(other, actions[steps:]), expected)
    assert other.unwrapped.np_random_seed == 4
    assert json.dumps(state, default=lambda array: array.tolist()) == text


CHILD = """
import pickle, sys
from envs.mujoco import ant
from envs.state import set_env_state
state, actions = pickle.load(open(sys.argv[1], "rb"))
env = ant()
env.reset()
set_env_state(env, state, "ant")
pickle.dump([env.step(action) for action in actions], open(sys.argv[2], "wb"))
"""


def test_from_a_state_another_process_goes_on_exactly(tmp_path: Path) -> None:
    env = ant(friction=0.1)
    actions = _actions(env, 60)
    _play(env, actions[:30], seed=0)
    (tmp_path / "in").write_bytes(pickle.dumps((get_env_state(env, "ant"), actions[30:])))
    subprocess.run([sys.executable, "-c", CHILD, tmp_path / "in", tmp_path / "out"], check=True, cwd=ROOT)
    _assert_same(pickle.loads((tmp_path / "out").read_bytes()), [env.step(action) for action in actions[30:]])


def test_a_state_of_another_world_is_refused() -> None:
    walking: Any = ant().unwrapped
    hopping: Any = hopper().unwrapped
    with pytest.raises(
        ValueError, match=r"^a state of Ant with \d+ numbers cannot be set on Hopper with \d+; make the"
    ):
        hopping.set_state(walking.get_state())
    shorter = hopping.get_state()
    shorter["mujoco"] = shorter["mujoco"][:-1]
    with pytest.raises(ValueError, match=r"^a state of Hopper with 57 .*with 58; .* with the same version of MuJoCo$"):
        hopping.set_state(shorter)


def test_copies_have_the_arguments() -> None:
    env: Any = ant(friction=0.2, mass=2.0).unwrapped
    assert copy.deepcopy(env).physics == env.physics
    assert pickle.loads(pickle.dumps(env)).physics == env.physics


def test_batches() -> None:
    games = hopper.make_games(2, friction=0.4, reward_scale=0.5)
    assert isinstance(layers_of(games)[-1], SyncGames)
    single = [hopper(friction=1.1, reward_scale=0.5) for _ in range(2)]
    first, _ = games.reset(seed=5)
    np.testing.assert_array_equal(first, [env.reset(seed=5 + game)[0] for game, env in enumerate(single)])
    games.configure(friction=1.1)
    games.action_space.seed(0)
    for _ in range(10):
        actions = games.action_space.sample()
        observations, rewards, *_ = games.step(actions)
        steps = [env.step(action) for env, action in zip(single, actions, strict=True)]
        np.testing.assert_array_equal(observations, [step[0] for step in steps])
        assert rewards.tolist() == [step[1] for step in steps]
    assert games.saves


@pytest.mark.parametrize("name", MUJOCO)
def test_both_checkers_pass(name: str) -> None:
    with warnings.catch_warnings():
        for advice in (".*is different from the unwrapped version", ".*infinity. This is probably too"):
            warnings.filterwarnings("ignore", advice, UserWarning)
        check_env(WORLDS[name](), skip_render_check=True)
        sb3_check_env(WORLDS[name](reward_scale=0.5))


@pytest.mark.parametrize("name", MUJOCO)
def test_equal_seeds_give_equal_games(name: str) -> None:
    env, other = WORLDS[name](), WORLDS[name]()
    actions = _actions(env, 60)
    _play(other, actions[:30], seed=1)
    trace = _play(env, actions, seed=8)
    _assert_same(_play(other, actions, seed=8), trace)
    assert (_play(env, actions, seed=9)[0][0] != trace[0][0]).any()


def test_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "egl")
    try:
        from mujoco.egl import GLContext

        GLContext(8, 8).free()
    except Exception as error:
        pytest.skip(f"nothing here draws: {error}")
    env = ant(render_mode="rgb_array")
    env.reset(seed=0)
    frame: Any = env.render()
    assert (frame.dtype, frame.shape) == (np.dtype(np.uint8), (480, 480, 3))
    for action in _actions(env, 9):
        env.step(action)
    assert (env.render() != frame).any()
    env.close()


def test_where_nothing_draws_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    env = ant(render_mode="rgb_array")

    def fail(*_: object) -> None:
        raise RuntimeError("no display")

    monkeypatch.setattr(env.unwrapped.mujoco_renderer, "render", fail)  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError) as refusal:
        env.render()
    assert str(refusal.value) == (
        "Ant cannot be drawn (RuntimeError: no display); without a display set MUJOCO_GL=egl, or MUJOCO_GL=osmesa and "
        "install libosmesa6"
    )
    with pytest.raises(ValueError, match=r"^Ant was made without a render_mode; give render_mode='rgb_array'$"):
        ant().render()


@pytest.mark.parametrize("missing", ["mujoco", "imageio"])
def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    for module in [name for name in sys.modules if name.startswith(("envs.mujoco.", "gymnasium.envs.mujoco"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError) as refusal:
        ant()
    assert str(refusal.value).startswith("Ant needs mujoco and imageio, which cannot be imported (")
    assert str(refusal.value).endswith("); run pip install -e '.[mujoco]'")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"friction": 0}, "friction must be a finite number above 0, got 0; give a coefficient such as 1.0"),
        (
            {"gravity": -9.81},
            "gravity must be a finite number of at least 0, got -9.81; give m/s^2, downwards, such as",
        ),
        ({"gravity": None}, "gravity must be a finite number of at least 0, got None; give m/s^2"),
        (
            {"mass": 0.0},
            "mass must be a finite number above 0, got 0.0; give a factor on the model's masses such as 1.0",
        ),
        ({"mass": float("inf")}, "mass must be a finite number above 0, got inf; give"),
        ({"stiffness": -1}, "stiffness must be a finite number of at least 0, got -1; give a number such as 1.0"),
        ({"episode_limit": 0}, "episode_limit must be a whole number of at least 1, got 0; give"),
        ({"reward_scale": 0}, "reward_scale must be a finite number above 0, got 0; give a factor"),
        ({"render_mode": "rgb"}, "render_mode must be None or one of human, rgb_array, depth_array, rgbd_tuple, got"),
    ],
)
def test_refusals(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the message is compared below)
        hopper(**arguments)
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)


def test_refused_changes_change_nothing() -> None:
    env: Any = ant(friction=0.4).unwrapped
    with pytest.raises(
        ValueError, match=r"^Ant cannot change 'fricton' while it is played, only friction, .*; did you"
    ):
        env.configure(gravity=1.0, fricton=0.1)
    with pytest.raises(ValueError, match=r"^mass must be"):
        env.configure(gravity=1.0, mass=-1)
    assert env.physics == {"friction": 0.4, "gravity": 9.81, "mass": 1.0, "stiffness": None}
    assert env.model.opt.gravity.tolist() == [0.0, 0.0, -9.81]
