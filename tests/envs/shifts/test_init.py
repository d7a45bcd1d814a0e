"""All shifts: tables, twins that equal single wrappers, states, composition."""

import doctest
import importlib
import inspect
import pkgutil
from typing import Any

import gymnasium
import numpy as np
import pytest
import stable_baselines3.common.env_checker as sb3
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TimeLimit
from shifted import (
    WORLDS,
    DenseGames,
    Rewarding,
    assert_same,
    random_actions,
    random_masks,
    singles,
    through_json,
    trace,
    twin,
)

import envs.shifts
from envs import catalogue
from envs.games import SyncGames
from envs.shifts import SHIFTS, RewardScale, apply, apply_games
from envs.state import copied, get_env_state, set_env_state

N_GAMES = 3
EXAMPLES: dict[str, dict[str, Any]] = {
    "pixel_permutation": {"seed": 5},
    "action_permutation": {"seed": 5},
    "observation_offset": {"offset": 0.5},
    "observation_noise": {"std": 0.25},
    "reward_scale": {"scale": 0.25},
    "reward_sign": {"sign": -1},
    "sticky_actions": {"probability": 0.5},
    "frame_skip": {"skip": 3},
}
SPECS: dict[str, Any] = {name: [(name, arguments)] for name, arguments in EXAMPLES.items()} | {
    "all": list(EXAMPLES.items()),
    "all, the other way round": list(reversed(EXAMPLES.items())),
    "scaled twice": [("reward_scale", {"scale": 0.5}), ("reward_scale", {"scale": 0.25})],
}


def test_tables_agree() -> None:
    assert list(SHIFTS) == list(catalogue.SHIFTS) == list(EXAMPLES)
    for name, shift in SHIFTS.items():
        named = catalogue.SHIFTS[name]
        for kind in (shift, shift.batched._checked):
            assert tuple(inspect.signature(kind).parameters)[1:] == named.arguments
        assert shift.batched.__name__ == f"Vector{shift.__name__}"
        assert named.drawn is None or named.drawn in named.arguments
        assert "\n" not in named.description
    assert [name for name, named in catalogue.SHIFTS.items() if named.drawn] == [
        "pixel_permutation",
        "action_permutation",
    ]


def test_examples_in_the_documentation() -> None:
    modules = [module.name for module in pkgutil.iter_modules(envs.shifts.__path__, "envs.shifts.")]
    results = [doctest.testmod(importlib.import_module(name)) for name in ("envs.shifts", *modules)]
    assert sum(result.failed for result in results) == 0
    assert sum(result.attempted for result in results) > 25


# In every world some games stand still, and in the first also none.
PLAYED = [(world, True) for world in WORLDS] + [(next(iter(WORLDS)), False)]


@pytest.mark.parametrize(("world", "masked"), PLAYED)
@pytest.mark.parametrize("specs", SPECS.values(), ids=SPECS)
def test_a_twin_equals_single_wrappers(specs: Any, world: str, masked: bool) -> None:
    expected, found = singles(WORLDS[world], N_GAMES, specs), twin(WORLDS[world], N_GAMES, specs)
    assert found.single_observation_space == expected.single_observation_space
    assert found.observation_space == expected.observation_space
    assert (found.action_space, found.num_envs, found.metadata) == (
        expected.action_space,
        expected.num_envs,
        expected.metadata,
    )
    actions = random_actions(expected, 40)
    masks = random_masks(N_GAMES, 40) if masked else None
    for seed in (5, [3, None, 8], None):
        assert_same(copied(found.reset(seed=seed)), copied(expected.reset(seed=seed)))
        left, right = trace(found, actions, masks), trace(expected, actions, masks)
        assert_same(left, right)
        assert sum((step[2] | step[3]).sum() for step in left) > 5


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("specs", SPECS.values(), ids=SPECS)
def test_final_observations_in_one_array(specs: Any, world: str) -> None:
    """A batch that gives them as numbers is shifted as one that gives them as objects."""
    objects = twin(WORLDS[world], N_GAMES, specs)
    dense = apply_games(DenseGames(SyncGames([WORLDS[world]] * N_GAMES, "dense")), specs)
    actions, masks = random_actions(objects, 40), random_masks(N_GAMES, 40)
    np.testing.assert_array_equal(dense.reset(seed=5)[0], objects.reset(seed=5)[0])
    ends = 0
    for left, right in zip(trace(dense, actions, masks), trace(objects, actions, masks), strict=True):
        assert_same(left[:4], right[:4])
        final = right[4].get("final_obs", ())
        if len(final):
            assert left[4]["final_obs"].shape == (N_GAMES, *objects.single_observation_space.shape)
            assert left[4]["final_obs"].dtype == objects.single_observation_space.dtype
        for game in np.flatnonzero(right[4].get("_final_obs", ())):
            np.testing.assert_array_equal(left[4]["final_obs"][game], final[game])
            ends += 1
    assert ends > 5


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("specs", SPECS.values(), ids=SPECS)
def test_a_twin_continues_exactly(specs: Any, world: str) -> None:
    games = twin(WORLDS[world], N_GAMES, specs)
    assert games.saves
    actions = random_actions(games, 60)
    games.reset(seed=4)
    trace(games, actions[:20], random_masks(N_GAMES, 20))
    state = games.get_state()
    text = through_json(state)
    masks = random_masks(N_GAMES, 40)
    expected = trace(games, actions[20:], masks)
    assert through_json(state) == text  # what follows leaves the state alone
    for saved in (state, text) if world == "talking" else (state,):
        other = twin(WORLDS[world], N_GAMES, specs)
        other.set_state(saved)
        assert_same(trace(other, actions[20:], masks), expected)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("specs", SPECS.values(), ids=SPECS)
