"""Runs of the agents that learn from replay: what they write, that they repeat exactly, and how they end."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from processes import Process
from saved import learner_of, normalizer_of, policy_of, state_of
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents import AGENTS
from crl import run as runs
from crl.config import check_arguments, config_hash, load

Replaying = tuple[str, Path, "subprocess.CompletedProcess[str]"]

# Agent -> steps, and gradient steps: one in each rollout of 20 after step 100, two in each of 10 after step 50.
STEPS = {"dqn": 2 * 63 * 20, "sac": 5 * 23 * 10}
GRADIENT_STEPS = {"dqn": 2 * 63 - 5, "sac": 2 * (5 * 23 - 5)}
ROWS = {"dqn": [1000, 2000, 2520], "sac": [1000, 1150]}
NETWORKS = {"dqn": ["critic"], "sac": ["actor", "critic"]}
UNITS = {"dqn": 16 + 128 + 8}


def rows_of(run: Path) -> list[dict[str, str]]:
    with (run / "progress.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def results_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "results.json").read_text())
    return found


def train(config: Path, *overrides: str, into: Path) -> Path:
    """Train in this process; the run's folder."""
    checked = check_arguments(load(config, [*overrides, f"runs={into}"]))
    assert runs.train(checked, ["crl"]) == 0
    (folder,) = into.iterdir()
    return folder


def test_folder(replaying: Replaying) -> None:
    agent, run, result = replaying
    assert result.returncode == 0
    lacking = {"dqn": "breakout", "sac": "earth, moon, short and 1 more"}[agent]  # no checkpoint but the one at the end
    (warning,) = result.stderr.splitlines()
    assert warning.startswith(
        f"crl: warning: no checkpoint falls due in a visit of {lacking}, so that best/ will have no"
    )
    method = {"dqn": "tiny__dqn__gxd__s3", "sac": "pendulum5__sac__redo__s3"}[agent]
    assert re.fullmatch(method + r"__\d{8}T\d{6}Z", run.name)
    names = {path.name for path in run.iterdir() if not path.name.startswith("events.out.tfevents.")}
    assert names - {"vecnormalize.pkl"} == {
        ".claims", ".config_hash", "config.yaml", "command.txt", "versions.txt", "progress.csv", "checkpoints", "best",
        "model.zip", "results.json",
    }  # fmt: skip
    assert ("vecnormalize.pkl" in names) == (agent == "sac")
    assert [path.name for path in (run / "checkpoints").iterdir()] == [str(STEPS[agent])]


def test_resolved_config(replaying: Replaying) -> None:
    agent, run, _ = replaying
    config = yaml.safe_load((run / "config.yaml").read_text())
    found = {key: config["agent"][key] for key in ("features", "net_arch", "activation", "n_steps", "tau")}
    assert found == {
        "dqn": {"features": "minatar_cnn", "net_arch": [8], "activation": "relu", "n_steps": 1, "tau": 1.0},
        "sac": {
            "features": "flatten", "net_arch": {"pi": [8], "qf": [8]}, "activation": "relu", "n_steps": 1, "tau": 0.005,
        },
    }[agent]  # fmt: skip
    dqn = {"replay": "keep", "exploration": "keep", "random_steps": 40, "optimizer": "reset", "normalizer": "keep"}
    assert config["at_switch"] == (dqn if agent == "dqn" else {**dqn, "random_steps": 0, "optimizer": "keep"})
    assert config["normalize"] == {"obs": agent == "sac", "reward": agent == "sac"}


def test_results(replaying: Replaying) -> None:
    agent, run, _ = replaying
    results = results_of(run)
    assert results["status"] == "done"
    assert (results["steps"], results["gradient_steps"]) == (STEPS[agent], GRADIENT_STEPS[agent])
    assert list(results["resets"]) == NETWORKS[agent]
    assert results["resets"]["critic"] > 0
    tasks = {"dqn": ["breakout", "asterix"], "sac": ["earth", "moon", "short", "mars", "long"]}[agent]
    assert [visit["task"] for visit in results["visits"]] == tasks
    assert results["visits"][0]["episodes"] > 0


def test_rows(replaying: Replaying) -> None:
    agent, run, _ = replaying
    rows = rows_of(run)
    assert [int(row["time/total_timesteps"]) for row in rows] == ROWS[agent]
    for row in rows:
        for network in NETWORKS[agent]:
            assert 0 <= float(row[f"plasticity/{network}/dormant_ratio"]) <= 1
            assert row[f"plasticity/{network}/ntk_rank"] != ""
            assert float(row[f"reset/{network}/units"]) >= 0
        assert row["task/index"] != ""
        assert float(row["train/n_updates"]) > 0
    assert [row["task/segment"] for row in rows] == {"dqn": ["0", "1", "1"], "sac": ["4", "4"]}[agent]
    for tag in ("plasticity/critic/value_churn", "plasticity/critic/update_norm"):
        assert rows[0][tag] == ""
        assert float(rows[-1][tag]) >= 0
    if agent == "dqn":
        assert [row["task/switches"] for row in rows] == ["0", "1", "1"]
        assert rows[0]["Return/breakout"] != ""
        assert rows[0]["Return/asterix"] == ""
        assert rows[1]["plasticity/critic/value_churn"] == ""  # a new segment, a new probe
    else:
        assert "task/switches" not in rows[0]


