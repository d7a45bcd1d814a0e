"""Films of an agent that plays."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np

import envs
from agents.learner import LearnerMixin
from crl.config import EvaluationConfig
from crl.config.messages import one_line
from crl.ending import named
from crl.evaluation.playing import play
from crl.storage.files import move

LONGEST = 10_000  # pictures
SPEED = 30  # pictures a second, of worlds that do not say


class UnseenError(Exception):
    """A world cannot be drawn, and why."""


def film(learner: LearnerMixin, task: envs.Task, seed: int, settings: EvaluationConfig, path: Path) -> None:
    """Film one episode, the first that an evaluation with the same seed plays; pictures are written as they come.

    Args:
        learner: that plays.
        task: that is played.
        seed: of games and actions.
        settings: how and how long; up to `LONGEST` steps.
        path: of the film, an MP4 file.

    Raises:
        UnseenError: the world cannot be drawn.
        OSError: the file cannot be written.
    """
    alone = settings.model_copy(update={"episodes": 1, "limit": min(settings.limit, LONGEST)})
    unfinished = path.with_name(f".{path.name}")
    camera = _Camera(unfinished)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of worlds that cannot be drawn; it is said below
            play(learner, task, seed, alone, watch=camera)
    except ValueError as error:  # it cannot be made so
        raise UnseenError(one_line(error)) from error
    finally:
        camera.close()
    move(unfinished, path)


class _Camera:
    """Writes what it is shown into a file.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: Any = None

    def __call__(self, games: envs.StreamVectorEnv) -> None:
        """Take a picture of the first game.

        Raises:
            UnseenError: it gives none.
        """
        try:
            frame = (games.render() or (None,))[0]
        except Exception as error:  # the world may be a user's, and what it draws with may be missing
            raise UnseenError(f"its world cannot be drawn ({named(error)})") from error
        if not (isinstance(frame, np.ndarray) and frame.dtype == np.uint8 and frame.ndim == 3):
            raise UnseenError("its world draws no pictures")
        if self._writer is None:
            import imageio.v2

            self._path.parent.mkdir(parents=True, exist_ok=True)
            speed = games.games.metadata.get("render_fps") or SPEED
            # Not to be made larger to whole blocks of 16: players ask for even numbers alone.
            self._writer = imageio.v2.get_writer(self._path, format="FFMPEG", fps=speed, macro_block_size=2)
        self._writer.append_data(frame)

    def close(self) -> None:
        """Close the file."""
        if self._writer is not None:
            self._writer.close()