def test_a_single_wrapper_continues_exactly(specs: Any, world: str) -> None:
    def play(env: gymnasium.Env, actions: Any) -> list[Any]:
        seen = []
        for action in actions:
            seen.append(copied(env.step(action)))
            if seen[-1][2] or seen[-1][3]:
                seen.append(env.reset())
        return seen

    env = apply(WORLDS[world](), specs)
    actions = random_actions(singles(WORLDS[world], 1, specs), 30)
    env.reset(seed=4)
    play(env, [action[0] for action in actions[:10]])
    state = get_env_state(env, world)
    text = through_json(state)
    expected = play(env, [action[0] for action in actions[10:]])
    assert through_json(state) == text
    other = apply(WORLDS[world](), specs)
    other.reset(seed=9)
    set_env_state(other, state, world)
    assert_same(play(other, [action[0] for action in actions[10:]]), expected)


@pytest.mark.parametrize("specs", SPECS.values(), ids=SPECS)
def test_steps_leave_earlier_arrays_alone(specs: Any) -> None:
    games = twin(WORLDS["talking"], N_GAMES, specs)
    games.reset(seed=0)
    actions, masks = random_actions(games, 12), random_masks(N_GAMES, 12)
    kept = [games.step(*pair) for pair in zip(actions, masks, strict=True)]
    games.reset(seed=0)
    assert_same(copied(kept), trace(games, actions, masks))


@pytest.mark.filterwarnings("ignore:.*WARN:UserWarning")  # advice: a wrapper, and a space without bounds
@pytest.mark.filterwarnings("ignore:.*image.*:UserWarning")  # SB3's advice on sizes and values of images
@pytest.mark.parametrize("name", SHIFTS)
@pytest.mark.parametrize("world", ["cartpole", "breakout"])
def test_checks_of_gymnasium_and_sb3(name: str, world: str) -> None:
    check_env(apply(WORLDS[world](), [(name, EXAMPLES[name])]), skip_render_check=True)
    sb3.check_env(apply(WORLDS[world](), [(name, EXAMPLES[name])]), skip_render_check=True)


@pytest.mark.parametrize("name", SHIFTS)
def test_a_shift_can_be_made_again_from_its_arguments(name: str) -> None:
    env = SHIFTS[name](WORLDS["cartpole"](), **EXAMPLES[name])
    again = type(env)(WORLDS["cartpole"](), **env._saved_kwargs)
    assert {key: value for key, value in env._saved_kwargs.items() if value is not None} == EXAMPLES[name]
    assert_same(again.get_state()["arguments"], env.get_state()["arguments"])


def test_the_first_is_the_innermost() -> None:
    specs = [("reward_scale", {"scale": 0.5}), ("frame_skip", {"skip": 2})]
    env = apply(Rewarding(), specs)
    assert repr(env) == "<FrameSkip<RewardScale<Rewarding instance>>>"
    games = twin(Rewarding, 2, specs)
    assert repr(games) == "VectorFrameSkip(VectorRewardScale(SyncGames(num_envs=2), scale=0.5), skip=2)"
    env.reset()
    assert [env.step(0)[1] for _ in range(2)] == [1.5, -2.0]


