"""The key `agent.optimizer`: a name, or a mapping of it and the optimizer's settings."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, GetJsonSchemaHandler, SerializeAsAny, create_model
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from agents.optimizers import ADAM, OPTIMIZERS
from crl.config.fields import refuse_misspelt_name
from crl.config.messages import nearest, refused_sentence, shown
from crl.config.settings import Arguments, fields_of

OF_ADAM = "agent.policy_kwargs.optimizer_kwargs"


class OptimizerConfig(Arguments):
    """An optimizer; the section of each has the settings of its record beside the name.

    Attributes:
        name: which one; crl list optimizers shows all.
    """

    name: str


@cache
def optimizer_section(name: str) -> type[OptimizerConfig]:
    """The section of an optimizer."""
    spec = OPTIMIZERS[name]
    fields = {"name": (Literal[name], ...), **fields_of(spec.settings, name)}
    section: type[OptimizerConfig] = create_model(
        f"{name.upper()}Config", __base__=OptimizerConfig, __doc__=spec.summary, **fields
    )
    if name == ADAM:
        section.elsewhere = {key: f"is SB3's, too; give {OF_ADAM}.{key}" for key in ("betas", "eps", "weight_decay")}
    return section


def _of_its_record(data: Any) -> Any:
    """The section of the optimizer that is named."""
    data = {"name": data} if isinstance(data, str) else data
    if not isinstance(data, dict):
        return data
    refuse_misspelt_name(data)
    if "name" not in data:
        raise refused_sentence("agent.optimizer.name is missing; add it to the config or give agent.optimizer=NAME")
    name = data["name"]
    if not isinstance(name, str) or name not in OPTIMIZERS:
        known = nearest(str(name), OPTIMIZERS)
        raise refused_sentence(f"agent.optimizer.name={shown(name)} is not a known optimizer; {known}")
    return optimizer_section(name).model_validate(data)


class _AnyOfThem:
    """Shows the names, and the sections of all optimizers, in the JSON schema."""

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        sections = [handler(optimizer_section(name).__pydantic_core_schema__) for name in OPTIMIZERS]
        return {"anyOf": [{"enum": [*OPTIMIZERS], "examples": [*OPTIMIZERS]}, *sections]}


AnyOptimizer = Annotated[
    SerializeAsAny[OptimizerConfig],
    BeforeValidator(_of_its_record),
    _AnyOfThem(),
    Field(json_schema_extra={"default": ADAM}),
]
DEFAULT = optimizer_section(ADAM)(name=ADAM)
