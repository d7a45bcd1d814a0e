"""PPO's updates of several agents at once, and their rollouts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from agents.batched.acting import Acted, Look, Place, acted
from agents.batched.bank import Bank, networks_in
from agents.batched.course import Ask, Course, Step, Terms, course
from agents.batched.objective import Minibatch, Samples, Settings, gradients, losses, normalized
from agents.batched.shapes import AloneError, Shapes, shapes_of

if TYPE_CHECKING:
    from agents.ppo import PPO

T = TypeVar("T")
Within: TypeAlias = "Callable[[PPO], AbstractContextManager[object]]"


@dataclass(eq=False)
class _Seat:
    """An agent on its way through its update, and where its parameters lie.

    Attributes:
        agent: that it is.
        bank: of its parameters.
        row: which of the bank's agents it is.
        course: its update.
        asks: what it waits for; None once its update is made, or has failed.
        told: the terms of the minibatches that it has got of what it asks for.
        error: that its update has ended with.
    """

    agent: PPO
    bank: Bank
    row: int
    course: Course
    asks: Ask | Step | None = None
    told: list[Terms] = field(default_factory=list)
    error: Exception | None = None

    def go_on(self, answer: Any, within: Within) -> None:
        """To what it asks for next."""
        self.asks, self.told = None, []
        try:
            with within(self.agent):
                self.asks = self.course.send(answer)
        except StopIteration:
            pass
        except Exception as error:
            self.error = error

    def receive(self, terms: Terms, within: Within) -> None:
        """The terms of as many minibatches as these are, and go on if they were the last."""
        assert isinstance(self.asks, Ask)
        made = len(terms["loss"])
        self.told.append(terms)
        if made < self.asks.minibatches:
            start, left = self.asks.start + made * self.asks.size, self.asks.minibatches - made
            self.asks = self.asks._replace(start=start, minibatches=left)
        else:
            self.go_on({name: torch.cat([told[name] for told in self.told]) for name in terms}, within)

    def likeness(self) -> tuple[Any, ...]:
        """What seats agree in that are answered together."""
        agent, (group,) = self.agent, self.agent.policy.optimizer.param_groups
        of_steps = (id(self.bank), agent.max_grad_norm, group["betas"], group["eps"])
        if not isinstance(self.asks, Ask):
            return of_steps
        return (*of_steps, agent.normalize_advantage, agent.clip_range_vf is None, self.asks.size, self.asks.steps)


class Together:
    """Makes the updates of agents together, as far as they are alike.

    Each agent goes through its own update, which draws its own minibatches and calls its own interventions; where it
    comes to a minibatch it asks for a step. Those that ask alike are answered together: one batched product in place of
    one for each, and one pass of Adam over the parameters of all. The steps that an intervention looks into are each
    agent's own, and so is the whole update of one that `agents.batched.why_alone` tells of.

    The parameters of agents that have been updated together lie in one block of memory till they are released.
    """

    def __init__(self) -> None:
        self._banks: dict[Shapes, tuple[list[PPO | None], Bank]] = {}  # None in place of those that were released

    def place(self, agent: PPO) -> Place | None:
        """Where an agent, whose rollout begins, acts together with others; None where it cannot, or not yet.

        It can from the first update on that it has made with others.
        """
        try:
            shapes, parameters = shapes_of(agent)
        except AloneError:
            return None
        agents, bank = self._banks.get(shapes, ([], None))
        if bank is None or agent not in agents:
            return None
        row = agents.index(agent)
        if not bank.holds(row, parameters, agent.policy.optimizer):
            return None
        bank.settle_weights(row)
        return Place(bank, row, agent.policy)

    def act(self, looks: Sequence[Look]) -> list[Acted | None]:
        """What agents do that are in the middle of their rollouts; None for one whose own policy has to say it."""
        found: dict[Place, Acted | None] = {}
        for alike in _groups(looks, lambda look: (id(look.place.bank), len(look.features))):
            bank, rows = alike[0].place.bank, [look.place.row for look in alike]
            features = torch.stack([look.features for look in alike]).to(bank.shapes.dtype)
            noise = torch.stack([look.noise for look in alike])
            given = acted(bank.networks(rows), bank.shapes.head, features, noise)
            found |= zip([look.place for look in alike], given, strict=True)
        return [found[look.place] for look in looks]

    def update(self, agents: Sequence[PPO], within: Within = lambda _: nullcontext()) -> dict[PPO, Exception | None]:
        """Let each agent learn from its rollout, as `PPO.train` does without its end.

        Args:
            agents: whose rollouts are complete.
            within: entered with an agent while what is its own is computed.

        Returns:
            What each has raised; None where it has made its update.
        """
        raised: dict[PPO, Exception | None] = dict.fromkeys(agents)
        seats = self._seats(agents)
        for agent in set(agents) - {seat.agent for seat in seats}:
            try:
                with within(agent):
                    agent._update()
            except Exception as error:
                raised[agent] = error
        for seat in seats:
            seat.go_on(None, within)
        while waiting := [seat for seat in seats if seat.asks is not None]:
            for alike in _groups(waiting, _Seat.likeness):
                _answer(alike, within)
        return raised | {seat.agent: seat.error for seat in seats}

    def release(self, agent: PPO) -> None:
        """Let an agent have its parameters in memory of their own, and hold nothing of it.

        It is not updated together with others any more.
        """
        for shapes, (agents, bank) in [*self._banks.items()]:
            if agent in agents:
                row = agents.index(agent)
                bank.release(row)
                agents[row] = None
                if not any(agents):
                    del self._banks[shapes]

    def _seats(self, agents: Sequence[PPO]) -> list[_Seat]:
        """Of the agents that can be updated with others, in their order."""
        known: dict[Shapes, dict[PPO, list[nn.Parameter]]] = {}
        for agent in agents:
            try:
                shapes, parameters = shapes_of(agent)
            except AloneError:
                continue
            known.setdefault(shapes, {})[agent] = parameters
        seats = []
        for shapes, members in known.items():
            bank = self._bank(shapes, members)
            for row, agent in enumerate(members):
                bank.settle(row)
                if bank.are_even(row):
                    seats.append(_Seat(agent, bank, row, course(agent)))
        return sorted(seats, key=lambda seat: agents.index(seat.agent))

    def _bank(self, shapes: Shapes, members: Mapping[PPO, list[nn.Parameter]]) -> Bank:
        """The bank of these agents: a new one where they are others than the last time, or have other parameters."""
        optimizers = [agent.policy.optimizer for agent in members]
        if shapes in self._banks:
            agents, bank = self._banks[shapes]
            held = zip(members.values(), optimizers, strict=True)
            if agents == [*members] and all(bank.holds(row, *each) for row, each in enumerate(held)):
                return bank
            for row, agent in enumerate(agents):
                if agent is not None and agent not in members:  # nobody would know of it any more
                    bank.release(row)
        bank = Bank(shapes, [*members.values()], optimizers)
        self._banks[shapes] = ([*members], bank)
        return bank


def _groups(things: Iterable[T], key: Callable[[T], Any]) -> list[list[T]]:
    found: dict[Any, list[T]] = {}
    for thing in things:
        found.setdefault(key(thing), []).append(thing)
    return [*found.values()]


def _answer(seats: Sequence[_Seat], within: Within) -> None:
    """Give seats what they ask for, all of them alike; of minibatches as many as all of them ask for."""
    bank, rows, clip = seats[0].bank, [seat.row for seat in seats], seats[0].agent.max_grad_norm
    asked = [seat.asks for seat in seats if isinstance(seat.asks, Ask)]
    if not asked:
        bank.step(rows, bank.gradients_of(rows), clip)
        for seat in seats:
            seat.go_on(None, within)
        return
    settings = _settings([seat.agent for seat in seats], bank.shapes.dtype)
    found = bank.gradients_of(rows)
    into = networks_in(found, bank.shapes)
    samples: list[Samples] = []
    for batch in _minibatches(asked, bank.shapes.dtype, normalize=seats[0].agent.normalize_advantage):
        samples.append(gradients(bank.networks(rows), bank.shapes.head, batch, settings, into))
        if asked[0].steps:
            bank.step(rows, found, clip)
    terms = losses(samples, settings)
    for number, seat in enumerate(seats):
        if not asked[0].steps:
            bank.give_gradients(seat.row, found[number])
        seat.receive({name: values[:, number] for name, values in terms.items()}, within)


def _minibatches(asked: Sequence[Ask], dtype: torch.dtype, *, normalize: bool) -> Iterable[Minibatch]:
    """The minibatches of all, one after another."""
    count, size = min(ask.minibatches for ask in asked), asked[0].size

    def stacked(field: int) -> Tensor:
        """(minibatches, agents, batch, ...)."""
        rows = [ask.data[field][ask.start : ask.start + count * size] for ask in asked]
        return torch.stack([each.unflatten(0, (count, size)) for each in rows], 1)

    found = Minibatch(*(each.to(dtype) if each.is_floating_point() else each for each in map(stacked, range(6))))
    if normalize:
        found = found._replace(advantages=normalized(found.advantages))
    return map(Minibatch._make, zip(*(field.unbind() for field in found), strict=True))


def _settings(agents: Sequence[PPO], dtype: torch.dtype) -> Settings:
    def column(values: Iterable[float]) -> Tensor:
        return torch.tensor([*values], dtype=dtype).unsqueeze(1)

    return Settings(
        column(agent._now(agent.clip_range) for agent in agents),
        None if agents[0].clip_range_vf is None else column(agent._now(agent.clip_range_vf) for agent in agents),
        column(agent.ent_coef for agent in agents),
        column(agent.vf_coef for agent in agents),
    )
