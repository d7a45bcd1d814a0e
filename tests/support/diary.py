"""An intervention that tells in which order a learner calls it."""

from __future__ import annotations

from typing import Any

import torch

from agents.plasticity import Intervention, Update


class Diary(Intervention):
    """Writes down when it is called, and which network has been trained by then."""

    name = "diary"

    def attach(self, learner: Any) -> None:
        self.pages: list[tuple[Any, ...]] = []
        self.weights = {name: learner.networks[name].parameters[0] for name in ("critic", "actor")}
        self.before = {name: weight.detach().clone() for name, weight in self.weights.items()}

    def _write(self, hook: str, update: Update | None = None) -> None:
        stepped = [name for name, weight in self.weights.items() if not torch.equal(weight, self.before[name])]
        self.pages.append((hook, *(update.networks if update else ()), stepped))

    def penalty(self, update: Update) -> None:
        self._write("penalty", update)

    def after_backward(self, update: Update) -> None:
        self._write("backward", update)

    def after_step(self, update: Update) -> None:
        self._write("step", update)

    def after_update(self) -> None:
        self._write("update")
