"""Games of any Gymnasium environment as one batch."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import OrderEnforcing, TimeLimit
from shifted import Rewarding, Talking, assert_same, random_actions, random_masks, through_json, trace

from envs.control.pendulum import Pendulum
from envs.games import Games, SyncGames, WorldError
from envs.state import copied


class Named(Rewarding):
    """Observes a dict."""

    observation_space = gymnasium.spaces.Dict({"seen": Rewarding.observation_space})  # type: ignore[assignment]

    def reset(self, **arguments: Any) -> Any:
        observation, info = super().reset(**arguments)
        return {"seen": observation}, info

    def step(self, action: int) -> Any:
        observation, *rest = super().step(action)
        return {"seen": observation}, *rest


class Stubborn(Rewarding):
    def configure(self, gravity: float) -> None:
        raise ValueError(f"gravity must be 9.8, got {gravity}")


def batch(world: Any = Talking, n_games: int = 3) -> SyncGames:
    return SyncGames([world] * n_games, "mine")


def test_an_episode_that_ends_begins_again_in_the_same_step() -> None:
    games = batch(lambda: TimeLimit(Rewarding(), 3), 2)
    assert games.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    first, info = games.reset(seed=0)
    assert (first.tolist(), info["begun"].tolist()) == ([[0, 0]] * 2, [True] * 2)
    for step, reward in ((1, 1.0), (2, 2.0)):
        observations, rewards, terminations, truncations, info = games.step(np.array([1, 2]))
        assert (observations.tolist(), rewards.tolist()) == ([[step, 1], [step, 2]], [reward] * 2)
        assert not (terminations | truncations).any()
        assert info["count"].tolist() == [step] * 2
        assert "final_obs" not in info
    observations, rewards, terminations, truncations, info = games.step(np.array([0, 2]))
    assert (observations.tolist(), rewards.tolist()) == ([[0, 0]] * 2, [4.0] * 2)
    assert (terminations.tolist(), truncations.tolist()) == ([False] * 2, [True] * 2)
    assert [seen.tolist() for seen in info["final_obs"]] == [[3, 0], [3, 2]]
    assert info["final_info"]["count"].tolist() == [3, 3]
    assert ("count" in info, info["begun"].tolist()) == (False, [True] * 2)


def test_what_is_handed_out_is_not_written_to() -> None:
    for world in (Talking, Named):
        games = batch(world)
        games.reset(seed=0)
        steps = [games.step(actions) for actions in random_actions(games, 6)]
        copies = [copied(step) for step in steps]
        trace(games, random_actions(games, 6))
        assert_same([list(step) for step in steps], [list(step) for step in copies])


def test_last_observations_that_are_dicts() -> None:
    games = batch(Named, 2)
    games.reset(seed=0)
    for _ in range(4):
        observations, *_, info = games.step(np.array([0, 1]))
    assert observations["seen"].tolist() == [[0, 0], [0, 0]]
    assert [last["seen"].tolist() for last in info["final_obs"]] == [[4, 0], [4, 1]]


class Reusing(gymnasium.Env[Any, Any]):
    """Observes one array that all games share and write to, in a dict if wanted; so is its info."""

    action_space = gymnasium.spaces.Discrete(2)
    shared = np.zeros(1, np.float32)

    def __init__(self, named: bool = False) -> None:
        box = gymnasium.spaces.Box(-9, 99, (1,), np.float32)
        self.observation_space = gymnasium.spaces.Dict({"seen": box}) if named else box
        self.named, self.at = named, 0
        self.info: dict[str, Any] = {"at": [0]}

    def _write(self, number: int) -> Any:
        self.at = self.shared[0] = self.info["at"][0] = number
        return {"seen": self.shared} if self.named else self.shared

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        return self._write(-1 if seed is None else seed), self.info

    def step(self, action: int) -> Any:
        observation = self._write(self.at + 10 + action)
        return observation, 1.0, self.at > 20, False, self.info


@pytest.mark.parametrize("named", [False, True])
def test_what_an_environment_writes_to_later_stays_as_it_was(named: bool) -> None:
    def numbers(observations: Any) -> list[float]:
        return (observations["seen"] if named else observations).ravel().tolist()

    games = batch(lambda: Reusing(named), 2)
    first, begun = games.reset(seed=3)
    second = games.step(np.array([0, 1]))
    third = games.step(np.array([0, 1]))
    assert numbers(first) == [3, 4]
    assert begun["at"].tolist() == [[3], [4]]
    assert numbers(second[0]) == [13, 15]
    assert second[4]["at"].tolist() == [[13], [15]]
    assert numbers(third[0]) == [-1, -1]
    assert [numbers(last) for last in third[4]["final_obs"]] == [[23], [26]]
    assert third[4]["final_info"]["at"].tolist() == [[23], [26]]
    assert third[4]["at"].tolist() == [[-1], [-1]]


class Broken(Rewarding):
    """Answers as Gymnasium does not allow."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.answer = answer

    def step(self, action: int) -> Any:
        return self.answer


