"""The batch that switches task."""

from collections.abc import Callable
from typing import Any

import gymnasium
import minatar.gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import TimeLimit
from shifted import Rewarding
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor
from staying import stay

from envs.catalogue import GAMES
from envs.entries import task_from
from envs.infos import info_of
from envs.making import make
from envs.stream import TaskStream
from envs.task import Task
from envs.vector import StreamVectorEnv

KEYS = ("task", "task_index", "segment", "task_switched")


class PadChannels(gymnasium.ObservationWrapper):
    """minatar's own environment with its channels padded to ten."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.observation_space = gymnasium.spaces.Box(0, 1, (10, 10, 10), np.bool_)

    def observation(self, observation: Any) -> Any:
        return np.pad(observation, ((0, 0), (0, 0), (0, 10 - observation.shape[2])))


@pytest.mark.parametrize("game", GAMES)
def test_same_as_sb3_over_minatar(game: str) -> None:
    """Training in a stream's first task equals training in SB3's DummyVecEnv of minatar's own environments."""
    limit = 20
    theirs = DummyVecEnv([lambda: TimeLimit(PadChannels(minatar.gym.BaseEnv(game)), limit)] * 4)
    theirs.seed(21)
    ours = StreamVectorEnv(TaskStream.build([task_from(game, limit)], steps_per_task=None), 4, seed=21)
    observations, _ = ours.reset()
    np.testing.assert_array_equal(observations, theirs.reset())
    n_truncated = 0
    for actions in np.random.default_rng(4).integers(6, size=(300, 4)):
        observations, rewards, terminations, truncations, info = ours.step(actions)
        expected, expected_rewards, dones, infos = theirs.step(actions)
        np.testing.assert_array_equal(observations, expected)
        np.testing.assert_array_equal(rewards, expected_rewards)
        np.testing.assert_array_equal(terminations | truncations, dones)
        assert truncations.tolist() == [info["TimeLimit.truncated"] for info in infos]
        for i in np.flatnonzero(dones):
            np.testing.assert_array_equal(info["final_obs"][i], infos[i]["terminal_observation"])
        n_truncated += truncations.sum()
    assert n_truncated > 0


def test_spaces_and_metadata(counting: Callable[..., Task]) -> None:
    env = StreamVectorEnv(TaskStream([(counting("a", 1), 5)]), 3)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert (env.num_envs, env.render_mode, env.single_action_space) == (3, None, gymnasium.spaces.Discrete(2))
    assert env.single_observation_space.shape == (3,)
    assert env.observation_space.shape == (3, 3)
    assert env.action_space == gymnasium.spaces.MultiDiscrete([2, 2, 2])
    assert repr(env) == "StreamVectorEnv(TaskStream(a 6; 1 segment, 6 steps), n_envs=3)"


def test_a_task_that_cannot_be_made_again_is_named(counting: Callable[..., Task]) -> None:
    made: list[gymnasium.Env] = []

    def once() -> gymnasium.Env:
        if made:
            raise OSError("the port is taken")
        made.append(counting("a", 1).make_env())
        return made[0]

    stream = TaskStream([(Task("single", once), 5)])
    with pytest.raises(ValueError, match=r"^task 'single' cannot be made \(OSError: the port is taken\); check its"):
        StreamVectorEnv(stream, 2)


@pytest.mark.parametrize(
    ("budget", "n_envs", "round_to", "played"),
    [(12, 4, None, 12), (13, 4, None, 16), (1, 4, None, 4), (13, 4, 12, 24), (24, 4, 12, 24), (7, 1, None, 7)],
)
def test_switches_at_the_rounded_budget(
    counting: Callable[..., Task], budget: int, n_envs: int, round_to: int | None, played: int
) -> None:
    stream = TaskStream([(counting("a", 1), budget), (counting("b", 2), 100)])
    env = StreamVectorEnv(stream, n_envs, round_to=round_to)
    env.reset(seed=0)
    while env.task == "a":
        *_, info = env.step(stay(env))
    assert env.steps == played == env.stream.segment(1).start
    assert info["task_switched"].all()
    assert (env.requested_stream.total_steps, env.segment.index) == (budget + 100, 1)


