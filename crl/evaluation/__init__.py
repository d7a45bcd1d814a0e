"""Evaluation: how well the agent plays every task of the stream, also those that it does not train on.

``evaluations.csv`` in the run's folder has a row for each evaluation and task, in the order of the evaluations and,
within each, of the stream's tasks. Its columns, all of them in every row:

=============== ========================================================================================================
``step``        steps of training so far (0 before the first update), never above the stream's; the same in all rows of
                an evaluation, and rising from one to the next
``segment``     index, from 0, of the segment that the last of these steps was in: an evaluation at the step that ends a
                visit is that visit's last, and knows nothing yet of the next task. 0 at step 0
``training``    name of that segment's task, the one that is trained on
``task``        name of the task that was played
``family``      the name that all variants of one entry share; of other tasks the same as ``task``
``episodes``    how many were played, at least 1
``return_mean`` mean of their returns, undiscounted, in the world's own rewards
``return_std``  standard deviation of these, of the population (of one episode 0)
``return_min``  the smallest
``return_max``  the largest
``length_mean`` mean of their lengths in steps
``cut``         how many of them did not end, and were cut after ``evaluation.limit`` steps; they count as they stood,
                in the rewards that the agent sees. What else their games were to play is not played
=============== ========================================================================================================

Evaluations stand at step 0, at the end of every visit and of the run, and in each visit at ``every / 2**k`` steps after
it began for k = ``evaluation.dense``, ..., 1, and at multiples of ``every``: each at the end of the first update at or
behind such a step. Where they would take more than ``evaluation.share`` of the run's time there are fewer, and one that
is due may wait. Numbers are written so that they are read back to the last bit. `crl evaluate` writes the same
columns.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from crl.config import ConfigError, EvaluationConfig, imported
from crl.config.fields import MAX_REPETITIONS
from crl.config.messages import shown
from crl.opening import opened
from crl.run_folder import check_home, check_run, check_trained, check_writable

FILE = "evaluations.csv"
FOLDER = "evaluation"  # in the run's, for what is evaluated afterwards
BEST, ALL = "best", "all"


def evaluate(
    folder: Path,
    task: str | None = None,
    episodes: int | None = None,
    checkpoint: str | None = None,
    video: Path | None = None,
) -> int:
    """Evaluate a run's checkpoints, print what was found, and write it to the folder ``evaluation`` in the run's.

    Games and seeds are those of the evaluations of the run itself, so that a checkpoint comes to the same numbers.
    Nothing else in the run's folder is touched.

    Args:
        folder: of the run.
        task: that is played, or a family of variants; None for all that the run would evaluate.
        episodes: of each task; None for as many as the run's.
        checkpoint: a step; "best" for the best parameters of each task, which is played with its own; "all" for those
            of all steps that are there; None for the newest.
        video: a folder for films, one of the first episode of each task; None for none.

    Returns:
        The exit code, 0.

    Raises:
        ConfigError: something does not fit; nothing has been written.
    """
    (check_run if checkpoint == BEST else check_trained)(folder)
    with opened(folder) as config:
        config = imported(config)
        if checkpoint is not None and checkpoint not in (BEST, ALL) and not _is_step(checkpoint):
            raise ConfigError(f"--checkpoint {shown(checkpoint)} is none; give a step such as 100000, {BEST}, or {ALL}")
        if episodes is not None:
            if not 1 <= episodes <= MAX_REPETITIONS:
                raise ConfigError(
                    f"--episodes {episodes} is out of range; give a whole number from 1 to {MAX_REPETITIONS}"
                )
            settings = EvaluationConfig.model_validate({**config.evaluation.model_dump(), "episodes": episodes})
            config = config.model_copy(update={"evaluation": settings})
        check_home(folder / FOLDER)
        if video is not None:
            _check_video(video)
        from crl.evaluation.afterwards import evaluate_run

        return evaluate_run(folder, config, task, checkpoint, video)


def _is_step(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 18


def _check_video(folder: Path) -> None:
    """Refuse a folder that films cannot be written to, and all films where nothing can write them."""
    if importlib.util.find_spec("imageio") is None or importlib.util.find_spec("imageio_ffmpeg") is None:
        raise ConfigError("--video needs imageio and ffmpeg, which are not installed; run pip install -e '.[video]'")
    check_writable(folder, "--video ")
