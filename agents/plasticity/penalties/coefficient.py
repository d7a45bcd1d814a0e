"""Coefficients that keep a penalty at a share of the loss."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

SLOTS = 100  # of a window of gradient steps
TINY = 1e-12
PUBLISHED_TINY = 1e-8


@dataclass(frozen=True)
class Rule:
    """How the coefficient of a penalty is found.

    Attributes:
        fixed: the coefficient itself, where it is a number.
        relative: the coefficient in units of this step's absolute loss, where it is such a share.
        scale: else it is this times the mean absolute loss over the mean churn.
        window: of these means, in gradient steps, or in updates.
        warmup: gradient steps, or updates, before there is a penalty, or before a published coefficient is adapted.
        by_update: windows and warm-up count updates: one mean of each is what the window is of.
        first: the coefficient during the warm-up; 0 for no penalty.
        least: it is never lower.
        cap: the mean churn counts as at least this part of what it was in the warm-up, or, where outputs stood still
            all through that, when they first moved: before they do the coefficient is 0. None for no bound, neither on
            that nor on how fast falling churn may raise the coefficient.
    """

    fixed: float | None = None
    relative: float | None = None
    scale: float = 0.0
    window: int = 1
    warmup: int = 0
    by_update: bool = False
    first: float = 0.0
    least: float = 0.0
    cap: float | None = None

    @property
    def adapts(self) -> bool:
        """Whether the coefficient follows the means of loss and churn."""
        return self.fixed is None and self.relative is None


class Coefficient:
    """The coefficient of one network's penalty; all that depends on data stays on the device.

    The window is of slots: at most a hundred, each of as many gradient steps, or one for each update. The coefficient
    follows where a slot is full.

    Args:
        rule: how it is found.
        device: of the losses.
    """

    def __init__(self, rule: Rule, device: torch.device) -> None:
        self.rule = rule
        self._length = 1 if rule.by_update else math.ceil(rule.window / SLOTS)  # gradient steps of a slot
        self._slots = math.ceil(rule.window / self._length)
        self._sums = torch.zeros(3, self._slots if rule.adapts else 0, device=device)  # losses, churn, how many
        self._value = torch.full((), rule.first, device=device)
        self._gain = torch.zeros((), device=device)  # 1 / mean churn; 0 before there is any
        self._natural = torch.zeros((), device=device)  # mean churn in the warm-up; 0 before there is any
        self.restart()

    def restart(self) -> None:
        """Forget the window and begin the warm-up anew."""
        for tensor in (self._sums, self._gain, self._natural):
            tensor.zero_()
        self._value.fill_(self.rule.first)
        self._seen = 0  # gradient steps
        self._full = 0  # slots
        self._inside = 0  # gradient steps in the slot that is open
        self._adapted = 0  # times

    @property
    def warm(self) -> bool:
        """Whether the warm-up is over."""
        return (self._full if self.rule.by_update else self._seen) >= self.rule.warmup

    def now(self, loss: Tensor) -> Tensor | float | None:
        """The coefficient at this step; None while there is no penalty.

        Args:
            loss: of this step, detached.
        """
        if self.rule.adapts:
            return self._value if self._adapted or self.rule.first else None
        if not self.warm:
            return None
        return self.rule.fixed if self.rule.relative is None else self.rule.relative * loss.abs()

    def see(self, loss: Tensor, churn: Tensor) -> None:
        """Take in what a step has shown, detached; what is not finite is passed over."""
        self._seen += 1
        if not self.rule.adapts:
            return
        loss = loss if self.rule.by_update else loss.abs()
        seen = torch.stack([loss.float(), churn.float(), torch.ones_like(loss, dtype=torch.float32)])
        self._sums[:, self._full % self._slots] += torch.where(seen.isfinite().all(), seen, 0)
        self._inside += 1
        if not self.rule.by_update and self._inside == self._length:
            self._close()

    def end_update(self) -> None:
        """An update has ended."""
        if self.rule.by_update and self._inside:
            self._close()

    def _close(self) -> None:
        """A slot is full: the coefficient follows, and the oldest slot is emptied."""
        self._full += 1
        self._inside = 0
        if self.warm:
            self._adapt()
        self._sums[:, self._full % self._slots] = 0

    def _adapt(self) -> None:
        rule = self.rule
        sums = self._sums[:, : min(self._full, self._slots)]
        some = sums[2] > 0
        totals = torch.where(some, sums[:2] / sums[2], 0).abs().sum(1)
        means = totals / some.sum().clamp_min(1)
        if rule.cap is None:
            gain = 1 / (means[1] + PUBLISHED_TINY)
        else:
            first = totals[1] / (sums[1] != 0).sum().clamp_min(1)  # of frozen outputs there may be slots without churn
            self._natural.copy_(torch.where(self._natural > 0, self._natural, first))
            highest = torch.where(self._gain > 0, self._gain * 2 ** (1 / self._slots), torch.inf)
            gain = 1 / (torch.maximum(means[1], self._natural / rule.cap) + TINY)
            gain = torch.where(self._natural > 0, torch.minimum(gain, highest), 0)
        self._gain.copy_(gain)
        self._value.copy_((rule.scale * means[0] * gain).clamp_min(rule.least))
        self._adapted += 1

    # ------------------------------------------------------------------ state

    def _tensors(self) -> dict[str, Tensor]:
        return {"sums": self._sums, "value": self._value, "gain": self._gain, "natural": self._natural}

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors of fixed shapes."""
        counts = torch.tensor([self._seen, self._full, self._inside, self._adapted])
        return {**{key: tensor.clone() for key, tensor in self._tensors().items()}, "counts": counts}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` gave."""
        for key, tensor in self._tensors().items():
            tensor.copy_(state[key])
        self._seen, self._full, self._inside, self._adapted = (int(count) for count in state["counts"])
