"""What the sections of a config are made of: their base, and the types of their values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Strict, Tag, model_validator

from crl.config.messages import refusal, unknown_key
from envs.checks import closest

# Of every whole number: numpy's legacy generators take 32 bits, games of a batch get seed + i, and sums fit 64 bits.
MAX_WHOLE = 2**31 - 1


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise refusal("is not a number; give one such as 0.001")
    return value


Whole = Annotated[int, Strict(), Field(le=MAX_WHOLE)]
Count = Annotated[Whole, Field(ge=1)]
CountOrZero = Annotated[Whole, Field(ge=0)]
# Bounded lower, because each of them takes memory.
Games = Annotated[Count, Field(le=2**16)]
Width = Annotated[Count, Field(le=2**16)]
MAX_REPETITIONS = 1_000_000
Repetitions = Annotated[Count, Field(le=MAX_REPETITIONS)]
# Not strict: PyYAML reads 1e-3 as text.
Number = Annotated[float, BeforeValidator(_no_bool), Field(allow_inf_nan=False)]
NotNegative = Annotated[Number, Field(ge=0)]
Positive = Annotated[Number, Field(gt=0)]
Share = Annotated[Number, Field(ge=0, le=1)]
PositiveShare = Annotated[Number, Field(gt=0, le=1)]
Flag = Annotated[bool, Strict()]


def _defaults_for_null(value: Any) -> Any:
    return {} if value is None else value


DEFAULTS_FOR_NULL = BeforeValidator(_defaults_for_null)
"""Of a section whose keys all have defaults: null stands for them."""


class Model(BaseModel):
    """Base of all sections: immutable, and unknown keys are refused with the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, dict) and cls.model_config.get("extra") == "forbid":
            for key in data:
                if key not in cls.model_fields:
                    raise unknown_key(key, cls.model_fields)
        return data


class Named(Model):
    """A name and what belongs to it, which only its code knows."""

    model_config = ConfigDict(extra="allow")

    name: str

    @model_validator(mode="before")
    @classmethod
    def _refuse_misspelt_name(cls, data: Any) -> Any:
        refuse_misspelt_name(data)
        return data


def refuse_misspelt_name(data: Any) -> None:
    """Refuse a mapping without a name that has a key much like it."""
    if isinstance(data, dict) and "name" not in data:
        for key in data:
            if closest(key, ["name"]):
                raise unknown_key(key, ["name"])


class Linear(Model):
    """A value that moves in a straight line from the first number to the second over the whole run."""

    linear: tuple[NotNegative, NotNegative]


def _schedule_kind(value: Any) -> str:
    return "~schedule" if isinstance(value, dict | Linear) else "~number"


Schedule = Annotated[
    Annotated[NotNegative, Tag("~number")] | Annotated[Linear, Tag("~schedule")], Discriminator(_schedule_kind)
]
