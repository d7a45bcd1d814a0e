"""What runs are called beside one another."""

from __future__ import annotations

from typing import Any

import pytest

from crl.labels import group_labels, labels


def config(*methods: dict[str, Any], seed: int = 1, agent: str = "ppo", **settings: Any) -> dict[str, Any]:
    return {
        "agent": {"name": agent, "n_envs": 8, **settings},
        "interventions": [*methods],
        "seed": seed,
        "runs": f"r{seed}",
    }


GXD, REDO = {"name": "gxd", "rate": 1e-4, "period": 1000}, {"name": "redo", "tau": 0.025, "period": 500}


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        ([config(GXD)], ["ppo, gxd, seed 1"]),
        ([config()], ["ppo, plain, seed 1"]),
        ([config(GXD, seed=3), config(GXD, seed=4)], ["seed 3", "seed 4"]),
        ([config(GXD), config(REDO), config(), config(GXD, REDO)], ["gxd", "redo", "plain", "gxd + redo"]),
        ([config(GXD, seed=1), config(GXD, seed=2), config()], ["gxd", "gxd", "plain"]),
        (
            [config(GXD), config(GXD | {"rate": 0.01}), config()],
            ["gxd, gxd.rate=0.0001", "gxd, gxd.rate=0.01", "plain"],
        ),
        ([config(), config(agent="dqn", buffer_size=9)], ["ppo", "dqn"]),
        (
            [config(net_arch={"pi": [64]}), config(net_arch={"pi": [8]})],
            ["agent.net_arch.pi=[64]", "agent.net_arch.pi=[8]"],
        ),
        (
            [config(), config() | {"evaluation": {"every": 1}}, config() | {"evaluation": {"every": 2}}],
            ["ppo, plain", "evaluation.every=1", "evaluation.every=2"],  # the first is of before there was this key
        ),
        ([{}, {"interventions": 5, "runs": {}}], ["seed None", "seed None"]),
    ],
)
def test_labels(configs: list[dict[str, Any]], expected: list[str]) -> None:
    assert labels(configs) == expected


def test_groups_are_known_by_no_seed_and_no_name() -> None:
    named = [config(GXD, seed=seed) | {"stream": {"name": "x", "seed": seed, "label": f"l{seed}"}} for seed in (1, 2)]
    assert group_labels(named) == ["ppo, gxd"] * 2
    assert group_labels([*named, config()]) == ["gxd", "gxd", "plain"]
    assert group_labels([config()]) == ["ppo, plain"]


def test_a_label_is_short_and_printable() -> None:
    long = [config(**{f"key{n}": f"\x1b{n + m // 2}" * 100 for n in range(9)}) for m in range(4)]
    one, also, two, again = labels(long)
    assert (one, two) == (also, again)
    assert one != two
    for label in (one, two):
        assert len(label) < 100
        assert label.isprintable()
        assert ", ..." in label


def test_what_a_label_leaves_out_still_tells_runs_apart() -> None:
    alike = [config(**{f"key{n}": 0 if n < 3 else m for n in range(9)}) for m in (1, 2)]
    differing = [{**each, "x": number, "y": number, "z": 7 * number} for number, each in enumerate(alike)]
    assert labels([*differing, differing[0]]) == [
        "agent.key3=1, agent.key4=1, agent.key5=1, ...",
        "agent.key3=2, agent.key4=2, agent.key5=2, ...",
        "agent.key3=1, agent.key4=1, agent.key5=1, ...",
    ]
    last = [config(**{f"key{n}": 1 if n < 8 else m for n in range(9)}) for m in (1, 2)]
    other = config(**{f"key{n}": 2 for n in range(9)})
    assert labels([*last, other]) == [
        "agent.key0=1, agent.key1=1, agent.key2=1, ...",
        "agent.key0=1, agent.key1=1, agent.key2=1, ... (2)",
        "agent.key0=2, agent.key1=2, agent.key2=2, ...",
    ]
