"""An intervention of one's own: `crl train config.yaml imports=[hold_outputs] 'interventions=[{name: hold_outputs}]'`.

Outputs on other data are held where they were before the last gradient step: the loss is given `strength` times the
mean square by which the step has moved them on a reference batch. The next step's batch comes a step ahead, and the
outputs on it are kept, so that no old network is needed. This is the thought of C-CHAIN at its barest, to show how an
intervention is written that keeps data over a checkpoint, for PPO, DQN, SAC and TD3; to use the method take `c_chain`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from agents.plasticity import Edit, Intervention, Update, intervention


@intervention("hold_outputs", summary="hold outputs on other data where they were before the last step")
class HoldOutputs(Intervention):
    needs = frozenset({"reference_batch"})

    def __init__(self, *, strength: float = 0.1) -> None:
        self.strength = strength
        self.kept: dict[str, tuple[Any, Tensor]] = {}  # whose step -> reference batch, outputs before the last one

    def attach(self, learner: Any) -> None:
        self.learner = learner

    def penalty(self, update: Update) -> Tensor | None:
        output = "critic" if update.network == "critic" else "actor"
        term = None
        if update.network in self.kept:
            batch, old = self.kept[update.network]
            term = self.strength * F.mse_loss(self.learner.outputs(batch)[output], old)
        with torch.no_grad():
            new = self.learner.outputs(update.reference_batch)[output]
        self.kept[update.network] = (update.reference_batch, new)
        return term

    def on_surgery(self, edit: Edit) -> None:
        self.kept.clear()  # what a reset has changed is no step's doing

    def state_dict(self) -> dict[str, Any]:
        return {"kept": [[name, self.learner.pack(batch), old] for name, (batch, old) in self.kept.items()]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        device = self.learner.device
        self.kept = {name: (self.learner.unpack(batch), old.to(device)) for name, batch, old in state["kept"]}
