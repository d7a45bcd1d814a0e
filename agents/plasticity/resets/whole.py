"""Resets of whole layers and networks, and shrinking all weights: what needs no utility."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from agents.plasticity.network_intervention import NetworkIntervention, Networks, check_steps, trained_parameters
from agents.plasticity.protocols import Edit, Learner, Switch, Update
from agents.plasticity.units import Network, Part
from agents.plasticity.validation import check

Targets = Literal["copy", "leave"]


class Scheduled(NetworkIntervention, ABC):
    """A reset of whole layers that acts at every revealed task switch, or else at a period of gradient steps.

    Args:
        networks: names of the networks to keep plastic, or ``paper``; None for all that the policy has.
        period: gradient steps between resets; None: at every task switch, which the stream must reveal.
    """

    def __init__(self, networks: Networks, period: int | None) -> None:
        super().__init__(networks)
        if period is not None:
            check_steps("period", period, 1)
        self.period = period
        self.uses_boundaries = period is None

    def attach(self, learner: Learner) -> None:
        super().attach(learner)
        self._networks = [learner.networks[name] for name in self._names]
        self._acted = learner.optimizer_steps  # the step of the last reset
        self._steps = learner.optimizer_steps
        self._switched = False

    def on_task_switch(self, switch: Switch) -> None:
        self._switched = self.period is None

    def after_backward(self, update: Update) -> None:
        self._steps = max(self._steps, update.step)

    def after_step(self, update: Update) -> None:
        if self.period == 1:
            self._act_if_due()

    def after_update(self) -> None:
        self._act_if_due()

    def _act_if_due(self) -> None:
        steps = 0 if self.period is None else (self._steps // self.period - self._acted // self.period) * self.period
        if self._switched or steps:
            self._switched, self._acted = False, self._steps
            self.act(steps)

    def idle(self) -> str | None:
        switchless = self.period is None and not self._acted
        return "no task switch was revealed" if switchless else super().idle()

    @abstractmethod
    def act(self, steps: int) -> None:
        """Reset now; `steps` gradient steps have fallen due, 0 at a task switch."""

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "seed": torch.tensor(self._seed),
            "steps": torch.tensor([self._steps, self._acted, int(self._switched)]),
        }

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self._seed = int(state["seed"])
        self._steps, self._acted, switched = (int(number) for number in state["steps"])
        self._switched = bool(switched)

    def _changeable(self) -> set[Tensor]:
        """The parameters that may be changed now; of networks with others it warns once."""
        trained = trained_parameters(self._learner)
        for network in self._networks:
            if why := self._untrained(network.parameters, trained):
                self._tell_left_alone(f"a part of {network.name}", why)
        return trained

    def _fresh(
        self, network: Network, number: int, part: Part, changeable: set[Tensor]
    ) -> Iterator[tuple[nn.Parameter, Tensor]]:
        """Those of the part's parameters that may be changed, each with a new draw on the CPU."""
        if changeable.isdisjoint(part.module.parameters(recurse=False)):
            return  # frozen, or a normalisation that has running statistics alone
        drawn = part.init.draw(part.module, self._generator(network.name, number, self._steps))
        for key, fresh in zip(("weight", "bias"), drawn, strict=True):
            if fresh is not None and (parameter := getattr(part.module, key)) in changeable:
                yield parameter, fresh


