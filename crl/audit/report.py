"""What an audit found: tables on the screen, and files in the run's folder."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from agents.plasticity.audit import REFERENCES, AuditedCriterion
from crl.audit.agreement import Agreement, LayerAudit, Lowest, Summary

COLUMNS = ("\n cost", "mean\nloss", "lowest\n10%")  # of each replacement
LEGEND = (
    "zero, mean: what each unit alone was replaced by; 'to mean': the criterion's reference is the mean",
    "cost: Spearman's correlation with the mean absolute change of a transition's loss",
    "mean loss: with the absolute change of the mean loss, in which transitions cancel",
    "lowest 10%: summed costs of the tenth of the units that rank lowest, each alone, over the least that they can be; "
    "1 is best",
)


def show_layer(audit: LayerAudit, out: Console) -> None:
    """Print the table of a layer."""
    layer = audit.layer
    means = ", ".join(f"{name} {float(audit.costs[name].absolute.mean()):.3g}" for name in REFERENCES)
    _title(f"{layer.name}: {layer.units} units; mean cost of one: {means}", out)
    table = _table()
    for label, found in audit.agreements.items():
        table.add_row(label, *(cell for name in REFERENCES for cell in _cells(found[name])))
    out.print(table)
    if audit.silent:
        out.print(f"no signal (all utilities zero or equal, or not finite): {', '.join(audit.silent)}", markup=False)


def show_summary(found: Mapping[str, Mapping[str, Summary]], layers: int, out: Console) -> None:
    """Print the means over layers."""
    _title(f"all {layers} layers: mean correlations, median of lowest", out)
    table = _table()
    for label, of in found.items():
        table.add_row(label, *(cell for name in REFERENCES for cell in _summary_cells(of[name])))
    out.print(table)
    for line in LEGEND:
        out.print(line, markup=False, highlight=False)


def _title(title: str, out: Console) -> None:
    out.print(title, style="bold", markup=False, highlight=False)


def _table() -> Table:
    # Narrow enough for 80 columns; where there are fewer, the criteria's names are folded and no number is cut.
    table = Table(box=box.SIMPLE_HEAD, padding=0)
    table.add_column("criterion", overflow="fold")
    for name in REFERENCES:
        for number, column in enumerate(COLUMNS):
            table.add_column(f"{name if number == 0 else ''}\n{column}", justify="right", no_wrap=True)
    return table


def _cells(found: Agreement) -> tuple[str, str, str]:
    ratio = None if found.lowest is None else found.lowest.ratio
    return _number(found.absolute), _number(found.mean_loss), _ratio(ratio)


def _summary_cells(found: Summary) -> tuple[str, str, str]:
    return _number(found.absolute), _number(found.mean_loss), _ratio(found.ratio)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else "inf" if math.isinf(value) else f"{value:.3g}"


def write_json(
    path: Path,
    header: Mapping[str, Any],
    candidates: Sequence[AuditedCriterion],
    audits: Sequence[LayerAudit],
    found: Mapping[str, Mapping[str, Summary]],
) -> None:
    """All numbers; what is not defined, or infinite, is null."""
    data = {
        **header,
        "criteria": {
            candidate.label: {
                "criterion": {"name": candidate.criterion.name, **candidate.criterion.options},
                "reference": candidate.reference,
                "signal": candidate.signal,
            }
            for candidate in candidates
        },
        "layers": [_layer(audit) for audit in audits],
        "summary": {label: {name: asdict(of[name]) for name in REFERENCES} for label, of in found.items()},
    }
    path.write_text(json.dumps(_as_json(data), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _layer(audit: LayerAudit) -> dict[str, Any]:
    return {
        "network": audit.layer.network,
        "layer": audit.layer.name,
        "units": audit.layer.units,
        "costs": {
            name: {key: getattr(of, key).tolist() for key in ("absolute", "mean_loss", "outputs")}
            for name, of in audit.costs.items()
        },
        "criteria": {
            label: {
                "signal": label not in audit.silent,
                "utilities": audit.utilities[label].tolist(),
                **{name: _agreement(of[name]) for name in REFERENCES},
            }
            for label, of in audit.agreements.items()
        },
    }


def _agreement(found: Agreement) -> dict[str, Any]:
    return {
        "spearman": {"absolute": found.absolute, "mean_loss": found.mean_loss, "outputs": found.outputs},
        "lowest": None if found.lowest is None else _lowest(found.lowest),
    }


def _lowest(lowest: Lowest) -> dict[str, Any]:
    return {**asdict(lowest), "ratio": lowest.ratio}


def _as_json(value: Any) -> Any:
    """JSON has no infinity and no nan."""
    if isinstance(value, dict):
        return {key: _as_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_csv(path: Path, audits: Sequence[LayerAudit]) -> None:
    """A row for each layer, criterion and replacement; what is not defined is empty."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer: csv.DictWriter[str] | None = None
        for audit in audits:
            for label, of in audit.agreements.items():
                for name in REFERENCES:
                    row = _row(audit, label, name, of[name])
                    if writer is None:
                        writer = csv.DictWriter(file, list(row))
                        writer.writeheader()
                    writer.writerow(row)


def _row(audit: LayerAudit, label: str, replacement: str, found: Agreement) -> dict[str, Any]:
    keys = ("units", "cost", "best", "chance", "joint", "ratio")
    lowest = dict.fromkeys(keys) if found.lowest is None else _lowest(found.lowest)
    return {
        "network": audit.layer.network,
        "layer": audit.layer.name,
        "units": audit.layer.units,
        "criterion": label,
        "replacement": replacement,
        "signal": label not in audit.silent,
        "spearman_absolute": found.absolute,
        "spearman_mean_loss": found.mean_loss,
        "spearman_outputs": found.outputs,
        **{f"lowest_{key}": lowest[key] for key in keys},
    }
