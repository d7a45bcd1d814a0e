"""Which tasks no checkpoint falls due in."""

from __future__ import annotations

import pytest

from crl.best import unkept
from envs import TaskStream
from envs.entries import tasks_from


@pytest.mark.parametrize(
    ("every", "cycles", "lacking"),
    [
        (100, 1, None),
        (101, 1, "breakout"),  # steps 101 and 202, and the end
        (250, 1, "breakout and asterix"),
        (301, 1, "breakout and asterix"),
        (300, 2, "breakout and asterix"),  # steps 300 and 600 are the last of freeway's visits
        (350, 2, "asterix"),
    ],
)
def test_tasks_without_a_checkpoint(every: int, cycles: int, lacking: str | None) -> None:
    tasks = [task for name in ("breakout", "asterix", "freeway") for task in tasks_from(name)[0]]
    stream = TaskStream.build(tasks, steps_per_task=100, cycles=cycles)
    sentence = unkept(stream, every)
    if lacking is None:
        assert sentence is None
    else:
        them = "them" if " and " in lacking else "it"
        assert sentence == (
            f"no checkpoint falls due in a visit of {lacking}, so that best/ will have no parameters for {them}; "
            "give checkpoint.every=100 or less"
        )


def test_variants_are_one_task_and_many_are_counted() -> None:
    variants, _ = tasks_from({"id": "breakout", "shifts": ["pixel_permutation"], "variants": 5000})
    assert unkept(TaskStream.build(variants, steps_per_task=10), 10_000) is None
    games = [{"id": "cartpole", "offset": [float(n)] * 4} for n in range(30)]
    stream = TaskStream.build([task for game in games for task in tasks_from(game)[0]], steps_per_task=10)
    sentence = unkept(stream, 1000)
    assert sentence is not None
    assert "and 26 more, so that best/ will have no parameters for them" in sentence


@pytest.mark.parametrize(
    ("every", "rollout", "lacking", "remedy"),
    [
        (100, 64, "breakout", "checkpoint.every=64 or less"),  # at steps 128 and 256, and the end
        (64, 64, None, None),
        (64, 150, "breakout", "stream.align=rollout: no rollout ends in a visit"),  # at step 150, and the end
    ],
)
def test_checkpoints_are_written_at_the_ends_of_rollouts(
    every: int, rollout: int, lacking: str | None, remedy: str | None
) -> None:
    tasks = [task for name in ("breakout", "asterix", "freeway") for task in tasks_from(name)[0]]
    sentence = unkept(TaskStream.build(tasks, steps_per_task=100), every, rollout)
    assert (sentence is None) == (lacking is None)
    if sentence is not None:
        assert f"in a visit of {lacking}, so" in sentence
        assert sentence.endswith(f"; give {remedy}")
