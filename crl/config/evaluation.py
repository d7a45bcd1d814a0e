"""The section `evaluation`: when the agent plays all tasks of the stream, and how."""

from __future__ import annotations

from typing import Annotated

from crl.config.fields import MAX_REPETITIONS, Count, Flag, Model, PositiveShare, Range


class EvaluationConfig(Model):
    """How the agent is evaluated on every task of the stream, which training does not notice.

    Attributes:
        every: steps of a visit between two evaluations, beside those where it begins and ends; null for none at all.
        dense: how many there are besides in the first `every` steps of a visit, at half of them, a quarter, ...
        episodes: that are played of each task.
        tasks: of the variants of one task as many are evaluated, drawn with stream.seed; of other tasks all.
        deterministic: the agent's best guess is played; else it acts as in training.
        share: of the run's time that evaluations may take, beyond which they are made less often; 1 for any.
        limit: steps after which an episode is cut.
    """

    every: Count | None = None
    dense: Annotated[int, Range(0, 30)] = 4
    episodes: Annotated[int, Range(1, MAX_REPETITIONS)] = 10
    tasks: Annotated[int, Range(1, MAX_REPETITIONS)] = 10
    deterministic: Flag = True
    share: PositiveShare = 0.1
    limit: Count = 10_000
