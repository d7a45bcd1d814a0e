"""Which agent can play which stream, and what it sees of it."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.vec_env import VecNormalize

from agents.specs import known_specs
from crl.config import ConfigError
from crl.models import build

UNIT = gymnasium.spaces.Box(-1, 1, (2,), np.float32)


@pytest.mark.parametrize(
    ("spaces", "overrides", "expected"),
    [
        (
            {"actions": gymnasium.spaces.Tuple([UNIT])},
            [],
            'stream.name="Odd-v0" has actions Tuple(Box(-1.0, 1.0, (2,), float32)), which are not supported; wrap',
        ),
        (
            {"actions": gymnasium.spaces.Box(-np.inf, 1, (1,), np.float32)},
            ["stream.name=null", "stream.tasks=[Odd-v0]"],
            'stream.tasks=["Odd-v0"] has actions Box(-inf, 1.0, (1,), float32) without finite bounds, which are not',
        ),
        (
            {"observations": gymnasium.spaces.Tuple([UNIT])},
            [],
            'stream.name="Odd-v0" has observations Tuple(Box(-1.0, 1.0, (2,), float32)), which are not supported; wrap',
        ),
        (
            {"actions": gymnasium.spaces.MultiBinary([2, 2])},
            [],
            'stream.name="Odd-v0" is not supported (Multi-dimensional MultiBinary((2, 2)) action space',
        ),
        (
            {"actions": gymnasium.spaces.Discrete(3, start=-1)},
            [],
            'stream.name="Odd-v0" is not supported: SB3 counts from 0, unlike the actions Discrete(3, start=-1); shift',
        ),
        (
            {"observations": gymnasium.spaces.MultiDiscrete([[2, 3], [2, 2]])},
            [],
            'stream.name="Odd-v0" is not supported: SB3 needs one axis, unlike the observations MultiDiscrete',
        ),
        (
            {"observations": gymnasium.spaces.Box(0, 1, (6, 7, 8), bool)},
            [],
            "agent: the shape of Box(False, True, (6, 7, 8), bool) leaves open whether its channels come first or last",
        ),
        (
            {"observations": gymnasium.spaces.Box(0, 1, (10, 2, 10), bool)},
            ["agent.features=minatar_cnn"],
            "agent.features=minatar_cnn does not fit observations Box(False, True, (10, 2, 10), bool); give flatten",
        ),
    ],
)
def test_spaces_that_do_not_fit_are_refused(
    config: Any, register_odd: Any, spaces: dict[str, Any], overrides: list[str], expected: str
) -> None:
    register_odd(**spaces)
    with pytest.raises(ConfigError) as error:
        build(config("stream.name=Odd-v0", *overrides))
    assert str(error.value).startswith(expected)


def test_a_task_that_cannot_be_made_again_is_refused(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []

    def once() -> Any:
        if made:
            raise RuntimeError("only one of me")
        made.append(gymnasium.make("CartPole-v1"))
        return made[0]

    monkeypatch.setitem(gymnasium.registry, "Odd-v0", gymnasium.envs.registration.EnvSpec("Odd-v0", entry_point=once))
    with pytest.raises(
        ConfigError, match=r"^stream.name: task 'Odd-v0' cannot be made \(RuntimeError: only one of me\)"
    ):
        build(config("stream.name=Odd-v0"))


@pytest.mark.parametrize(
    ("agent", "actions", "able"),
    [
        ("sac", gymnasium.spaces.Discrete(6), "dqn, ppo"),
        ("dqn", UNIT, "ppo, sac, td3"),
        ("dqn", gymnasium.spaces.MultiDiscrete([2, 3]), "ppo"),
        ("sac", gymnasium.spaces.MultiBinary(2), "ppo"),
    ],
)
def test_agents_that_cannot_choose_such_actions_are_refused(
    config: Any, register_odd: Any, agent: str, actions: Any, able: str
) -> None:
    register_odd(actions=actions)
    with pytest.raises(ConfigError) as error:
        build(config("stream.name=Odd-v0", agent=agent))
    assert str(error.value) == (
        f'agent.name={agent} cannot play stream.name="Odd-v0", whose actions are {actions}; agents that can: {able}'
    )


def test_sac_on_minatar_says_who_can(config: Any) -> None:
    with pytest.raises(ConfigError) as error:
        build(config("stream.name=minatar3", agent="sac"))
    assert str(error.value) == (
        'agent.name=sac cannot play stream.name="minatar3", whose actions are Discrete(6); agents that can: dqn, ppo'
    )


def test_the_actions_of_the_records_are_what_stable_baselines_takes() -> None:
    spaces = {
        gymnasium.spaces.Box: UNIT,
        gymnasium.spaces.Discrete: gymnasium.spaces.Discrete(2),
        gymnasium.spaces.MultiDiscrete: gymnasium.spaces.MultiDiscrete([2, 3]),
        gymnasium.spaces.MultiBinary: gymnasium.spaces.MultiBinary(2),
    }

    class World(gymnasium.Env[Any, Any]):
        observation_space = UNIT

    for spec in known_specs().values():
        for kind, space in spaces.items():
            World.action_space = space
            if kind.__name__ in spec.actions:
                assert spec.resolve()("MlpPolicy", World(), device="cpu").action_space == space
            else:
                with pytest.raises(AssertionError, match="only supports"):
                    spec.resolve()("MlpPolicy", World(), device="cpu")


@pytest.mark.parametrize(("agent", "rounded"), [("ppo", 32), ("dqn", 24), ("sac", 18)])
def test_segments_are_rounded_to_rollouts(config: Any, agent: str, rounded: int) -> None:
    # Rollouts of 2 x 8, of 2 x 4 and of 2 x 1 steps.
    _, _, env = build(config("stream.name=Pendulum-v1" if agent == "sac" else "stream.name=CartPole-v1",
                             "stream.steps_per_task=17", agent=agent))  # fmt: skip
    assert env.stream.total_steps == rounded
    env.close()


@pytest.mark.parametrize("agent", ["ppo", "dqn", "sac"])
def test_what_is_normalised(config: Any, agent: str) -> None:
    world = "stream.name=Pendulum-v1" if agent == "sac" else "stream.name=CartPole-v1"
    given = config(world, "normalize={obs: true, reward: true}", "agent.gamma=0.9", agent=agent)
    resolved, model, env = build(given)
    normalizer = model.get_vec_normalize_env()
    assert isinstance(normalizer, VecNormalize)
    assert (normalizer.norm_obs, normalizer.norm_reward, normalizer.gamma) == (True, True, 0.9)
    assert resolved.normalize == given.normalize
    learned = {} if agent == "ppo" else {"log_interval": None}
    model.learn(16, **learned)
    assert normalizer.obs_rms.count == pytest.approx(16 + 2, abs=0.01)  # with the first observations of both games
    env.close()


def test_images_are_transposed_before_they_are_normalised(config: Any, images: None) -> None:
    _, model, env = build(config("stream.name=Images-v0", "normalize.reward=true", agent="dqn"))
    model.learn(16, log_interval=None)
    assert isinstance(model.replay_buffer, ReplayBuffer)
    assert model.replay_buffer.observations.shape == (32, 2, 3, 12, 10)
    normalizer = model.get_vec_normalize_env()
    assert normalizer is not None
    assert not normalizer.norm_obs
    env.close()


def test_what_has_no_mean_is_not_normalised(config: Any) -> None:
    _, model, env = build(config())
    assert model.get_vec_normalize_env() is None
    env.close()
    with pytest.raises(ConfigError) as error:
        build(config("normalize.obs=true"))
    assert str(error.value) == (
        'normalize.obs=true needs observations of floats, but stream.name="breakout" has '
        "Box(False, True, (10, 10, 10), bool); give normalize.obs=false"
    )


PERMUTED = "stream.tasks=[{id: cartpole, shifts: [pixel_permutation], variants: 3}]"


@pytest.mark.parametrize(
    ("agent", "align", "sentence"),
    [
        (
            "ppo",
            "rollout",
            "below one rollout of 16: they are lengthened to 16 steps; lower agent.n_envs or agent.n_steps, or give "
            "stream.align=step",
        ),
        (
            "ppo",
            "step",
            "below one rollout of 16: an update learns from several tasks at once; lower agent.n_envs or "
            "agent.n_steps, or raise stream.steps_per_task",
        ),
        (
            "dqn",
            "rollout",
            "below one rollout of 8: they are lengthened to 8 steps; lower agent.n_envs or agent.train_freq, or give "
            "stream.align=step",
        ),
    ],
)
def test_visits_below_a_rollout_are_warned_of(config: Any, agent: str, align: str, sentence: str) -> None:
    given = config("stream.name=null", PERMUTED, f"stream.align={align}", "stream.steps_per_task=6", agent=agent)
    with pytest.warns(UserWarning, match="has visits of 6 steps") as caught:
        _, _, env = build(given)
    (warning,) = caught
    assert str(warning.message).endswith(f" has visits of 6 steps, {sentence}")
    assert str(warning.message).startswith('stream.tasks=[{"id": "cartpole", "shifts": ["pixel_permutation"], "varia')
    assert env.stream.shortest == {("ppo", "rollout"): 16, ("ppo", "step"): 6, ("dqn", "rollout"): 8}[agent, align]
    env.close()


def test_a_visit_of_one_step_is_one_step(config: Any) -> None:
    given = config("stream.name=null", PERMUTED, "stream.align=step", "stream.steps_per_task=1")
    with pytest.warns(UserWarning, match=r" has visits of 1 step, below one rollout of 16: "):
        _, _, env = build(given)
    env.close()


def test_a_visit_of_one_rollout_is_not_warned_of(config: Any) -> None:
    _, _, env = build(config("stream.name=null", PERMUTED, "stream.steps_per_task=16"))
    assert (env.requested_stream.shortest, env.stream.shortest, env.stream.total_steps) == (16, 16, 48)
    env.close()


@pytest.mark.parametrize(
    ("first", "second", "shared"),
    [("A", "a", "folder on Windows and macOS"), ("x y", '"x, y"', "tag of logs"), ("(x)", '"[x]"', "tag of logs")],
)
def test_tasks_whose_results_would_be_mixed_up_are_refused(config: Any, first: str, second: str, shared: str) -> None:
    tasks = f"stream.tasks=[{{id: cartpole, name: {first}}}, {{id: cartpole, name: {second}, gravity: 5.0}}]"
    with pytest.raises(ConfigError, match=f", which would share one {shared}; give one of them another name"):
        build(config("stream.name=null", tasks))


def test_names_that_no_file_could_have_are_kept(config: Any) -> None:
    tasks = "stream.tasks=[{id: cartpole, name: 'aux.txt'}, {id: cartpole, name: '../CON: x', gravity: 5.0}]"
    _, _, env = build(config("stream.name=null", tasks))
    assert [task.name for task in env.stream.tasks] == ["aux.txt", "../CON: x"]
    env.close()
