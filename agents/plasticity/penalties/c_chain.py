"""C-CHAIN: the churn of outputs is penalised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from agents.plasticity.network_intervention import check_steps
from agents.plasticity.outputs import Form, cross_entropy, distance
from agents.plasticity.penalties.coefficient import Coefficient, Rule
from agents.plasticity.protocols import Edit, Intervention, Learner, NoDataError, Switch, Update
from agents.plasticity.seeds import derive_seed
from agents.plasticity.validation import check

POLICIES = ("logits", "bits", "means")  # of PPO
SQUASHED = ("gaussian", "actions")  # of SAC and TD3


class Defaults(NamedTuple):
    """Of an adapted coefficient; window and warm-up in gradient steps, where they are published in iterations those."""

    scale: float
    window: int
    warmup: int
    first: float = 0.0
    least: float = 0.0


OF_POLICIES = Defaults(0.05, 5_000, 1_000)
OF_VALUES = Defaults(0.01, 50_000, 10_000)
PUBLISHED = {
    "logits": Defaults(10_000, 50, 10, first=1, least=1),
    "bits": Defaults(10_000, 50, 10, first=1, least=1),
    "means": Defaults(0.05, 100, 50, first=100),
    "values": Defaults(0.01, 50_000, 10_000, first=50),
}
MOST = 128  # transitions of a reference batch, by default
CHAIN_CRITIC = 0.1  # beside a sum of mean squares that is not halved
CHAIN_ACTOR = 5e-4  # times the mean absolute loss


class Kept(NamedTuple):
    """Outputs on a reference batch, before a step."""

    batch: Any
    outputs: Mapping[str, Tensor]


class CChain(Intervention):
    """C-CHAIN: penalise churn, what a gradient step does to the outputs on other data (arXiv 2506.00592).

    The loss is L(theta) + c * D(f_theta'(x), f_theta(x)), x being a reference batch drawn independently of the
    minibatch, theta' the parameters before the last step of the same optimizer, which take no gradient, and D the mean
    distance of outputs: KL(old || new) of PPO's discrete policies, the mean square of its means and of DQN's values.
    It is in the loss before gradients are clipped, as published. No old network is needed: the next step's reference
    batch is drawn a step ahead, and the outputs on it are kept. After a surgery there is no penalty for one step.

    The coefficient c of PPO and DQN is adapted, as published: c = `scale` * mean |L| / mean D over the last `window`
    steps, L being the loss of the network (PPO's policy loss with its entropy bonus). That ratio feeds itself: the
    more the penalty reduces churn, the higher it gets. What holds it is ours: the churn of the `warmup`, in which there
    is no penalty, is remembered, and mean D counts as at least 1 / `cap` of it; and what falling churn adds to c at
    most doubles in a window. Ours, too, are the KL divergence in place of the cross-entropy, whose gradient is the
    same, but which is no measure of churn: hence the published scale of 10,000, where ours is the published one of
    means, 0.05; reference batches of half a minibatch and at most 128 transitions, where the papers have a minibatch
    (with PPO 32 to 125); windows of gradient steps, in a hundred slots.

    SAC and TD3 have the coefficients of CHAIN (arXiv 2409.04792), C-CHAIN's parent: 0.1 for the mean square of the
    critics' values beside the sum of their mean squared errors, which is 0.05 with SAC, whose sum Stable-Baselines3
    halves; and, where `networks` has the actor, 5e-4 times its absolute loss (there the mean of absolute values) for
    KL(new || old) of SAC's Gaussians before squashing, of each transition at most 100, or the mean square of TD3's
    actions. Numbers for DQN are those of a loss that is half a square (Huber's, where errors are small): the published
    50 is 25 here.

    Args:
        networks: whose outputs are held; None for those of the papers, PPO's actor and the critic of DQN, SAC and TD3.
        coefficient: a number; ``auto`` to adapt it; None for ``auto`` with PPO and DQN and CHAIN's with SAC and TD3.
            0 costs nothing.
        scale: of an adapted coefficient; None for 0.05 with policies, 0.01 with values. More holds outputs more
            firmly, and what suits differs by world: at 3 the coefficient of a discrete policy is as large as the
            published one on the paper's CartPole while that learns its first level (about 230), which does well on
            Acrobot and keeps PPO on MinAtar from learning (benchmarks/README.md).
        window: gradient steps of its means; None for 5,000 with policies, 50,000 with values.
        warmup: gradient steps without a penalty, whose churn is logged; None for 1,000 with policies and 10,000 with
            values where it is adapted, and 0 with a number.
        cap: how many times higher falling churn may raise an adapted coefficient.
        samples: transitions of a reference batch, and no more than of a minibatch; None for half of it, and at most
            128. More is dearer and less noisy.
        reset_at_switch: begin window and warm-up anew at every task switch, which the stream must reveal.
        paper: what is published of coefficients that are adapted: for discrete policies the cross-entropy with scale
            10,000, a coefficient of at least 1, and of 1 in the warm-up; of 100 for means, of 50 (25) for values; no
            cap; `window` and `warmup` of PPO in updates, 50 and 10, of means 100 and 50. And of all: reference batches
            as large as minibatches. To begin anew at switches, as the scripts for PPO do, is an argument of its own.
    """

    name = "c_chain"
    tag = "chain"
    of_loss = False

    def __init__(
        self,
        *,
        networks: Sequence[str] | None = None,
        coefficient: float | Literal["auto"] | None = None,
        scale: float | None = None,
        window: int | None = None,
        warmup: int | None = None,
        cap: float = 10.0,
        samples: int | None = None,
        reset_at_switch: bool = False,
        paper: bool = False,
    ) -> None:
        right = networks is None or (not isinstance(networks, str) and 0 < len(networks) == len(set(networks)))
        check("networks", networks, right, "a list of different networks, such as ['actor', 'critic']")
        number = isinstance(coefficient, int | float) and coefficient >= 0
        known = coefficient is None or coefficient == "auto" or number
        check("coefficient", coefficient, known, "a number of at least 0, or auto")
        check("scale", scale, scale is None or scale > 0, "a number above 0")
        for key, steps, least in (("window", window, 1), ("warmup", warmup, 0)):
            if steps is not None:
                check_steps(key, steps, least)
        check("cap", cap, cap >= 1, "a factor of at least 1")
        right = samples is None or (isinstance(samples, int) and samples >= 1)
        check("samples", samples, right, "a whole number of transitions of at least 1")
        adapting = {"scale": scale, "window": window}
        for key, value in adapting.items():
            if number and value is not None:
                raise ValueError(f"{key} is {value}, but coefficient is the number {coefficient}; leave {key} out")
        self.networks = None if networks is None else list(networks)
        self.coefficient, self.scale, self.window, self.warmup = coefficient, scale, window, warmup
        self.cap, self.samples, self.reset_at_switch, self.paper = cap, samples, reset_at_switch, paper
        self.uses_boundaries = reset_at_switch

    # ------------------------------------------------------------------ what it is of

    def attach(self, learner: Learner) -> None:
        forms = learner.output_forms
        for name in self.networks or ():
            if name not in forms:
                raise ValueError(
                    f"{self.name}: networks names {name!r}, which has no outputs of its own; choose from "
                    f"{', '.join(forms)}"
                )
        self._beside_actor = any(form.kind in SQUASHED for form in forms.values())
        for key, value in {"scale": self.scale, "window": self.window}.items():
            if self._beside_actor and self.coefficient is None and value is not None:
                raise ValueError(
                    f"{self.name}: {key} is {value}, but CHAIN's coefficients, which this agent has by default, are "
                    f"not adapted; give coefficient auto, or leave {key} out"
                )
        policies = [name for name, form in forms.items() if form.kind in POLICIES]
        values = [name for name, form in forms.items() if form.kind == "values"]
        self._forms = {name: forms[name] for name in self.networks or policies or values}
        self._learner = learner
        device = learner.device
        self._coefficients = {name: Coefficient(self._rule(form), device) for name, form in self._forms.items()}
        self._none, self._one = torch.zeros((), device=device), torch.ones((), device=device)
        self._sums = {name: torch.zeros(4, device=device) for name in self._forms}  # see `metrics`
        seed = torch.initial_seed() if learner.seed is None else learner.seed
        self._draws = torch.Generator().manual_seed(derive_seed(seed, self.name, *self._forms))
        self._kept: dict[str, Kept] = {}  # update's network -> what the next penalty is of

    def _rule(self, form: Form) -> Rule:
        """How the coefficient of outputs is found."""
        if isinstance(self.coefficient, int | float):
            return Rule(fixed=float(self.coefficient), warmup=self.warmup or 0)
        if self.coefficient is None and self._beside_actor:
            if form.kind == "values":
                return Rule(fixed=CHAIN_CRITIC * form.weight, warmup=self.warmup or 0)
            return Rule(relative=CHAIN_ACTOR, warmup=self.warmup or 0)
        published = self.paper and form.kind in PUBLISHED
        ours = OF_VALUES if form.kind == "values" else OF_POLICIES
        defaults = PUBLISHED[form.kind] if published else ours
        return Rule(
            scale=defaults.scale if self.scale is None else self.scale,
            window=defaults.window if self.window is None else self.window,
            warmup=defaults.warmup if self.warmup is None else self.warmup,
            by_update=published and form.kind in POLICIES,
            first=defaults.first * (form.weight if form.kind == "values" else 1),
            least=defaults.least,
            cap=None if self.paper else self.cap,
        )

    def claims(self) -> dict[str, list[str]]:
        return {"penalise the churn of {}": list(self._forms)}

    def hindrance(self, steps: int) -> str | None:
        rules = [coefficient.rule for coefficient in self._coefficients.values()]
        least = min(0 if rule.by_update or rule.first else rule.warmup for rule in rules)
        return f"warmup {least:,}" if self._learner.optimizer_steps + steps <= least else None

    # ------------------------------------------------------------------ hooks

    def penalty(self, update: Update) -> Tensor | None:
        names = [name for name in self._forms if name in update.networks]
        if not names or self.coefficient == 0:
            return None
        kept = self._kept.pop(update.network, None)
        terms = [] if kept is None else self._terms(update, kept)
        batch = self._draw()
        with torch.no_grad():
            outputs = self._learner.outputs(batch, names=names)
        self._kept[update.network] = Kept(batch, {name: outputs[name] for name in names})
        if len(terms) < 2:
            return terms[0] if terms else None
        return torch.stack(terms).sum()

    def _terms(self, update: Update, kept: Kept) -> list[Tensor]:
        """The penalty of each output; none where its coefficient is not known yet, or nothing in it takes gradients."""
        # Where coefficients are numbers the loss may not be known: a loop of one's own may keep it to itself.
        numbers = {name: self._coefficients[name].rule.fixed is not None for name in kept.outputs}
        losses = {name: self._none if number else _loss(update, name).detach() for name, number in numbers.items()}
        factors = {name: self._coefficients[name].now(loss) for name, loss in losses.items()}
        with torch.set_grad_enabled(any(factor is not None for factor in factors.values())):
            outputs = self._learner.outputs(kept.batch, names=list(kept.outputs))
        terms = []
        for name, old in kept.outputs.items():
            form, factor, coefficient = self._forms[name], factors[name], self._coefficients[name]
            churn = distance(form, old, outputs[name])
            seen = churn.detach()
            crosses = self.paper and form.kind in ("logits", "bits")
            coefficient.see(losses[name], cross_entropy(form, old, outputs[name].detach()) if crosses else seen)
            weight = self._none if factor is None else factor
            self._sums[name] += torch.stack([seen.float(), weight * seen.float(), self._none + weight, self._one])
            if factor is not None and churn.requires_grad:
                terms.append((factor * churn.float()).to(churn.dtype))
        return terms

    def _draw(self) -> Any:
        size = self._learner.batch_size or self.samples or 2 * MOST
        n = size if self.paper else min(self.samples or min(max(size // 2, 1), MOST), size)
        try:
            return self._learner.sample(n, self._draws)
        except NoDataError as error:
            raise ValueError(f"{self.name}: it compares outputs on a sample of the data, but {error}") from error

    def after_update(self) -> None:
        for coefficient in self._coefficients.values():
            coefficient.end_update()

    def on_task_switch(self, switch: Switch) -> None:
        if self.reset_at_switch:
            for coefficient in self._coefficients.values():
                coefficient.restart()

    def on_surgery(self, edit: Edit) -> None:
        self._kept.clear()  # what it has changed is no churn

    # ------------------------------------------------------------------ state and log

    def state_dict(self) -> dict[str, Any]:
        kept = [[name, self._learner.pack(one.batch), dict(one.outputs)] for name, one in self._kept.items()]
        return {
            "kept": kept,
            "draws": self._draws.get_state(),
            **{f"coefficient/{name}": one.state_dict() for name, one in self._coefficients.items()},
            **{f"sums/{name}": sums.clone() for name, sums in self._sums.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if other := self.state_dict().keys() ^ state.keys():
            raise ValueError(f"{self.name}: the saved state is of other networks: {', '.join(sorted(other))}")
        device = self._learner.device
        self._kept = {
            name: Kept(self._learner.unpack(batch), {key: x.to(device, copy=True) for key, x in outputs.items()})
            for name, batch, outputs in state["kept"]
        }
        self._draws.set_state(state["draws"].cpu())
        for name, coefficient in self._coefficients.items():
            coefficient.load_state_dict(state[f"coefficient/{name}"])
            self._sums[name].copy_(state[f"sums/{name}"])

    def metrics(self) -> dict[str, float]:
        """Means over the steps since the last call: ``<network>/churn``, also of steps without a penalty, ``penalty``
        and ``coefficient``; 0 where there were none."""
        found = {}
        for name, sums in self._sums.items():
            *totals, steps = sums.tolist()
            sums.zero_()
            for key, total in zip(("churn", "penalty", "coefficient"), totals, strict=True):
                found[f"{name}/{key}"] = total / max(steps, 1)
        return found


def _loss(update: Update, name: str) -> Tensor:
    """The part of a loss that trains a network: PPO's one loss is that of actor and critic together."""
    whole, of_actor = update.losses["loss"], update.losses.get("actor_loss")
    if of_actor is None:
        return whole
    return of_actor if name == "actor" else whole - of_actor
