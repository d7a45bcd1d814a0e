"""Runs on games of envpool, which are begun anew at every checkpoint."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from compared import assert_equal, checkpoints_of
from fake_pool import install
from small_run import trained_run

import crl
from crl.config import ConfigError, check_arguments, load
from crl.models import build

CONFIG = """
stream:
  tasks: [{id: starpilot_hard, start_level: 20, num_levels: 1}, {id: starpilot_hard, start_level: 21, num_levels: 9}]
  steps_per_task: 48
  boundary: revealed
agent: {name: ppo, n_envs: 2, n_steps: 8, batch_size: 8, n_epochs: 1, features: impala, random_shift: 4}
normalize: {reward: true}
at_switch: {normalizer: reset}
interventions: [{name: gxd, networks: [features], rate: 0.05, period: 2, maturity: 2, score_every: 1}]
checkpoint: {every: 32, keep: 9}
seed: 3
device: cpu
threads: 1
"""
ATARI = """
stream:
  tasks:
    - {id: atari/breakout, full_action_space: false, episodic_life: true, reward_clip: true}
    - {id: atari/breakout, name: other, mode: 4, full_action_space: false, episodic_life: true, reward_clip: true}
  steps_per_task: 48
agent: {name: ppo, n_envs: 2, n_steps: 8, batch_size: 8, n_epochs: 1, features: nature_cnn}
"""
CONTROL = """
stream: {tasks: [dmc/quadruped-walk, dmc/quadruped-run], steps_per_task: 48, boundary: revealed}
agent: {name: ppo, n_envs: 2, n_steps: 8, batch_size: 8, n_epochs: 1, net_arch: {pi: [8], vf: [8]}}
normalize: {obs: true, reward: true}
at_switch: {normalizer: reset}
interventions: [{name: c_chain, paper: true}]
"""
META_WORLD = """
stream:
  tasks: [{id: metaworld/hammer, episode_limit: 9}, {id: metaworld/push-wall, episode_limit: 9}]
  steps_per_task: 48
  boundary: revealed
agent: {name: sac, n_envs: 2, buffer_size: 100, learning_starts: 8, batch_size: 4, net_arch: {pi: [8], qf: [8]}}
at_switch: {replay: clear, optimizer: reset, exploration: restart, random_steps: 8}
"""
COMMON = """
checkpoint: {every: 32, keep: 9}
seed: 3
device: cpu
threads: 1
"""
RUNS = {
    "ProcGen": CONFIG,
    "Atari": ATARI + COMMON,
    "DeepMind Control": CONTROL + COMMON,
    "Meta-World": META_WORLD + COMMON,
}
INSTALLED = pytest.mark.skipif(not find_spec("envpool"), reason="envpool is not installed")


@pytest.mark.parametrize(
    ("player", "suite"),
    [
        *(("fake", suite) for suite in RUNS),
        *(pytest.param("envpool", suite, marks=INSTALLED) for suite in ("ProcGen", "DeepMind Control")),
        *(pytest.param("envpool", suite, marks=[INSTALLED, pytest.mark.slow]) for suite in ("Atari", "Meta-World")),
    ],
)
def test_a_killed_run_that_goes_on_ends_as_one_that_was_not(
    player: str, suite: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = install(monkeypatch) if player == "fake" else None
    config = RUNS[suite]
    if player == "fake":  # quick
        config = config.replace("impala", "flatten, net_arch: [8]").replace("[features]", "[actor]")
    expected = trained_run(tmp_path, config)
    assert checkpoints_of(expected) == [32, 64, 96]
    if made is not None:
        assert sum(pool.phantoms for pool in made if "episodic_life" not in pool.given) == 0
        # For each task, for the second one's switch, and at each checkpoint other games, with other seeds.
        played = [tuple(pool.given["seed"]) for pool in made if pool.given["num_envs"] == 2 and pool.elapsed.any()]
        assert len(set(played)) == len(played) == 4
    killed = Path(shutil.copytree(expected, tmp_path / "killed"))
    for name in ("results.json", "model.zip", "vecnormalize.pkl"):
        (killed / name).unlink(missing_ok=True)
    shutil.rmtree(killed / "checkpoints" / "64")
    shutil.rmtree(killed / "checkpoints" / "96")
    assert crl.resume(killed).status == "done"
    assert_equal(killed, expected)


def test_which_units_of_impala_can_be_reset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    for norm in ("none", "layer"):
        _, model, env = build(check_arguments(load(tmp_path / "tiny.yaml", [f"agent.norm={norm}"])))
        features = model.networks["features"]
        assert [layer.units for layer in features.layers] == [16, 16, 32, 32, 32, 32, 256]
        assert len(features.fixed) == 9  # of each sequence the first convolution, and the last of each block
        assert model.rollout_buffer.observations.dtype == "uint8"  # type: ignore[attr-defined]
        assert all(layer.exact is (norm == "none") for layer in features.layers)
        env.close()


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("stream.tasks=[starpilot]", "is neither a task nor a Gymnasium id; did you mean 'starpilot_hard'"),
        ("stream.tasks=[starpilot_hrd]", "is neither a task nor a Gymnasium id; did you mean 'starpilot_hard'"),
        ("stream={name: cchain/starpilt, tasks: null}", "is neither a stream nor .* did you mean 'cchain/starpilot'"),
        ("stream.tasks=[{id: maze_easy, start_level: -1}]", "stream.tasks: start_level must be a whole number of at"),
        ("stream.tasks=[atari/pongg]", "is neither a task nor a Gymnasium id; did you mean 'atari/pong'"),
        ("stream.tasks=[pong]", "is neither a task nor a Gymnasium id; did you mean 'atari/pong'"),
        ("stream.tasks=[dmc/walker_walk]", "is neither a task nor a Gymnasium id; did you mean 'dmc/walker-walk'"),
        ("stream.tasks=[{id: atari/pong, mode: 16}]", "stream.tasks: atari/pong cannot be played with mode=16 and"),
        ("stream.tasks=[{id: atari/pong, mod: 1}]", "the task 'atari/pong' takes no argument 'mod', only mode, "),
        ("stream.tasks=[maze_easy, breakout]", "stream.tasks: tasks 'maze_easy' and 'breakout' have different observa"),
        ("agent.features=flatten", r"agent.features=flatten; leave it out, or choose nature_cnn, impala"),
        ("agent.random_shift=-1", "agent.random_shift=-1 "),
    ],
)
def test_refusals(override: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    with pytest.raises(ConfigError, match=sentence):
        build(check_arguments(load(tmp_path / "tiny.yaml", [override])))