class _Redraw(Scheduled):
    """Draws parts of the networks anew, in place, with fresh optimizer state.

    Args:
        networks: as in `NetworkIntervention`.
        period: as in `Scheduled`.
        targets: target networks become copies at once (``copy``), or are left to follow as ever (``leave``):
            bootstrapped values are then of the old network for a while, which distils it into the new one.
    """

    def __init__(self, networks: Networks, period: int | None, targets: Targets) -> None:
        super().__init__(networks, period)
        check("targets", targets, targets in ("copy", "leave"), "copy or leave")
        self.targets: Targets = targets

    @abstractmethod
    def _parts(self, network: Network) -> Iterator[tuple[int, Part]]:
        """Number and part of everything that is drawn anew."""

    def claims(self) -> dict[str, list[str]]:
        drawn: list[str] = []
        for network in self._networks:
            parts = [part for _, part in self._parts(network)]
            modules = [part.module for part in parts]
            drawn += [layer.name for layer in network.layers if layer.producer in modules]
            drawn += [f"the output layers of {network.name}"] * any(part.height == 0 for part in parts)
        when = "at every task switch" if self.period is None else f"every {self.period:,} gradient steps"
        return {f"reset {{}} {when}": drawn}

    @torch.no_grad()
    def act(self, steps: int) -> None:
        changed: dict[Tensor, None] = {}  # in order: sets of tensors have none
        changeable = self._changeable()
        for network in self._networks:
            redrawn = False  # whether the layer was that a normalisation follows
            for number, part in self._parts(network):
                drawn = list(self._fresh(network, number, part, changeable))
                for parameter, fresh in drawn:
                    parameter.copy_(fresh.to(parameter.device, non_blocking=True))
                    changed[parameter] = None
                if not isinstance(part.module, nn.BatchNorm1d | nn.BatchNorm2d):
                    redrawn = bool(drawn)
                elif redrawn:
                    part.module.reset_running_stats()
            for tensor, value in self._constants(network):
                if tensor in changeable:
                    tensor.fill_(value)
                    changed[tensor] = None
        for optimizer in self._learner.optimizers:
            for tensor in changed:
                optimizer.state.pop(tensor, None)
        for tensor, target in self._learner.targets.items() if self.targets == "copy" else ():
            if tensor in changed:
                target.copy_(tensor)
        for head, *targets in (heads for network in self._networks for heads in network.heads):
            if all(parameter in changed for parameter in head.live):  # nothing that was injected is left
                for each in (head, *(targets if self.targets == "copy" else ())):
                    each.forget()
        layers = [layer for network in self._networks for layer in network.layers]
        amounts = {
            layer.name: torch.ones(layer.units, device=layer.producer.weight.device)
            for layer in layers
            if layer.producer.weight in changed
        }
        self._learner.announce(Edit(amounts, tuple(changed)), self)

    def _constants(self, network: Network) -> tuple[tuple[Tensor, float], ...]:
        """Tensors outside modules that go back to the value they began with."""
        return ()


class FullReset(_Redraw):
    """Draw whole networks anew, with fresh optimizer state; target networks become copies (arXiv 2205.07802).

    Args:
        networks: names of the networks to draw anew, or ``paper``; None for all that the policy has.
        period: gradient steps between resets (published: 200,000 for SAC); None: at every task switch, which the stream
            must reveal.
        targets: target networks become copies (``copy``), or are left to follow (``leave``).
    """

    name = "full_reset"

    def __init__(self, *, networks: Networks = None, period: int | None = None, targets: Targets = "copy") -> None:
        super().__init__(networks, period, targets)

    def _parts(self, network: Network) -> Iterator[tuple[int, Part]]:
        yield from enumerate(network.parts)

    def _constants(self, network: Network) -> tuple[tuple[Tensor, float], ...]:
        return network.constants


class Oracle(FullReset):
    """A fresh agent for every visit of a task, to which learners that go on are compared (arXiv 2506.00592).

    At every revealed task switch all networks are drawn anew with their target networks and all optimizers, and the
    learner forgets what it has gathered (`Learner.begin_anew`): replayed transitions, exploration with the entropy
    coefficient, and normalisation. It warms up again with random actions. Schedules over the whole run are refused,
    because a fresh agent does not begin in the middle of one.
    """

    name = "oracle"

    def __init__(self) -> None:
        super().__init__()

    def attach(self, learner: Learner) -> None:
        super().attach(learner)
        if learner.schedules:
            raise ValueError(
                f"{self.name}: {learner.schedules[0]} is a schedule over the whole run, so that every fresh agent "
                "would go on where the one before it stood; give a number"
            )

    def act(self, steps: int) -> None:
        super().act(steps)
        self._learner.begin_anew()


class HeadReset(_Redraw):
    """Draw the last layers of networks anew, with fresh optimizer state; targets become copies (arXiv 2205.07802).

    Args:
        networks: names of the networks whose heads are drawn anew; None for all that the policy has an output layer of.
        layers: how many, counted from the output layer.
        period: gradient steps between resets; None: at every task switch, which the stream must reveal.
        targets: target networks become copies (``copy``), or are left to follow (``leave``).
    """

    name = "head_reset"

    def __init__(
        self, *, networks: Networks = None, layers: int = 1, period: int | None = None, targets: Targets = "copy"
    ) -> None:
        super().__init__(networks, period, targets)
        check("layers", layers, isinstance(layers, int) and layers >= 1, "a whole number of layers of at least 1")
        self.layers = layers

    def attach(self, learner: Learner) -> None:
        super().attach(learner)
        headless = [n.name for n in self._networks if all(part.height for part in n.parts)]
        if self.networks is None:
            self._networks = [network for network in self._networks if network.name not in headless]
        elif headless:
            raise ValueError(
                f"{self.name}: networks names {headless[0]!r}, which has no output layer of its own; leave it out"
            )

    def _parts(self, network: Network) -> Iterator[tuple[int, Part]]:
        return ((number, part) for number, part in enumerate(network.parts) if part.height < self.layers)
