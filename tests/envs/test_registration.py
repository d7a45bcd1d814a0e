"""Gymnasium's ids: made one by one and as a batch, and checked by Gymnasium and by Stable-Baselines3."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from shifted import assert_same
from stable_baselines3.common.env_checker import check_env as check_env_for_sb3

from envs.catalogue import MUJOCO, STREAMS, TASKS
from envs.registration import NAMESPACE
from envs.single import StreamEnv
from envs.state import copied
from envs.vector import StreamVectorEnv

ROOT = Path(__file__).parents[2]
OF_MUJOCO = {"mujoco3", "slippery_ant", *MUJOCO}
OF_ENVPOOL = {name for registry in (TASKS, STREAMS) for name, found in registry.items() if not found.restores}
CHECKED = {"cchain/starpilot", "bigfish_easy", "atari/pong", "dmc/walker-run", "metaworld/push"}  # all are made alike
NAMES = [
    name
    for name in (*STREAMS, *TASKS)
    if (name not in OF_MUJOCO or find_spec("mujoco"))
    and (name not in OF_ENVPOOL or (name in CHECKED and find_spec("envpool")))
    and not name.startswith("fame/minatar")
]
ADVICE = (
    # Of Stable-Baselines3 on images: ours are boards of 10 x 10 bits.
    "ignore:It seems that your observation .* is an image but:UserWarning",
    "ignore:The minimal resolution for an image is 36x36:UserWarning",
    # Of Gymnasium on spaces without bounds, as speeds and offsets have none, and on torques up to 2 N m.
    r"ignore:.*A Box observation space (minimum|maximum) value is -?infinity:UserWarning",
    "ignore:.*ecommend .*symmetric and normalized:UserWarning",
)


def id_of(name: str) -> str:
    return f"{NAMESPACE}/{name.replace('/', '-')}-v0"


def short(name: str) -> dict[str, Any]:
    """A stream's visits of seven steps, so that what checks it comes to switches."""
    return {"steps_per_task": 7} if name in STREAMS else {}


def test_every_stream_and_task_has_an_id() -> None:
    registered = {id for id in gymnasium.registry if id.startswith(f"{NAMESPACE}/")}
    assert registered == {id_of(name) for name in (*STREAMS, *TASKS)} | {f"{NAMESPACE}/stream-v0"}
    assert "crl/cchain-cartpole-v0" in registered


@pytest.mark.filterwarnings(*ADVICE)
@pytest.mark.parametrize("name", NAMES)
def test_checks(name: str) -> None:
    env = gymnasium.make(id_of(name), **short(name))
    assert isinstance(env.unwrapped, StreamEnv)
    needs_a_display = name in OF_MUJOCO or name.startswith(("dmc/", "metaworld/"))
    check_env(env.unwrapped, skip_render_check=needs_a_display)
    check_env_for_sb3(env)
    if name in STREAMS and len(STREAMS[name].tasks) > 1:
        segments = {env.reset(seed=0)[1]["segment"]}
        for _ in range(15):
            *_, terminated, truncated, info = env.step(env.action_space.sample())
            segments.add(info["segment"])
            if terminated or truncated:
                env.reset()
        assert segments >= {0, 1}
    env.close()


@pytest.mark.parametrize("name", NAMES)
def test_batches(name: str) -> None:
    """What ``make_vec`` returns is the stream itself, and game 0 of its first segment the one that ``make`` makes."""
    env = gymnasium.make_vec(id_of(name), num_envs=2, **short(name))
    assert isinstance(env, StreamVectorEnv)
    assert (env.num_envs, env.metadata["autoreset_mode"]) == (2, AutoresetMode.SAME_STEP)
    assert env.spec is not None
    assert env.spec.id == id_of(name)
    observations, info = env.reset(seed=3)
    assert info["task"].tolist() == [env.task] * 2
    assert env.observation_space.contains(observations)
    single = gymnasium.make(id_of(name), **short(name))
    np.testing.assert_array_equal(single.reset(seed=3)[0], observations[0])
    env.action_space.seed(0)
    for _ in range(1 if name == "pendulum_drift" else 3):  # two games go through a drift twice as fast
        actions = env.action_space.sample()
        observations, rewards, *_ = env.step(actions)
        observation, reward, *_ = single.step(actions[0])
        np.testing.assert_array_equal(observation, observations[0])
        assert reward == rewards[0]
    env.close()
    single.close()


