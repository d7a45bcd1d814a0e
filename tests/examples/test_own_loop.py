"""The loop of one's own runs as it stands."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "own_loop.py"


def test_the_loop_of_ones_own_learns_and_resets_units(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    found = re.fullmatch(r"loss ([\d.]+), units reset (\{.*\})\n", capsys.readouterr().out)
    assert found
    assert float(found[1]) < 0.05  # the targets' mean square is about .4
    # 20 times .1 of 2 x 64 units, all of which are old enough whenever a period ends.
    assert ast.literal_eval(found[2]) == {"net": 256}


def test_it_is_twenty_lines_of_code() -> None:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith('"""')
    assert lines[0].endswith('"""')
    code = [line for line in lines[1:] if line.strip() and not line.lstrip().startswith("#")]
    assert 10 < len(code) <= 20
