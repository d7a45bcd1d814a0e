"""CartPole as one batch: the single CartPole game for game, and no step that nobody took."""

import inspect
import json
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from envs.control.cartpole import CartPole, CartPoleGames, cartpole
from envs.games import SyncGames
from envs.shifts import layers_of

ROOT = Path(__file__).parents[3]
OTHER: dict[str, Any] = {
    "gravity": 4.0,
    "length": 0.3,
    "masscart": 1.5,
    "masspole": 0.2,
    "force_mag": 8.0,
    "offset": [1.0, -2.0, 0.25, 3.7],
    "episode_limit": 18,
    "reward_scale": 0.05,
}


def _assert_equal(found: Any, expected: Any) -> None:
    """Values, types and, of infos, masks and what they mark."""
    if not isinstance(found, dict):
        found, expected = np.asarray(found), np.asarray(expected)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
        return
    assert found.keys() == expected.keys()
    for key in found:
        if key == "final_obs":
            marked = found["_final_obs"]
            _assert_equal(np.stack(list(found[key][marked])), np.stack(list(expected[key][marked])))
        else:
            _assert_equal(found[key], expected[key])


def _actions(steps: int, games: int) -> Any:
    return np.random.default_rng(3).integers(0, 2, (steps, games))


def _play(games: Any, actions: Any) -> list[Any]:
    return [games.step(action) for action in actions]


