"""Arguments of interventions, checked against their constructors."""

from __future__ import annotations

import inspect
import types
from collections.abc import Sequence
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import ConfigDict, Strict, ValidationError, create_model

from agents.plasticity.registry import INTERVENTIONS
from crl.config.messages import ConfigError, sentence
from crl.config.schema import InterventionConfig, Number, RunConfig, Whole


class _Arguments(InterventionConfig):
    model_config = ConfigDict(extra="forbid")


def check_interventions(config: RunConfig) -> RunConfig:
    """`config` with all arguments of its interventions checked and filled in. Imports the interventions' modules.

    Raises:
        ConfigError: an argument is unknown, of a wrong type or out of range.
    """
    checked = []
    for i, intervention in enumerate(config.interventions):
        constructor = INTERVENTIONS[intervention.name].resolve()
        model = _arguments_model(constructor)
        try:
            filled = model.model_validate(intervention.model_dump())
        except ValidationError as error:
            raise ConfigError(sentence(error, ("interventions", i))) from None
        try:
            constructor(**filled.arguments())
        except ValueError as error:
            joint = "." if str(error).split(maxsplit=1)[0] in model.model_fields else ": "
            raise ConfigError(f"interventions.{i}{joint}{error}") from None
        checked.append(filled)
    return config.model_copy(update={"interventions": tuple(checked)})


def _arguments_model(constructor: type) -> type[_Arguments]:
    """A section with one field for each keyword argument of `constructor`."""
    parameters = inspect.signature(constructor, eval_str=True).parameters
    fields: dict[str, Any] = {
        name: (_strict(parameter.annotation), ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in parameters.items()
    }
    return create_model(f"{constructor.__name__}Arguments", __base__=_Arguments, **fields)


def _strict(hint: Any) -> Any:
    """The type as configs mean it: no coercion but from text to float; sequences are lists."""
    if hint is float:
        return Number
    if hint is int:
        return Whole
    origin, arguments = get_origin(hint), tuple(_strict(argument) for argument in get_args(hint))
    if origin in (Union, types.UnionType):
        return Union[arguments]  # noqa: UP007 - the members are known at run time only
    if origin is not None and isinstance(origin, type) and issubclass(origin, Sequence):
        return list[arguments[0]]  # type: ignore[valid-type]
    return Annotated[bool, Strict()] if hint is bool else hint