def test_rounding_is_described(counting: Callable[..., Task]) -> None:
    stream = TaskStream([(counting("a", 1), 1000), (counting("b", 2), 1200)])
    assert StreamVectorEnv(stream, 8, round_to=400).rounding == (
        "segments are rounded up to multiples of 400 steps: 2,400 steps in all instead of 2,200, "
        "the first segment 1,200 instead of 1,000"
    )
    assert StreamVectorEnv(stream, 500, round_to=1000).rounding == (  # the first segment is as long as it was
        "segments are rounded up to multiples of 1,000 steps: 3,000 steps in all instead of 2,200"
    )
    assert StreamVectorEnv(stream, 8).rounding is None
    assert StreamVectorEnv(TaskStream([(counting("a", 1), None)]), 8, round_to=400).rounding is None


def test_info_says_where_the_stream_stands(counting: Callable[..., Task]) -> None:
    a, b = counting("a", 1), counting("b", 2)
    env = StreamVectorEnv(TaskStream([(a, 4), (b, 4), (a, 4)]), 2)
    _, info = env.reset(seed=0)
    seen = [tuple(info[key].tolist() for key in KEYS)]
    for _ in range(6):
        *_, info = env.step(stay(env))
        assert all(info[f"_{key}"].tolist() == [True, True] for key in KEYS)
        seen.append(tuple(info[key].tolist() for key in KEYS))
    assert seen == [
        (["a"] * 2, [0] * 2, [0] * 2, [False] * 2),
        (["a"] * 2, [0] * 2, [0] * 2, [False] * 2),
        (["b"] * 2, [1] * 2, [1] * 2, [True] * 2),
        (["b"] * 2, [1] * 2, [1] * 2, [False] * 2),
        (["a"] * 2, [0] * 2, [2] * 2, [True] * 2),
        (["a"] * 2, [0] * 2, [2] * 2, [False] * 2),
        (["a"] * 2, [0] * 2, [2] * 2, [False] * 2),
    ]
    with pytest.raises(ValueError, match="read-only"):
        info["segment"][0] = 9


def test_a_switch_truncates_and_shows_both_tasks(counting: Callable[..., Task]) -> None:
    env = StreamVectorEnv(TaskStream([(counting("a", 1), 6), (counting("b", 2), 6)]), 2)
    env.reset(seed=30)
    actions = np.array([0, 1])
    for _ in range(2):
        env.step(actions)
    observations, rewards, terminations, truncations, info = env.step(actions)
    seeds = np.random.SeedSequence((30, 1)).generate_state(2)
    assert observations.tolist() == [[2, seeds[0], 0], [2, seeds[1], 0]]
    assert rewards.tolist() == [1, 1]
    assert (terminations.tolist(), truncations.tolist()) == ([False, False], [True, True])
    assert [row.tolist() for row in info["final_obs"]] == [[1, 30, 3], [1, 31, 3]]
    assert info["_final_obs"].tolist() == info["_final_info"].tolist() == [True, True]
    final = info["final_info"]
    assert [final[key].tolist() for key in KEYS] == [["a", "a"], [0, 0], [0, 0], [True, True]]
    assert final["cut_by_switch"].tolist() == [True, True]
    # What the games said in their last step has moved there too, and the new games speak at the top.
    assert (final["count"].tolist(), final["action"].tolist()) == ([3, 3], [0, 1])
    assert (final["even"].dtype, final["nested"]["offset"].tolist()) == (np.bool_, [1, 1])
    assert "count" not in info
    assert info["begun"].tolist() == [True, True]
    for key in (*KEYS, "cut_by_switch", "count"):
        assert final[f"_{key}"].tolist() == [True, True]


