"""Tables and files of an audit in which hardly anything is defined."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from rich.console import Console

from crl.audit.agreement import summaries
from crl.audit.report import show_layer, show_summary, write_csv, write_json


def test_what_is_not_defined(silent_audit: Any, tmp_path: Path) -> None:
    found, audits = silent_audit
    out = Console(file=io.StringIO(), width=100)
    for audit in audits:
        show_layer(audit, out)
    summary = summaries(audits)
    show_summary(summary, len(audits), out)
    text = out.file.getvalue()  # type: ignore[attr-defined]
    assert "net.0: 5 units; mean cost of one: zero 0, mean 0" in text
    assert [line.split() for line in text.splitlines() if line.startswith(" gxd   ")] == [["gxd", *"------"]] * 3
    # nothing costs anything: no ranking is right or wrong, and no choice of units is worse than another
    assert [line.split() for line in text.splitlines() if line.startswith(" redo ")] == [
        ["redo", "-", "-", "1", "-", "-", "1"]
    ] * 3
    silent = [line for line in text.splitlines() if line.startswith("no signal (all utilities zero or equal")]
    assert len(silent) == 2
    assert all(" gxd, gxd to mean, " in line for line in silent)

    for width in (60, 80):
        narrow = Console(file=io.StringIO(), width=width)
        show_layer(audits[0], narrow)
        text = narrow.file.getvalue()  # type: ignore[attr-defined]
        assert "\u2026" not in text
        assert " zero " in text
        assert [line.split() for line in text.splitlines() if line.startswith(" redo ")] == [
            ["redo", "-", "-", "1", "-", "-", "1"]
        ]

    header = {"task": "t", "loss": math.inf}
    write_json(tmp_path / "audit.json", header, found, audits, summary)
    data = json.loads((tmp_path / "audit.json").read_text())
    assert data["loss"] is None
    layer = data["layers"][0]
    assert layer["criteria"]["gxd"]["signal"] is False
    undefined = {"spearman": {"absolute": None, "mean_loss": None, "outputs": None}, "lowest": None}
    assert layer["criteria"]["gxd"]["zero"] == undefined
    assert layer["criteria"]["redo"]["zero"]["lowest"]["ratio"] == 1

    write_csv(tmp_path / "audit.csv", audits)
    with (tmp_path / "audit.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 2 * len(found) * 2
    assert lines[0]["criterion"] == "gxd"
    assert (lines[0]["signal"], lines[0]["spearman_absolute"], lines[0]["lowest_ratio"]) == ("False", "", "")