def test_order_matters() -> None:
    """Noise inside a permutation is permuted, noise outside is not."""
    noise, permutation = ("observation_noise", {"std": 1.0}), ("pixel_permutation", {"seed": 5})
    inside, outside = apply(Rewarding(), [noise, permutation]), apply(Rewarding(), [permutation, noise])
    first, second = inside.reset(seed=0)[0], outside.reset(seed=0)[0]
    order = inside.get_wrapper_attr("permutation")
    assert order.tolist() == [1, 0]
    np.testing.assert_array_equal(first, second[order])
    assert first[0] != second[0]


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([("frame_skips", {"skip": 2})], "a shift must be one of .*, got 'frame_skips'; did you mean 'frame_skip'[?]"),
        (
            [("frame_skip", {"skp": 2})],
            "the shift 'frame_skip' takes no argument 'skp', only skip; did you mean",
        ),
        ([("frame_skip", {"skip": 2, "x": 1})], "the shift 'frame_skip' takes no argument 'x', only skip; remove it"),
        ([("frame_skip", {})], "the shift 'frame_skip' needs the argument 'skip', got {}; give it"),
        ([("frame_skip", {"skip": 0})], "skip must be a whole number of at least 1, got 0; give the steps that"),
    ],
)
def test_refusals(specs: Any, message: str) -> None:
    for refused in (lambda: apply(Rewarding(), specs), lambda: twin(Rewarding, 2, specs)):
        with pytest.raises(ValueError, match=f"^{message}") as refusal:
            refused()
        assert "\n" not in str(refusal.value)


def test_a_twin_passes_on_what_is_not_its_own() -> None:
    closed = []

    class World(Rewarding):
        def configure(self, *, gravity: float) -> None:
            self.gravity = gravity

        def close(self) -> None:
            closed.append(self)

    games = twin(World, 2, [("reward_scale", {"scale": 0.5}), ("frame_skip", {"skip": 2})])
    games.reset()
    games.configure(gravity=5.0, scale=2.0)
    assert [env.unwrapped.gravity for env in games.envs] == [5.0, 5.0]  # type: ignore[attr-defined]
    assert games.step(np.zeros(2, np.int64))[1].tolist() == [6.0, 6.0]
    assert [type(env) for env in games.envs] == [World, World]  # type: ignore[attr-defined]
    games.close()
    assert len(closed) == 2


def test_changes_go_through_single_wrappers() -> None:
    inner = RewardScale(TimeLimit(Rewarding(), 4), 0.5)
    env = apply(inner, [("frame_skip", {"skip": 2})])
    env.reset()
    env.configure(scale=2.0)  # type: ignore[attr-defined]
    assert env.step(0)[1] == 6.0
    with pytest.raises(ValueError, match=r"^RewardScale takes no argument 'scal', only scale, and Rewarding has no"):
        env.configure(scal=1.0)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match=r"^scale must be a finite number above 0, got 0; give a factor"):
        env.configure(scale=0, skip=3)  # type: ignore[attr-defined]
    assert (env.skip, inner.scale) == (2, 2.0)  # type: ignore[attr-defined]
    games = singles(Rewarding, 2, [("reward_scale", {"scale": 0.5})])
    games.reset()
    games.configure(scale=3.0)
    assert games.step(np.zeros(2, np.int64))[1].tolist() == [3.0, 3.0]


@pytest.mark.parametrize("name", SHIFTS)
def test_changed_arguments_are_part_of_the_state(name: str) -> None:
    """A state fits shifts that were made with the same arguments, and carries what was changed since."""
    changes: dict[str, Any] = {
        "pixel_permutation": {"seed": 1},
        "action_permutation": {"seed": None, "permutation": [2, 0, 1]},
        "observation_offset": {"offset": [2, 3]},
        "observation_noise": {"std": 0},
        "reward_scale": {"scale": 3},
        "reward_sign": {"sign": 1},
        "sticky_actions": {"probability": 1},
        "frame_skip": {"skip": 2},
    }
    specs = [(name, EXAMPLES[name])]
    games, other = twin(Rewarding, 2, specs), twin(Rewarding, 2, specs)
    actions = random_actions(games, 20)
    games.reset(seed=0)
    games.configure(**changes[name])
    trace(games, actions[:5])
    other.set_state(games.get_state())
    expected = trace(games, actions[5:])
    assert_same(trace(other, actions[5:]), expected)
    made_so = twin(Rewarding, 2, [(name, EXAMPLES[name] | changes[name])])
    key = "permutation" if name == "action_permutation" else next(iter(changes[name]))
    with pytest.raises(ValueError, match=rf"^a state with the (seed|{key}) .* of .* cannot be set on one with"):
        made_so.set_state(games.get_state())