def _assert_same(found: list[Any], expected: list[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        for value, should in zip(one, other, strict=True):
            _assert_equal(value, should)


def test_arguments_are_the_world_s() -> None:
    options = tuple(inspect.signature(CartPoleGames).parameters)[1:-1]
    assert {*options, "offset", "reward_scale", *CartPole.quantities} == {*cartpole.arguments, "render_mode"}
    games = cartpole.make_games(2)
    assert isinstance(layers_of(games)[-1], CartPoleGames)
    assert games.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert games.saves
    assert games.single_observation_space == cartpole().observation_space
    assert games.observation_space.shape == (2, 4)


@pytest.mark.parametrize("arguments", [{}, OTHER])
def test_it_is_the_single_game_for_game(arguments: dict[str, Any]) -> None:
    batch = cartpole.make_games(23, **arguments)
    single = SyncGames([partial(cartpole, **arguments)] * 23, "cartpole")
    draw = np.random.default_rng(0)
    ends = 0
    for seed in (4, [7 * game for game in range(23)], None):
        _assert_equal(batch.reset(seed=seed)[0], single.reset(seed=seed)[0])
        for step, actions in enumerate(_actions(150, 23)):
            active = draw.random(23) < 0.7 if step % 3 == 0 else None
            found, expected = batch.step(actions, active), single.step(actions, active)
            _assert_same([found], [expected])
            ends += int((found[2] | found[3]).sum())
    assert ends > 250


def test_every_transition_was_played_and_none_is_missing() -> None:
    """Gymnasium's own batch returns 1 step for each episode that nobody took: its next start as an observation."""
    games, world = CartPoleGames(40, episode_limit=25), CartPole()
    world.reset(seed=0)
    last, _ = games.reset(seed=0)
    exact = games.get_state()["state"].T
    phantoms, transitions, ends = 0, np.zeros(40, np.int64), np.zeros(40, np.int64)
    for actions in _actions(400, 40):
        observations, rewards, terminated, truncated, info = games.step(actions)
        for game in range(40):
            world.state, world.steps_beyond_terminated = exact[game], None
            following, reward, over, *_ = world.step(int(actions[game]))
            ended = terminated[game] or truncated[game]
            arrived = info["final_obs"][game] if ended else observations[game]
            phantoms += bool((arrived != following).any() or rewards[game] != reward or terminated[game] != over)
            transitions[game] += 1
            ends[game] += ended
            if ended:
                assert (np.abs(observations[game]) <= 0.05).all()
        exact, last = games.get_state()["state"].T, observations
        np.testing.assert_array_equal(last, exact.astype(np.float32))
    assert phantoms == 0
    assert (transitions == 400).all()
    assert ends.sum() > 500
    # The steps of all episodes, the unfinished ones too, are those that were taken.
    lengths = np.zeros(40)
    games.reset(seed=0)
    finished = np.zeros(40)
    for actions in _actions(400, 40):
        before = games.get_state()["steps"]
        _, _, terminated, truncated, _ = games.step(actions)
        lengths += np.where(terminated | truncated, before + 1, 0)
        finished += terminated | truncated
    np.testing.assert_array_equal(finished, ends)
    np.testing.assert_array_equal(lengths + games.get_state()["steps"], 400)


def test_what_a_step_returned_is_left_alone() -> None:
    games = CartPoleGames(8, episode_limit=3)
    first, _ = games.reset(seed=0)
    kept = [first, *_play(games, _actions(6, 8))]
    copies = pickle.loads(pickle.dumps(kept))
    _play(games, _actions(9, 8))
    _assert_equal(kept[0], copies[0])
    _assert_same(kept[1:], copies[1:])


def test_games_that_stand_still() -> None:
    games = cartpole.make_games(3, reward_scale=2.0)
    first, _ = games.reset(seed=0)
    state = layers_of(games)[-1].get_state()
    active = np.array([True, False, False])
    for _ in range(30):
        # What a game that stands still is told does not matter.
        observations, rewards, terminated, truncated, info = games.step(np.array([1, -7, 99]), active)
        np.testing.assert_array_equal(observations[1:], first[1:])
        assert rewards.tolist() == [2.0, 0.0, 0.0]
        assert not (terminated | truncated)[1:].any()
        assert not any(mask[1:].any() for key, mask in info.items() if key.startswith("_"))
    after, scaled = layers_of(games)[-1].get_state(), games.get_state()
    np.testing.assert_array_equal(after["state"][:, 1:], state["state"][:, 1:])
    assert after["steps"][1:].tolist() == scaled["returns"][1:].tolist() == [0, 0]
    assert after["np_random"][1:] == state["np_random"][1:]
    assert after["np_random"][0] != state["np_random"][0]


def test_seeds() -> None:
    games, other = CartPoleGames(4), CartPoleGames(4)
    first, _ = games.reset(seed=3)
    _play(other, _actions(0, 4))
    other.reset(seed=99)
    _play(other, _actions(40, 4))
    np.testing.assert_array_equal(other.reset(seed=[3, 4, 5, 6])[0], first)
    _assert_same(_play(other, _actions(60, 4)), _play(games, _actions(60, 4)))
    assert games.get_state()["np_random_seed"] == [3, 4, 5, 6]
    assert (games.reset()[0] != first).any()
    assert (CartPoleGames(4).reset()[0] != CartPoleGames(4).reset()[0]).all()
    wide, _ = games.reset(seed=3, options={"low": 1.0, "high": 1.5})
    assert ((wide >= 1.0) & (wide <= 1.5)).all()
    for seeds in ([1, 2], [1, 2, 3, 4, 5]):
        with pytest.raises(ValueError, match=rf"^seed must have one entry for each of the 4 games, got {len(seeds)};"):
            games.reset(seed=seeds)


CHILD = """
import pickle, sys
import numpy as np
from envs.control.cartpole import cartpole
state, arguments, actions = pickle.load(open(sys.argv[1], "rb"))
games = cartpole.make_games(6, **arguments)
games.set_state(state)
pickle.dump([games.step(action) for action in actions], open(sys.argv[2], "wb"))
"""


def test_from_a_state_another_process_goes_on_exactly(tmp_path: Path) -> None:
    games = cartpole.make_games(6, **OTHER)
    games.reset(seed=1)
    _play(games, _actions(13, 6))
    games.configure(length=0.6, offset=[0.0, 0.5, 0.0, 0.0])
    state, actions = games.get_state(), _actions(80, 6)
    text = json.dumps(state, default=lambda array: array.tolist())  # arrays and JSON values alone
    (tmp_path / "in").write_bytes(pickle.dumps((state, OTHER, actions)))
    subprocess.run([sys.executable, "-c", CHILD, tmp_path / "in", tmp_path / "out"], check=True, cwd=ROOT)
    expected = _play(games, actions)
    assert sum(int((step[2] | step[3]).sum()) for step in expected) > 20
    _assert_same(pickle.loads((tmp_path / "out").read_bytes()), expected)
    assert json.dumps(state, default=lambda array: array.tolist()) == text


def test_states_of_other_worlds_are_refused() -> None:
    games = CartPoleGames(2)
    games.reset(seed=0)
    for other in (CartPoleGames(3), CartPoleGames(2, episode_limit=9)):
        with pytest.raises(ValueError, match=r"^a state of .*'n_envs': 2.* cannot be set on .*; make the games with"):
            other.set_state(games.get_state())


def test_configured_in_play_equals_made_so() -> None:
    physics = {name: value for name, value in OTHER.items() if name not in ("episode_limit", "reward_scale")}
    changed, made = cartpole.make_games(5), cartpole.make_games(5, **physics)
    changed.reset(seed=0)
    _play(changed, _actions(9, 5))
    changed.configure(**physics)
    _assert_equal(changed.reset(seed=2)[0], made.reset(seed=2)[0])
    _assert_same(_play(changed, _actions(90, 5)), _play(made, _actions(90, 5)))
    # In the middle of an episode: the next step, under the gravity of the moment.
    changed.reset(seed=2)
    single = CartPole(**{**{name: physics[name] for name in CartPole.quantities}, "gravity": 100.0})
    single.reset(seed=2)
    changed.configure(gravity=100.0)
    observations, *_ = changed.step(np.ones(5, np.int64))
    expected = single.step(1)[0] + np.array(physics["offset"], np.float32)
    np.testing.assert_array_equal(observations[0], expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gravity": 1.0, "masspol": 0.2}, "CartPole cannot change 'masspol' while it is played, only gravity, length"),
        ({"reward_scale": 2.0}, "CartPole cannot change 'reward_scale' while it is played, only gravity, length, mass"),
        (
            {"gravity": 1.0, "length": 0},
            "length must be a finite number above 0, got 0; give half of the pole's length",
        ),
        ({"gravity": 1.0, "offset": [0.0]}, "offset must have the observations' shape (4,), got [0.0] of (1,); give"),
        ({"offset": [9.0] * 4, "length": 0}, "length must be a finite number above 0, got 0; give half of the pole's"),
    ],
)
def test_refused_changes_change_nothing(change: dict[str, Any], message: str) -> None:
    games = cartpole.make_games(2)
    games.reset(seed=0)
    before = json.dumps(games.get_state(), default=lambda array: array.tolist())
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the message is compared below)
        games.configure(**change)
    assert str(refusal.value).startswith(message)
    assert json.dumps(games.get_state(), default=lambda array: array.tolist()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_envs": 0}, "n_envs must be a whole number of at least 1, got 0; give the number of games"),
        ({"episode_limit": 0}, "episode_limit must be a whole number of at least 1, got 0; give a number of steps"),
        ({"reward_scale": -1}, "reward_scale must be a finite number above 0, got -1; give a factor"),
        ({"render_mode": "human"}, "render_mode must be None or one of rgb_array, got 'human'; leave it out"),
        ({"masscart": "1"}, "masscart must be a finite number above 0, got '1'; give kilograms"),
    ],
)
def test_refusals(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refusal:  # noqa: PT011 (the message is compared below)
        cartpole.make_games(**{"n_envs": 2} | arguments)
    assert str(refusal.value).startswith(message)


def test_frames() -> None:
    pytest.importorskip("pygame")
    games = CartPoleGames(2, render_mode="rgb_array")
    games.reset(seed=0)
    frames = games.render()
    assert [(frame.dtype, frame.shape) for frame in frames] == [(np.dtype(np.uint8), (400, 600, 3))] * 2
    assert (frames[0] != frames[1]).any()
    games.close()
    with pytest.raises(
        ValueError, match=r"^CartPoleGames was made without a render_mode; give render_mode='rgb_array'"
    ):
        CartPoleGames(2).render()
