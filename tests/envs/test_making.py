"""envs.make."""

import numpy as np
import pytest

import envs
from envs.minatar import MinAtarEnv


def _tasks(env: envs.StreamVectorEnv) -> list[str]:
    return [env.stream.segment(index).task.name for index in range(env.stream.n_segments)]


def test_stream_has_the_catalogue_s_defaults() -> None:
    env = envs.make("minatar3", n_envs=2)
    assert _tasks(env) == ["space_invaders", "asterix", "seaquest"]
    assert [env.stream.segment(index).steps for index in range(3)] == [500_000] * 3
    assert (env.num_envs, env.boundary) == (2, "hidden")


def test_stream_with_arguments() -> None:
    env = envs.make("minatar5", n_envs=4, steps_per_task=10, cycles=2, boundary="revealed", round_to=20)
    assert _tasks(env) == ["space_invaders", "asterix", "seaquest", "breakout", "freeway"] * 2
    assert env.stream.total_steps == 200
    assert env.boundary == "revealed"


@pytest.mark.parametrize("what", ["breakout", "CartPole-v1", {"id": "Pendulum-v1", "g": 5.0}, ["breakout"]])
def test_a_single_task_is_one_segment_without_end(what: object) -> None:
    env = envs.make(what)  # type: ignore[arg-type]
    assert (env.stream.n_segments, env.stream.total_steps, env.num_envs) == (1, None, 1)


def test_a_single_task_with_steps() -> None:
    env = envs.make("breakout", n_envs=4, steps_per_task=10)
    assert (env.stream.total_steps, env.requested_stream.total_steps) == (12, 10)


def test_list_of_tasks() -> None:
    env = envs.make(["freeway", {"id": "breakout", "episode_limit": 4}], steps_per_task=5, episode_limit=7)
    assert _tasks(env) == ["freeway", "breakout(episode_limit=4)"]
    limits = [task.make_env().episode_limit for task in env.stream.tasks]  # type: ignore[attr-defined]
    assert limits == [7, 4]


def test_order_comes_from_stream_seed_or_seed_or_0() -> None:
    def order(**seeds: int) -> list[str]:
        return _tasks(envs.make("minatar3", steps_per_task=1, cycles=10, order="shuffle", **seeds))

    assert order() == order(stream_seed=0) == order(seed=0) == order(seed=5, stream_seed=0)
    assert order(seed=5) == order(stream_seed=5) != order()


def test_seed_reaches_the_games() -> None:
    env = envs.make("breakout", n_envs=3, seed=8)
    observations, _ = env.reset()
    for game in range(3):
        expected, _ = MinAtarEnv("breakout").reset(seed=8 + game)
        np.testing.assert_array_equal(observations[game], expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"what": "minatr3"}, "unknown task 'minatr3'; did you mean 'minatar3'?"),
        ({"what": ["breakout", "asterix"]}, "steps_per_task must be a whole number of at least 1, got None; give"),
        ({"what": []}, "tasks must name at least one task"),
        ({"what": ["breakout", "CartPole-v1"], "steps_per_task": 5}, "tasks 'breakout' and 'CartPole-v1' have diff"),
        ({"n_envs": 0}, "n_envs must be a whole number of at least 1, got 0; give"),
        ({"n_envs": True}, "n_envs must be a whole number of at least 1, got True; give"),
        ({"steps_per_task": 0.5}, "steps_per_task must be a whole number of at least 1, got 0.5; give"),
        ({"cycles": 0}, "cycles must be a whole number of at least 1, got 0; give"),
        ({"order": "radnom"}, "order must be one of sequence, shuffle, random, got 'radnom'; did you mean 'random'?"),
        ({"boundary": "Hidden"}, "boundary must be one of hidden, revealed, got 'Hidden'; did you mean 'hidden'?"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1; give"),
        ({"seed": 2**32}, "seed must be at most 4,294,967,292 with 4 games, got 4294967296; give a smaller one"),
        ({"stream_seed": 1.0}, "stream_seed must be a whole number of at least 0, got 1.0; give"),
        ({"episode_limit": 0}, "episode_limit must be a whole number of at least 1, got 0; give"),
        ({"round_to": 6}, "round_to must be a multiple of n_envs=4, got 6; give a multiple"),
        ({"round_to": False}, "round_to must be a whole number of at least 1, got False; give a multiple"),
    ],
)
def test_refusals(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the message is compared below)
        envs.make(**({"what": "minatar3", "n_envs": 4} | arguments))  # type: ignore[arg-type]
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)
