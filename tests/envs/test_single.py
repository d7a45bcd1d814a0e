"""One game through a stream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.wrappers import RecordVideo
from shifted import Talking, assert_same, through_json

from envs.making import make
from envs.single import StreamEnv, make_vector
from envs.state import copied

KEYS = ("task", "task_index", "segment", "task_switched")


class Named(gymnasium.Env[Any, Any]):
    """Observes a dict of its steps and its action; lasts three steps."""

    observation_space = gymnasium.spaces.Dict(
        {"steps": gymnasium.spaces.Box(0, 99, (2,), np.float32), "action": gymnasium.spaces.Discrete(3)}
    )
    action_space = gymnasium.spaces.Discrete(3)
    steps = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = (options or {}).get("steps", 0)
        return {"steps": np.full(2, self.steps, np.float32), "action": np.int64(0)}, {"begun": True}

    def step(self, action: Any) -> Any:
        self.steps += 1
        seen = {"steps": np.full(2, self.steps, np.float32), "action": np.int64(action)}
        return seen, 1.5, self.steps == 3, False, {"steps": self.steps}

    def get_state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def set_state(self, state: dict[str, Any]) -> None:
        self.steps = state["steps"]


@pytest.fixture(autouse=True)
def users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers ``Talking-v0`` and ``Named-v0``, which can both be saved."""
    for world in (Talking, Named):
        id = f"{world.__name__}-v0"
        monkeypatch.setitem(gymnasium.registry, id, EnvSpec(id, entry_point=world))


def played(env: Any, n_steps: int) -> list[Any]:
    """All that it says, with the same actions for all; episodes begin when they have to."""
    env.action_space.seed(3)
    said = []
    for _ in range(n_steps):
        said.append(copied(list(env.step(env.action_space.sample()))))
        if said[-1][2] or said[-1][3]:
            said.append(copied(list(env.reset())))
    return said


# ---------------------------------------------------------------------- episodes


def test_an_episode_ends_by_itself_and_the_next_begins() -> None:
    env = StreamEnv("Named-v0", seed=0)
    assert (env.observation_space, env.action_space) == (Named.observation_space, Named.action_space)
    observation, info = env.reset()
    assert (observation["steps"].tolist(), info["begun"]) == ([0, 0], True)
    assert [info[key] for key in KEYS] == ["Named-v0", 0, 0, False]
    for step in (1, 2, 3):
        observation, reward, terminated, truncated, info = env.step(1)
        assert (observation["steps"].tolist(), int(observation["action"])) == ([step, step], 1)
        assert (reward, terminated, truncated, info["steps"]) == (1.5, step == 3, False, step)
        assert [type(value) for value in (reward, terminated, truncated)] == [float, bool, bool]
        assert [info[key] for key in KEYS] == ["Named-v0", 0, 0, False]
    assert info["cut_by_switch"] is False
    observation, info = env.reset()
    assert (observation["steps"].tolist(), info["begun"], "steps" in info) == ([0, 0], True, False)
    assert env.step(0)[0]["steps"].tolist() == [1, 1]


def test_a_switch_truncates() -> None:
    env = StreamEnv(["Named-v0", {"id": "Named-v0", "name": "next"}], steps_per_task=2, seed=0)
    env.reset()
    assert not any(env.step(0)[2:4])
    observation, _, terminated, truncated, info = env.step(2)
    assert (observation["steps"].tolist(), int(observation["action"])) == ([2, 2], 2)  # the last of the old task
    assert (terminated, truncated, info["cut_by_switch"]) == (False, True, True)
    assert [info[key] for key in KEYS] == ["Named-v0", 0, 0, True]
    observation, info = env.reset()
    assert [info[key] for key in KEYS] == ["next", 1, 1, True]
    assert observation["steps"].tolist() == [0, 0]
    info = env.step(0)[4]
    assert [info[key] for key in KEYS] == ["next", 1, 1, False]


def test_an_episode_that_ends_in_the_switching_step_is_not_cut() -> None:
    env = StreamEnv(["Named-v0", {"id": "Named-v0", "name": "next"}], steps_per_task=3, seed=0)
    env.reset()
    for _ in range(3):
        *_, terminated, truncated, info = env.step(0)
    assert (terminated, truncated, info["cut_by_switch"], info["task_switched"]) == (True, False, False, True)
    assert env.reset()[1]["task"] == "next"


