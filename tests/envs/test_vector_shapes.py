"""Streams of worlds that differ in shape: switches, states, drift and the task in observations."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from fake_pool import install
from gymnasium.spaces import Box, Discrete
from shaped import shaped
from shifted import through_json

from envs.entries import task_from
from envs.making import make
from envs.state import copied
from envs.stream import TaskStream
from envs.vector import StreamVectorEnv

BOTH = {"observations": "pad", "actions": "union"}
CONTROL: list[Any] = [
    {"id": "mountain_car", "drift": {"force": {"kind": "linear", "start": 1e-3, "end": 5e-3, "steps": 30}}},
    {"id": "acrobot", "shifts": [{"name": "observation_noise", "std": 0.1}], "variants": 2},
]


def short_and_long(length: int = 3) -> StreamVectorEnv:
    """Two worlds with episodes of so many steps, of which two games play five steps each."""
    tasks = [
        shaped("short", np.array([1.0, 2.0], np.float32), 3, says=("NOOP", "LEFT", "RIGHT"), length=length),
        shaped("long", np.array([5.0, 6.0, 7.0], np.float32), 2, actions=("up", "noop"), length=length),
    ]
    return StreamVectorEnv(TaskStream.build(tasks, steps_per_task=10), 2, boundary="observed", spaces=BOTH, seed=0)


def test_a_switch_goes_from_one_shape_to_another() -> None:
    env = short_and_long()
    assert env.single_action_space == Discrete(4)
    assert env.single_observation_space.shape == (5,)
    assert env.mapping == (
        "observations are (3,) of float32: (2,) of short, (3,) of long; padded with zeros",
        "actions are noop, left, right, up; in short up do noop; in long left, right do noop",
        "observations tell the task: of the last 2 numbers its own is 1, all others 0",
    )
    assert env.action_meanings == ("noop", "left", "right", "up")
    observations, _ = env.reset()
    assert observations[1].tolist() == [1, 2, 0, 1, 0]
    for _ in range(4):
        observations, rewards, *_ = env.step(np.array([2, 3]))
        assert rewards.tolist() == [2, 0]
    observations, _, _, truncated, info = env.step(np.array([0, 1]))
    assert truncated.all()
    assert observations.tolist() == [[5, 6, 7, 0, 1]] * 2
    assert [last.tolist() for last in info["final_obs"]] == [[3, 6, 0, 1, 0]] * 2  # the second step of an episode
    _, rewards, *_ = env.step(np.array([3, 2]))
    assert rewards.tolist() == [0, 1]  # up is 0, and right is noop, which is 1


def test_a_task_takes_its_fit_along() -> None:
    """Evaluation plays a stream of one task, of those that are fitted."""
    env = short_and_long()
    for index, task in enumerate(env.stream.tasks):
        alone = StreamVectorEnv(TaskStream.build([task], steps_per_task=None), 3, seed=0)
        assert alone.single_action_space == env.single_action_space
        assert alone.single_observation_space == env.single_observation_space
        assert alone.reset()[0][0, 3:].tolist() == [1 - index, index]
        assert alone.mapping == ()
    assert StreamVectorEnv(env.stream, 2).stream.tasks == env.stream.tasks
    # Where something else is declared it is fitted anew, not twice.
    again = StreamVectorEnv(env.stream, 2, spaces=BOTH)
    assert again.single_observation_space.shape == (3,)


def control(**arguments: Any) -> StreamVectorEnv:
    """Worlds with batches of their own, whose visits end after 12 batch steps of two games."""
    given: dict[str, Any] = {"spaces": BOTH, "boundary": "observed", "steps_per_task": 24, "cycles": 2, "seed": 3}
    return make(CONTROL, n_envs=2, **given | arguments)


def test_a_state_continues_exactly_across_shapes() -> None:
    env = control()
    env.action_space.seed(0)
    actions = [env.action_space.sample() for _ in range(70)]
    env.reset()
    for at in range(20):
        env.step(actions[at])
    state = env.get_state()
    expected = [copied(env.step(batch)) for batch in actions[20:]]
    assert {step[4]["task"][0] for step in expected} == {task.name for task in env.stream.tasks}
    other = control()
    other.set_state(through_json(state))
    for batch, wanted in zip(actions[20:], expected, strict=True):
        observations, rewards, *_ = other.step(batch)
        np.testing.assert_array_equal(observations, wanted[0])
        np.testing.assert_array_equal(rewards, wanted[1])
    json.dumps([task.fit for task in env.stream.tasks])  # plain data


def test_a_state_of_another_mapping_is_refused() -> None:
    env = control()
    env.reset()
    listed = ["noop", "left", "right", "negative torque", "positive torque"]
    for arguments in ({"boundary": "hidden"}, {"spaces": BOTH | {"actions": listed}}):
        other = control(**arguments)
        with pytest.raises(ValueError, match=r"^a state of task 'mountain_car.*' with .* make the stream with the arg"):
            other.set_state(env.get_state())


def test_a_state_that_was_saved_before_there_were_mappings_goes_on() -> None:
    env = make("breakout", n_envs=2, seed=0)
    env.reset()
    state = env.get_state()
    assert state.pop("fit") == []
    env.step(np.zeros(2, np.int64))
    env.set_state(state)
    assert env.steps == 0


def test_variants_stay_in_their_batch_and_drift_reaches_the_world() -> None:
    env = control(cycles=1)
    env.reset()
    car: Any = env.envs[0].unwrapped
    for _ in range(11):
        env.step(np.zeros(2, np.int64))
    assert car.physics["force"] == pytest.approx(1e-3 + 4e-3 * 20 / 30)
    env.step(np.zeros(2, np.int64))
    batch = env.games
    assert batch.reset(seed=0)[0][0, 6:].tolist() == [0, 1, 0]
    for _ in range(12):
        observations, *_ = env.step(np.zeros(2, np.int64))
    assert env.games is batch
    assert (env.task[-2:], observations[0, 6:].tolist()) == ("#1", [0, 0, 1])
    env.games.configure(std=0.5)  # of the shift inside


def test_a_fitted_batch_draws_its_games() -> None:
    env = make(["breakout", "asterix"], n_envs=2, steps_per_task=4, boundary="observed", render_mode="rgb_array")
    assert env.single_observation_space == Box(0, 1, (10, 10, 12), bool)
    env.reset(seed=0)
    frames = env.render()
    assert frames is not None
    assert frames[0].shape == (320, 320, 3)
    assert len(env.mapping) == 1  # the games' own spaces are alike


def test_one_game_goes_through_shapes() -> None:
    env = gymnasium.make("envs:crl/stream-v0", what=CONTROL, steps_per_task=5, spaces=BOTH)
    observation, _ = env.reset(seed=0)
    assert observation.shape == env.observation_space.shape == (6,)
    assert env.action_space == Discrete(5)
    env.close()


# ---------------------------------------------------------------------- what actions mean


VECTOR, OTHER = np.ones(2, np.float32), np.ones(3, np.float32)
MEANT: dict[str, tuple[list[dict[str, Any]], dict[str, Any], str]] = {
    "of two lengths": (
        [{"pattern": VECTOR, "moves": 3}, {"pattern": VECTOR, "moves": 6}],
        {},
        r"^tasks 't0' and 't1' have different action spaces, Discrete\(3\) and Discrete\(6\); declare spaces: {act"
        r"ions: union}, with actions: \[noop, left, ...\] in a task's entry where its world names none, or put them",
    ),
    "of two meanings": (
        [{"pattern": VECTOR, "says": ("noop", "left")}, {"pattern": VECTOR, "says": ("noop", "up")}],
        {},
        "^tasks 't0' and 't1' mean different things by the same actions, noop, left and noop, up; declare spaces: {a",
    ),
    "of two worlds that do not say": (
        [{"pattern": VECTOR}, {"pattern": OTHER}],
        {"observations": "pad"},
        r"^tasks 't0' and 't1' are different worlds, which do not both say what their actions Discrete\(2\) mean.*"
        "declare spaces: {actions: same} if they mean the same",
    ),
    "of another kind": (
        [{"pattern": VECTOR}, {"pattern": VECTOR, "moves": Box(-1, 1, (1,))}],
        {},
        r"have different action spaces, Discrete\(2\) and Box\(.*\); put them into separate streams$",
    ),
    "of two lengths, continuous": (
        [{"pattern": VECTOR, "moves": Box(-1, 1, (1,))}, {"pattern": VECTOR, "moves": Box(-1, 1, (2,))}],
        {},
        r"have different action spaces, Box\(.*\) and Box\(.*\); declare spaces: {actions: pad}, or put them into",
    ),
    "the same, of two lengths": (
        [{"pattern": VECTOR}, {"pattern": VECTOR, "moves": 3}],
        {"actions": "same"},
        "have different action spaces",
    ),
    "the same, of two meanings": (
        [{"pattern": VECTOR, "says": ("a", "b")}, {"pattern": VECTOR, "says": ("b", "a")}],
        {"actions": "same"},
        "mean different things by the same actions, a, b and b, a",
    ),
}


@pytest.mark.parametrize("case", MEANT)
def test_what_would_change_what_an_action_means_is_refused(case: str) -> None:
    worlds, spaces, message = MEANT[case]
    tasks = [shaped(f"t{number}", **world) for number, world in enumerate(worlds)]
    with pytest.raises(ValueError, match=message):
        StreamVectorEnv(TaskStream.build(tasks, steps_per_task=4), 2, spaces=spaces)


def test_actions_that_are_declared_the_same_are() -> None:
    tasks = [shaped("a", VECTOR), shaped("b", OTHER)]
    stream = TaskStream.build(tasks, steps_per_task=4)
    assert StreamVectorEnv(stream, 2, spaces={"observations": "pad", "actions": "same"}).mapping == (
        "observations are (3,) of float32: (2,) of a, (3,) of b; padded with zeros",
    )


def test_the_entry_goes_before_the_world_and_wrappers_are_not_believed() -> None:
    """A world may be wrapped to fewer actions than it says by itself; what is then not known cannot contradict."""
    wrapped = shaped("a", VECTOR, 2, says=("noop", "left", "right"))
    for other in (shaped("b", VECTOR, 2, says=("a", "b")), wrapped):
        StreamVectorEnv(TaskStream.build([wrapped, other], steps_per_task=4), 2)
    named = replace(wrapped, actions=("x", "noop"))
    with pytest.raises(ValueError, match="mean different things by the same actions, x, noop and a, b"):
        StreamVectorEnv(TaskStream.build([named, shaped("b", VECTOR, 2, says=("a", "b"))], steps_per_task=4), 2)
    with pytest.raises(ValueError, match=r"^task 'a' names 3 actions, but has Discrete\(2\); give one name for each"):
        StreamVectorEnv(TaskStream([(replace(wrapped, actions=("a", "b", "c")), 4)]), 1)


@pytest.mark.parametrize(
    ("spaces", "message"),
    [
        ({"observation": "pad"}, "spaces takes no argument 'observation', only .*; did you mean 'observations'"),
        ({"observations": "pd"}, "spaces.observations must be one of pad, resize, got 'pd'; did you mean 'pad'"),
        ({"actions": "unio"}, "spaces.actions must be one of union, pad, same, got 'unio'; did you mean 'union'"),
        ({"actions": ["a", "A"]}, "spaces.actions must be different names"),
        ({"size": [4, 4]}, "spaces.size=.* is of images that are resized; give spaces.observations='resize'"),
        ({"observations": "resize", "size": [4]}, "spaces.size must be a height and a width, got"),
        ({"observations": "resize", "size": [4, 0]}, "spaces.size must be a whole number of at least 1, got 0"),
        ("pad", "spaces must be a mapping, got 'pad'; write"),
    ],
)
def test_refusals_of_mappings(spaces: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make("breakout", spaces=spaces)


def test_entries_say_what_actions_mean() -> None:
    assert task_from({"id": "CartPole-v1", "actions": ["Noop", "right"]}).actions == ("noop", "right")
    with pytest.raises(ValueError, match=r"actions of task 'CartPole-v1' must be a list, got 'left'; write \[noop, l"):
        task_from({"id": "CartPole-v1", "actions": "left"})


def test_games_of_envpool_s_suites_share_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grey frames of Atari's and colors of ProcGen's, whose arrows are the same and whose other keys are not."""
    install(monkeypatch)
    tasks = [{"id": "atari/pong"}, "starpilot_easy"]
    spaces = {"observations": "resize", "actions": "union"}
    env = make(tasks, n_envs=2, steps_per_task=4, seed=0, spaces=spaces, boundary="observed")
    assert env.single_observation_space == Box(0, 255, (4 + 2, 84, 84), np.uint8)
    assert env.action_meanings[:6] == ("noop", "fire", "up", "right", "left", "down")
    assert env.action_meanings[18:] == ("d", "a", "w", "s", "q", "e")
    observations, _ = env.reset()
    assert observations[:, 4:].max((2, 3)).tolist() == [[255, 0]] * 2
    env.step(np.zeros(2, np.int64))
    observations, *_ = env.step(np.zeros(2, np.int64))
    assert (env.task, observations[:, 3:].max((2, 3)).tolist()) == ("starpilot_easy", [[0, 0, 255]] * 2)
    _, rewards, *_ = env.step(np.array([4, 18]))  # of ProcGen "left" is 1, and "d" 9
    assert rewards.tolist() == [1, 9]
    minimal = [{"id": f"atari/{game}", "full_action_space": False} for game in ("pong", "qbert")]
    with pytest.raises(
        ValueError, match=r"are different worlds, which do not both say what their actions Discrete\(6\)"
    ):
        make(minimal, n_envs=1, steps_per_task=4)
    modes = [minimal[0], minimal[0] | {"mode": 1}]
    assert make(modes, n_envs=1, steps_per_task=4).action_meanings == ()
