"""One MinAtar game against the minatar package."""

import json
from typing import Any

import gymnasium
import minatar
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env

from envs.catalogue import GAMES
from envs.minatar import MinAtarEnv, MinAtarGames
from envs.minatar.picture import picture

CHANNELS = {"asterix": 4, "breakout": 4, "freeway": 7, "seaquest": 10, "space_invaders": 6}


def _play(env: MinAtarEnv, actions: np.ndarray) -> list[tuple[Any, ...]]:
    """Everything seen while playing, beginning a new episode where one ends."""
    seen = []
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            observation, _ = env.reset()
        seen.append((observation.tobytes(), reward, terminated, truncated))
    return seen


@pytest.mark.parametrize("game", GAMES)
def test_same_as_minatar(game: str) -> None:
    ours, theirs = MinAtarEnv(game), minatar.Environment(game)
    theirs.seed(7)
    theirs.reset()
    observation, info = ours.reset(seed=7)
    assert info == {}
    n_episodes = 0
    for action in np.random.default_rng(0).integers(6, size=400):
        n_channels = CHANNELS[game]
        np.testing.assert_array_equal(observation[:, :, :n_channels], theirs.state())
        assert not observation[:, :, n_channels:].any()
        assert observation.dtype == np.bool_
        expected_reward, expected_end = theirs.act(action)
        observation, reward, terminated, truncated, info = ours.step(action)
        assert (reward, terminated, truncated, info) == (expected_reward, expected_end, False, {})
        assert (type(reward), type(terminated), type(truncated)) == (float, bool, bool)
        if terminated:
            np.testing.assert_array_equal(observation[:, :, :n_channels], theirs.state())
            n_episodes += 1
            theirs.reset()
            observation, _ = ours.reset()
    assert n_episodes > 0 or game == "freeway"


@pytest.mark.parametrize("game", GAMES)
def test_check_env(game: str) -> None:
    check_env(MinAtarEnv(game), skip_render_check=True)  # which would make the env again by its id


