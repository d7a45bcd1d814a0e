"""envs.make."""

from typing import Any

import numpy as np
import pytest

import envs
from envs.catalogue import STREAMS
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


def test_the_episode_limit_of_games_is_2500_where_none_is_given() -> None:
    env = envs.make(["freeway", {"id": "breakout", "episode_limit": 4}], steps_per_task=5)
    assert [task.make_env().episode_limit for task in env.stream.tasks] == [2500, 4]  # type: ignore[attr-defined]


@pytest.mark.parametrize("what", ["cartpole", "CartPole-v1", "pendulum5", ["cartpole", {"id": "cartpole"}]])
def test_an_episode_limit_that_no_game_takes_is_refused(what: Any) -> None:
    steps = {"steps_per_task": 5} if isinstance(what, list) else {}
    assert envs.make(what, **steps).num_envs == 1
    with pytest.raises(ValueError, match="episode_limit=200 is of MinAtar games, and none is played; leave it out, or"):
        envs.make(what, episode_limit=200, **steps)


def test_order_comes_from_stream_seed_or_seed_or_0() -> None:
    def order(**seeds: int) -> list[str]:
        return _tasks(envs.make("minatar3", steps_per_task=1, cycles=10, order="shuffle", **seeds))

    assert order() == order(stream_seed=0) == order(seed=0) == order(seed=5, stream_seed=0)
    assert order(seed=5) == order(stream_seed=5) != order()


def _offsets(env: envs.StreamVectorEnv) -> list[list[float]]:
    worlds = [task.make_env() for task in env.stream.tasks]
    return [world.get_wrapper_attr("offset").tolist() for world in worlds]


@pytest.mark.parametrize("task", ["cartpole", "acrobot"])
def test_cchain_streams(task: str) -> None:
    env = envs.make(f"cchain/{task}", seed=3)
    assert _tasks(env) == [f"level_{level}" for level in range(10)]
    assert [env.stream.segment(index).steps for index in range(10)] == [160_000] * 10
    offsets = _offsets(env)
    assert not any(offsets[0])
    assert len({tuple(offset) for offset in offsets}) == 10
    np.testing.assert_array_equal(
        offsets,
        np.array([entry["offset"] for entry in STREAMS[f"cchain/{task}"].entries(3)], np.float32),  # type: ignore[index]
    )


def test_offsets_come_from_stream_seed_or_seed_or_0() -> None:
    def offsets(**arguments: Any) -> list[list[float]]:
        return _offsets(envs.make("cchain/cartpole", **arguments))

    assert offsets() == offsets(seed=0) == offsets(seed=5, stream_seed=0)
    assert offsets(seed=5) == offsets(stream_seed=5) == offsets(seed=5, n_envs=8, steps_per_task=8, cycles=2)
    assert offsets(seed=5) != offsets()
    # The order has draws of its own.
    assert offsets(seed=5, order="shuffle") == offsets(seed=5, order="random") == offsets(seed=5)


def test_a_level_keeps_its_offset_through_cycles() -> None:
    env = envs.make("cchain/cartpole", seed=5, steps_per_task=1, cycles=3, order="shuffle")
    visits = [env.stream.segment(index).task for index in range(30)]
    for level in range(10):
        assert len({task for task in visits if task.name == f"level_{level}"}) == 1


def test_pendulums_differ_in_gravity_and_length() -> None:
    env = envs.make("pendulum5", n_envs=2)
    assert _tasks(env) == ["earth", "moon", "short", "mars", "long"]
    assert env.stream.total_steps == 100_000
    worlds: list[Any] = [task.make_env().unwrapped for task in env.stream.tasks]
    assert [(world.g, world.l, world.m) for world in worlds] == [
        (10.0, 1.0, 1.0),
        (1.6, 1.5, 1.0),
        (10.0, 0.7, 1.0),
        (3.7, 1.8, 1.0),
        (10.0, 1.4, 1.0),
    ]


