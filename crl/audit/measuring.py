"""From a checkpoint to tables and files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from agents.plasticity.audit import AuditedCriterion, audited_criteria
from agents.plasticity.probing import layers_of
from agents.plasticity.seeds import derive_seed
from crl.audit.agreement import LayerAudit, audit_layers, summaries
from crl.audit.figure import draw
from crl.audit.loading import Played, play
from crl.audit.report import show_layer, show_summary, write_csv, write_json
from crl.config import ConfigError, RunConfig
from crl.config.messages import one_line
from crl.exit_codes import DONE
from crl.learnt import newest_checkpoint
from crl.screen import console, say, tolerant
from envs.threads import available_threads


def audit_checkpoint(folder: Path, config: RunConfig, task: str | None, samples: int, seed: int) -> int:
    """Audit the newest checkpoint; the arguments are those of `crl.audit.audit`, checked.

    Returns:
        The exit code, 0.

    Raises:
        ConfigError: the checkpoint, the task or the agent does not fit; nothing has been written.
    """
    started = time.perf_counter()
    torch.set_num_threads(available_threads())
    played = play(newest_checkpoint(folder), config, task, samples, seed)
    try:
        return _audit(folder, played, samples, started)
    finally:
        assert played.model.env is not None
        played.model.env.close()


def _audit(folder: Path, played: Played, samples: int, started: float) -> int:
    model = played.model
    if not layers_of(model):
        raise ConfigError(
            f"the agent of {str(folder)!r} has no hidden units to replace; audit one with hidden layers, such as "
            "agent.net_arch={pi: [64], vf: [64]}"
        )
    found, refused = audited_criteria()
    batch = model.sample(samples, torch.Generator().manual_seed(derive_seed(played.seed, "audit")))
    with torch.no_grad():
        losses = {name: float(loss.abs().mean()) for name, loss in model.sample_losses(batch).items()}
    scale = ", ".join(f"{value:.3g}" for value in dict.fromkeys(losses.values()))
    drawn = f"{samples:,}" if samples == played.transitions else f"{samples:,} of {played.transitions:,}"
    title = f"{played.task}: {drawn} transitions played after {played.steps:,} steps of training"
    say(f"{title}; mean |loss| {scale}")
    for name, reason in refused.items():
        say(f"left out: {name} ({one_line(reason)})")
    audits = _measure(played, batch, found)
    summary = summaries(audits)
    with tolerant():
        show_summary(summary, len(audits), console())
    header = {
        "run": str(folder), "steps": played.steps, "task": played.task, "seed": played.seed, "samples": samples,
        "loss": losses, "seconds": time.perf_counter() - started,
    }  # fmt: skip
    home = folder / "audit"
    home.mkdir(exist_ok=True)
    write_json(home / "audit.json", header, found, audits, summary)
    write_csv(home / "audit.csv", audits)
    draw(home / "audit.png", f"{folder.resolve().name}\n{title}", found, audits, summary)
    say(f"written: {home / 'audit.json'}, audit.csv and audit.png, in {time.perf_counter() - started:.1f} s")
    return DONE


def _measure(played: Played, batch: object, found: Sequence[AuditedCriterion]) -> list[LayerAudit]:
    """Audit layer by layer, each printed as soon as it is known."""
    audits = []
    out = console()
    try:
        for layer in audit_layers(played.model, batch, found, played.seed):
            audits.append(layer)
            with tolerant():
                show_layer(layer, out)
    except ValueError as error:  # a user's criterion that gives something else than a utility per unit
        raise ConfigError(f"the audit cannot go on: {one_line(error)}") from error
    return audits
