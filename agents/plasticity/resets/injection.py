"""Plasticity injection: a head learns on with new weights, and puts out what it did."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.plasticity.network_intervention import Networks, check_steps, trained_parameters
from agents.plasticity.protocols import Edit, Learner
from agents.plasticity.resets.whole import Scheduled
from agents.plasticity.units import Network

SINGLE = "is a single linear layer, of which new weights would learn as the old ones do; give it hidden ones (net_arch)"


class PlasticityInjection(Scheduled):
    """Freeze a network's head and learn on with new weights, without a change of its outputs (arXiv 2305.15555).

    Of the head h, all layers behind the features extractor, h(z) becomes h(z) + h_1(z) - h_2(z), in which h is frozen,
    h_1 and h_2 are the same new draw, and h_1 alone is trained, with an optimizer state of its own; the features learn
    on (`agents.plasticity.injectable`). Outputs stay as they are to the last bit, and as many parameters
    are trained as before. It is done once, as published: each time would add two heads to memory and time for good.
    Only where a reset has drawn the whole head anew (`FullReset`), with which the frozen ones are dropped, it can be
    done again.
    Units of h_1 are those that are scored, reset and measured from then on. Units of the features are read by all three
    heads: a reset of such a unit zeroes its columns in the frozen ones, too, which nothing else changes. Of a target
    network the head is frozen as it is there, with the same h_1 and h_2, and follows as ever. Whoever asks whether
    plasticity is what an agent lacks learns it from whether this helps.

    Networks must be built for it: ``agent.injectable: true``, or ``policy_kwargs={"injectable": True}``. These are the
    actor and the critic of PPO, and the critics of DQN, SAC and TD3. The authors treat DQN.

    Args:
        networks: names of the networks, or ``paper``; None for all that can be injected.
        step: gradient step at the end of whose update it is done, or the next multiple of it, where training has gone
            further before or the head was drawn anew; None: at the first task switch, which the stream must reveal.
    """

    name = "plasticity_injection"

    def __init__(self, *, networks: Networks = None, step: int | None = None) -> None:
        if step is not None:
            check_steps("step", step, 1)
        super().__init__(networks, step)
        self.step = step

    def attach(self, learner: Learner) -> None:
        super().attach(learner)
        reasons = {network.name: why for network in self._networks if (why := self._hindered(network))}
        if reasons and (isinstance(self.networks, list) or len(reasons) == len(self._networks)):
            name, why = next(iter(reasons.items()))
            raise ValueError(f"{self.name}: the head of {name} {why}")
        self._networks = [network for network in self._networks if network.name not in reasons]

    def _hindered(self, network: Network) -> str:
        """Why nothing can be injected into a network; empty where it can."""
        if not network.heads:
            return (
                "is not built for it; give agent.injectable=true (policy_kwargs={'injectable': True}) for the actor "
                "and critic of PPO, and the critics of DQN, SAC and TD3"
            )
        if any(head.depth < 2 for head, *_ in network.heads):
            return SINGLE
        if not any(targets for _, *targets in network.heads) and any(
            parameter in self._learner.targets for head, *_ in network.heads for parameter in head.live
        ):
            return "has a target network whose head is not known; leave targets out"
        return ""

    def hindrance(self, steps: int) -> str | None:
        return None if super().hindrance(steps) is None else f"step {self.step:,}"

    def claims(self) -> dict[str, list[str]]:
        return {"inject plasticity into {}": [network.name for network in self._networks]}

    @torch.no_grad()
    def act(self, steps: int) -> None:
        trained = trained_parameters(self._learner)
        changed: dict[Tensor, Tensor] = {}  # parameter -> its new draw
        for network in self._networks:
            live = [parameter for head, *_ in network.heads for parameter in head.live]
            if any(each.injected for heads in network.heads for each in heads):
                continue
            if why := self._untrained(live, trained):
                self._tell_left_alone(f"the head of {network.name}", why)
                continue
            for number, part in enumerate(network.parts):
                changed.update(self._fresh(network, number, part, set(live)))
            for head, *targets in network.heads:
                weights = [changed[parameter].to(parameter.device, non_blocking=True) for parameter in head.live]
                for each in (head, *targets):
                    each.inject(weights)
        for optimizer in self._learner.optimizers:
            for parameter in changed:
                optimizer.state.pop(parameter, None)
        amounts = {
            layer.name: torch.ones(layer.units, device=layer.producer.weight.device)
            for network in self._networks
            for layer in network.layers
            if layer.producer.weight in changed
        }
        if changed:
            self._learner.announce(Edit(amounts, tuple(changed)), self)
