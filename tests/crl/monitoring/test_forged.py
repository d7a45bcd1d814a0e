"""States of parts that nobody has written: refused before training."""

from __future__ import annotations

from typing import Any

import pytest
from small_ppo import build
from stable_baselines3.common.logger import Logger

from crl.monitoring import LoggerPart, UsagePart

ROW: dict[str, Any] = {"values": {"a": 1.0}, "counts": {"a": 1}, "excluded": {"a": []}}


def test_tags_that_are_no_text() -> None:
    part, model = LoggerPart(), build("mlp")
    model.set_logger(Logger(None, []))
    part.model = model
    part.restore(ROW)
    assert part.state() == ROW
    with pytest.raises(TypeError, match="no text"):
        part.restore({**ROW, "values": {3: "x"}})


@pytest.mark.parametrize("memory", [{"process": 10**40}, {"process": 1, "device": 2**63}])
def test_more_memory_than_there_can_be(memory: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="less than"):
        UsagePart().restore({"seconds": 1.0, "peak_memory": memory})