def test_tensorboard(replaying: Replaying) -> None:
    agent, run, _ = replaying
    events = EventAccumulator(str(run), size_guidance={"scalars": 0})
    events.Reload()
    assert [event.step for event in events.Scalars("plasticity/critic/fau")] == ROWS[agent]
    assert "custom_scalars__config__" in events.Tags()["tensors"]


def test_its_own_config_repeats_a_run_exactly(replaying: Replaying, tmp_path: Path) -> None:
    agent, run, _ = replaying
    assert (run / ".config_hash").read_text() == config_hash(load(run / "config.yaml"))
    if agent == "sac":  # one that repeats itself is enough
        return
    second = train(run / "config.yaml", into=tmp_path / "again")
    assert results_of(second)["config_hash"] == results_of(run)["config_hash"]
    assert results_of(second)["visits"] == results_of(run)["visits"]
    one, two = (folder / "checkpoints" / str(STEPS[agent]) for folder in (run, second))
    assert state_of(one) == state_of(two)


def test_model_holds_what_the_checkpoint_holds(replaying: Replaying) -> None:
    agent, run, _ = replaying
    model = AGENTS[agent].resolve().load(run / "model.zip", device="cpu")
    checkpoint = run / "checkpoints" / str(STEPS[agent])
    tensors, state = policy_of(checkpoint), model.policy.state_dict()
    assert state.keys() == tensors.keys()
    assert all(torch.equal(state[name], tensors[name]) for name in state)
    beside, normalizer = learner_of(checkpoint)["tensors"], normalizer_of(checkpoint)
    if agent == "dqn":
        assert (beside, normalizer) == ({}, None)
    else:
        assert torch.equal(beside["log_ent_coef"], model.log_ent_coef.detach())
        assert float(beside["log_ent_coef"]) != 0
        assert normalizer is not None
        assert normalizer["obs_rms"][""]["count"] == pytest.approx(1150, abs=20)
        assert np.isfinite(normalizer["obs_rms"][""]["var"]).all()


def test_an_oracle_begins_anew(tiny_dqn: Path) -> None:
    run = train(tiny_dqn / "tiny.yaml", "interventions=[{name: oracle}]", "at_switch=null", "at_switch={}",
                into=tiny_dqn / "r")  # fmt: skip
    results = results_of(run)
    # The buffer is empty after step 1260, and the next update comes when it holds more than 100 transitions again.
    assert results["gradient_steps"] == GRADIENT_STEPS["dqn"] - 100 // 20
    assert results["resets"] == {"critic": UNITS["dqn"]}


def test_a_cleared_replay_waits_for_new_transitions(tiny_dqn: Path) -> None:
    overrides = ["interventions=[]", "at_switch={replay: clear, exploration: restart}"]
    run = train(tiny_dqn / "tiny.yaml", *overrides, into=tiny_dqn / "r")
    results, rows = results_of(run), rows_of(run)
    assert results["gradient_steps"] == GRADIENT_STEPS["dqn"] - 100 // 20
    assert results["resets"] == {"critic": 0}
    assert [row["task/switches"] for row in rows] == ["0", "1", "1"]
    # Epsilon falls from 1 to 0.2 over the first tenth of the steps, and once more from the switch on.
    assert [float(row["rollout/exploration_rate"]) for row in rows] == pytest.approx([0.2, 0.2, 0.2])


def test_a_short_run_has_a_row(tiny_dqn: Path) -> None:
    overrides = [
        "stream={steps_per_task: 64, cycles: 1, boundary: hidden}",
        "at_switch={random_steps: 0, optimizer: keep}",
    ]
    run = train(tiny_dqn / "tiny.yaml", *overrides, "interventions=[]", into=tiny_dqn / "r")
    (row,) = rows_of(run)
    assert (row["time/total_timesteps"], row["task/index"], row["time/episodes"]) != ("", "", "")
    assert int(row["time/total_timesteps"]) == results_of(run)["steps"] == 160
    assert float(row["plasticity/critic/fau"]) > 0  # measured at the end of training: 160 is after 100


def test_interrupted_run_is_saved(tiny_dqn: Path) -> None:
    process = Process("train", "tiny.yaml", "stream.steps_per_task=10_000_000", "runs=r", cwd=tiny_dqn)
    try:
        process.until(lambda: any(path.stat().st_size for path in tiny_dqn.glob("r/*/progress.csv")))
        process.send(signal.SIGINT)
        assert process.wait() == 130
    finally:
        process.kill()
    finishing = r"\nfinishing this rollout and update \(.+\), then saving; Ctrl-C again exits at once\n"
    assert re.fullmatch(finishing, process.errors())
    (run,) = (tiny_dqn / "r").iterdir()
    results = results_of(run)
    assert results["status"] == "interrupted"
    assert results["gradient_steps"] == results["steps"] // 20 - 5
    assert int(rows_of(run)[-1]["time/total_timesteps"]) <= results["steps"]
    tensors = policy_of(run / "checkpoints" / str(results["steps"]))
    assert all(tensor.isfinite().all() for tensor in tensors.values())
