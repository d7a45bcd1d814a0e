"""Settings that stand in a record, as the fields of a config's section."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import UnionType
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, create_model, model_validator

from agents.settings import Pair, Setting
from agents.settings import Schedule as AnySchedule
from crl.config.fields import DEFAULTS_FOR_NULL, MAX_WHOLE, Flag, Model, Number, Range, Schedule, Whole
from crl.config.messages import misplaced_key, refusal

TYPES: dict[Any, Any] = {
    int: Whole, float: Number, bool: Flag, AnySchedule: Schedule, Pair: tuple[Number, Number],
}  # fmt: skip
"""Type of a setting -> as configs mean it."""


class Arguments(Model):
    """A setting that holds settings of its own."""

    elsewhere: ClassVar[Mapping[str, str]] = {}
    """Keys that do not stand here -> where they do."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_misplaced_keys(cls, data: Any) -> Any:
        refuse_misplaced(cls, data, cls.elsewhere)
        return data

    def plain(self) -> dict[str, Any]:
        """As a learner takes it."""
        return {key: plain(getattr(self, key)) for key in type(self).model_fields}


def plain(value: Any) -> Any:
    """A setting as a learner takes it."""
    return value.plain() if isinstance(value, Arguments) else value


def refuse_misplaced(section: type[Model], data: Any, elsewhere: Mapping[str, str]) -> None:
    """Refuse keys that do not stand in a section, with where they do."""
    for key in data if isinstance(data, dict) else ():
        if key in elsewhere and key not in section.model_fields:
            raise misplaced_key(key, elsewhere[key])


def fields_of(settings: Mapping[str, Setting], owner: str) -> dict[str, Any]:
    """The fields of a section; `owner` begins the names of those inside it."""
    found: dict[str, Any] = {}
    for key, setting in settings.items():
        if isinstance(setting.type, Mapping):
            title = f"{owner}{key.title().replace('_', '')}"
            inner: type[Arguments] = create_model(title, __base__=Arguments, **fields_of(setting.type, owner))
            inner.elsewhere = setting.elsewhere
            hint, default = Annotated[inner, DEFAULTS_FOR_NULL], inner()
        else:
            hint, default = _hint(setting), setting.default
        found[key] = (hint, Field(default, description=setting.meaning))
    return found


def _hint(setting: Setting) -> Any:
    """The type of a setting with its bounds."""
    hint = TYPES.get(setting.type, setting.type)
    bounds = {key: value for key in ("ge", "gt", "le") if (value := getattr(setting, key)) is not None}
    if hint is Whole:
        hint = Annotated[int, Range(bounds.pop("ge", None), bounds.pop("le", MAX_WHOLE))]
    hint = Annotated[hint, Field(**bounds)] if bounds else hint
    if setting.check is not None:
        validator = BeforeValidator if isinstance(setting.type, UnionType) else AfterValidator
        hint = Annotated[hint, validator(_refusing(setting.check))]
    return hint | None if setting.default is None else hint


def _refusing(check: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def validate(value: Any) -> Any:
        try:
            return check(value)
        except ValueError as error:
            raise refusal(str(error)) from None

    return validate
