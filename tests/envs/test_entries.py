"""Entries with variants, draws, shifts, drift, names and steps."""

from __future__ import annotations

import sys
import time
import tracemalloc
from typing import Any

import gymnasium
import numpy as np
import pytest
from shifted import Rewarding

from envs.catalogue import is_draw
from envs.entries import task_from, tasks_from
from envs.making import make

GRAVITY = {"kind": "linear", "start": 10, "end": 2, "steps": 100}


class Plain(Rewarding):
    """Takes arguments of any kind."""

    def __init__(self, goal: Any = None, **others: Any) -> None:
        self.goal = goal


class Changing(Plain):
    def configure(self, goal: float) -> None:
        self.goal = goal


@pytest.fixture(autouse=True)
def users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers ``Plain-v0`` and ``Changing-v0``."""
    for world in (Plain, Changing):
        id = f"{world.__name__}-v0"
        monkeypatch.setitem(gymnasium.registry, id, gymnasium.envs.registration.EnvSpec(id, entry_point=world))


# ---------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ({"id": "breakout", "shifts": ["reward_sign"]}, ["breakout+reward_sign"]),
        (
            {"id": "breakout", "episode_limit": 4, "shifts": [{"name": "reward_scale", "scale": 0.5}, "reward_sign"]},
            ["breakout(episode_limit=4)+reward_scale(scale=0.5)+reward_sign"],
        ),
        (
            {
                "id": "cartpole",
                "shifts": [{"name": "observation_noise", "std": 0.1}],
                "drift": {"gravity": GRAVITY, "observation_noise.std": GRAVITY},
            },
            ["cartpole+observation_noise(std=0.1)~gravity~observation_noise.std"],
        ),
        (
            {"id": "cartpole", "gravity": {"uniform": [1, 2]}, "length": 2, "variants": 2},
            ["cartpole(gravity=*, length=2)#0", "cartpole(gravity=*, length=2)#1"],
        ),
        (
            {"id": "breakout", "shifts": [{"name": "reward_scale", "scale": {"choice": [1, 2]}}], "variants": 1},
            ["breakout+reward_scale(scale=*)#0"],
        ),
        (
            {"id": "breakout", "shifts": ["pixel_permutation"], "variants": 2},
            ["breakout+pixel_permutation#0", "breakout+pixel_permutation#1"],
        ),
        ({"id": "breakout", "name": "mine"}, ["mine"]),
        ({"id": "breakout", "name": "mine", "variants": 2}, ["mine#0", "mine#1"]),
        ({"id": "cartpole", "offset": np.arange(4.0)}, ["cartpole(offset=[0.0, 1.0, 2.0, 3.0])"]),
        ({"id": "Plain-v0", "goal": (1, 2), "a": "x"}, ["Plain-v0(a='x', goal=[1, 2])"]),
        (
            {"id": "Plain-v0", "shifts": [{"name": "action_permutation", "permutation": (2, 0, 1)}]},
            ["Plain-v0+action_permutation(permutation=[2, 0, 1])"],
        ),
    ],
)  # fmt: skip
def test_names(entry: dict[str, Any], names: list[str]) -> None:
    tasks, _ = tasks_from(entry)
    assert [task.name for task in tasks] == names
    label = names[0].rpartition("#")[0] if "variants" in entry else None
    assert {(task.variant_of, task.family) for task in tasks} == {(label, label or names[0])}


def test_what_is_drawn_for_one_task_is_in_its_name() -> None:
    entry = {"id": "cartpole", "gravity": {"uniform": [1, 2]}, "shifts": ["pixel_permutation"]}
    task = task_from(entry)
    gravity, seed = task.world.arguments["gravity"], dict(task.shifts[0][1])["seed"]  # type: ignore[attr-defined]
    assert task.name == f"cartpole(gravity={gravity!r})+pixel_permutation(seed={seed})"
    tasks = make([entry, entry], steps_per_task=5).stream.tasks  # two tasks, as each has draws of its own
    assert len({task.name for task in tasks}) == 2


# ---------------------------------------------------------------------- draws


def drawn(draw: object, n_variants: int = 400, **arguments: int) -> list[Any]:
    tasks, _ = tasks_from({"id": "Plain-v0", "goal": draw, "variants": n_variants}, **arguments)
    return [task.world.arguments["goal"] for task in tasks]  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["uniform", "log_uniform"])
def test_numbers_between_two(kind: str) -> None:
    found = drawn({kind: [0.02, 2]})
    assert all(type(number) is float for number in found)
    assert len(set(found)) == 400
    assert 0.02 <= min(found) < 0.06
    assert 1.8 < max(found) <= 2
    middle = {"uniform": 1.01, "log_uniform": 0.2}[kind]  # a half is below it: 200 with a deviation of 10
    assert 160 < sum(number < middle for number in found) < 240


def test_normal_numbers() -> None:
    found = drawn({"normal": [5, 2]})
    assert abs(np.mean(found) - 5) < 0.4  # standard error 2 / sqrt(400) = 0.1
    assert abs(np.std(found) - 2) < 0.3
    assert set(drawn({"normal": [5, 0]}, 3)) == {5.0}


def test_whole_numbers_and_choices() -> None:
    found = drawn({"integers": [-1, 3]})
    assert all(type(number) is int for number in found)
    assert set(found) == {-1, 0, 1, 2, 3}
    found = drawn({"choice": ["a", None, [1, 2]]})
    assert {str(value) for value in found} == {"a", "None", "[1, 2]"}
    assert set(drawn({"uniform": [3, 3]}, 3)) == {3.0}


@pytest.mark.parametrize(
    "draw", [{"uniform": [0, 1]}, {"log_uniform": [1, 2]}, {"normal": [0, 1]}, {"integers": [0, 10**6]}]
)
def test_as_many_numbers_as_asked_for(draw: dict[str, Any]) -> None:
    first, second = drawn(draw | {"size": 3}, 2)
    assert len({*first, *second}) == 6
    assert len(drawn({"choice": [1, 2], "size": 4}, 1)[0]) == 4


def test_seed_place_and_variant_decide_the_draws() -> None:
    draw = {"uniform": [0, 1]}
    assert drawn(draw, 5) == drawn(draw, 5, seed=0, place=0)
    assert drawn(draw, 9)[:5] == drawn(draw, 5)  # the number of variants decides nothing
    numbers = [number for seed, place in ((0, 0), (0, 1), (1, 0)) for number in drawn(draw, 5, seed=seed, place=place)]
    assert len(set(numbers)) == 15


def test_shifts_are_drawn_too() -> None:
    shifts = [
        "pixel_permutation",
        {"name": "reward_scale", "scale": {"log_uniform": [0.1, 10]}},
        {"name": "sticky_actions", "probability": 0.25},
        {"name": "action_permutation", "permutation": [1, 0, 2, 3, 4, 5]},
    ]
    tasks, _ = tasks_from({"id": "breakout", "shifts": shifts, "variants": 50})
    assert [name for name, _ in tasks[0].shifts] == [
        "pixel_permutation", "reward_scale", "sticky_actions", "action_permutation",
    ]  # fmt: skip
    given = [[dict(arguments) for _, arguments in task.shifts] for task in tasks]
    assert len({one[0]["seed"] for one in given}) == len({one[1]["scale"] for one in given}) == 50
    assert all(0 <= one[0]["seed"] < 2**32 and 0.1 <= one[1]["scale"] <= 10 for one in given)
    # What is given is not drawn, nor the seed where the permutation itself is given.
    assert all(one[2:] == [{"probability": 0.25}, {"permutation": [1, 0, 2, 3, 4, 5]}] for one in given)
    assert all(task.plays_as(tasks[0]) for task in tasks)


def test_draws_are_told_from_other_mappings() -> None:
    assert is_draw({"uniform": [0, 1]})
    assert is_draw({"size": 2, "choice": [1]})
    for value in ({}, {"size": 2}, {"uniform": 1, "normal": 2}, {"unifrm": [0, 1]}, [0, 1], None, "uniform"):
        assert not is_draw(value)
    mapping = {"low": 0}
    assert task_from({"id": "Plain-v0", "goal": mapping}).make_env().unwrapped.goal == mapping  # type: ignore[attr-defined]


# ---------------------------------------------------------------------- many


def test_thousands_of_variants_cost_little() -> None:
    entry = {"id": "breakout", "shifts": ["pixel_permutation"], "variants": 5000}
    tasks_from(entry)
    tracemalloc.start()
    start = time.process_time()
    tasks, steps = tasks_from(entry)
    seconds, (held, _) = time.process_time() - start, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(tasks), steps) == (5000, None)
    assert len({id(task.world) for task in tasks}) == 1
    assert len({task.shifts[0][1]["seed"] for task in tasks}) == 5000
    assert held < 5000 * 2000  # bytes
    assert seconds < 5


def test_variants_of_worlds_have_worlds_of_their_own() -> None:
    tasks, _ = tasks_from({"id": "pendulum", "gravity": {"uniform": [1, 10]}, "variants": 3})
    assert len({task.make_env().unwrapped.g for task in tasks}) == 3  # type: ignore[attr-defined]
    assert tasks[0].plays_as(tasks[1])  # a pendulum changes its gravity in place
    limited, _ = tasks_from({"id": "pendulum", "episode_limit": {"integers": [5, 900]}, "variants": 2})
    assert not limited[0].plays_as(limited[1])
    assert limited[0].plays_as(limited[0])
    assert not tasks[0].plays_as(limited[0])


# ---------------------------------------------------------------------- steps


def test_steps_of_an_entry_are_those_of_its_visits() -> None:
    env = make(
        [{"id": "breakout", "steps": 30}, {"id": "asterix", "variants": 2, "steps": 10}, "freeway"], steps_per_task=20
    )
    segments = [env.stream.segment(index) for index in range(4)]
    assert [(segment.task.name, segment.steps) for segment in segments] == [
        ("breakout", 30), ("asterix#0", 10), ("asterix#1", 10), ("freeway", 20),
    ]  # fmt: skip
    assert make({"id": "breakout", "steps": 30}).stream.total_steps == 30
    assert tasks_from({"id": "breakout", "steps": 30})[1] == 30


# ---------------------------------------------------------------------- equality


def test_tasks_with_arrays_are_compared_by_their_numbers() -> None:
    def task(goal: Any) -> Any:
        return task_from({"id": "Plain-v0", "goal": goal})

    assert task(np.ones(3)) == task(np.ones(3)) == task([1.0, 1.0, 1.0])
    assert task(np.ones(3)) != task(np.zeros(3))
    assert not task(np.ones(3)).plays_as(task(np.zeros(3)))
    env = make([{"id": "Plain-v0", "goal": np.ones(3)}, {"id": "Plain-v0", "goal": np.zeros(3)}], steps_per_task=2)
    assert env.stream.segment(1).task.make_env().unwrapped.goal.tolist() == [0, 0, 0]  # type: ignore[attr-defined]
    assert task_from("breakout") != task_from("CartPole-v1")


def test_arguments_are_what_json_has() -> None:
    shifts = [{"name": "action_permutation", "permutation": np.array([2, 0, 1])}]
    task = task_from({"id": "Changing-v0", "goal": (np.float32(1), {"a": np.ones(1)}), "shifts": shifts,
                      "drift": {"goal": GRAVITY}})  # fmt: skip
    assert task.arguments == {
        "world": {"goal": [1.0, {"a": [1.0]}]},
        "shifts": [{"name": "action_permutation", "permutation": [2, 0, 1]}],
        "drift": {"goal": {**GRAVITY, "every": 1}},
    }


# ---------------------------------------------------------------------- refusals


def noise(**drift: Any) -> dict[str, Any]:
    return {"id": "cartpole", "shifts": [{"name": "observation_noise", "std": 0.1}], "drift": drift}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"id": "breakout", "shifts": ["pixel_permutatio"]},
            "unknown shift 'pixel_permutatio' of task 'breakout'; did you mean 'pixel_permutation'?",
        ),
        (
            {"id": "breakout", "shifts": ["zzz"]},
            "unknown shift 'zzz' of task 'breakout'; give one of pixel_permutation, ",
        ),
        (
            {"id": "breakout", "shifts": "reward_sign"},
            "shifts of task 'breakout' must be a list, got 'reward_sign'; write",
        ),
        (
            {"id": "breakout", "shifts": {"name": "reward_sign"}},
            "shifts of task 'breakout' must be a list, got {'name'",
        ),
        (
            {"id": "breakout", "shifts": [7]},
            "a shift of task 'breakout' must be a name or a mapping with one, got 7; write",
        ),
        (
            {"id": "breakout", "shifts": [{"scale": 2}]},
            "a shift of task 'breakout' must be a name or a mapping with one, got",
        ),
        (
            {"id": "breakout", "variants": 0},
            "variants of 'breakout' must be a whole number of at least 1, got 0; leave",
        ),
        (
            {"id": "breakout", "variants": 2.0},
            "variants of 'breakout' must be a whole number of at least 1, got 2.0; leave",
        ),
        (
            {"id": "breakout", "variants": True},
            "variants of 'breakout' must be a whole number of at least 1, got True; ",
        ),
        ({"id": "breakout", "steps": -5}, "steps of 'breakout' must be a whole number of at least 1, got -5; leave"),
        (
            {"id": "breakout", "name": 5},
            "the name of task 'breakout' must be text and not empty, got 5; put one into quotes",
        ),
        (
            {"id": "breakout", "variant": 5},
            "the task 'breakout' takes no argument 'variant', only sticky_prob, ramping, episode_limit; did you "
            "mean 'variants'?",
        ),
        (
            {"id": "cartpole", "gravity": {"uniform": [2, 1]}},
            "gravity is drawn as uniform of [2, 1]; give two numbers, such as [0.5, 2]",
        ),
        ({"id": "cartpole", "gravity": {"uniform": 2}}, "gravity is drawn as uniform of 2; give two numbers"),
        (
            {"id": "cartpole", "gravity": {"uniform": ["a", 2]}},
            "uniform of gravity must be a finite number, got 'a'; such as",
        ),
        (
            {"id": "cartpole", "gravity": {"uniform": [-1e308, 1e308]}},
            "gravity is drawn as uniform of [-1e+308, 1e+308]; give smaller",
        ),
        (
            {"id": "cartpole", "gravity": {"log_uniform": [0, 1]}},
            "gravity is drawn as log_uniform of [0, 1]; give two numbers, such as [0.02",
        ),
        (
            {"id": "cartpole", "gravity": {"normal": [0, -1]}},
            "gravity is drawn as normal of [0, -1]; give two numbers, such as [0, 2]: the mean",
        ),
        (
            {"id": "cartpole", "gravity": {"integers": [0, 1.5]}},
            "gravity is drawn as integers of [0, 1.5]; give two numbers",
        ),
        (
            {"id": "cartpole", "gravity": {"integers": [0, 1e30]}},
            "gravity is drawn as integers of [0, 1e+30]; give smaller numbers",
        ),
        (
            {"id": "cartpole", "gravity": {"choice": []}},
            "gravity is drawn by choice of []; give a list of values to choose from",
        ),
        (
            {"id": "cartpole", "gravity": {"uniform": [0, 1], "size": 0}},
            "size of gravity must be a whole number of at least 1, got 0; give the",
        ),
        ({"id": "cartpole", "length": {"uniform": [-2, -1]}}, "length must be a finite number above 0, got -1."),
        (
            {"id": "cartpole", "drift": 5},
            "drift of task 'cartpole' must be a mapping from arguments to schedules, got 5; write",
        ),
        (
            {"id": "cartpole", "drift": {"gravity": 5}},
            "drift of 'gravity' in task 'cartpole': a drift must be a mapping with a kind, got 5;",
        ),
        (
            {"id": "cartpole", "drift": {"gravity": {"kind": "linar"}}},
            "drift of 'gravity' in task 'cartpole': kind must be one of linear, sinusoidal, random_walk, got "
            "'linar'; did",
        ),
        (
            {"id": "cartpole", "drift": {"length": GRAVITY | {"end": -2}}},
            "drift of 'length' in task 'cartpole~length' to -2: length must be a finite number above 0, got -2.0; give",
        ),
        (
            {"id": "cartpole", "drift": {"length": {"kind": "sinusoidal", "mean": 1, "amplitude": 2, "period": 9}}},
            "drift of 'length' in task 'cartpole~length' to -1: length must",
        ),
        (
            {"id": "breakout", "drift": {"sticky_prob": GRAVITY}},
            "drift of 'sticky_prob' in task 'breakout~sticky_prob' to 2: sticky_prob must be",
        ),
        (
            {"id": "cartpole", "drift": {"gravty": GRAVITY}},
            "drift of 'gravty' in task 'cartpole~gravty' to 2: CartPole cannot change 'gravty' while it is "
            "played, only gravity, ",
        ),
        (
            {"id": "CartPole-v1", "drift": {"gravity": GRAVITY}},
            "drift of 'gravity' in task 'CartPole-v1~gravity' to 2: task 'CartPole-v1~gravity' cannot change "
            "gravity while it is played: CartPoleEnv has no method configure; implement it there",
        ),
        (
            {"id": "Changing-v0", "drift": {"gaol": GRAVITY}},
            "drift of 'gaol' in task 'Changing-v0~gaol' to 2: Changing.configure() got an unexpected keyword "
            "argument 'gaol'",
        ),
        (
            noise(**{"observation_nose.std": GRAVITY}),
            "drift of 'observation_nose.std' in task 'cartpole+observation_noise(std=0.1)~observation_nose.std': "
            "the task has no shift 'observation_nose' (its shifts are observation_noise); add it to shifts",
        ),
        (
            noise(**{"observation_noise.std": GRAVITY | {"end": -1}}),
            "drift of 'observation_noise.std' in task 'cartpole+observation_noise(std=0.1)~observation_noise.std'"
            " to -1: std",
        ),
        (noise(**{"observation_noise.sdt": GRAVITY}), "drift of 'observation_noise.sdt' in task"),
        # Values in between are no whole numbers.
        (
            {"id": "cartpole", "shifts": [{"name": "frame_skip", "skip": 1}], "drift": {"frame_skip.skip": GRAVITY}},
            "drift of 'frame_skip.skip' in task 'cartpole+frame_skip(skip=1)~frame_skip.skip' to 2: skip must be "
            "a whole",
        ),
    ],
)
def test_refusals(entry: object, message: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the message is compared below)
        tasks_from(entry)  # type: ignore[arg-type]
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"id": "cartpole", "shifts": [{"name": "reward_scale", "scal": 2}]},
            "task 'cartpole+reward_scale(scal=2)': the shift 'reward_scale' takes no "
            "argument 'scal', only scale; did you mean 'scale'?",
        ),
        (
            {"id": "cartpole", "shifts": ["reward_scale"]},
            "task 'cartpole+reward_scale': the shift 'reward_scale' needs the argument 'scale'",
        ),
        (
            {"id": "Changing-v0", "shifts": ["frame_skip"], "drift": {"goal": GRAVITY}},
            "task 'Changing-v0+frame_skip~goal' cannot be made (ValueError: the shift 'frame_skip' needs",
        ),
    ],
)
def test_refusals_of_shifts_when_a_stream_is_made(entry: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the message is compared below)
        make(entry)
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)


def test_a_shift_that_one_of_many_variants_refuses_is_found_before_a_run() -> None:
    """The first variants are fine, and a later one would fail at its switch, hours into a run."""
    scale = {"choice": [*range(1, 9), -3]}
    entry = {"id": "cartpole", "shifts": [{"name": "reward_scale", "scale": scale}], "variants": 20}
    scales = [task.shifts[0][1]["scale"] for task in tasks_from(entry)[0]]
    first = scales.index(-3)
    assert first > 0
    sentence = (
        rf"^task 'cartpole\+reward_scale\(scale=\*\)#{first}': scale must be a finite number above 0, got -3; give"
    )
    with pytest.raises(ValueError, match=sentence):
        make(entry, steps_per_task=10)


def test_task_from_takes_no_variants() -> None:
    with pytest.raises(ValueError, match=r"stands for 3 variants of a task; leave out variants to have one"):
        task_from({"id": "breakout", "variants": 3})


@pytest.mark.parametrize("drift", [{}, {"drift": {"friction": GRAVITY}}])
def test_without_mujoco_its_tasks_are_refused(monkeypatch: pytest.MonkeyPatch, drift: dict[str, Any]) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == "mujoco" or name.startswith("envs.mujoco")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "mujoco", None)
    monkeypatch.delitem(sys.modules, "gymnasium.envs.mujoco", raising=False)
    with pytest.raises(ValueError, match=r"^task 'ant.*' cannot be made: ") as refusal:
        tasks_from({"id": "ant"} | drift)
    assert "mujoco]" in str(refusal.value)
    assert "\n" not in str(refusal.value)
