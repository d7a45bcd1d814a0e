"""Whether interventions go with a learner and with each other, and whether a state goes with what is to take it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor

from agents.plasticity.protocols import Intervention, Learner


class MisfitError(ValueError):
    """An intervention does not fit the learner.

    Attributes:
        number: its place in the list of the learner's interventions.
    """

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


def listed(interventions: object) -> list[Intervention]:
    """Interventions as they were given, by a list.

    Raises:
        ValueError: they are no list, or something in it is no intervention.
    """
    if isinstance(interventions, Intervention):
        raise ValueError(f"interventions is one {interventions.name}; give a list, such as [{interventions.name}]")
    if isinstance(interventions, str | Mapping) or not isinstance(interventions, Iterable):
        raise ValueError(f"interventions is {interventions!r}; give a list, such as [GXD()], or [] for none")
    found = list(interventions)
    for each in found:
        if not isinstance(each, Intervention):
            raise ValueError(f"interventions has {each!r}, which is no intervention; give an object, such as GXD()")
    return found


def refuse_shared(interventions: Sequence[Intervention], learner: Learner) -> None:
    """Refuse an object that is listed twice, or is another learner's.

    Raises:
        ValueError: there is one.
    """
    for number, intervention in enumerate(interventions):
        if any(intervention is other for other in interventions[:number]):
            raise ValueError(f"interventions has one {intervention.name} object twice; give an object for each")
        if intervention.owner not in (None, learner):
            raise ValueError(
                f"{intervention.name} is attached to another learner, whose units' ages and means it holds; "
                f"give each learner an object of its own, such as {type(intervention).__name__}(...)"
            )


def refuse_contradictions(interventions: Sequence[Intervention]) -> None:
    """Refuse a list in which two interventions, which are attached, claim to do the same to the same thing.

    Raises:
        MisfitError: it is one.
    """
    claimed: dict[tuple[str, str], Intervention] = {}
    for number, intervention in enumerate(interventions):
        for does, things in intervention.claims().items():
            for thing in things:
                other = claimed.setdefault((does, thing), intervention)
                if other is not intervention:
                    raise MisfitError(
                        number,
                        f"{other.name} and {intervention.name} both {does.format(thing)}; leave one of them out, "
                        "or give it other networks or another period",
                    )


def fits(held: Any, fresh: Any) -> bool:
    """Whether a state is made of the same as another: keys, and tensors' shapes; an empty list may yet be filled."""
    match held, fresh:
        case Tensor(), Tensor():
            return held.shape == fresh.shape
        case Mapping(), Mapping():
            return held.keys() == fresh.keys() and all(fits(held[key], fresh[key]) for key in held)
        case ((list() | tuple()), (list() | tuple())):
            return not (held and fresh) or (len(held) == len(fresh) and all(map(fits, held, fresh)))
    return not any(isinstance(state, Tensor | Mapping | list | tuple) for state in (held, fresh))
