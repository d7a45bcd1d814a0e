"""Interventions that act on a copy of a learner, and what that costs at once."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any, cast

import torch
from torch import Tensor

from agents.plasticity.fresh import fresh_parameters, holding
from agents.plasticity.hooks import Hooks
from agents.plasticity.outputs import Form, distance
from agents.plasticity.protocols import Intervention, Learner, Switch, Update
from agents.plasticity.registry import INTERVENTIONS
from agents.plasticity.seeds import derive_seed
from agents.plasticity.trials.copies import Copied

MINIBATCH = 64  # transitions, where a learner does not tell


def acts_gradually(intervention: Intervention) -> bool:
    """Whether it acts in every gradient step; otherwise at periods or task switches, all at once.

    What a user has registered may do both and is taken to do it gradually, unless it is known to act on units.
    """
    entry = INTERVENTIONS.get(intervention.name)
    group = "others" if entry is None else entry.group
    return group == "regularisers" or (group == "others" and not intervention.of_units)


def scores_minibatches(intervention: Intervention) -> bool:
    """Whether it looks at minibatches of training before it acts."""
    return bool(intervention.needs) or "score_every" in intervention.arguments()


def looks_at_losses(intervention: Intervention) -> bool:
    """Whether it needs losses to act: of minibatches, or of what its resets cost."""
    return acts_gradually(intervention) or scores_minibatches(intervention) or intervention.of_units


def fitting(copied: Copied, intervention: Intervention) -> Hooks:
    """The hooks of an intervention that is attached to a copy, as if its networks had just been drawn.

    What holds weights to what they were when it began holds them to such a draw: not to what is to be mended.

    Raises:
        ValueError: it does not fit the learner.
    """
    learner = cast(Learner, copied)
    hooks, fresh = Hooks(learner, [intervention]), fresh_parameters(learner, copied.seed, "begun")
    with warnings.catch_warnings(), holding(learner, fresh):
        warnings.simplefilter("ignore")
        hooks.attach()
    return hooks


def try_out(copied: Copied, intervention: Intervention, minibatches: int) -> dict[str, float]:
    """Have an intervention act on a copy as it would in training; what it has to log of it.

    What acts at once acts as at the end of a period of its own, or at a task switch. Where it scores minibatches it has
    seen so many, or a whole period; nothing is trained, so that all that is changed is its doing. What acts gradually
    does so while the copy is trained on the minibatches, by the learner's losses: to be held against a copy that was
    trained on them without it, see `train`.

    Args:
        copied: of `on_a_copy`.
        intervention: that is attached to nothing.
        minibatches: of training, drawn from the data at hand.

    Raises:
        ValueError: it does not fit the learner.
        NoDataError: there is no data.
    """
    hooks, gradual = fitting(copied, intervention), acts_gradually(intervention)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what acts in training tells what it leaves alone
        period = getattr(intervention, "period", None)
        end = period or minibatches
        number = min(minibatches, end) if gradual or scores_minibatches(intervention) else 0
        for step in range(end - number + 1, end + 1):
            _learn(copied, hooks, step, trains=gradual)
        if not number:
            intervention.after_backward(_unseen(copied, end))
        copied.optimizer_steps = end
        hooks.after_update([Switch("", 0, 0)] if intervention.uses_boundaries else [])
        return hooks.metrics()


def train(copied: Copied, minibatches: int) -> None:
    """Train a copy as `try_out` does, without an intervention."""
    hooks = Hooks(cast(Learner, copied), [])
    for step in range(1, minibatches + 1):
        _learn(copied, hooks, step, trains=True)


def _unseen(copied: Copied, step: int) -> Update:
    """An update of which an intervention sees nothing but that it was."""
    optimizer = copied.optimizers[0]
    return Update(tuple(copied.networks), None, {}, optimizer, optimizer.param_groups[0]["lr"], step)


def _learn(copied: Copied, hooks: Hooks, step: int, *, trains: bool) -> None:
    """One minibatch: for each loss a forward, a backward and, where it trains, a step of those that step on it."""
    copied.optimizer_steps = step
    generator = torch.Generator().manual_seed(derive_seed(copied.seed, "minibatch", step))
    batch = copied.sample(copied.batch_size or MINIBATCH, generator)
    copied.together = copied.together or _together(copied, batch)
    for names in copied.together:
        parameters = {p for name in names for p in copied.networks[name].parameters}
        stepping = [o for o in copied.optimizers if any(p in parameters for g in o.param_groups for p in g["params"])]
        for optimizer in stepping:
            optimizer.zero_grad()
        with torch.enable_grad(), hooks.taps(step, names) as taps:
            loss = copied.sample_losses(batch)[names[0]].mean()
        if not loss.requires_grad or not stepping:
            continue
        outputs = [name for name in names if name in copied.output_forms]
        update = Update(
            networks=names,
            batch=batch,
            losses={"loss": loss},
            optimizer=stepping[0],
            learning_rate=stepping[0].param_groups[0]["lr"],
            step=step,
            network=outputs[0] if len(outputs) == 1 else "policy",
        )
        update = hooks.backward(update, taps)
        if trains:
            for optimizer in stepping:
                optimizer.step()
            hooks.after_step(update)


@torch.no_grad()
def _together(copied: Copied, batch: Any) -> list[tuple[str, ...]]:
    """The networks that are trained by one loss, of each loss."""
    found: dict[int, list[str]] = {}
    losses = copied.sample_losses(batch)
    for name, loss in losses.items():
        found.setdefault(id(loss), []).append(name)
    return [tuple(names) for names in found.values()]


# ------------------------------------------------------------------ what it has cost


def output_changes(
    forms: Mapping[str, Form], before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """How far outputs have gone: KL of policies; of all else the mean square, over that of the outputs before.

    Args:
        forms: output network's name -> what its outputs are.
        before: their outputs on a batch.
        after: on the same one.
    """
    found = {}
    for name, form in forms.items():
        change = distance(form, before[name], after[name])
        nothing = distance(form, torch.zeros_like(before[name]), before[name])
        found[name] = change if form.kind in ("logits", "bits", "gaussian") else change / nothing.clamp_min(1e-12)
    return found


@torch.no_grad()
def mean_losses(learner: Learner, batch: Any, td_targets: Any) -> dict[str, Tensor]:
    """Network's name -> the mean of the loss that trains it, on transitions."""
    return {name: loss.mean() for name, loss in learner.sample_losses(batch, td_targets).items()}


def memory_of(state: object) -> int:
    """Bytes of the tensors in a `state_dict`."""
    if isinstance(state, Tensor):
        return state.numel() * state.element_size()
    inside: Collection[object] = ()
    if isinstance(state, Mapping):
        inside = state.values()
    elif isinstance(state, list | tuple):
        inside = state
    return sum(map(memory_of, inside))
