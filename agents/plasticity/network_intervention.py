"""Interventions on some networks: which these are, what must be left alone in them, and seeds of their own."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from agents.plasticity.protocols import Intervention, Learner, Update
from agents.plasticity.seeds import derive_seed
from agents.plasticity.units import Network
from agents.plasticity.validation import check

Held = TypeVar("Held")

Networks = Sequence[str] | Literal["paper"] | None
"""Names of networks, ``paper``, or None for all (see `NetworkIntervention`)."""


def check_steps(key: str, steps: object, least: int) -> None:
    """Refuse what is no number of gradient steps of at least `least`."""
    right = isinstance(steps, int) and steps >= least
    check(key, steps, right, f"a whole number of gradient steps of at least {least}")


def trained_parameters(learner: Learner) -> set[Tensor]:
    """What training changes as things are: parameters that take gradients and that an optimizer steps on.

    All others are the user's, who has frozen them or trains them elsewhere: no intervention may touch them.
    """
    return {parameter for optimizer in learner.optimizers for parameter in stepped_by(optimizer)}


def stepped_by(optimizer: torch.optim.Optimizer) -> set[Tensor]:
    """The parameters that an optimizer changes as things are."""
    return {p for group in optimizer.param_groups for p in group["params"] if p.requires_grad}


class NetworkIntervention(Intervention):
    """An intervention on some of the learner's networks.

    Parameters that are frozen, or that no optimizer steps on, stay as they are to the last bit; what that keeps from
    being changed is told once in a warning, or refused where nothing is left to change.

    Args:
        networks: their names; ``paper`` for those that published resets act on (PPO: actor and critic without features
            that they share; DQN and SAC: the critic); None for all that the policy has.
    """

    period: int | None = None
    """Gradient steps between its acts, where it acts at a period."""

    def __init__(self, networks: Networks) -> None:
        if isinstance(networks, str):
            right = networks == "paper"
        else:
            right = networks is None or 0 < len(networks) == len(set(networks))
        check("networks", networks, right, "a list of different networks, such as ['actor', 'critic'], or paper")
        self.networks: Networks = networks if networks is None or networks == "paper" else list(networks)
        self._warned: set[str] = set()

    def attach(self, learner: Learner) -> None:
        known = [name for name, network in learner.networks.items() if network.layers or not self.of_units]
        if self.networks is None or self.networks == "paper":
            chosen = known if self.networks is None else learner.paper_networks
            self._names = [name for name in known if name in chosen]
        else:
            self._names = list(self.networks)
        for name in self._names:
            if name not in known:
                raise ValueError(
                    f"{self.name}: networks names {name!r}, which has no hidden units in this policy "
                    f"(with hidden units: {', '.join(known) or 'none'}); give it a hidden layer with net_arch "
                    f"or leave it out of networks"
                    if self.of_units
                    else f"{self.name}: networks names {name!r}, which this policy does not have; choose from "
                    f"{', '.join(known)}"
                )
        if not self._names:
            reasons = [f"{path}: {why}" for n in learner.networks.values() for path, why in n.fixed.items()]
            if reasons and self.networks is None:
                raise ValueError(
                    f"{self.name}: no hidden layer can be reset ({'; '.join(reasons[:3])}); give it a Linear or "
                    "Conv2d layer whose activations go to others alone"
                )
            raise ValueError(
                f"{self.name}: the policy has no hidden units to reset"
                f"{'' if self.networks is None else ' in its ' + ' and '.join(learner.paper_networks)}; give it "
                "hidden layers with net_arch"
            )
        self._learner = learner
        self._begun = learner.optimizer_steps  # of a learner that has trained before: nothing is due and no unit is old
        self._seed = derive_seed(
            torch.initial_seed() if learner.seed is None else learner.seed, self.name, *self._names
        )
        self._refuse_fixed()

    # ------------------------------------------------------------------ what must stay as it is

    def _obstacles(self, network: Network, trained: set[Tensor]) -> list[str]:
        """Why each thing in a network that could be changed must stay as it is; empty texts for those that need not."""
        return [self._untrained([parameter], trained) for parameter in network.parameters]

    def _refuse_fixed(self) -> None:
        """Refuse a network in which nothing can be changed, if it is asked for by name or there is no other."""
        trained, networks = trained_parameters(self._learner), self._learner.networks
        found = {name: self._obstacles(networks[name], trained) for name in self._names}
        fixed = [name for name in self._names if all(found[name])]
        if fixed and (isinstance(self.networks, list) or len(fixed) == len(self._names)):
            raise ValueError(
                f"{self.name}: nothing in {fixed[0]} can be changed, because {found[fixed[0]][0]}; leave {fixed[0]} "
                "out of networks, or let it be trained"
            )

    def _untrained(self, parameters: Iterable[Tensor], trained: set[Tensor]) -> str:
        """That one of the parameters is not trained, by its name; empty where all are."""
        for parameter in parameters:
            if parameter not in trained:
                why = "no optimizer steps on it" if parameter.requires_grad else "requires_grad is False"
                return f"its {self._learner.parameter_name(parameter)} is frozen ({why})"
        return ""

    def _trained_now(self, update: Update, held: Mapping[str, Mapping[Tensor, Held]]) -> dict[Tensor, Held]:
        """What is held of the parameters that an update changes; warns once of those that nothing trains.

        Args:
            update: any.
            held: network's name -> parameter -> something of it.
        """
        here = {p: each for name in self._names if name in update.networks for p, each in held[name].items()}
        stepped = stepped_by(update.optimizer)
        found = {p: each for p, each in here.items() if p in stepped}
        if len(found) < len(here):
            self._tell_untrained(here)
        return found

    def _refuse_other_networks(self, state: Mapping[str, Any]) -> None:
        """Refuse a saved state that has not the keys of this one's.

        Raises:
            ValueError: it has others.
        """
        if other := self.state_dict().keys() ^ state.keys():
            raise ValueError(f"{self.name}: the saved state is of other networks: {', '.join(sorted(other))}")

    def _tell_untrained(self, parameters: Iterable[Tensor]) -> None:
        """Warn once of the first of the parameters that is not trained, if there is one."""
        what = "a part of the networks"
        if what not in self._warned and (why := self._untrained(parameters, trained_parameters(self._learner))):
            self._tell_left_alone(what, why)

    def _tell_left_alone(self, what: str, why: str) -> None:
        """Warn once that `what` stays as it is."""
        if what not in self._warned:
            self._warned.add(what)
            warnings.warn(f"{self.name}: {what} is left as it is, because {why}", stacklevel=3)

    def hindrance(self, steps: int) -> str | None:
        now = self._learner.optimizer_steps
        if self.period is not None and now // self.period == (now + steps) // self.period:
            return f"period {self.period:,}"
        return None

    def idle(self) -> str | None:
        now = self._learner.optimizer_steps
        if self.period is not None and now // self.period == self._begun // self.period:
            return f"no period of {self.period:,} gradient steps ended ({now - self._begun:,} were made)"
        return None

    def _generator(self, *parts: object) -> torch.Generator:
        """A CPU generator of its own for each purpose: what one draws does not depend on the others."""
        return torch.Generator().manual_seed(derive_seed(self._seed, *parts))