def test_games_that_a_switch_cuts_may_say_other_things_than_those_that_end() -> None:
    class Saying(Rewarding):
        def step(self, action: int) -> Any:
            observation, reward, _, truncated, _ = super().step(action)
            return observation, reward, action == 1, truncated, {"value": ({"k": 1}, 0.75, None)[action]}

    tasks = [Task(name, Saying) for name in "ab"]
    env = StreamVectorEnv(TaskStream([(tasks[0], 3), (tasks[1], 3)]), 3)
    env.reset(seed=0)
    *_, info = env.step(np.array([0, 1, 2]))
    assert [info_of(info["final_info"], game)["value"] for game in range(3)] == [{"k": 1}, 0.75, None]
    assert info["final_info"]["cut_by_switch"].tolist() == [True, False, True]


def test_stable_baselines_is_told_what_it_takes_for_a_stream(counting: Callable[..., Task]) -> None:
    env = StreamVectorEnv(TaskStream([(counting("a", 1), None)]), 2)
    adapter = r"agents\.StreamMonitor\(agents\.VectorEnvAdapter\(stream\)\)"
    with pytest.raises(ValueError, match=rf"StreamVectorEnv'> \(Stable-Baselines3 takes {adapter}\), not a Gymnasium"):
        DummyVecEnv([lambda: env])  # type: ignore[list-item, return-value]
    with pytest.raises(TypeError, match=rf"is no VecEnv of Stable-Baselines3; give {adapter}"):
        VecMonitor(env)  # type: ignore[arg-type]


def test_an_episode_that_ends_in_the_switching_step_is_not_cut(counting: Callable[..., Task]) -> None:
    env = StreamVectorEnv(TaskStream([(counting("a", 1, 3, 5), 12), (counting("b", 2), 12)]), 4)
    env.reset(seed=3)
    lengths = [game.length for game in env.envs]  # type: ignore[attr-defined]
    assert set(lengths) == {3, 5}
    for _ in range(2):
        env.step(stay(env))
    _, _, terminations, truncations, info = env.step(stay(env))
    natural = [length == 3 for length in lengths]
    cut = [length == 5 for length in lengths]
    assert (terminations.tolist(), truncations.tolist()) == (natural, cut)
    assert info["final_info"]["cut_by_switch"].tolist() == cut
    assert info["final_info"]["task_switched"].all()
    assert info["final_info"]["count"].tolist() == [3] * 4
    assert [row.tolist() for row in info["final_obs"]] == [[1, 3 + game, 3] for game in range(4)]


def test_a_truncation_in_the_switching_step_is_not_cut() -> None:
    env = StreamVectorEnv(TaskStream([(task_from("freeway", 3), 6), (task_from("seaquest"), 6)]), 2)
    env.reset(seed=0)
    for _ in range(2):
        env.step(stay(env))
    _, _, terminations, truncations, info = env.step(stay(env))
    assert (terminations.any(), truncations.all()) == (False, True)
    assert info["final_info"]["cut_by_switch"].tolist() == [False, False]


def test_episodes_that_end_inside_a_segment(counting: Callable[..., Task]) -> None:
    env = StreamVectorEnv(TaskStream([(counting("a", 1, 2, 4), 100)]), 4)
    env.reset(seed=3)
    ends = [game.length == 2 for game in env.envs]  # type: ignore[attr-defined]
    assert set(ends) == {True, False}
    env.step(stay(env))
    observations, _, terminations, truncations, info = env.step(stay(env))
    assert (terminations.tolist(), truncations.any()) == (ends, False)
    final = info["final_info"]
    for key in (*KEYS, "cut_by_switch", "count"):
        assert final[f"_{key}"].tolist() == ends
    assert final["task"][ends.index(True)] == "a"
    assert not final["task_switched"].any()
    assert not final["cut_by_switch"].any()
    assert [row is not None for row in info["final_obs"]] == ends
    assert observations[:, 2].tolist() == [0 if ended else 2 for ended in ends]


