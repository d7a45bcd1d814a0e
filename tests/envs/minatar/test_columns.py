"""States that come back: what is refused, and that nothing else can harm the kernels."""

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from envs.catalogue import GAMES
from envs.minatar import MinAtarGames

SWEEP = """
import sys
import numpy as np
from envs.minatar import MinAtarGames

for game in sys.argv[1:]:
    games = MinAtarGames(game, 3)
    games.reset(seed=0)
    rng = np.random.default_rng(0)
    for actions in rng.integers(6, size=(60, 3)):
        games.step(actions)
    played = games.get_state()
    refused, accepted = 0, []
    for part in ("games", "players"):
        for name, values in played[part].items():
            kind = np.iinfo(values.dtype)
            for value in (-(10**6), 10**6, kind.min, kind.max, 48, 3, 0):
                state = games.get_state() | {"games": dict(played["games"]), "players": dict(played["players"])}
                if kind.min <= value <= kind.max:
                    state[part][name] = np.full_like(values, value)
                else:
                    state[part][name] = np.full(values.shape, value, np.int64)
                before = games.get_state()
                try:
                    games.set_state(state)
                except ValueError as refusal:
                    assert "the state is damaged or of another version of the game: " + name in str(refusal), refusal
                    np.testing.assert_equal(games.get_state(), before)
                    refused += 1
                    continue
                accepted.append((name, int(value)))
                for actions in rng.integers(6, size=(100, 3)):
                    boards, *_ = games.step(actions)
                    assert boards.view(np.uint8).max() == 1
                games.reset()
    print(game, refused, len(accepted), flush=True)
"""


def test_absurd_values_are_refused_or_harmless() -> None:
    """In a process of its own, as an index outside an array may end it."""
    done = subprocess.run([sys.executable, "-c", SWEEP, *GAMES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    swept = [line.split() for line in done.stdout.splitlines()]
    assert [game for game, *_ in swept] == list(GAMES)
    for game, refused, accepted in swept:
        assert int(refused) >= 4 * (len(MinAtarGames(game, 1)._games.dtype.names) + 2)
        assert int(accepted) > 10


@pytest.mark.parametrize("game", GAMES)
def test_what_play_reaches_is_accepted(game: str) -> None:
    games, other = MinAtarGames(game, 256), MinAtarGames(game, 256)
    games.reset(seed=0)
    for actions in np.random.default_rng(0).integers(6, size=(200, 256)):
        games.step(actions)
        other.set_state(games.get_state())
    other.set_state(json.loads(json.dumps(games.get_state(), default=np.ndarray.tolist)))
    np.testing.assert_equal(other.get_state(), games.get_state())


def _crowded(state: dict[str, Any]) -> None:
    for row, name in enumerate(("bullets", "enemy_bullets", "fish", "subs", "swimming"), 2):
        state["games"][f"n_{name}"][:] = 48
        state["games"][name][:] = (4, row, 0, 0, 0)  # nothing moves, so that nothing leaves or is hit
    state["games"]["spawn_timer"][:] = state["games"]["diver_timer"][:] = 0


def test_lists_that_are_full_take_no_more() -> None:
    games = MinAtarGames("seaquest", 2, sticky_prob=0)
    games.reset(seed=0)
    state = games.get_state()
    _crowded(state)
    games.set_state(state)
    for _ in range(30):
        games.step(np.full(2, 5))
    after = games.get_state()["games"]
    assert after["n_subs"].tolist() == after["n_swimming"].tolist() == after["n_bullets"].tolist() == [48, 48]
    np.testing.assert_array_equal(after["bullets"], state["games"]["bullets"])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda state: state["games"].pop("sub_x"), "what should hold sub_x, sub_y, .* does not; give one"),
        (lambda state: state["games"].update(tail=np.zeros(2, np.int32)), "what should hold sub_x, "),
        (lambda state: state.pop("players"), "what should hold game, n_envs, parameters, games, players does not"),
        (lambda state: state.update(games=None), "what should hold sub_x, "),
        (lambda state: state["parameters"].pop("ramping"), "what should hold sticky_prob, ramping, episode_limit does"),
        (lambda state: state["parameters"].update(wind=1), "what should hold sticky_prob, ramping, episode_limit does"),
        (
            lambda state: state["games"].update(sub_x=np.zeros((2, 1), np.int32)),
            r"sub_x should be whole numbers of shape \(2,\);",
        ),
        (lambda state: state["games"].update(sub_x=np.zeros(2)), r"sub_x should be whole numbers of shape \(2,\);"),
        (
            lambda state: state["players"].update(key=state["players"]["key"][:, 1:]),
            r"key should be whole numbers of shape \(2, 624\);",
        ),
        (
            lambda state: state["games"].update(sub_x=np.full(2, 2**32)),
            "sub_x has values out of range",
        ),
        (lambda state: state["games"]["n_fish"].fill(2 * 10**6), "n_fish has values out of range"),
        (lambda state: state["players"]["position"].fill(-(10**6)), "position has values out of range"),
    ],
)
def test_damage_is_refused_and_changes_nothing(damage: Callable[[dict[str, Any]], Any], message: str) -> None:
    games = MinAtarGames("seaquest", 2)
    games.reset(seed=0)
    before, state = games.get_state(), games.get_state()
    state["parameters"]["sticky_prob"] = 0.5
    state["games"]["sub_x"][:] = 3
    damage(state)
    with pytest.raises(ValueError, match=f"^the state is damaged or of another version of the game: {message}"):
        games.set_state(state)
    np.testing.assert_equal(games.get_state(), before)