SEEN = np.zeros(2)
ANSWERS = {
    "four": ((SEEN, 1.0, False, {}), r"^task 'mine' answered a step with \(.*\), not with an observation, a reward, "),
    "no reward": ((SEEN, None, False, False, {}), r"answered a step with \(.*None, False, False.*float\(\) argument"),
    "no info": ((SEEN, 1.0, False, False, None), r"answered a step with .*not iterable"),
    "shape": ((np.zeros(3), 1.0, False, False, {}), r"^task 'mine' gave an observation that is not of its space Box"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_an_environment_that_answers_wrongly_is_named(kind: str) -> None:
    answer, sentence = ANSWERS[kind]
    games = batch(lambda: Broken(answer), 2)
    games.reset(seed=0)
    with pytest.raises(WorldError, match=sentence):
        games.step(np.array([0, 1]))


def test_games_that_stand_still_say_nothing() -> None:
    """What moves is what would move if each game were played alone, as often as it is its turn."""
    games = batch()
    games.reset(seed=5)
    alone = [batch(n_games=1) for _ in range(3)]
    last = [game.reset(seed=5 + number)[0][0] for number, game in enumerate(alone)]
    for actions, mask in zip(random_actions(games, 40), random_masks(3, 40), strict=True):
        observations, rewards, terminations, truncations, info = games.step(actions, mask)
        for number, game in enumerate(alone):
            moves = mask is None or mask[number]
            if moves:
                seen, reward, terminated, truncated, own = game.step(actions[number : number + 1])
                last[number] = seen[0]
                ended = bool(terminated[0] or truncated[0])
                assert bool(info.get("_final_obs", [False] * 3)[number]) == ended
                if ended:
                    np.testing.assert_array_equal(info["final_obs"][number], own["final_obs"][0])
            expected = (reward[0], terminated[0], truncated[0]) if moves else (0, False, False)
            assert (rewards[number], terminations[number], truncations[number]) == expected
            assert moves or not any(said[number] for key, said in info.items() if key.startswith("_"))
            np.testing.assert_array_equal(observations[number], last[number])


def test_a_list_seeds_every_game() -> None:
    def begun(seed: Any) -> Any:
        games = batch(n_games=2)
        first, _ = games.reset(seed=seed)
        return [first, *trace(games, random_actions(games, 15))]

    assert_same(begun([7, 8]), begun(7))
    assert str(begun([8, 7])) != str(begun(7))


@pytest.mark.parametrize("at", [0, 1, 8])
def test_state(at: int) -> None:
    games, other = batch(lambda: TimeLimit(Talking(), 4)), batch(lambda: TimeLimit(Talking(), 4))
    actions = random_actions(games, 30)
    games.reset(seed=1)
    trace(games, actions[:at])
    assert games.saves
    state = through_json(games.get_state())
    expected = trace(games, actions[at:])
    other.set_state(state)
    assert_same(trace(other, actions[at:]), expected)


def test_games_without_a_state() -> None:
    class Wrapped(gymnasium.RewardWrapper[Any, Any]):
        def reward(self, reward: Any) -> Any:
            return -reward

    for world in (gymnasium.envs.classic_control.CartPoleEnv, lambda: Wrapped(Talking())):
        games = batch(world)
        games.reset(seed=0)
        assert not games.saves
        with pytest.raises(
            NotImplementedError, match=r"the games of task 'mine' cannot be saved: .* implement both there"
        ):
            games.get_state()


# ---------------------------------------------------------------------- arguments


def test_arguments_are_changed_in_every_game() -> None:
    games = batch(lambda: TimeLimit(OrderEnforcing(Pendulum()), 9), 2)
    games.reset(seed=0)
    games.configure(gravity=3.0, length=2.0)
    assert [(env.unwrapped.g, env.unwrapped.l) for env in games.envs] == [(3.0, 2.0)] * 2  # type: ignore[attr-defined]


def test_arguments_that_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match=r"^task 'mine' cannot change a, b while it is played: Talking has no method"):
        batch().configure(a=1, b=2)
    with pytest.raises(ValueError, match=r"^gravity must be 9.8, got 3$"):
        batch(Stubborn).configure(gravity=3)

    class Bare(Games):
        pass

    with pytest.raises(ValueError, match=r"^Bare has no argument that can be changed, got gravity$"):
        Bare().configure(gravity=3)
