"""What TensorBoard's tab HPARAMS shows of an ablation: of each finished run its place in the grid and its results.

A finished run gets one file of events more, in its own folder. TensorBoard takes the columns from the first run that it
finds, so that each says what columns the whole ablation has. What stands in the file depends on the grid and on the
run's files alone: written again it is the same.
"""

from __future__ import annotations

import io
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from filelock import FileLock
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo, SessionStartInfo
from tensorboard.summary.writer.record_writer import RecordWriter

from crl.ablation.grid import SEED, Cell, text
from crl.ablation.plan import Planned
from crl.ablation.record import LOCK
from crl.compare.groups import MEASURES
from crl.compare.reading import Run, read
from crl.config import ConfigError
from crl.logs import EVENTS
from crl.metrics import average
from crl.results import FILE as RESULTS
from crl.screen import warn
from crl.storage.files import replace_file

FILE = f"{EVENTS}hparams"  # read last, since TensorBoard goes by the names of a folder's files
GROUP = "results"  # of the tags
DORMANT = "plasticity/{}/dormant_ratio"

LACKING = "-"  # value of what a run has not: TensorBoard's parallel coordinates leave out runs without one

Columns = Mapping[str, api_pb2.HParamInfo]


def columns(cells: Sequence[Cell]) -> Columns:
    """The hyperparameters that some run of a grid has: its arm, the keys of axes and its seed, by name."""
    rows = [_hyperparameters(cell) for cell in cells]
    names = list(dict.fromkeys(name for row in rows for name in row))
    short = Counter(map(_short, names))
    return {
        name: _column(
            name, _short(name) if short[_short(name)] == 1 else name, [row.get(name, LACKING) for row in rows]
        )
        for name in names
    }


def _hyperparameters(cell: Cell) -> dict[str, Any]:
    return {**cell.factors, SEED: cell.seed}


def _short(key: str) -> str:
    return key.rpartition(".")[2]


def _column(name: str, shown: str, values: Sequence[Any]) -> api_pb2.HParamInfo:
    differs = len({_text(value) for value in values}) > 1
    found = api_pb2.HParamInfo(name=name, display_name=shown, differs=differs, type=api_pb2.DATA_TYPE_STRING)
    if all(_is_number(value) for value in values):
        found.type = api_pb2.DATA_TYPE_FLOAT64
        found.domain_interval.CopyFrom(api_pb2.Interval(min_value=min(values), max_value=max(values)))
    else:
        found.domain_discrete.extend(dict.fromkeys(map(_text, values)))
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _text(value: Any) -> str:
    """As protocol buffers take it: YAML's escapes can write halves of characters."""
    return text(value).encode(errors="backslashreplace").decode()


def write(run: Planned, known: Columns) -> None:
    """Write the row of a finished run, unless it is there; a warning tells of one whose files are damaged.

    Args:
        run: that is finished.
        known: the columns of its ablation.
    """
    try:
        found = read(run.folder)
    except ConfigError as error:
        warn(f"TensorBoard's tab HPARAMS lacks a run: {error}")
        return
    if found is None:
        return
    path = run.folder / FILE
    content = _content(found, _hyperparameters(run.cell), known, (run.folder / RESULTS).stat().st_mtime)
    with FileLock(run.folder.parent / LOCK):
        if not path.is_file() or path.read_bytes() != content:
            replace_file(path, content)


class Result(NamedTuple):
    """A number that a run has come to.

    Attributes:
        tag: under which it is written.
        shown: what it is called.
        meaning: of it.
        value: nan where the run has none; None of what has been written while the run was trained.
    """

    tag: str
    shown: str
    meaning: str
    value: float | None


def results_of(run: Run) -> list[Result]:
    """Every measure of `crl compare` that needs no other run, and the shares of dormant units.

    Of several tasks it is the mean over them, which orders runs of one stream; scales of returns may differ.
    """
    found = []
    for measure in MEASURES:
        if of := measure.of(run, None):
            meaning = f"mean of {len(of)} tasks" if len(of) > 1 else ""
            found.append(Result(f"{GROUP}/{measure.name}", measure.name.partition(" (")[0], meaning, average(of)))
    for network in run.results.resets:
        found.append(Result(DORMANT.format(network), f"dormant ratio: {network}", "the last one measured", None))
    return found


def _content(run: Run, hyperparameters: Mapping[str, Any], known: Columns, time: float) -> bytes:
    """The file of events.

    Args:
        run: that has ended.
        hyperparameters: name -> value.
        known: the columns of its ablation.
        time: at which it ended, in seconds since 1970.
    """
    results = results_of(run)
    start = SessionStartInfo(start_time_secs=time - run.results.seconds)
    for name, column in known.items():
        value = hyperparameters.get(name, LACKING)
        if column.type == api_pb2.DATA_TYPE_FLOAT64:
            start.hparams[name].number_value = value
        else:
            start.hparams[name].string_value = _text(value)
    end = SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time)
    experiment = api_pb2.Experiment(
        hparam_infos=known.values(),
        metric_infos=[
            api_pb2.MetricInfo(name=api_pb2.MetricName(tag=each.tag), display_name=each.shown, description=each.meaning)
            for each in results
        ],
    )
    values = [
        _of_plugin(metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=experiment)),
        _of_plugin(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start)),
        _of_plugin(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=end)),
        *(
            Summary.Value(tag=each.tag, simple_value=each.value)
            for each in results
            if each.value is not None and math.isfinite(each.value)
        ),
    ]
    file = io.BytesIO()
    records = RecordWriter(file)
    records.write(Event(wall_time=time, file_version="brain.Event:2").SerializeToString())
    records.write(Event(wall_time=time, step=run.results.steps, summary=Summary(value=values)).SerializeToString())
    return file.getvalue()


def _of_plugin(tag: str, data: HParamsPluginData) -> Summary.Value:
    """As TensorBoard's own function makes it, which needs TensorFlow; hyperparameters are in a fixed order here."""
    data.version = metadata.PLUGIN_DATA_VERSION
    content = SummaryMetadata.PluginData(
        plugin_name=metadata.PLUGIN_NAME, content=data.SerializeToString(deterministic=True)
    )
    return Summary.Value(tag=tag, metadata=SummaryMetadata(plugin_data=content), tensor=metadata.NULL_TENSOR)
