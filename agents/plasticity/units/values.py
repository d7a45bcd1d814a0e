"""What is known of hidden units on their way through a forward: where they are, and who reads them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from agents.plasticity.units.graph import Producer

SUMMED = "its values are added to others, so that no weight reads them alone"
MULTIPLIED = "its values are multiplied with others, so that no weight reads them alone"
LINEAR = "no activation follows it"
PUT_OUT = "its values are put out, too, where nothing is known of what reads them"
TWICE = "one layer reads it in two places"
DIFFERENT = "what reads it sees it in different forms"


@dataclass(eq=False)
class Made:
    """A module with parameters, and the producers that read what it puts out."""

    path: str
    module: nn.Module
    followers: list[Made] = field(default_factory=list)


@dataclass(eq=False)
class Stage(Made):
    """A producer and what is known of its units.

    Attributes:
        norms: the normalisations behind it.
        preactivation: the module whose output goes into the activation function; None where no module's does.
        readers: (producer, first column, columns of each value of a unit, values of each) of everything that reads
            the units.
        forms: what was made of them before they were read: more than one where the readers see different values.
        fixed: why they cannot be reset.
        put_out: the forward puts their values out.
    """

    norms: list[nn.Module] = field(default_factory=list)
    preactivation: nn.Module | None = None
    readers: list[tuple[Stage, int, int, int]] = field(default_factory=list)
    forms: set[Any] = field(default_factory=set)
    fixed: list[str] = field(default_factory=list)
    put_out: bool = False

    @property
    def producer(self) -> Producer:
        """The module."""
        assert isinstance(self.module, nn.Linear | nn.Conv2d)
        return self.module

    @property
    def units(self) -> int:
        """How many units it has."""
        return len(self.producer.weight)

    def why_fixed(self) -> str | None:
        """Why its units cannot be reset although something reads them."""
        if self.fixed:
            return self.fixed[0]
        if self.readers and self.put_out:
            return PUT_OUT
        return DIFFERENT if len(self.forms) > 1 else None


@dataclass(frozen=True)
class Mixture:
    """Values that no longer are columns of units.

    Attributes:
        stages: whose units went into them.
        reason: what was done to them.
        known: what reads them reads all of these units, which are fixed for the reason; else it is refused.
    """

    stages: frozenset[Stage]
    reason: str
    known: bool


@dataclass(frozen=True)
class Piece:
    """Columns of a value: of the units of a stage, mixed ones, or others.

    Attributes:
        of: what they are of; None for what comes from outside.
        width: how many there are; None where that is not known.
        block: of each value of a unit; None where that is not known.
        fold: values of each unit.
        active: an activation function has been passed.
        form: what was made of the units.
    """

    of: Stage | Mixture | None
    width: int | None = None
    block: int | None = 1
    fold: int = 1
    active: bool = False
    form: Any = ()

    @property
    def stages(self) -> frozenset[Stage]:
        """Whose units it holds."""
        return self.of.stages if isinstance(self.of, Mixture) else frozenset({self.of} if self.of else ())


@dataclass(frozen=True)
class Value:
    """What a step gives.

    Attributes:
        pieces: its columns in order; none for what comes from outside.
        made: modules with parameters whose outputs are in it.
        is_map: columns are axis 1 of (batch, channels, height, width), else the last axis.
    """

    pieces: tuple[Piece, ...] = ()
    made: frozenset[Made] = frozenset()
    is_map: bool = False

    @property
    def is_mixed(self) -> bool:
        """It has no columns of its own."""
        return len(self.pieces) == 1 and isinstance(self.pieces[0].of, Mixture)

    def turned(self, name: Any, *, active: bool = False) -> Value:
        """With every unit passed through a function."""
        pieces = (replace(p, active=p.active or active, form=(*p.form, name)) for p in self.pieces)
        return replace(self, pieces=tuple(pieces))


OUTSIDE = Value()
