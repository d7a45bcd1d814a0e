"""What all resets share: the networks they act on, and seeds of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch

from agents.plasticity.checks import check
from agents.plasticity.protocols import Intervention, Learner
from agents.plasticity.seeds import derive_seed

Networks = Sequence[str] | Literal["paper"] | None
"""Names of networks, ``paper``, or None for all (see `NetworkReset`)."""


def check_steps(key: str, steps: object, least: int) -> None:
    """Refuse what is no number of gradient steps of at least `least`."""
    right = isinstance(steps, int) and steps >= least
    check(key, steps, right, f"a whole number of gradient steps of at least {least}")


class NetworkReset(Intervention):
    """An intervention on some of the learner's networks.

    Args:
        networks: their names; ``paper`` for those that published resets act on (PPO: actor and critic without features
            that they share; DQN and SAC: the critic); None for all that the policy has.
    """

    of_units: ClassVar[bool] = True
    """Whether it acts on hidden units, which not all networks have."""

    def __init__(self, networks: Networks) -> None:
        if isinstance(networks, str):
            right = networks == "paper"
        else:
            right = networks is None or 0 < len(networks) == len(set(networks))
        check("networks", networks, right, "a list of different networks, such as ['actor', 'critic'], or paper")
        self.networks: Networks = networks if networks is None or networks == "paper" else list(networks)

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
            raise ValueError(
                f"{self.name}: the policy has no hidden units to reset"
                f"{'' if self.networks is None else ' in its ' + ' and '.join(learner.paper_networks)}; give it "
                "hidden layers with net_arch"
            )
        self._learner = learner
        self._seed = derive_seed(
            torch.initial_seed() if learner.seed is None else learner.seed, self.name, *self._names
        )

    def _generator(self, *parts: object) -> torch.Generator:
        """A CPU generator of its own for each purpose: what one draws does not depend on the others."""
        return torch.Generator().manual_seed(derive_seed(self._seed, *parts))