def test_stays_in_the_last_task(counting: Callable[..., Task]) -> None:
    env = StreamVectorEnv(TaskStream([(counting("a", 1), 4), (counting("b", 2), 4)]), 2)
    env.reset(seed=0)
    env.step(stay(env))
    env.step(stay(env))
    for step in range(5):
        observations, _, terminations, truncations, info = env.step(stay(env))
        assert not (terminations | truncations).any()
        assert observations[:, 2].tolist() == [step + 1, step + 1]
        assert (info["task"][0], info["task_switched"][0]) == ("b", False)
    assert (env.steps, env.segment.index) == (14, 1)


def test_old_games_are_closed(counting: Callable[..., Task]) -> None:
    a, b = counting("a", 1), counting("b", 2)
    env = StreamVectorEnv(TaskStream([(a, 4), (b, 4)]), 2)
    env.reset(seed=0)
    env.step(stay(env))
    assert [game.closed for game in a.world.made] == [True, False, False]  # type: ignore[attr-defined]
    env.step(stay(env))
    assert [game.closed for game in a.world.made] == [True, True, True]  # type: ignore[attr-defined]
    assert [game.closed for game in b.world.made] == [True, False, False]  # type: ignore[attr-defined]
    env.close()
    assert [game.closed for game in b.world.made] == [True, True, True]  # type: ignore[attr-defined]


def test_a_reset_comes_first(counting: Callable[..., Task]) -> None:
    env = StreamVectorEnv(TaskStream([(counting("a", 1), 10)]), 2, seed=0)
    with pytest.raises(ResetNeeded, match="call reset first"):
        env.step(stay(env))
    with pytest.raises(ResetNeeded, match="call reset first"):
        env.get_state()


def test_refusals(counting: Callable[..., Task]) -> None:
    stream = TaskStream([(counting("a", 1), 10)])
    with pytest.raises(
        ValueError, match="boundary must be one of hidden, revealed, observed, got 'reveald'; did you mean"
    ):
        StreamVectorEnv(stream, 2, boundary="reveald")
    with pytest.raises(ValueError, match="round_to must be a multiple of n_envs=2, got 5; give"):
        StreamVectorEnv(stream, 2, round_to=5)
    env = StreamVectorEnv(stream, 2)
    with pytest.raises(ValueError, match=r"seed must be a whole number of at least 0, got \[1, 2\]; give one number"):
        env.reset(seed=[1, 2])  # type: ignore[arg-type]


def test_only_episodes_that_end_by_themselves_report_their_return() -> None:
    """Eight carts are pushed to the right until the segment ends; in that step some poles fall and some do not."""
    env = make("cchain/cartpole", n_envs=8, seed=0, steps_per_task=8 * 29)
    env.reset()
    lengths = np.zeros(8, int)
    n_ended = 0
    for _ in range(29):
        _, rewards, terminations, truncations, info = env.step(np.ones(8, np.int64))
        np.testing.assert_array_equal(rewards, np.full(8, 1 / 20))
        lengths += 1
        own = terminations
        if own.any():
            final = info["final_info"]
            np.testing.assert_array_equal(final["_unscaled_return"], own)
            np.testing.assert_array_equal(final["unscaled_return"][own], lengths[own])
        n_ended += own.sum()
        lengths[own] = 0
    assert info["task_switched"].all()
    assert n_ended >= 16
    np.testing.assert_array_equal(truncations, ~own)
    np.testing.assert_array_equal(info["final_info"]["cut_by_switch"], ~own)
    assert 0 < own.sum() < 8


def test_the_limit_of_a_cchain_episode_is_a_truncation() -> None:
    env = make("cchain/acrobot", n_envs=2, seed=0)
    env.reset()
    for _ in range(400):
        _, _, terminations, truncations, info = env.step(np.array([1, 1]))
        assert not terminations.any()
    assert truncations.all()
    assert not info["final_info"]["cut_by_switch"].any()
    assert info["final_info"]["unscaled_return"].tolist() == [-400.0, -400.0]
