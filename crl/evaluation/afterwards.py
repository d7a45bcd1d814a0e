"""From the checkpoints of a run to a table, a file and films."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich import box
from rich.table import Table

import envs
from agents.learner import LearnerMixin
from crl import best, storage
from crl.config import ConfigError, RunConfig
from crl.config.messages import nearest, shown
from crl.csv_log import CsvLog
from crl.evaluation import ALL, BEST, FOLDER
from crl.evaluation.film import UnseenError, film
from crl.evaluation.playing import seed_of
from crl.evaluation.rows import Row, places_of, rows, world_at
from crl.exit_codes import DONE
from crl.learnt import agent_of, by_step, load, newest_checkpoint, saved_at
from crl.screen import console, say, tolerant, warn
from crl.storage.files import move
from envs.threads import available_threads


class _Saved(NamedTuple):
    """A checkpoint, and what is played with it."""

    folder: Path
    step: int
    places: Sequence[int]
    """Of the tasks in the stream."""


def evaluate_run(folder: Path, config: RunConfig, task: str | None, checkpoint: str | None, video: Path | None) -> int:
    """Evaluate what a run has learnt; the arguments are those of `crl.evaluation.evaluate`, checked.

    Raises:
        ConfigError: a checkpoint, the task or the agent does not fit.
    """
    torch.set_num_threads(available_threads())
    config, model, env = agent_of(config)
    try:
        places = _chosen(config, env.stream, task)
        saved = _saved(folder, checkpoint, env.stream, places)
        which = checkpoint if checkpoint in (BEST, ALL) else str(saved[0].step)
        path = folder / FOLDER / (f"{which}.csv" if task is None else f"{which}-{best.folder_name(task)}.csv")
        found = []
        for each in saved:
            try:
                load(model, each.folder)
            except ConfigError as error:
                if checkpoint != ALL:
                    raise
                warn(f"a step is left out: {error}")
                continue
            found += list(rows(model, config, env.stream, each.places, each.step))
            if video is not None:
                _film(model, config, env.stream, each, video)
        if not found:
            raise ConfigError(f"{str(folder)!r} has no checkpoint that is whole; give another run")
        _write(path, found)
    finally:
        env.close()
    with tolerant():
        _show(found)
    say(f"written: {path}")
    return DONE


# ------------------------------------------------------------------ what is played


def _chosen(config: RunConfig, stream: envs.TaskStream, name: str | None) -> list[int]:
    """Places of the tasks that a name stands for: of a task, or of the variants of one that the run evaluates."""
    places = places_of(config, stream)
    if name is None:
        return places
    tasks = {task.name: [place] for place, task in enumerate(stream.tasks)}
    for place in places:
        if (family := stream.tasks[place].variant_of) is not None:
            tasks.setdefault(family, []).append(place)
    if name not in tasks:
        raise ConfigError(f"--task {shown(name)} is no task of this run; {nearest(name, tasks)}")
    return tasks[name]


def _saved(folder: Path, which: str | None, stream: envs.TaskStream, places: Sequence[int]) -> list[_Saved]:
    """The checkpoints that are meant, of which there is one at least; steps rise.

    Raises:
        ConfigError: there is none, or it is damaged.
    """
    if which is None:
        newest = newest_checkpoint(folder)
        return [_Saved(newest, int(newest.name), places)]
    if which == BEST:
        return [*_best(folder, stream, places)]
    if which == ALL:
        return [_Saved(path, step, places) for step, path in sorted(by_step(folder).items())]
    return [_Saved(saved_at(folder, int(which), f", {BEST} or {ALL}"), int(which), places)]


def _best(folder: Path, stream: envs.TaskStream, places: Sequence[int]) -> Iterator[_Saved]:
    """Each task with its own best parameters; those that have none are left out, and said."""
    families: dict[str, list[int]] = {}
    for place in places:
        families.setdefault(stream.tasks[place].family, []).append(place)
    kept = {family: folder / best.FOLDER / best.folder_name(family) for family in families}
    lacking = [family for family, path in kept.items() if not path.is_dir()]
    if len(lacking) == len(kept):
        raise ConfigError(
            f"{str(folder / best.FOLDER)!r} has no parameters of what is to be played; give a step, or {ALL}"
        )
    for family in lacking:
        warn(f"{family} has no best parameters, and is left out")
    found = []
    for family, path in kept.items():
        if family in lacking:
            continue
        try:
            step = storage.Manifest.load(path).step
        except storage.DamagedError as error:
            raise ConfigError(f"the best parameters of {family} cannot be read: {error}") from error
        found.append(_Saved(path, step or 0, families[family]))
    yield from sorted(found, key=lambda each: each.step)


# ------------------------------------------------------------------ what is made of it


def _film(model: LearnerMixin, config: RunConfig, stream: envs.TaskStream, saved: _Saved, folder: Path) -> None:
    """Film the first episode of each task; what cannot be drawn is said."""
    for place in saved.places:
        task = world_at(config, stream, place, saved.step)
        path = folder / f"{best.folder_name(task.name)}-{saved.step}.mp4"
        try:
            film(model, task, seed_of(config.seed, place), config.evaluation, path)
        except UnseenError as error:
            warn(f"{task.name} is not filmed: {error}")
        except OSError as error:
            raise ConfigError(
                f"{str(path)!r} cannot be written ({error.strerror or error}); give another folder"
            ) from None
        else:
            say(f"film: {path}")


def _write(path: Path, found: Sequence[Row]) -> None:
    """Put rows into a file, in place of those that are there."""
    unfinished = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(exist_ok=True)
        unfinished.unlink(missing_ok=True)
        log = CsvLog(unfinished)
        for row in found:
            log.append(row)
        log.close()
        move(unfinished, path)
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be written ({error.strerror}); make room for it") from None


def _show(found: Sequence[Row]) -> None:
    """Print a line for each task and checkpoint."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("step", "task", "return", "std", "length", "episodes", "cut"):
        table.add_column(column, justify="left" if column == "task" else "right")
    for row in found:
        numbers = [f"{row[key]:,.2f}" for key in ("return_mean", "return_std", "length_mean")]
        table.add_row(f"{row['step']:,}", str(row["task"]), *numbers, str(row["episodes"]), str(row["cut"]))
    console().print(table, markup=False)
