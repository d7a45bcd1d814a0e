"""Small learners without SB3's loops: a regression, and any policy of `policies` on its probe."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from policies import Case
from torch import Tensor, nn

from agents.plasticity import (
    CBP,
    CPR,
    FIRE,
    GXD,
    SNR,
    SWR,
    CChain,
    Edit,
    FullReset,
    HeadReset,
    Intervention,
    L2Init,
    Parseval,
    PlasticOptimizer,
    ReDo,
    ReGraMa,
    ShrinkAndPerturb,
    SIGReg,
    Spectral,
    UnitReset,
    Update,
    WeightClipping,
    WeightDecay,
)
from agents.plasticity.hooks import Hooks
from agents.plasticity.outputs import Form
from agents.plasticity.replicas import ALONE
from agents.plasticity.units import LiveNetworks, Network

# Every registered intervention, with arguments that make it act within a few steps.
ACTING: dict[str, Callable[[], Intervention]] = {
    "gxd": lambda: GXD(rate=0.05, period=2, maturity=2, score_every=1),
    "redo": lambda: ReDo(tau=0.9, period=2),
    "regrama": lambda: ReGraMa(tau=0.9, period=2, maturity=2, score_every=1, cap=0.5),
    "cbp": lambda: CBP(rate=0.2, form="adaptable", compensate=True, period=2, maturity=2, score_every=2),
    "cpr": lambda: CPR(rate=0.5, period=2, score_every=1),
    "reset": lambda: UnitReset(
        criterion="random",
        selection={"name": "percentage", "share": 0.2},
        surgery={"outgoing": "small_random", "targets": "sync"},
        period=2,
        maturity=2,
        score_every=1,
    ),
    "swr": lambda: SWR(rate=0.1, period=2, score_every=1),
    "snr": lambda: SNR(eta=1.0, period=2, score_every=1),  # all units: each fires in every minibatch of this loop
    "full_reset": lambda: FullReset(period=3),
    "head_reset": lambda: HeadReset(layers=2, period=3),
    "shrink_and_perturb": lambda: ShrinkAndPerturb(mode="soft", shrink=0.99, perturb=0.01, period=2),
    "fire": lambda: FIRE(period=3),
    "c_chain": lambda: CChain(coefficient="auto", scale=0.5, window=4, warmup=2, samples=16),
    "l2_init": lambda: L2Init(coefficient=1.0),
    "spectral": lambda: Spectral(coefficient=0.1),
    "parseval": lambda: Parseval(coefficient=0.1, every=2),
    "sigreg": lambda: SIGReg(coefficient=1.0, every=2),
    "weight_decay": lambda: WeightDecay(coefficient=1.0),
    "weight_clipping": lambda: WeightClipping(kappa=0.5),
}
ELSEWHERE = {
    "oracle", "adaptive_replay_ratio", "sample_weight_decay", "normalize_and_project", "plasticity_injection", "auto",
}  # fmt: skip
"""Registered, but not for every learner: one acts at task switches alone, two on what an own loop decides, one on
networks with normalisations, one on those that are built for it, and one where networks are ill."""
QUIET = (
    "swr", "shrink_and_perturb", "fire", "c_chain", "l2_init", "spectral", "parseval", "sigreg", "weight_decay",
    "weight_clipping",
)  # fmt: skip
"""Those that redraw nothing, and so announce nothing."""


def together(names: Iterable[str] = ACTING) -> list[Intervention]:
    """Some at once, in this order; they claim nothing, because a list in which all reset the same units is refused."""
    found = [ACTING[name]() for name in names]
    for intervention in found:
        intervention.claims = dict  # type: ignore[method-assign]
    return found


class Regression(PlasticOptimizer):
    """Two hidden ReLU layers fit a fixed random function of 64 points.

    Attributes:
        module: the model.
        x, y: all examples.
        edits: (gradient step, edit) of every surgery.
        samples: how many examples each call of `sample` asked for.
    """

    def __init__(
        self,
        interventions: Sequence[Intervention] = (),
        *,
        seed: int = 0,
        width: int = 20,
        rate: float = 1e-2,
        model: nn.Module | None = None,
        x: Tensor | None = None,
        loss: Callable[[Tensor, Tensor], Tensor] = lambda out, y: (out - y).square().mean(1),
        targets: Mapping[Tensor, Tensor] | None = None,
        batch_size: int | None = None,
    ) -> None:
        torch.manual_seed(seed)
        self.module = model or nn.Sequential(
            nn.Linear(4, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 3)
        )
        self.x = torch.randn(64, 4) if x is None else x
        self.y = torch.randn(self.module(self.x).shape).to(self.x.device)
        self.loss = loss
        self.edits: list[tuple[int, Edit]] = []
        self.samples: list[int] = []
        super().__init__(
            torch.optim.Adam(self.module.parameters(), lr=rate),
            self.module,
            interventions,
            seed=seed,
            sample=self._draw,
            sample_losses=lambda rows: self.loss(self.module(self.x[rows]), self.y[rows]),
            outputs=lambda rows: self.module(self.x[rows]),
            targets=targets,
            batch_size=batch_size,
        )

    def _draw(self, n: int, generator: torch.Generator) -> Tensor:
        self.samples.append(n)
        return torch.randperm(len(self.x), generator=generator)[:n].to(self.x.device, non_blocking=True)

    def announce(self, edit: Edit, author: Intervention) -> None:
        self.edits.append((self.optimizer_steps, edit))
        super().announce(edit, author)

    def pose(self, networks: Mapping[str, Network]) -> None:
        """From now on these are its networks, whatever the module is made of."""
        self._live = LiveNetworks(lambda: (), lambda: networks)

    def train(self, steps: int) -> Regression:
        """One update: some gradient steps on all examples, then the resets that are due."""
        for left in reversed(range(steps)):
            with self.forward():
                loss = self.loss(self.module(self.x), self.y).mean()
            self.step(loss, update_ends=left == 0)
        return self

    def resets_at(self) -> list[int]:
        return [step for step, edit in self.edits if any(mask.any() for mask in edit.masks.values())]

    def count(self) -> int:
        return sum(int(mask.sum()) for _, edit in self.edits for mask in edit.masks.values())

    def units(self, layer: str, edit: int = -1) -> list[int]:
        """Which units of a layer an edit has made new."""
        return self.edits[edit][1].masks[layer].nonzero().flatten().tolist()

    def parameters(self) -> dict[str, Tensor]:
        return {name: tensor.clone() for name, tensor in self.module.state_dict().items()}


class CaseLearner:
    """Trains a policy of any kind on the size of its own outputs on the probe; implements the protocol `Learner`.

    Attributes:
        authors: names of the interventions that have announced a surgery which made at least one unit new in part.
        begun_anew: how often it has been asked to forget all that it has gathered.
    """

    def __init__(self, case: Case, interventions: Sequence[Intervention] = ()) -> None:
        self.case, self.networks, self.optimizers, self.targets = case, case.networks, case.optimizers, case.targets
        self.seed: int | None = 3
        self.num_timesteps = self.optimizer_steps = 0
        self.batch_size = None
        self.device = torch.device("cpu")
        self.replicas = ALONE
        self.authors: set[str] = set()
        self.begun_anew = 0
        self.hooks = Hooks(self, interventions)
        self.hooks.attach()

    @property
    def paper_networks(self) -> tuple[str, ...]:
        return ("actor", "critic")

    @property
    def schedules(self) -> tuple[()]:
        return ()

    @property
    def output_forms(self) -> dict[str, Form]:
        return {list(self.networks)[-1]: Form()}

    def parameter_name(self, parameter: Tensor) -> str:
        return next(path for path, found in self.case.policy.named_parameters() if found is parameter)

    def begin_anew(self) -> None:
        self.begun_anew += 1

    def sample(self, n: int, generator: torch.Generator) -> Any:
        return None

    def outputs(self, batch: Any, parameters: None = None, names: Any = None) -> dict[str, Tensor]:
        return {list(self.networks)[-1]: self.case.outputs()}

    def distributions(self, batch: Any) -> tuple[()]:
        return ()

    def td_targets(self, batch: Any) -> None:
        return None

    def sample_losses(self, batch: Any, td_targets: Any = None) -> dict[str, Tensor]:
        outputs = self.case.outputs()
        return dict.fromkeys(self.networks, (outputs + outputs.square()).sum(1))

    def announce(self, edit: Edit, author: Intervention) -> None:
        if any((amounts > 0).any() for amounts in edit.amounts.values()):
            self.authors.add(author.name)
        self.hooks.announce(edit, author)

    def train(self, steps: int) -> None:
        """Gradient steps with every optimizer, each an update of its own."""
        for _ in range(steps):
            self.optimizer_steps += 1
            with self.hooks.taps(self.optimizer_steps) as taps:
                (loss,) = {id(loss): loss for loss in self.sample_losses(None).values()}.values()
            for optimizer in self.optimizers:
                optimizer.zero_grad()
            update = Update(
                tuple(self.networks), None, {"loss": loss.mean()}, self.optimizers[0], 0.0, self.optimizer_steps
            )
            update = self.hooks.backward(update, taps)
            for optimizer in self.optimizers:
                optimizer.step()
            self.hooks.after_step(update)
            self.hooks.after_update()


def in_double(policy: nn.Module) -> None:
    """Makes a policy compute in double precision, though SB3 hands it single-precision observations."""
    policy.double()
    for module in policy.modules():
        if isinstance(getattr(module, "weight", None), Tensor):
            module.register_forward_pre_hook(lambda module, inputs: (inputs[0].to(module.weight.dtype),))
