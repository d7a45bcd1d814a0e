"""Configs: reading, overrides, defaults and hashes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from shipped import GXD

from crl.config import RunConfig, check_arguments, config_hash, load, to_yaml


def test_overrides() -> None:
    config = check_arguments(
        load(
            GXD,
            [
                "interventions.0.rate=1e-3",
                "seed=7",
                "agent={n_steps: 32, gamma: 0.9}",
                "agent.learning_rate.linear=[1e-3, 0]",
                "stream.name=null",
                "stream.tasks=[breakout, {id: Pendulum-v1, g: 5.0}]",
                "runs=a=b c",
            ],
        )
    )
    assert config.interventions[0].arguments() == {
        "networks": ["actor", "critic", "features"],
        "rate": 0.001,
        "budget": None,
        "reference": "zero",
        "reduction": "abs_mean",
        "signal": "loss",
        "period": 1000,
        "maturity": 1000,
        "score_every": 16,
    }
    assert (config.agent.n_envs, config.agent.n_steps, config.agent.gamma) == (64, 32, 0.9)  # mappings are merged
    assert config.agent.model_dump()["learning_rate"] == {"linear": (0.001, 0.0)}
    assert config.stream.tasks == ("breakout", {"id": "Pendulum-v1", "g": 5.0})
    assert (config.seed, config.stream.seed, config.runs) == (7, 7, "a=b c")


def test_defaults_are_those_of_the_stream_and_of_stable_baselines(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("stream: {name: minatar5}\nagent: {name: ppo}\n")
    data = load(path).model_dump()
    assert data["stream"] == {
        "name": "minatar5", "tasks": None, "label": None, "steps_per_task": 500_000, "cycles": 1, "order": "sequence",
        "lengths": "fixed", "boundary": "hidden", "align": "rollout", "seed": 0, "episode_limit": 2500, "spaces": None,
    }  # fmt: skip
    assert data["agent"] == {
        "name": "ppo", "n_envs": 1, "n_steps": 2048, "batch_size": 64, "n_epochs": 10, "learning_rate": 3e-4,
        "gamma": 0.99, "gae_lambda": 0.95, "clip_range": 0.2, "ent_coef": 0.0, "vf_coef": 0.5, "max_grad_norm": 0.5,
        "features": None, "net_arch": None, "activation": None, "norm": "none", "dropout": 0.0, "network": "mlp",
        "injectable": False, "optimizer": {"name": "adam"}, "random_shift": 0, "speed": "exact",
        "clip_range_vf": None,
        "normalize_advantage": True, "use_sde": False, "sde_sample_freq": -1, "target_kl": None,
        "policy_kwargs": {
            "ortho_init": True, "log_std_init": 0.0, "use_expln": False, "full_std": True, "squash_output": False,
            "share_features_extractor": True, "normalize_images": True,
            "optimizer_kwargs": {"eps": 1e-5, "betas": (0.9, 0.999), "weight_decay": 0.0},
        },
    }  # fmt: skip
    assert data["imports"] == ()
    assert (data["interventions"], data["seed"], data["device"], data["threads"]) == ((), 0, "auto", "auto")


def test_written_config_is_read_again(tmp_path: Path) -> None:
    config = check_arguments(load(GXD, ["agent.clip_range.linear=[0.2, 0.1]", "interventions.0.networks=null"]))
    path = tmp_path / "again.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    again = check_arguments(load(path))
    assert again.model_dump() == config.model_dump()
    assert config_hash(again) == config_hash(config)


def test_hash_knows_what_decides_the_numbers() -> None:
    def hash_of(*overrides: str) -> str:
        return config_hash(check_arguments(load(GXD, overrides)))

    base = hash_of()
    assert base == hash_of("runs=elsewhere", "device=cpu", "threads=3")
    assert base == hash_of("stream.seed=1", "interventions.0.rate=1e-4", "agent.learning_rate=1e-3")
    others = ["seed=2", "interventions.0.rate=1e-3", "agent.gamma=0.98", "stream.order=shuffle", "stream.seed=2"]
    assert len({base, *(hash_of(other) for other in others)}) == len(others) + 1


def test_configs_are_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load(GXD).seed = 3  # type: ignore[misc]


def test_what_json_can_tell_is_kept_in_tasks(tmp_path: Path) -> None:
    x = '{a: [1, -2.5, true, null, "2024-01-01"], b: {c: text}}'
    config = load(GXD, ["stream={name: null, tasks: [{id: Pendulum-v1, x: " + x + "}]}"])
    path = tmp_path / "again.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    assert load(path).stream.tasks == config.stream.tasks
    assert config_hash(load(path)) == config_hash(config)


def test_merge_keys_of_yaml_work(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("stream: {name: minatar3}\nagent: {<<: {n_envs: 2, n_steps: 64}, name: ppo, n_envs: 4}\n")
    config = load(path)
    assert (config.agent.n_envs, config.agent.n_steps) == (4, 64)


def test_schema_can_be_exported() -> None:
    schema: dict[str, Any] = RunConfig.model_json_schema()
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == {"stream", "agent"}
