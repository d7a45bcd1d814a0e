"""When units are selected: gradient steps, counted for each network's optimizer."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from agents.plasticity.protocols import Update


class Periods:
    """Gradient steps of some networks, and which of them have fallen due for a selection.

    Args:
        names: of the networks.
        period: gradient steps between selections.
        start: steps that the learner has made; it has trained before, and nothing is due yet.

    Attributes:
        begun: `start`.
        steps: network's name -> gradient steps of its optimizer.
    """

    def __init__(self, names: Collection[str], period: int, start: int) -> None:
        self._period = period
        self.begun = start
        self.steps = dict.fromkeys(names, start)
        self._selected = dict.fromkeys(names, start)  # the step of the last selection

    def note(self, update: Update) -> None:
        """A network's optimizer is about to step."""
        for name in update.networks:
            if name in self.steps:
                self.steps[name] = update.step

    def age(self, name: str) -> int:
        """Gradient steps of a network's since these were counted."""
        return self.steps[name] - self.begun

    def end_within(self, step: int, steps: float) -> bool:
        """Whether all networks' periods have ended at a gradient step, or do so in so many more."""
        ended = min(step // self._period - selected // self._period for selected in self._selected.values()) > 0
        return ended or self._period - step % self._period <= steps

    def take(self) -> dict[str, int]:
        """Name of each network that is selected from now -> gradient steps of the periods that have ended."""
        due = {}
        for name, step in self.steps.items():
            periods = step // self._period - self._selected[name] // self._period
            if periods:
                due[name] = periods * self._period
                self._selected[name] = step
        return due

    def state_dict(self) -> dict[str, Tensor]:
        """All that must survive saving and loading."""
        steps = {f"steps/{name}": torch.tensor([step, self._selected[name]]) for name, step in self.steps.items()}
        return {"begun": torch.tensor(self.begun), **steps}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Take over what `state_dict` gave."""
        self.begun = int(state["begun"])
        for name in self.steps:
            self.steps[name], self._selected[name] = (int(number) for number in state[f"steps/{name}"])
