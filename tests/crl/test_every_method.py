"""Every intervention, architecture and optimizer that is registered, with every agent: killed, and gone on with.

By default each meets one agent, in turn; `-m slow` has the others.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from compared import assert_equal, checkpoints_of
from processes import Process, crl

from agents.optimizers import ADAM, OPTIMIZERS
from agents.plasticity.registry import INTERVENTIONS, NETWORKS

AGENTS: dict[str, dict[str, Any]] = {
    "ppo": {"n_envs": 2, "n_steps": 20, "batch_size": 20, "n_epochs": 2},
    "dqn": {"buffer_size": 100, "learning_starts": 20, "train_freq": 4, "target_update_interval": 20, "batch_size": 8},
    "sac": {"buffer_size": 100, "learning_starts": 20, "train_freq": 4, "batch_size": 8},
    "td3": {"buffer_size": 100, "learning_starts": 20, "train_freq": 4, "batch_size": 8},
}
REPLAYING = ("dqn", "sac", "td3")
OFTEN: dict[str, dict[str, Any]] = {
    "gxd": {"rate": 0.05, "period": 5, "maturity": 5, "score_every": 1},
    "redo": {"tau": 0.9, "period": 5, "samples": 16},
    "regrama": {"tau": 0.9, "period": 5, "maturity": 5, "score_every": 1},
    "cbp": {"rate": 0.05, "period": 5, "maturity": 5, "score_every": 1},
    "cpr": {"rate": 0.5, "period": 5, "score_every": 1},
    "snr": {"eta": 0.9, "period": 5, "score_every": 1},
    "reset": {"criterion": "random", "selection": {"name": "percentage", "share": 0.3}, "period": 5, "maturity": 5},
    "swr": {"rate": 0.1, "period": 5, "score_every": 1},
    "full_reset": {"period": 10},
    "oracle": {},
    "head_reset": {"period": 10},
    "shrink_and_perturb": {"period": 5},
    "fire": {"period": 10},
    "plasticity_injection": {"step": 5},
    "c_chain": {"coefficient": "auto", "window": 20, "warmup": 0},
    "l2_init": {"coefficient": 0.1},
    "spectral": {"coefficient": 0.1, "every": 1},
    "parseval": {"coefficient": 0.1, "every": 1},
    "weight_decay": {"coefficient": 0.1},
    "weight_clipping": {"kappa": 0.5},
    "normalize_and_project": {},
    "sigreg": {"every": 2},
    "sample_weight_decay": {"decay_steps": 60},
    "adaptive_replay_ratio": {"interval": 10, "window": 40},
    "auto": {"candidates": ["head_reset", "gxd"], "period": 5, "threshold": 9.0, "budget": 1e6, "steps": 20},
}
"""Intervention -> arguments with which it acts in a few updates."""
NEEDS: dict[str, dict[str, Any]] = {
    "snr": {"activation": "relu"},
    "normalize_and_project": {"norm": "layer"},
    "plasticity_injection": {"injectable": True},
    "auto": {"learning_rate": 0.03},  # with which so few steps of a probe tell something
}
"""Intervention -> the networks, and other settings of the agent, that it needs."""


def methods() -> dict[str, tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Name -> settings of the agent, and interventions."""
    found = {name: (NEEDS.get(name, {}), [{"name": name, **OFTEN[name]}]) for name in INTERVENTIONS}
    for line in NETWORKS:
        key, _, value = line.strip().removeprefix("agent.").partition(": ")
        found[f"{key} {value}"] = ({key: yaml.safe_load(value)}, [])
    found |= {f"optimizer {name}": ({"optimizer": name}, []) for name in OPTIMIZERS if name != ADAM}
    return found


def pairs() -> list[Any]:
    found = []
    for number, method in enumerate(methods()):
        agents = REPLAYING if method == "sample_weight_decay" else tuple(AGENTS)
        for place, agent in enumerate(agents):
            marks = [] if place == number % len(agents) else [pytest.mark.slow]
            found.append(pytest.param(agent, method, marks=marks))
    return found


def test_all_that_is_registered_is_known_here() -> None:
    assert set(OFTEN) == set(INTERVENTIONS)


@pytest.mark.parametrize(("agent", "method"), pairs())
def test_a_killed_run_ends_as_one_that_nobody_disturbed(agent: str, method: str, tmp_path: Path) -> None:
    settings, interventions = methods()[method]
    widths = [8, 8]
    pair = {"ppo": {"pi": widths, "vf": widths}, "dqn": widths}.get(agent, {"pi": widths, "qf": widths})
    game = {"id": "pendulum" if agent in ("sac", "td3") else "cartpole", "name": "heavy", "gravity": 12.0}
    config = {
        "stream": {"tasks": [game["id"], game], "steps_per_task": 60, "boundary": "revealed"},
        "agent": {"name": agent, **AGENTS[agent], "net_arch": pair, "activation": "relu", **settings},
        "interventions": interventions,
        "checkpoint": {"every": 40},
        "seed": 3, "device": "cpu", "threads": 1,
    }  # fmt: skip
    runs = []
    for name in ("killed", "alone"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        process = Process("train", "config.yaml", cwd=folder)
        if name == "killed":
            process.until(lambda folder=folder: any(map(checkpoints_of, folder.glob("runs/*"))))  # type: ignore[misc]
            process.kill()
        else:
            assert process.wait() == 0, process.errors()
        runs += folder.glob("runs/*")
    killed, alone = runs
    process = crl("resume", str(killed), cwd=tmp_path)
    assert process.wait() == 0, process.errors()
    assert_equal(killed, alone)
