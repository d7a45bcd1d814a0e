"""Charts: every measure has one, and TensorBoard finds its tags."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from small_ppo import build
from stable_baselines3.common.logger import configure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from agents.plasticity import CChain
from agents.plasticity.diagnostics import Diagnostics, FitProbe
from crl.monitoring.dashboard import MOST_TASKS, PLASTICITY, layout
from crl.monitoring.tasks import tag_of

MEASURES = {measure for measures in PLASTICITY.values() for measure in measures}


def test_the_dashboard_finds_tags_of_tasks_with_arguments(tmp_path: Path) -> None:
    task = "Pendulum-v1(g=5.0, mode=[a]*)"
    tags = [f"Return/{tag_of(task)}", f"Return/{tag_of(task)}2"]
    logger = configure(str(tmp_path), ["tensorboard"])
    for tag in tags:
        logger.record(tag, 1.0)
    logger.dump(1)
    logger.close()
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    ((pattern,),) = layout([task], [], [], [])["return"].values()
    # As TensorBoard does, from the beginning and not to the end.
    assert [name for name in events.Tags()["scalars"] if re.match(pattern, name)] == tags[:1]


def test_a_chart_for_each_task_network_and_measure() -> None:
    tags = [f"plasticity/{name}/{measure}" for name in ("actor", "critic") for measure in ("dormant_ratio_0.1", "fau")]
    assert layout(["a", "b"], ["actor", "critic"], [*tags, "plasticity/actor/entropy"], ["resets", "replay"]) == {
        "return": {"a": ["Return/a$"], "b": ["Return/b$"]},
        "return by visit": {
            "all tasks": ["Return_by_visit/all_tasks$"],
            "a": ["Return_by_visit/a$"],
            "b": ["Return_by_visit/b$"],
        },
        "units reset so far": {"actor": ["reset/actor/total$"], "critic": ["reset/critic/total$"]},
        "plasticity: units": {
            "fraction of active units: actor": ["plasticity/actor/fau$"],
            "fraction of active units: critic": ["plasticity/critic/fau$"],
        },
        "plasticity: policy": {"entropy: actor": ["plasticity/actor/entropy$"]},
        "plasticity: dormant units at other thresholds": {
            "dormant ratio at 0.1: actor": [r"plasticity/actor/dormant_ratio_0\.1$"],
            "dormant ratio at 0.1: critic": [r"plasticity/critic/dormant_ratio_0\.1$"],
        },
        "cost of the resets": {
            "predicted": ["[^/]+/predicted_cost$"], "realised": ["[^/]+/realised_cost$"],
            "predicted for each unit, summed": ["[^/]+/unit_costs$"],
        },
        "replay ratio": {"replay ratio": ["replay/ratio$"], "its fraction of active units": ["replay/fau$"]},
    }  # fmt: skip


def test_what_interventions_log_is_found() -> None:
    interventions = [CChain(networks=["actor"]), CChain(networks=["critic"])]
    model = build("mlp", interventions=interventions).learn(64)
    found = layout([], [], [], ["chain", ""])["churn of a step"]
    tags = list(model.hooks.metrics())
    assert sorted(tag for (pattern,) in found.values() for tag in tags if re.match(pattern, tag)) == sorted(tags)
    assert len(tags) == 6


def test_many_tasks_share_a_chart() -> None:
    few, many = ([f"task{number}" for number in range(count)] for count in (MOST_TASKS, MOST_TASKS + 1))
    assert list(layout(few, [], [], [])["return"]) == few
    assert layout(many, [], [], []) == {
        "return": {"all 13 tasks": ["Return/"]},
        "return by visit": {"all tasks": ["Return_by_visit/all_tasks$"]},
    }
    once = layout(few, [], [], [], comes_again=False)["return by visit"]
    assert once == {"all tasks": ["Return_by_visit/all_tasks$"]}  # a task alone would have one point
    assert layout(["variants"], [], [], [])["return by visit"] == {"variants": ["Return_by_visit/variants$"]}


def test_every_measure_has_a_chart_and_every_chart_a_measure() -> None:
    found = set()
    for kind in ("mlp", "mlp-tanh-gsde"):  # discrete, and bounded activations
        model = build(kind).learn(64)
        diagnostics = Diagnostics(model, torch.Generator(), fit=FitProbe(model, 0))
        diagnostics.measure()
        found |= {tag.rpartition("/")[2] for tag in diagnostics.tags}
    assert found == MEASURES