def test_render() -> None:
    env = MinAtarEnv("asterix", render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    for action in (1, 2, 3):
        np.testing.assert_array_equal(env.render(), picture(observation))
        observation, *_ = env.step(action)
    silent = MinAtarEnv("asterix")
    silent.reset()
    assert silent.render() is None


@pytest.mark.parametrize("render_mode", ["rgb_array", None])
def test_there_is_nothing_to_render_before_the_first_episode(render_mode: str | None) -> None:
    for make in (MinAtarEnv, lambda game, **kwargs: MinAtarGames(game, 2, **kwargs)):
        played, env = make("asterix", render_mode=render_mode), make("asterix", render_mode=render_mode)
        with pytest.raises(ResetNeeded, match=r"^MinAtar.*\.render was called before reset; call reset first$"):
            env.render()
        played.reset(seed=0)
        env.set_state(played.get_state())
        np.testing.assert_equal(env.render(), played.render())


def test_stickiness_and_ramping_are_the_packages() -> None:
    ours = MinAtarEnv("asterix", sticky_prob=0.7, ramping=False)
    theirs = minatar.Environment("asterix", sticky_action_prob=0.7, difficulty_ramping=False)
    theirs.seed(2)
    theirs.reset()
    ours.reset(seed=2)
    for action in np.random.default_rng(0).integers(1, 5, size=400):
        observation, reward, terminated, *_ = ours.step(action)
        assert (reward, terminated) == theirs.act(action)
        np.testing.assert_array_equal(observation[:, :, :4], theirs.state())
        if terminated:
            theirs.reset()
            ours.reset()
        assert ours.get_state()["variables"]["ramp_index"] == 0


def test_configure() -> None:
    env = MinAtarEnv("freeway", sticky_prob=0)
    env.reset(seed=0)
    env.configure(episode_limit=2)
    assert [env.step(3)[3] for _ in range(2)] == [False, True]
    env.configure(sticky_prob=1.0)
    env.step(2)
    assert env.get_state()["last_action"] == 3
    assert env.get_state()["parameters"] == {"episode_limit": 2, "sticky_prob": 1.0, "ramping": True}
    other = MinAtarEnv("freeway")
    other.set_state(env.get_state())
    assert other.episode_limit == 2
    known = "only sticky_prob, ramping, episode_limit"
    with pytest.raises(ValueError, match=f"a MinAtar game cannot change 'limit' while it is played, {known}"):
        env.configure(limit=3)


def test_spaces_are_the_same_for_all_games() -> None:
    for game in GAMES:
        env = MinAtarEnv(game)
        assert env.observation_space == gymnasium.spaces.Box(0, 1, (10, 10, 10), np.bool_)
        assert env.action_space == gymnasium.spaces.Discrete(6)


def test_observations_are_not_reused() -> None:
    env = MinAtarEnv("seaquest")
    first, _ = env.reset(seed=0)
    kept = first.copy()
    for _ in range(5):
        env.step(4)
    np.testing.assert_array_equal(first, kept)


def test_episode_limit_truncates() -> None:
    env = MinAtarEnv("freeway", episode_limit=3)
    for _ in range(2):
        env.reset(seed=0)
        assert [env.step(0)[2:4] for _ in range(3)] == [(False, False), (False, False), (False, True)]


def test_an_end_at_the_limit_is_a_termination() -> None:
    env = MinAtarEnv("breakout")
    env.reset(seed=0)
    length = 1
    while not env.step(0)[2]:
        length += 1
    env = MinAtarEnv("breakout", episode_limit=length)
    env.reset(seed=0)
    flags = [env.step(0)[2:4] for _ in range(length)]
    assert flags == [(False, False)] * (length - 1) + [(True, False)]


def test_sticky_action_outlives_an_episode_but_not_a_seed() -> None:
    env = MinAtarEnv("seaquest")
    env.reset(seed=0)
    for _ in range(20):
        env.step(4)
    assert env.get_state()["last_action"] == 4
    env.reset()
    assert env.get_state()["last_action"] == 4
    env.reset(seed=0)
    assert env.get_state()["last_action"] == 0


def test_a_seed_alone_decides() -> None:
    actions = np.random.default_rng(3).integers(6, size=200)
    fresh, used = MinAtarEnv("space_invaders"), MinAtarEnv("space_invaders")
    used.reset(seed=9)
    _play(used, actions)
    fresh.reset(seed=5)
    used.reset(seed=5)
    assert _play(fresh, actions) == _play(used, actions)


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize("seed", [11, None])
def test_state_is_complete(game: str, seed: int | None) -> None:
    """A state taken anywhere, in an env that may never have been seeded, decides all that follows."""
    rng = np.random.default_rng(1)
    env = MinAtarEnv(game, episode_limit=90)
    env.reset(seed=seed)
    for _ in range(3):
        _play(env, rng.integers(6, size=47))
        state = env.get_state()
        actions = rng.integers(6, size=150)
        other = MinAtarEnv(game, episode_limit=90)
        other.set_state(state)
        expected = _play(env, actions)
        assert _play(other, actions) == expected
        env.set_state(state)  # the state did not change while the game went on from it
        assert _play(env, actions) == expected
        assert env.np_random.random() == other.np_random.random()
        assert env.np_random_seed == other.np_random_seed


@pytest.mark.parametrize("game", GAMES)
def test_state_is_arrays_and_json(game: str) -> None:
    env = MinAtarEnv(game)
    env.reset(seed=0)
    _play(env, np.random.default_rng(2).integers(6, size=120))
    arrays = []

    def keep(value: object) -> str:
        assert isinstance(value, np.ndarray), value
        assert value.dtype != object
        arrays.append(value)
        return "array"

    state = env.get_state()
    json.dumps(state, default=keep)
    assert any(array.shape == (624,) for array in arrays)  # the generator's
    assert state["elapsed"] <= 120


def test_state_of_another_game_is_refused() -> None:
    state = MinAtarEnv("breakout").get_state()
    with pytest.raises(ValueError, match="state of 'breakout' cannot be set on 'asterix'"):
        MinAtarEnv("asterix").set_state(state)


def test_refusals() -> None:
    with pytest.raises(ValueError, match=r"game must be one of .*, got 'brekout'; did you mean 'breakout'"):
        MinAtarEnv("brekout")
    with pytest.raises(ValueError, match="render_mode must be None or one of rgb_array, got 'human'"):
        MinAtarEnv("breakout", render_mode="human")
    for limit in (0, True, 2.5):
        with pytest.raises(ValueError, match="episode_limit must be a whole number of at least 1, got"):
            MinAtarEnv("breakout", episode_limit=limit)  # type: ignore[arg-type]
