"""Pieces of refusals."""

from __future__ import annotations

import pytest

from crl.audit.loading import _task
from crl.config import ConfigError
from crl.config.messages import nearest
from envs import TaskStream
from envs.entries import tasks_from


def test_the_closest_word_or_all_of_a_few() -> None:
    assert nearest("brakeout", ["breakout", "asterix"]) == "did you mean 'breakout'?"
    assert nearest("zzz", ["breakout", "asterix"], "x") == "choose from breakout, asterix, or x"
    assert nearest("zzz", []) == "choose from none"
    assert nearest("zzz", [], "give x") == "give x"
    fifty = [f"w{number}" for number in range(50)]
    assert nearest("zzz", fifty) == f"choose from {', '.join(fifty)}"


def test_of_thousands_of_words_the_first_are_shown() -> None:
    words = [f"w{number}" for number in range(5000)]
    assert nearest("zzz", words, "x") == f"choose from {', '.join(words[:49])}, ... (5,000 in all), or x"


def test_an_audit_of_thousands_of_tasks_refuses_in_one_sentence() -> None:
    tasks, _ = tasks_from({"id": "cartpole", "shifts": ["pixel_permutation"], "variants": 5000})
    stream = TaskStream.build(tasks, steps_per_task=10)
    assert _task(stream, "cartpole+pixel_permutation#4321", 0) is stream.tasks[4321]
    assert _task(stream, None, 43211) is stream.tasks[4321]
    with pytest.raises(ConfigError) as error:
        _task(stream, "zzz", 0)
    assert str(error.value).startswith(
        '--task "zzz" is no task of this run; choose from cartpole+pixel_permutation#0, '
    )
    assert len(str(error.value)) < 2000
