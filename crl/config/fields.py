"""What the sections of a config are made of: their base, and the types of their values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Strict,
    Tag,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from agents.settings import number
from crl.config.docstrings import docstring_of
from crl.config.messages import refusal, unknown_key
from envs.checks import closest

# Of every whole number: numpy's legacy generators take 32 bits, games of a batch get seed + i, and sums fit 64 bits.
MAX_WHOLE = 2**31 - 1
BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum"}
"""What pydantic calls a bound that stands behind a validator of ours -> what JSON schema calls it."""


def whole(value: Any) -> Any:
    """The whole number that a value of YAML is, which reads 1e3 as text and 1000.0 as a float; else the value."""
    found = None if isinstance(value, int) else number(value)
    return int(found) if found is not None and found.is_integer() else value


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise refusal("is not a number; give one such as 0.001")
    return value


@dataclass(frozen=True)
class Range:
    """Annotation of whole numbers.

    Args:
        least: the smallest; None for no bound.
        most: the largest.
    """

    least: int | None = None
    most: int = MAX_WHOLE

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        number = core_schema.int_schema(strict=True, ge=self.least, le=self.most)
        return core_schema.no_info_before_validator_function(whole, number)


MAX_REPETITIONS = 1_000_000
Whole = Annotated[int, Range()]
Count = Annotated[int, Range(1)]
CountOrZero = Annotated[int, Range(0)]
# Bounded lower, because each of them takes memory.
Games = Annotated[int, Range(1, 2**16)]
Width = Annotated[int, Range(1, 2**16)]
Repetitions = Annotated[int, Range(1, MAX_REPETITIONS)]
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


def _with_bounds(node: Any) -> Any:
    """A schema with the bounds as editors know them."""
    if isinstance(node, list):
        return [_with_bounds(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {BOUNDS.get(key, key): _with_bounds(value) for key, value in node.items()}


class Model(BaseModel):
    """Base of all sections: immutable, and unknown keys are refused with the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    documented: ClassVar[Any] = None
    """What has the docstring, where it is not the section itself."""

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        found = handler(schema)
        written = handler.resolve_ref_schema(found)
        text, meanings = docstring_of(cls.documented or cls)
        written["description"] = text.partition("\n")[0]
        for key, value in written.get("properties", {}).items():
            written["properties"][key] = _with_bounds(value)
            if key in meanings:
                written["properties"][key]["description"] = meanings[key]
        return found

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, dict) and cls.model_config.get("extra") == "forbid":
            for key in data:
                if key not in cls.model_fields:
                    raise unknown_key(key, cls.model_fields)
        return data


class Named(Model):
    """A name, which may stand alone, and what belongs to it, which only its code knows.

    Attributes:
        name: which one; crl list shows all.
    """

    model_config = ConfigDict(extra="allow")

    name: str

    @model_validator(mode="before")
    @classmethod
    def _refuse_misspelt_name(cls, data: Any) -> Any:
        refuse_misspelt_name(data)
        return {"name": data} if isinstance(data, str) else data


def refuse_misspelt_name(data: Any) -> None:
    """Refuse a mapping without a name that has a key much like it."""
    if isinstance(data, dict) and "name" not in data:
        for key in data:
            if closest(key, ["name"]):
                raise unknown_key(key, ["name"])


class Linear(Model):
    """A value that moves in a straight line from the first number to the second over the whole run.

    Attributes:
        linear: where it begins and where it ends.
    """

    linear: tuple[NotNegative, NotNegative]


SCHEDULES: dict[str, type[Model]] = {"linear": Linear}
"""The forms of a setting that changes over the run, by their only key."""


def _schedule_kind(value: Any) -> str:
    return "~schedule" if isinstance(value, dict | Linear) else "~number"


def _refuse_other_forms(value: Any) -> Any:
    """Refuse text that is no number with the forms there are, also that of rl-zoo: ``lin_0.001``."""
    if isinstance(value, str) and number(value) is None:
        begin = value.removeprefix("lin_")
        if begin != value and number(begin) is not None:
            raise refusal(
                f"is no number; give {{linear: [{begin}, 0]}}, which falls from {begin} to 0 over the whole run"
            )
        raise refusal("is no number; give one such as 0.001, or {linear: [0.001, 0]}, which falls over the whole run")
    return value


Schedule = Annotated[
    Annotated[NotNegative, Tag("~number")] | Annotated[Linear, Tag("~schedule")],
    Discriminator(_schedule_kind),
    BeforeValidator(_refuse_other_forms),
]
