"""A model, examples and an intervention that keeps what it is shown, for training loops of one's own."""

from __future__ import annotations

import torch
from torch import nn

from agents.plasticity import Intervention, Switch, Update


def model_of(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))


X = torch.randn(32, 4, generator=torch.Generator().manual_seed(0))


class Spy(Intervention):
    """Keeps the updates that it sees."""

    name = "spy"
    needs = frozenset({"activations", "activation_grads"})

    def attach(self, learner: object) -> None:
        self.updates: list[Update] = []
        self.switches: list[Switch] = []

    def after_backward(self, update: Update) -> None:
        self.updates.append(update)

    def on_task_switch(self, switch: Switch) -> None:
        self.switches.append(switch)