@pytest.mark.parametrize("name", ["cchain/cartpole", "pendulum5", "minatar3", "breakout", "mountain_car"])
def test_pictures(name: str) -> None:
    env = gymnasium.make_vec(id_of(name), num_envs=2, render_mode="rgb_array", **short(name))
    env.reset(seed=0)
    for frame in env.render() or ():
        assert frame.dtype == np.uint8
        assert frame.ndim == 3
        assert min(frame.shape[:2]) >= 320
        assert frame.shape[2] == 3
    env.close()


def test_any_stream_by_one_id() -> None:
    given = {"what": ["breakout", {"id": "asterix", "variants": 2}], "steps_per_task": 3, "seed": 1}
    single, batch = gymnasium.make("crl/stream-v0", **given), gymnasium.make_vec("crl/stream-v0", num_envs=2, **given)
    assert isinstance(single.unwrapped, StreamEnv)
    assert [task.name for task in single.unwrapped.venv.stream.tasks] == ["breakout", "asterix#0", "asterix#1"]
    assert isinstance(batch, StreamVectorEnv)
    assert [batch.stream.segment(index).steps for index in range(3)] == [4, 4, 4]


def test_a_task_takes_the_arguments_of_its_world() -> None:
    given: dict[str, Any] = {"gravity": 5.0, "shifts": ["reward_sign"], "episode_limit": 7, "steps_per_task": 20}
    single = gymnasium.make("crl/pendulum-v0", **given).unwrapped
    batch = gymnasium.make_vec("crl/pendulum-v0", num_envs=2, **given)
    assert isinstance(single, StreamEnv)
    assert isinstance(batch, StreamVectorEnv)
    for stream in (single.venv.stream, batch.stream):
        (task,) = stream.tasks
        assert task.arguments["world"] == {"gravity": 5.0, "episode_limit": 7}
        assert [name for name, _ in task.shifts] == ["reward_sign"]
        assert stream.segment(0).steps == 20
    with pytest.raises(ValueError, match=r"no argument 'gravty'.*did you mean 'gravity'"):
        gymnasium.make("crl/pendulum-v0", gravty=5.0)


def test_two_instances_are_identical_over_a_switch() -> None:
    def trace() -> list[Any]:
        env = gymnasium.make("crl/minatar_saf-v0", steps_per_task=10)
        said = [copied(list(env.reset(seed=8)))]
        for action in np.random.default_rng(0).integers(6, size=25):
            said.append(copied(list(env.step(action))))
            if said[-1][2] or said[-1][3]:
                said.append(copied(list(env.reset())))
        return said

    found = trace()
    assert {step[-1]["task"] for step in found} == {"space_invaders", "asterix", "freeway"}
    assert_same(trace(), found)


def test_gymnasium_imports_the_module_in_front_of_an_id(tmp_path: Path) -> None:
    program = (
        "import gymnasium, json, sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "env = gymnasium.make('envs:crl/cchain-cartpole-v0', steps_per_task=2)\n"
        "seen = [env.reset(seed=0)[1]['task']]\n"
        "env.step(0), env.step(0)\n"
        "seen.append(env.reset()[1]['task'])\n"
        "batch = gymnasium.make_vec('envs:crl/breakout-v0', num_envs=2)\n"
        "print(json.dumps([*seen, batch.reset()[0].shape, 'torch' in sys.modules]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == ["level_0", "level_1", [2, 10, 10, 10], False]