def test_resets_between_steps() -> None:
    env = StreamEnv(["Named-v0", {"id": "Named-v0", "name": "next"}], steps_per_task=2, seed=0)
    env.reset()
    env.step(0)
    observation, info = env.reset()  # in the middle of an episode: begins one where the stream stands
    assert (observation["steps"].tolist(), info["task"], env.venv.steps) == ([0, 0], "Named-v0", 1)
    env.step(0)  # ends the segment
    observation, info = env.reset(options={"steps": 1})  # are for the episode that begins
    assert (observation["steps"].tolist(), info["task"]) == ([1, 1], "next")
    env.step(0)
    _, info = env.reset(seed=1)
    assert (info["task"], env.venv.steps) == ("Named-v0", 0)


def test_a_step_needs_a_reset() -> None:
    env = StreamEnv(["Named-v0", {"id": "Named-v0", "name": "next"}], steps_per_task=1, seed=0)
    with pytest.raises(ResetNeeded, match=r"StreamEnv.step was called between two episodes; call reset first"):
        env.step(0)
    env.reset()
    env.step(0)
    for _ in range(2):
        with pytest.raises(ResetNeeded, match="call reset first"):
            env.step(0)
    assert env.venv.steps == 1
    env.reset()
    env.step(0)


@pytest.mark.parametrize("what", ["minatar3", "Talking-v0", "cchain/cartpole"])
def test_the_same_as_a_batch_of_one(what: str) -> None:
    steps = 9
    env, batch = StreamEnv(what, steps_per_task=steps, seed=4), make(what, n_envs=1, steps_per_task=steps, seed=4)
    first, _ = env.reset()
    np.testing.assert_array_equal(first, batch.reset()[0][0])
    for action in np.random.default_rng(0).integers(2, size=3 * steps):
        observation, *rest, _ = env.step(action)
        observations, *expected, info = batch.step(np.array([action]))
        assert rest == [value[0] for value in expected]
        if rest[1] or rest[2]:
            np.testing.assert_array_equal(observation, info["final_obs"][0])
            observation, _ = env.reset()
        np.testing.assert_array_equal(observation, observations[0])
        assert observation.dtype == observations.dtype


def test_actions_of_several_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Steered(Talking):
        action_space = gymnasium.spaces.Dict(
            {
                "turn": gymnasium.spaces.Box(-1, 1, (2,), np.float32),
                "both": gymnasium.spaces.Tuple([Talking.action_space]),
            }
        )  # type: ignore[assignment]

        def step(self, action: Any) -> Any:
            self.taken = action
            return super().step(int(action["both"][0]))

    monkeypatch.setitem(gymnasium.registry, "Steered-v0", EnvSpec("Steered-v0", entry_point=Steered))
    env = StreamEnv("Steered-v0", seed=0)
    env.reset()
    observation, *_ = env.step({"turn": np.array([0.5, -1], np.float32), "both": (2,)})
    (game,) = env.venv.envs
    taken = game.unwrapped.taken  # type: ignore[attr-defined]
    assert (taken["turn"].tolist(), taken["both"], observation.tolist()) == ([0.5, -1], (2,), [1, 2])


# ---------------------------------------------------------------------- seeds and state


@pytest.mark.parametrize("what", ["minatar3", "cchain/cartpole", "permuted_breakout", "pendulum_drift"])
def test_equal_seeds_are_followed_by_equal_streams(what: str) -> None:
    """In two instances over two switches, whatever was played before and with whatever seed the env was made."""

    def trace(env: StreamEnv, seed: int) -> list[Any]:
        first = copied(list(env.reset(seed=seed)))
        return [first, *played(env, 50)]

    envs = [StreamEnv(what, steps_per_task=20, stream_seed=0, seed=seed) for seed in (None, 9)]
    expected = trace(envs[0], 5)
    assert_same(trace(envs[1], 5), expected)
    assert_same(trace(envs[1], 5), expected)
    assert str(trace(envs[1], 6)) != str(expected)
    assert {step[-1]["segment"] for step in expected} == ({0} if what == "pendulum_drift" else {0, 1, 2})


