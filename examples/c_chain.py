"""C-CHAIN (arXiv 2506.00592) as a plug-in: `crl train config.yaml imports=[c_chain] 'interventions=[{name: c_chain}]'`.

Churn is what an optimizer step on one minibatch does to the outputs on other data. The loss is given the penalty
D(f_theta(x), f_theta'(x)), theta' being the parameters before the last step and x a reference batch. No old network is
needed: f_theta'(x) was kept. D is the KL divergence (old || new) of discrete policies, and of SAC's before squashing;
of PPO's means and of Q-values it is the mean square. The coefficient makes the penalty `scale` times the mean absolute
loss, both averaged over the last `window` steps; there is none before that many. Published scales: 0.05 for means and
0.01 for Q-values; that of discrete policies, 10,000, is of a cross-entropy. There is none for SAC, whose parent CHAIN
(arXiv 2409.04792) has fixed coefficients.
"""

from collections.abc import Mapping
from typing import Any

import torch
from gymnasium.spaces import Box, Discrete
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from agents.plasticity import Edit, Intervention, Update, intervention


@intervention("c_chain", summary="penalise churn: what the last step did to the outputs on other data")
class CChain(Intervention):
    needs = frozenset({"reference_batch"})

    def __init__(self, *, scale: float = 0.05, window: int = 1000) -> None:
        self.scale, self.window = scale, window
        self.kept: dict[str, tuple[Any, Tensor]] = {}  # network -> reference batch, outputs before the last step
        self.seen: dict[str, tuple[int, Tensor]] = {}  # network -> steps, their losses and churn

    def attach(self, learner: Any) -> None:
        self.learner, self.actions = learner, learner.action_space
        if not isinstance(self.actions, Box | Discrete):
            raise ValueError(f"c_chain: the action space {self.actions} is not understood")

    def penalty(self, update: Update) -> Tensor | None:
        output = "critic" if update.network == "critic" else "actor"
        term = None
        if update.network in self.kept:
            batch, old = self.kept[update.network]
            churn = self.churn(update.network, old, self.learner.outputs(batch)[output])
            coefficient = self.coefficient(update, churn.detach())
            term = None if coefficient is None else coefficient * churn
        with torch.no_grad():
            new = self.learner.outputs(update.reference_batch)[output]
        self.kept[update.network] = (update.reference_batch, new)
        return term

    def churn(self, network: str, old: Tensor, new: Tensor) -> Tensor:
        if network == "policy" and isinstance(self.actions, Discrete):
            now, then = (x.double().log_softmax(1) for x in (new, old))  # single precision ends where churn begins
            return F.kl_div(now, then, reduction="batchmean", log_target=True).to(new.dtype)
        if network == "critic":
            return F.mse_loss(new, old)
        n = self.actions.shape[0]
        if network == "policy" or new.shape[1] == n:  # TD3's actor has means alone
            return F.mse_loss(new[:, :n], old[:, :n])
        before, after = (Normal(x[:, :n], x[:, n:].clamp(-20, 2).exp(), validate_args=False) for x in (old, new))
        return kl_divergence(before, after).sum(1).mean()

    def coefficient(self, update: Update, churn: Tensor) -> Tensor | None:
        loss = update.losses.get("policy_loss", update.losses["loss"]).detach().abs()
        steps, seen = self.seen.get(update.network, (0, torch.zeros(2, self.window, device=churn.device)))
        seen[:, steps % self.window] = torch.stack([loss, churn])
        self.seen[update.network] = (steps + 1, seen)
        losses, churns = seen.mean(1)
        return self.scale * losses / (churns + 1e-8) if steps + 1 >= self.window else None

    def on_surgery(self, edit: Edit) -> None:
        self.kept.clear()  # what a reset has changed is no churn

    def state_dict(self) -> dict[str, Any]:
        return {"kept": {k: (self.learner.pack(x), y) for k, (x, y) in self.kept.items()}, "seen": self.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        device = self.learner.device
        self.kept = {k: (self.learner.unpack(x), y.to(device)) for k, (x, y) in state["kept"].items()}
        self.seen = {k: (steps, seen.to(device, copy=True)) for k, (steps, seen) in state["seen"].items()}