def test_a_list_of_control_tasks() -> None:
    env = envs.make(["pendulum", {"id": "pendulum", "gravity": 5.0}], steps_per_task=10)
    assert _tasks(env) == ["pendulum", "pendulum(gravity=5.0)"]


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
        ({"what": "Breakout"}, "unknown task 'Breakout'; did you mean 'breakout'?"),
        ({"what": "cchain/cartpol"}, "unknown task 'cchain/cartpol'; did you mean 'cchain/cartpole'?"),
        ({"what": "cchain/cartpole", "stream_seed": -1}, "stream_seed must be a whole number of at least 0, got -1"),
        ({"what": ["cartpole", "acrobot"], "steps_per_task": 5}, "tasks 'cartpole' and 'acrobot' have different obs"),
        ({"what": ["breakout", "asterix"]}, "steps_per_task must be a whole number of at least 1, got None; give"),
        ({"what": []}, "tasks must name at least one task"),
        ({"what": ["breakout", "CartPole-v1"], "steps_per_task": 5}, "tasks 'breakout' and 'CartPole-v1' have diff"),
        ({"n_envs": 0}, "n_envs must be a whole number of at least 1, got 0; give"),
        ({"n_envs": True}, "n_envs must be a whole number of at least 1, got True; give"),
        ({"steps_per_task": 0.5}, "steps_per_task must be a whole number of at least 1, got 0.5; give"),
        ({"cycles": 0}, "cycles must be a whole number of at least 1, got 0; give"),
        ({"order": "radnom"}, "order must be one of sequence, shuffle, random, got 'radnom'; did you mean 'random'?"),
        (
            {"boundary": "Hidden"},
            "boundary must be one of hidden, revealed, observed, got 'Hidden'; did you mean 'hidden'?",
        ),
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


# ---------------------------------------------------------------------- variants


def test_streams_of_variants_in_one_word() -> None:
    env = envs.make("permuted_breakout", n_envs=4, seed=3)
    assert (env.stream.n_segments, env.stream.total_steps) == (5000, 5000 * 8192)
    assert (env.stream.tasks[4999].name, env.stream.tasks[4999].family) == (
        "breakout+pixel_permutation#4999",
        "breakout+pixel_permutation",
    )
    assert len({id(task.world) for task in env.stream.tasks}) == 1
    assert envs.make("pendulum_drift").stream.tasks[0].name == "pendulum~gravity"


def test_what_is_drawn_comes_from_stream_seed_or_seed_or_0() -> None:
    def drawn(**seeds: int) -> list[Any]:
        entry = {"id": "cartpole", "gravity": {"uniform": [5, 15]}, "shifts": ["pixel_permutation"], "variants": 3}
        return [
            task.arguments for task in envs.make([entry, entry | {"name": "x"}], steps_per_task=5, **seeds).stream.tasks
        ]

    assert drawn() == drawn(stream_seed=0) == drawn(seed=0) == drawn(seed=5, stream_seed=0)
    assert drawn(seed=5) == drawn(stream_seed=5)
    assert len({str(arguments) for seed in (0, 5) for arguments in drawn(seed=seed)}) == 12


def test_the_order_and_the_lengths_draw_nothing_of_the_tasks() -> None:
    entry = {"id": "breakout", "shifts": ["pixel_permutation"], "variants": 10}
    streams = [
        envs.make(entry, steps_per_task=50, seed=2, order=order, lengths=lengths).stream
        for order in ("sequence", "shuffle", "random")
        for lengths in ("fixed", "poisson", "geometric")
    ]
    assert all(stream.tasks == streams[0].tasks for stream in streams)
    orders = [[stream.segment(index).task_index for index in range(10)] for stream in streams]
    lengths = [[stream.segment(index).steps for index in range(10)] for stream in streams]
    assert [len({str(orders[place]) for place in places}) for places in ((0, 1, 2), (3, 4, 5), (0, 3, 6))] == [1, 1, 3]
    assert [len({str(lengths[place]) for place in places}) for places in ((0, 3, 6), (1, 4, 7), (0, 1, 2))] == [1, 1, 3]


def test_an_episode_limit_reaches_all_variants() -> None:
    env = envs.make({"id": "breakout", "variants": 3}, episode_limit=7, steps_per_task=5)
    assert [task.make_env().episode_limit for task in env.stream.tasks] == [7] * 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (
            {"id": "breakout", "variants": 2},
            "steps_per_task must be a whole number of at least 1, got None; give the steps",
        ),
        (
            [{"id": "breakout", "name": "x"}, {"id": "asterix", "name": "x"}],
            "two different tasks are named 'x'; give each",
        ),
        (
            ["breakout", {"id": "cartpole", "name": "breakout"}],
            "two different tasks are named 'breakout'; give each its own",
        ),
        (
            [{"id": "cartpole"}, {"id": "cartpole", "shifts": ["reward_sgn"]}],
            "unknown shift 'reward_sgn' of task 'cartpole'",
        ),
        (
            [{"id": "CartPole-v1"}, {"id": "CartPole-v1", "shifts": ["pixel_permutation"], "variants": 2}],
            "tasks 'CartPole-v1' and 'CartPole-v1+pixel_permutation#0' have different observation spaces, Box(",
        ),
    ],
)
def test_refusals_of_entries(what: Any, message: str) -> None:
    arguments = {} if isinstance(what, dict) else {"steps_per_task": 5}
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the message is compared below)
        envs.make(what, **arguments)
    assert str(refusal.value).startswith(message)
