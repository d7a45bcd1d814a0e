"""SIGReg: what the last hidden layer computes is drawn to an isotropic Gaussian."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial

import torch
from torch import Tensor, nn

from agents.plasticity.compiler import eagerly
from agents.plasticity.diagnostics.measure import last_layers
from agents.plasticity.network_intervention import NetworkIntervention, Networks, check_steps
from agents.plasticity.protocols import Learner, NoDataError, Update
from agents.plasticity.schedule import is_scored
from agents.plasticity.seeds import derive_seed
from agents.plasticity.threads import in_this_thread
from agents.plasticity.units import Network, UnitLayer
from agents.plasticity.validation import check

DIRECTIONS = 16
FARTHEST, POINTS = 5.0, 8  # where characteristic functions are compared
MOST = 128  # transitions of a sample, by default


class SIGReg(NetworkIntervention):
    """SIGReg: hold representations near an isotropic Gaussian (arXiv 2602.19373).

    A representation z is what goes into the activation function of a network's last hidden layer (of SimBa the last
    block's). Projected on a random unit direction, z of a standard Gaussian is standard normal, so that the mean of
    exp(i t z) over a batch is exp(-t^2 / 2). The loss is L + `coefficient` * the mean over 16 directions, drawn anew
    each time, and over t in linspace(-5, 5, 8) of (mean_b cos(t z) - exp(-t^2 / 2))^2 + (mean_b sin(t z))^2, summed
    over last hidden layers: of each Q-function of SAC and TD3, and of PPO's features, which are the published trunk,
    actor and critic. It is in the loss before gradients are clipped. That is as released; coefficients there are 0.2
    and 1, of which the smaller one is ours. The paper's text was not available to us.

    Ours is a term at one gradient step in `every`, with `every` times the coefficient, of a sample that is drawn apart
    from the minibatch, so that loops of one's own, which have to give `sample` for it, can have it too; and of at most
    128 transitions, where the released code has minibatches of 128 and 256.

    Args:
        networks: names of the networks whose last hidden layers are held, or ``paper``; None for all that the policy
            has.
        coefficient: strength; 0 costs nothing. More holds representations nearer to a Gaussian, and leaves the loss
            less say.
        every: gradient steps, of which one has the term; None for 8, or the published 1 with `paper`. Less is dearer.
        paper: a term at every step, of samples as large as minibatches.
    """

    name = "sigreg"
    of_units = True
    of_loss = False

    def __init__(
        self,
        *,
        networks: Networks = None,
        coefficient: float = 0.2,
        every: int | None = None,
        paper: bool = False,
    ) -> None:
        super().__init__(networks)
        check("coefficient", coefficient, coefficient >= 0, "a number of at least 0")
        if every is not None:
            check_steps("every", every, 1)
        self.coefficient, self.paper = coefficient, paper
        self.every = (1 if paper else 8) if every is None else every

    def attach(self, learner: Learner) -> None:
        super().attach(learner)
        device = learner.device
        self._last = {name: self._last_of(learner.networks[name]) for name in self._names}
        self._examples, self._directions = torch.Generator(), torch.Generator(device)  # seeded anew at every step
        # The other half of the points, -t, has the same terms.
        self._points = torch.linspace(-FARTHEST, FARTHEST, POINTS, device=device)[POINTS // 2 :]
        self._normal = torch.exp(-self._points.square() / 2)
        self._seen = {name: torch.zeros(2, device=device) for name in self._names}  # sum of the terms, and how many

    def _last_of(self, network: Network) -> list[UnitLayer]:
        found = last_layers(network)
        for layer in found:
            if layer.preactivation is None:
                raise ValueError(
                    f"{self.name}: no module is known that puts out what goes into the activation function of "
                    f"{layer.name}; give its UnitLayer a preactivation, or leave {network.name} out of networks"
                )
        return found

    def claims(self) -> dict[str, list[str]]:
        return {"draw the representations of {} to a Gaussian": self._names}

    # ------------------------------------------------------------------ hooks

    def penalty(self, update: Update) -> Tensor | None:
        if not self.coefficient or not is_scored(update.step, self.every):
            return None
        held = {name: self._last[name] for name in self._names if name in update.networks}
        if not held:
            return None
        representations = self._representations(update, [layer for layers in held.values() for layer in layers])
        self._directions.manual_seed(derive_seed(self._seed, "directions", update.network, update.step))
        terms = []
        for name, layers in held.items():
            found = [self._term(representations[layer.name]) for layer in layers if layer.name in representations]
            if found:
                term = torch.stack(found).sum()
                self._seen[name][0] += term.detach()
                self._seen[name][1] += 1
                terms += [term] if term.requires_grad else []
        return self.every * self.coefficient * torch.stack(terms).sum() if terms else None

    def _representations(self, update: Update, layers: Sequence[UnitLayer]) -> dict[str, Tensor]:
        """Layer's name -> its representations of a sample, (batch, width), as part of their graph."""
        learner = self._learner
        size = learner.batch_size or MOST
        self._examples.manual_seed(derive_seed(self._seed, "sample", update.network, update.step))
        try:
            batch = learner.sample(size if self.paper else min(size, MOST), self._examples)
        except NoDataError as error:
            raise ValueError(f"{self.name}: it looks at a sample of the data, but {error}") from error
        shown: dict[str, Tensor] = {}
        with eagerly(), ExitStack() as hooks:
            for layer in layers:
                assert layer.preactivation is not None
                hook = layer.preactivation.register_forward_hook(in_this_thread(partial(_keep, shown, layer.name)))
                hooks.callback(hook.remove)
            learner.outputs(batch, names=[name for name in learner.output_forms if name in update.networks])
        return shown

    def _term(self, representations: Tensor) -> Tensor:
        """How far representations, (batch, width), are from a standard Gaussian, from 0 to 4."""
        z = representations.to(torch.promote_types(representations.dtype, torch.float32))
        directions = torch.randn(z.shape[1], DIRECTIONS, generator=self._directions, device=z.device, dtype=z.dtype)
        projected = z @ (directions / directions.norm(dim=0))
        angles = projected.unsqueeze(2) * self._points.to(z.dtype)
        real, imaginary = angles.cos().mean(0), angles.sin().mean(0)
        apart: Tensor = (real - self._normal.to(z.dtype)).square() + imaginary.square()
        return apart.mean()

    # ------------------------------------------------------------------ state and log

    def state_dict(self) -> dict[str, Tensor]:
        seen = {f"seen/{name}": seen.clone() for name, seen in self._seen.items()}
        return {"seed": torch.tensor(self._seed), **seen}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._refuse_other_networks(state)
        self._seed = int(state["seed"])
        for name, seen in self._seen.items():
            seen.copy_(state[f"seen/{name}"])

    def metrics(self) -> dict[str, float]:
        """``<network>/distance``: the mean term since the last row, without its coefficient; 0 for a Gaussian."""
        found = {}
        for name, seen in self._seen.items():
            total, count = seen.tolist()
            if count:
                found[f"{name}/distance"] = total / count
            seen.zero_()
        return found


def _keep(shown: dict[str, Tensor], name: str, _module: nn.Module, _inputs: object, output: Tensor) -> None:
    """A module's hook: keep a copy of its output, which an activation function may overwrite."""
    shown[name] = output.flatten(1).clone()
