"""Charts: every measure has one, and TensorBoard finds its tags."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from small_ppo import build
from stable_baselines3.common.logger import configure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.plasticity.diagnostics import Diagnostics
from crl.monitoring.dashboard import CHARTS, _chart, plasticity_charts
from crl.monitoring.tasks import tag_of


def test_the_dashboard_finds_tags_of_tasks_with_arguments(tmp_path: Path) -> None:
    tag = f"task/{tag_of('Pendulum-v1(g=5.0, mode=[a]*)')}/ep_rew_mean"
    logger = configure(str(tmp_path), ["tensorboard"])
    logger.record(tag, 1.0)
    logger.dump(1)
    logger.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    kind, patterns = _chart([tag])
    assert kind == "Multiline"
    assert [name for name in events.Tags()["scalars"] if re.fullmatch(patterns[0], name)] == [tag]


MEASURES = {measure for charts in CHARTS.values() for measures in charts.values() for measure in measures}


def test_charts_group_the_measures_of_all_networks() -> None:
    tags = [f"plasticity/{name}/{measure}" for name in ("actor", "critic") for measure in ("dormant_ratio_0.1", "fau")]
    assert plasticity_charts([*tags, "plasticity/actor/dormant_ratio", "plasticity/actor/entropy"]) == {
        "plasticity: units": {
            "dormant ratio": _chart(
                [
                    "plasticity/actor/dormant_ratio",
                    "plasticity/actor/dormant_ratio_0.1",
                    "plasticity/critic/dormant_ratio_0.1",
                ]
            ),
            "fraction of active units": _chart(["plasticity/actor/fau", "plasticity/critic/fau"]),
        },
        "plasticity: policy": {"entropy": _chart(["plasticity/actor/entropy"])},
    }


def test_every_measure_has_a_chart_and_every_chart_a_measure() -> None:
    found = set()
    for kind in ("mlp", "mlp-tanh-gsde"):  # discrete, and bounded activations
        model = build(kind).learn(64)
        diagnostics = Diagnostics(model, torch.Generator())
        diagnostics.measure()
        found |= {tag.rpartition("/")[2] for tag in diagnostics.tags}
    assert found == MEASURES
