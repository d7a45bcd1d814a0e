"""Shifts: what they change, and what they leave."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import TimeLimit

from envs.shift import ObservationOffset, RewardScale, Shift

OFFSET = [0.5, -2.0, 0.25, 3.0]


class Rewarding(gymnasium.Env):
    """Gives the rewards 1, 2, 4, -8 and then ends by itself; observes the 8-bit number of its steps."""

    observation_space = gymnasium.spaces.Box(0, 9, (2,), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.count = 0
        return np.zeros(2, np.uint8), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.count += 1
        reward = (1.0, 2.0, 4.0, -8.0)[self.count - 1]
        return np.full(2, self.count, np.uint8), reward, self.count == 4, False, {"count": self.count}


def _cartpole() -> gymnasium.Env:
    return gymnasium.make("CartPole-v1", disable_env_checker=True)


def test_offset_is_added_to_every_observation_and_changes_nothing_else() -> None:
    shifted, bare = ObservationOffset(_cartpole(), OFFSET), _cartpole()
    offset = np.array(OFFSET, np.float32)
    found, _ = shifted.reset(seed=3)
    expected, _ = bare.reset(seed=3)
    np.testing.assert_array_equal(found, expected + offset)
    actions = np.random.default_rng(0).integers(2, size=200)
    ends = 0
    for action in actions:
        found, *rest = shifted.step(action)
        expected, *bare_rest = bare.step(action)
        np.testing.assert_array_equal(found, expected + offset)
        assert rest == bare_rest
        if rest[1]:
            ends += 1
            np.testing.assert_array_equal(shifted.reset()[0], bare.reset()[0] + offset)
    assert ends >= 5


def test_offset_gives_one_unbounded_space_of_32_bit_floats() -> None:
    space = gymnasium.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    assert ObservationOffset(_cartpole(), OFFSET).observation_space == space
    assert ObservationOffset(_cartpole(), np.zeros(4)).observation_space == space
    numbers = ObservationOffset(Rewarding(), [-1, 300])
    assert numbers.observation_space == gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float32)
    assert numbers.reset()[0].dtype == np.float32
    observation = numbers.step(0)[0]
    assert (observation.dtype, observation.tolist()) == (np.float32, [0.0, 301.0])


@pytest.mark.filterwarnings("ignore:.*WARN:UserWarning")  # advice: a wrapper, and a space without bounds
def test_offset_passes_gymnasium_s_check() -> None:
    check_env(ObservationOffset(gymnasium.make("CartPole-v1").unwrapped, OFFSET), skip_render_check=True)


def test_offset_knows_its_own_state() -> None:
    env = ObservationOffset(_cartpole(), OFFSET)
    state = env.get_state()
    np.testing.assert_array_equal(state["offset"], np.array(OFFSET, np.float32))
    env.set_state(state)
    with pytest.raises(
        ValueError, match=r"offset \[0.5, -2.0, 0.25, 3.0\] cannot be set on .* \[0.0, 0.0, 0.0, 0.0\];"
    ):
        ObservationOffset(_cartpole(), np.zeros(4)).set_state(state)


@pytest.mark.parametrize(
    ("offset", "message"),
    [
        ([1.0, 2.0], r"offset must have the observations' shape \(4,\), got \[1.0, 2.0\] of \(2,\); give as many"),
        (3.0, r"offset must have the observations' shape \(4,\), got 3.0 of \(\); give as many"),
        ([[1.0], [2.0, 3.0]], r"offset must be numbers of shape \(4,\), got \[\[1.0\], \[2.0, 3.0\]\]; give as many"),
        ([1.0, 2.0, 3.0, np.nan], r"offset must be finite numbers, got \[1.0, 2.0, 3.0, nan\]; give as many"),
        ([1.0, 2.0, 3.0, 1e39], "offset must be finite numbers, got .*1e[+]39"),
        (["1", "2", "3", "4"], "offset must be finite numbers, got .*'4'"),
        ([True] * 4, "offset must be finite numbers, got .*True"),
        ([None] * 4, "offset must be finite numbers, got .*None"),
    ],
)
def test_offset_refuses_what_is_no_observation(offset: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}") as refusal:
        ObservationOffset(_cartpole(), offset)
    assert "\n" not in str(refusal.value)


def test_offset_needs_arrays() -> None:
    env = Rewarding()
    env.observation_space = gymnasium.spaces.Discrete(500)
    with pytest.raises(ValueError, match=r"needs observations in a Box, got Discrete\(500\); flatten them first"):
        ObservationOffset(env, [0.0])


def test_rewards_are_scaled_and_the_return_is_not() -> None:
    env = RewardScale(Rewarding(), 0.25)
    for _ in range(2):  # the second episode starts from nothing
        env.reset()
        steps = [env.step(0) for _ in range(4)]
        assert [step[1] for step in steps] == [0.25, 0.5, 1.0, -2.0]
        assert [step[2] for step in steps] == [False, False, False, True]
        assert [step[4] for step in steps] == [
            {"count": 1},
            {"count": 2},
            {"count": 3},
            {"count": 4, "unscaled_return": -1.0},
        ]


def test_a_truncated_episode_has_its_return_and_a_broken_off_one_none() -> None:
    env = RewardScale(TimeLimit(Rewarding(), 3), 0.25)
    env.reset()
    env.step(0)
    env.reset()
    infos = [env.step(0)[4] for _ in range(3)]
    assert ["unscaled_return" in info for info in infos] == [False, False, True]
    assert infos[2]["unscaled_return"] == 7.0
    assert type(infos[2]["unscaled_return"]) is float


def test_of_two_scales_the_inner_one_reports() -> None:
    env = RewardScale(RewardScale(TimeLimit(Rewarding(), 2), 0.5), 0.5)
    env.reset()
    assert env.step(0)[1] == 0.25
    _, reward, _, _, info = env.step(0)
    assert (reward, info["unscaled_return"]) == (0.5, 3.0)


def test_scale_knows_its_own_state() -> None:
    env = RewardScale(Rewarding(), 0.25)
    env.reset()
    env.step(0)
    env.step(0)
    state = env.get_state()
    assert state == {"scale": 0.25, "return": 3.0}
    other = RewardScale(TimeLimit(Rewarding(), 1), 0.25)
    other.reset()
    other.set_state(state)
    assert other.step(0)[4]["unscaled_return"] == 4.0
    with pytest.raises(ValueError, match=r"rewards times 0.25 cannot be set on one with rewards times 0.5; make"):
        RewardScale(Rewarding(), 0.5).set_state(state)


@pytest.mark.parametrize("scale", [0, -0.5, np.inf, np.nan, "2", True, None])
def test_scale_must_be_a_positive_number(scale: Any) -> None:
    with pytest.raises(
        ValueError, match=r"^scale must be a finite number above 0, got .*; give a factor such as 0.05$"
    ):
        RewardScale(Rewarding(), scale)


def test_a_shift_says_what_it_holds() -> None:
    shift = Shift(Rewarding())
    with pytest.raises(NotImplementedError):
        shift.get_state()
    with pytest.raises(NotImplementedError):
        shift.set_state({})