@pytest.mark.parametrize("at", [0, 3, 7, 14, 16])
@pytest.mark.parametrize("what", ["Talking-v0", "Named-v0", "breakout", "cartpole"])
def test_a_state_continues_exactly(what: str, at: int) -> None:
    """In an episode, between two of them (with and without a switch), and through JSON."""

    def stream(seed: int) -> StreamEnv:
        return StreamEnv({"id": what, "variants": 3}, steps_per_task=7, seed=seed)

    actions = np.random.default_rng(1).integers(2, size=30).tolist()

    def trace(env: StreamEnv, actions: list[int], pending: bool) -> list[Any]:
        said = []
        for action in actions:
            if pending:
                said.append(copied(list(env.reset())))
            said.append(copied(list(env.step(action))))
            pending = said[-1][2] or said[-1][3]
        return said

    env = stream(2)
    before = trace(env, actions[:at], True)
    if not at:
        env.reset()
    pending = bool(before) and (before[-1][2] or before[-1][3])
    state = through_json(env.get_state())
    assert (state["next"] is not None) == pending
    expected = trace(env, actions[at:], pending)
    other = stream(99)
    other.set_state(state)
    assert_same(trace(other, actions[at:], pending), expected)
    assert at not in (7, 14) or pending


def test_another_stream_s_state_is_refused() -> None:
    env = StreamEnv("Named-v0", seed=0)
    env.reset()
    with pytest.raises(ValueError, match=r"cannot be set on a stream that is then in segment 0 \(task 'breakout'\)"):
        StreamEnv("breakout").set_state(env.get_state())


# ---------------------------------------------------------------------- pictures


def test_pictures() -> None:
    env = StreamEnv(["breakout", "asterix"], render_mode="rgb_array", steps_per_task=3, seed=0)
    assert env.metadata == {"render_modes": ["rgb_array"], "render_fps": 15}
    env.reset()
    frames = [env.render()]
    for _ in range(3):
        *_, truncated, info = env.step(0)
        frames.append(env.render())
    assert (truncated, info["task"]) == (True, "breakout")
    assert [(frame.dtype, frame.shape) for frame in frames] == [(np.uint8, (320, 320, 3))] * 4
    assert (frames[1] != frames[2]).any()  # the ball has moved
    np.testing.assert_array_equal(frames[3], frames[2])  # the game has gone on; the picture is the last of the episode
    env.reset()
    assert (env.render() != frames[3]).any()
    plain = StreamEnv("breakout")
    with pytest.raises(ResetNeeded, match="render was called before reset"):
        plain.render()
    plain.reset()
    assert plain.render() is None


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # moviepy leaves pipes to the collector
def test_gymnasium_records_a_video_across_a_switch(tmp_path: Path) -> None:
    video = pytest.importorskip("moviepy.video.io.VideoFileClip", reason="needs the extra video")
    env = StreamEnv(["freeway", "asterix"], render_mode="rgb_array", steps_per_task=6, seed=0)
    pictures = []
    recorder = RecordVideo(
        env,
        str(tmp_path / "films"),
        video_length=12,
        step_trigger=lambda step: step == 0,
        name_prefix="both",
        disable_logger=True,
    )
    recorder.reset(seed=0)
    pictures.append(env.render())
    tasks = []
    for _ in range(12):
        _, _, terminated, truncated, info = recorder.step(0)
        tasks.append(info["task"])
        pictures.append(env.render())
        if terminated or truncated:
            recorder.reset()
    recorder.close()
    assert tasks == ["freeway"] * 6 + ["asterix"] * 6
    (path,) = (tmp_path / "films").glob("both-*.mp4")
    with video.VideoFileClip(str(path)) as clip:
        frames = list(clip.iter_frames())
        assert tuple(clip.size) == (320, 320)
    assert len(frames) >= 12

    def distance(frame: Any, picture: Any) -> float:
        return float(np.abs(frame.astype(float) - picture.astype(float)).mean())

    # Compression leaves them close to one game's pictures and far from the other's.
    for number, place in ((1, 1), (-1, -1)):
        assert distance(frames[number], pictures[place]) < distance(frames[number], pictures[-place]) / 3


# ---------------------------------------------------------------------- batches


def test_gymnasium_s_word_for_the_number_of_games() -> None:
    env = make_vector(3, "minatar3", steps_per_task=6, order="shuffle", seed=1)
    assert (env.num_envs, env.stream.total_steps) == (3, 18)
