"""The parameters of several agents in one block of memory, with what Adam remembers of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from agents.batched.shapes import Dense, Shapes

STEP, MOMENTS = "step", ("exp_avg", "exp_avg_sq")  # as `torch.optim.Adam` calls them


class Stacked(NamedTuple):
    """A layer of several agents.

    Attributes:
        weight: (agents, outputs, inputs).
        bias: (agents, 1, outputs); None where the layer has none.
        dense: its shape.
    """

    weight: Tensor
    bias: Tensor | None
    dense: Dense


class Networks(NamedTuple):
    """The layers of several agents, or gradients of their parameters.

    Attributes:
        actor: its layers, the output layer last.
        critic: likewise.
        log_std: (agents, actions); None where actions are discrete.
    """

    actor: list[Stacked]
    critic: list[Stacked]
    log_std: Tensor | None


def networks_in(rows: Tensor, shapes: Shapes) -> Networks:
    """Views of the networks whose parameters `rows` holds, one agent a row."""
    end = 0

    def take(*shape: int) -> Tensor:
        nonlocal end
        start, end = end, end + torch.Size(shape).numel()
        return rows[:, start:end].view(len(rows), *shape)

    def layers(denses: Sequence[Dense]) -> list[Stacked]:
        return [
            Stacked(take(each.outputs, each.inputs), take(1, each.outputs) if each.bias else None, each)
            for each in denses
        ]

    actor, critic = layers(shapes.actor), layers(shapes.critic)
    return Networks(actor, critic, take(shapes.deviations) if shapes.deviations else None)


class Bank:
    """Where the parameters of agents and Adam's moments and steps lie, one row for each agent.

    The agents' modules and optimizers hold views of it: what they change in place is changed here, and the other way
    round. `settle` puts that right where something was replaced, as by going on from a checkpoint.

    Args:
        shapes: of all of them.
        parameters: of each agent, in the order of `shapes_of`.
        optimizers: of each agent, Adam.
    """

    def __init__(
        self, shapes: Shapes, parameters: Sequence[Sequence[nn.Parameter]], optimizers: Sequence[torch.optim.Optimizer]
    ) -> None:
        self.shapes = shapes
        self._parameters: list[Sequence[nn.Parameter]] = [*parameters]
        self._optimizers: list[torch.optim.Optimizer | None] = [*optimizers]  # None of those that were released
        self._sizes = [each.shape for each in parameters[0]]
        agents, size = len(parameters), shapes.size
        self._weights, *moments = (torch.zeros(agents, size, dtype=shapes.dtype) for _ in range(3))
        self._gradients = torch.zeros(agents, size, dtype=shapes.dtype)
        self._moments = dict(zip(MOMENTS, moments, strict=True))
        self._steps = torch.zeros(agents, len(parameters[0]))
        self._networks = networks_in(self._weights, shapes)
        self._views = [[*self._places(agent)] for agent in range(agents)]
        self._pointers = [[weight.data_ptr() for weight, _, _ in views] for views in self._views]

    def __len__(self) -> int:
        return len(self._parameters)

    def networks(self, agents: Sequence[int]) -> Networks:
        """Their layers: views where it is all of them, else copies."""
        if len(agents) == len(self):
            return self._networks
        return networks_in(self._weights[list(agents)], self.shapes)

    def is_settled(self, agent: int) -> bool:
        """Whether an agent's parameters lie here; not those of one that was released."""
        return [*map(Tensor.data_ptr, self._parameters[agent])] == self._pointers[agent]

    @torch.no_grad()
    def settle(self, agent: int) -> None:
        """Let an agent's modules and optimizer hold views, with the values that they have."""
        self.settle_weights(agent)
        state = self._optimizer(agent).state
        for parameter, (_, step, moments) in zip(self._parameters[agent], self._views[agent], strict=True):
            slots = state[parameter]
            for name, view in {STEP: step, **moments}.items():
                held = slots.get(name)
                if held is None:  # it has not stepped yet
                    view.zero_()
                elif held.data_ptr() != view.data_ptr():
                    view.copy_(held)
                slots[name] = view

    @torch.no_grad()
    def settle_weights(self, agent: int) -> None:
        """Let an agent's modules hold views, with the values that they have."""
        for parameter, (weight, *_) in zip(self._parameters[agent], self._views[agent], strict=True):
            if parameter.data_ptr() != weight.data_ptr():
                weight.copy_(parameter)
                parameter.data = weight

    @torch.no_grad()
    def release(self, agent: int) -> None:
        """Let an agent have its parameters, and what Adam remembers, in memory of their own; no more is known of it."""
        state = self._optimizer(agent).state
        for parameter, (weight, step, moments) in zip(self._parameters[agent], self._views[agent], strict=True):
            if parameter.data_ptr() == weight.data_ptr():
                parameter.data = weight.clone()
            slots = state.get(parameter, {})
            for name, view in {STEP: step, **moments}.items():
                held = slots.get(name)
                if held is not None and held.data_ptr() == view.data_ptr():
                    slots[name] = view.clone()
            parameter.grad = None
        self._parameters[agent], self._optimizers[agent] = (), None

    def are_even(self, agent: int) -> bool:
        """Whether Adam has made as many steps with each of an agent's parameters."""
        steps = self._steps[agent]
        return bool((steps == steps[0]).all())

    def holds(self, agent: int, parameters: Sequence[nn.Parameter], optimizer: torch.optim.Optimizer) -> bool:
        """Whether these are the parameters and the optimizer of one of its agents."""
        if self._optimizers[agent] is not optimizer:
            return False
        return all(one is other for one, other in zip(self._parameters[agent], parameters, strict=True))

    def gradients_of(self, agents: Sequence[int]) -> Tensor:
        """Room for the gradients of these agents, a row each, with what `give_gradients` has left there.

        It is the room itself where it is all of them, else a copy.
        """
        return self._gradients if len(agents) == len(self) else self._gradients[list(agents)]

    def give_gradients(self, agent: int, row: Tensor) -> None:
        """Let an agent's parameters have these gradients as their ``grad``."""
        held = self._gradients[agent]
        if held.data_ptr() != row.data_ptr():
            held.copy_(row)
        for parameter, view in zip(self._parameters[agent], self._split(held), strict=True):
            parameter.grad = view

    @torch.no_grad()
    def step(self, agents: Sequence[int], gradients: Tensor, max_grad_norm: float | None) -> None:
        """Clip the norm of each agent's gradients, and make a step of Adam's with them.

        Args:
            agents: which.
            gradients: a row for each of them, which may be changed.
            max_grad_norm: None for no clipping.
        """
        if max_grad_norm is not None:
            norms = torch.linalg.vector_norm(gradients, dim=1, keepdim=True)
            shares = torch.clamp(max_grad_norm / (norms + 1e-6), max=1.0)
            if not bool((shares == 1).all()):  # no device is waited for: this is the CPU
                gradients.mul_(shares)
        alike: dict[tuple[float, float], list[int]] = {}  # learning rate and steps so far -> numbers of the rows
        made = self._steps[:, 0].tolist()
        for row, agent in enumerate(agents):
            rate = float(self._optimizer(agent).param_groups[0]["lr"])
            alike.setdefault((rate, made[agent]), []).append(row)
        group = self._optimizer(agents[0]).param_groups[0]
        for (rate, _), rows in alike.items():
            if len(rows) == len(self):  # the rows are those of the blocks: one step of all
                weights, found, first, second = ([each] for each in (self._weights, gradients, *self._moments.values()))
                steps = [self._steps[0, 0]]
            else:
                chosen = [agents[row] for row in rows]
                blocks = (self._weights, *self._moments.values())
                weights, first, second = ([block[agent] for agent in chosen] for block in blocks)
                found = [gradients[row] for row in rows]
                steps = [self._steps[agent, 0] for agent in chosen]
            adam(
                weights,
                found,
                first,
                second,
                [],
                steps,
                foreach=False,
                fused=True,
                amsgrad=False,
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                lr=rate,
                weight_decay=0.0,
                eps=group["eps"],
                maximize=False,
            )
        if len(alike) == 1 and len(agents) == len(self):
            self._steps.fill_(self._steps[0, 0])
        else:
            chosen = list(agents)
            self._steps[chosen, 1:] = self._steps[chosen, :1]

    def _optimizer(self, agent: int) -> torch.optim.Optimizer:
        found = self._optimizers[agent]
        assert found is not None  # it was not released
        return found

    def _split(self, row: Tensor) -> Iterator[Tensor]:
        """The stretches of a row that belong to each parameter."""
        end = 0
        for size in self._sizes:
            start, end = end, end + size.numel()
            yield row[start:end].view(size)

    def _places(self, agent: int) -> Iterator[tuple[Tensor, Tensor, dict[str, Tensor]]]:
        """Views of the weights, the step and the moments of each of its parameters."""
        rows = [self._weights, *self._moments.values()]
        for number, (weight, *moments) in enumerate(zip(*(self._split(each[agent]) for each in rows), strict=True)):
            yield weight, self._steps[agent, number], dict(zip(MOMENTS, moments, strict=True))
