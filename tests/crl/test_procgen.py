"""Runs on ProcGen, whose games are begun anew at every checkpoint."""

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
INSTALLED = pytest.mark.skipif(not find_spec("envpool"), reason="envpool is not installed")


@pytest.mark.parametrize(
    ("player", "network"),
    [
        ("fake", {"impala": "flatten, net_arch: [8]", "[features]": "[actor]"}),  # quick
        pytest.param("envpool", {}, marks=INSTALLED),
    ],
)
def test_a_killed_run_that_goes_on_ends_as_one_that_was_not(
    player: str, network: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = install(monkeypatch) if player == "fake" else None
    config = CONFIG
    for old, new in network.items():
        config = config.replace(old, new)
    expected = trained_run(tmp_path, config)
    assert checkpoints_of(expected) == [32, 64, 96]
    if made is not None:
        assert sum(pool.phantoms for pool in made) == 0
        # For each task, for the second one's switch, and at each checkpoint other games, with other seeds.
        played = [tuple(pool.given["seed"]) for pool in made if pool.given["num_envs"] == 2 and pool.elapsed.any()]
        assert len(set(played)) == len(played) == 4
    killed = Path(shutil.copytree(expected, tmp_path / "killed"))
    for name in ("results.json", "model.zip", "vecnormalize.pkl"):
        (killed / name).unlink()
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
