"""How TensorBoard's Custom Scalars group the tags of a run: a chart for each quantity; in it the color is the run."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.custom_scalar import metadata
from tensorboard.plugins.custom_scalar.layout_pb2 import Category, Chart, Layout, MultilineChartContent
from tensorboard.util import tensor_util
from torch.utils.tensorboard import SummaryWriter

from crl.measures import PLASTICITY
from crl.monitoring.tasks import EVALUATED_RETURN, OF_ALL, RETURN, RETURN_BY_VISIT, tag_of

MOST_TASKS = 12  # that have a chart each, of as many as TensorBoard shows on a page; those of more share one

Charts = dict[str, list[str]]
"""Title -> the tags in one chart, as regular expressions that are matched from their beginning."""

OF_INTERVENTIONS: dict[str, tuple[str, dict[str, str]]] = {  # what logs -> category, and title -> pattern
    "resets": (  # the first part is the intervention's name
        "cost of the resets",
        {
            "predicted": "[^/]+/predicted_cost$",
            "realised": "[^/]+/realised_cost$",
            "predicted for each unit, summed": "[^/]+/unit_costs$",
        },
    ),
    "chain": (  # the second one is the network
        "churn of a step",
        {
            "churn": r"chain(_\d+)?/[^/]+/churn$",
            "penalty": r"chain(_\d+)?/[^/]+/penalty$",
            "coefficient": r"chain(_\d+)?/[^/]+/coefficient$",
        },
    ),
    "replay": ("replay ratio", {"replay ratio": "replay/ratio$", "its fraction of active units": "replay/fau$"}),
}
OPEN = ("return", "return by visit", "evaluation: return", "units reset so far", "plasticity: units")
"""Categories that are unfolded where the page is opened."""


def layout(
    tasks: Sequence[str],
    networks: Sequence[str],
    measures: Sequence[str],
    logging: Collection[str],
    *,
    evaluates: bool = False,
    comes_again: bool = True,
) -> dict[str, Charts]:
    """Category -> its charts; categories without charts are left out.

    Args:
        tasks: names of the stream's tasks.
        networks: whose units are counted where they are reset.
        measures: tags of the measures of plasticity.
        logging: which keys of `OF_INTERVENTIONS` there are.
        evaluates: whether the tasks are evaluated.
        comes_again: whether a task is visited more than once.
    """
    logged = [charts for key, charts in OF_INTERVENTIONS.items() if key in logging]
    found = {
        "return": _of_tasks(f"{RETURN}/{{}}", tasks),
        "return by visit": _of_visits(tasks, comes_again),
        "evaluation: return": _of_tasks(EVALUATED_RETURN, tasks) if evaluates else {},
        "units reset so far": {network: [_exactly(f"reset/{network}/total")] for network in networks},
        **plasticity_charts(measures),
        **{category: {title: [pattern] for title, pattern in charts.items()} for category, charts in logged},
    }
    return {category: charts for category, charts in found.items() if charts}


def _of_tasks(tag: str, tasks: Sequence[str]) -> Charts:
    """A chart for each task, or one for all; the braces in the tag stand for the task."""
    if len(tasks) > MOST_TASKS:
        before, after = map(re.escape, tag.split("{}"))
        return {f"all {len(tasks):,} tasks": [f"{before}.*{after}$" if after else before]}
    return {task: [_exactly(tag.format(tag_of(task)))] for task in tasks}


def _of_visits(tasks: Sequence[str], comes_again: bool) -> Charts:
    """A chart of all visits, and one for each task that has more than a point there."""
    of_all = {"all tasks": [_exactly(OF_ALL)]} if len(tasks) > 1 else {}
    alone = comes_again or len(tasks) == 1
    return of_all | (_of_tasks(f"{RETURN_BY_VISIT}/{{}}", tasks) if alone and len(tasks) <= MOST_TASKS else {})


def plasticity_charts(tags: Sequence[str]) -> dict[str, Charts]:
    """Category -> charts of those of the tags that it shows, one for each measure and network."""
    return {category: dict(_of_measures(measures, tags)) for category, measures in PLASTICITY.items()}


def _of_measures(measures: Mapping[str, str], tags: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    for measure, title in measures.items():
        for tag in tags:
            network, _, name = tag.removeprefix("plasticity/").rpartition("/")
            if name == measure:
                yield f"{title}: {network}", [_exactly(tag)]


def _exactly(tag: str) -> str:
    return f"{re.escape(tag)}$"


def write_layout(writer: SummaryWriter, categories: Mapping[str, Charts]) -> None:
    """Write how TensorBoard shall group the tags. SummaryWriter's own method leaves no category folded."""
    proto = Layout(
        category=[
            Category(
                title=title,
                chart=[Chart(title=name, multiline=MultilineChartContent(tag=tags)) for name, tags in charts.items()],
                closed=title not in OPEN,
            )
            for title, charts in categories.items()
        ]
    )
    value = Summary.Value(
        tag=metadata.CONFIG_SUMMARY_TAG,
        metadata=metadata.create_summary_metadata(),
        tensor=tensor_util.make_tensor_proto(proto.SerializeToString()),
    )
    writer._get_file_writer().add_summary(Summary(value=[value]))
