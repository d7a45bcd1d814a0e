"""Arguments of interventions and of a run's parts, checked against their constructors."""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, Tag, ValidationError, create_model
from pydantic.errors import PydanticSchemaGenerationError

from agents.plasticity.registry import COMPONENTS, INTERVENTIONS, Entry, place
from crl.config import problems
from crl.config.agents import UnknownAgent
from crl.config.fields import Flag, Model, Named, Number, Whole
from crl.config.imports import import_module, import_modules
from crl.config.messages import ConfigError, nearest, one_line, sentence, shown
from crl.config.parts import PARTS
from crl.config.schema import InterventionConfig, PartConfig, RunConfig

Parameter = inspect.Parameter

UNNAMED = {"surgery": Entry("agents.plasticity.surgery:Surgery", "what becomes of a unit that is replaced")}
"""Argument of an intervention -> the class whose arguments it holds; those of `COMPONENTS` hold a name too."""
NESTED = frozenset({*COMPONENTS, *UNNAMED})
"""Arguments of an intervention that hold arguments of their own."""


class _NamedSection(Named):
    """A mapping of a name and the arguments of what it stands for."""

    model_config = ConfigDict(extra="forbid")


class _PartSection(_NamedSection):
    """Of a part, whose defaults are written down, so that a config has to be able to give them."""

    model_config = ConfigDict(validate_default=True)


def imported(config: RunConfig) -> RunConfig:
    """`config` with the modules that it and its tasks name imported, and checked against what they register.

    Raises:
        ConfigError: a module cannot be imported, a name is not registered, or a setting of an agent that a module
            registers is refused.
    """
    import_modules(config.imports)
    for module, key in config.modules().items():
        if module not in config.imports:
            import_module(module, f"{key}: {shown(module)}", ", as those of imports are,")
    problem = problems.of_names(config)
    if problem is not None:
        raise ConfigError(problem)
    if not isinstance(config.agent, UnknownAgent):
        return config
    try:
        return RunConfig.model_validate(config.model_dump())
    except ValidationError as error:
        raise ConfigError(sentence(error)) from None


def check_arguments(config: RunConfig) -> RunConfig:
    """`config` with all arguments of its interventions and parts checked and filled in.

    Imports the modules that the config names, and those of the interventions.

    Raises:
        ConfigError: a module cannot be imported, a name is not registered, or an argument is unknown, of a wrong type
            or out of range.
    """
    config = imported(config)
    interventions = tuple(_intervention(config, i) for i in range(len(config.interventions)))
    parts = tuple(_run_part(config, i) for i in range(len(config.parts)))
    return config.model_copy(update={"interventions": interventions, "parts": parts})


def arguments_of(entry: Entry, name: str) -> type[Model]:
    """The section of what an entry stands for: the name, and the arguments of its class or the options of its function.

    Raises:
        ConfigError: its code cannot be used.
    """
    target = _code(entry, name, name)
    section, _ = _section(target, {key: {} for key in UNNAMED}, name, _NamedSection)
    return section


def _run_part(config: RunConfig, i: int) -> PartConfig:
    """The part number `i` with all arguments that it is built with."""
    from crl.parts import Part  # with Stable-Baselines3, which is loaded only where there are parts

    key, given = f"parts.{i}", config.parts[i].model_dump()
    name = given["name"]
    found = _class(PARTS[name], Part, key, name)
    found.name = name  # which no decorator has given to that of an installed plugin
    section, _ = _built(found, given, key, _PartSection, nested=())
    return PartConfig(name=name, **_as_json(section.model_dump(exclude={"name"}), f"{key}: the arguments of {name}"))


def _built(
    constructor: type, given: dict[str, Any], key: str, base: type[Model], nested: Collection[str]
) -> tuple[Model, Any]:
    """The arguments that a config gives to a class, see `_section`, and that built with them."""
    section, given = _section(constructor, given, key, base, nested)
    try:
        arguments = section.model_validate(given)
    except ValidationError as error:
        raise ConfigError(sentence(error, key.split("."))) from None
    try:
        with _named(constructor, key):
            return arguments, constructor(**arguments.model_dump(exclude={"name"}, exclude_unset=True))
    except ConfigError:
        raise
    except ValueError as error:
        known = str(error).partition(" ")[0].partition(".")[0] in section.model_fields
        raise ConfigError(f"{key}{'.' if known else ': '}{error}") from None


def _intervention(config: RunConfig, i: int) -> InterventionConfig:
    """The intervention number `i` with the arguments that it is built with."""
    from agents.plasticity.protocols import Intervention  # with torch, which is loaded only where there are some

    key, given = f"interventions.{i}", config.interventions[i].model_dump()
    name = given["name"]
    found = _class(INTERVENTIONS[name], Intervention, key, name)
    _, intervention = _built(found, given, key, _NamedSection, NESTED)
    if intervention.uses_boundaries and config.stream.boundary == "hidden":
        raise ConfigError(
            f"{key}: {name} acts on task switches, which stream.boundary=hidden hides; "
            f"give stream.boundary=revealed, or leave it out"
        )
    # What it was built with, and not what was given: a default may depend on other arguments.
    with _named(found, key):
        arguments = intervention.arguments()
    return InterventionConfig(name=name, **_as_json(arguments, f"{key}: the arguments() of {name}"))


@contextmanager
def _named(found: type, key: str) -> Iterator[None]:
    """Name somebody's class where its code raises what is not about a value."""
    try:
        yield
    except ValueError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{key} is {place(found)}, which cannot be used ({type(error).__name__}: {one_line(error)}); correct it "
            "or leave it out"
        ) from error


def _class(entry: Entry, base: type, key: str, name: str) -> Any:
    found = _code(entry, key, name)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ConfigError(
            f"{key}.name={shown(name)} is {place(entry.target)}, which is no {base.__name__} of {base.__module__}; "
            "correct it or leave it out"
        )
    return found


def _code(entry: Entry, key: str, name: str) -> Any:
    try:
        return entry.resolve()
    except Exception as error:
        raise ConfigError(
            f"{key}.name={shown(name)} is {entry.target}, which cannot be imported "
            f"({type(error).__name__}: {one_line(error)}); correct it or leave it out"
        ) from error


def _as_json(arguments: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The arguments as YAML and JSON keep them; `owner` says in messages whose they are."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(arguments, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{owner} are no plain data ({error}); correct its class") from error
    return plain


def _section(
    target: Callable[..., Any],
    given: Mapping[str, Any],
    key: str,
    base: type[Model],
    nested: Collection[str] = NESTED,
) -> tuple[type[Model], dict[str, Any]]:
    """A section with one field for each argument of `target`.

    Args:
        target: a class, or a function whose options stand behind ``*``.
        given: what the config says.
        key: where it says so.
        base: of the section.
        nested: arguments that hold arguments of their own.

    Returns:
        the section, and `given` with its components written out as mappings.
    """
    fields: dict[str, Any] = {}
    given = dict(given)
    for parameter in _parameters(target, key):
        name, hint, default = parameter.name, parameter.annotation, parameter.default
        if name in nested:
            value = given.get(name, None if default is Parameter.empty else default)
            if value is None:
                hint = None if type(None) in _members(hint) else Named
            else:
                hint, given[name] = _component(name, value, f"{key}.{name}")
        fields[name] = (_strict(hint), ... if default is Parameter.empty else default)
    try:
        section = create_model(f"{target.__name__}Arguments", __base__=base, **fields)
    except PydanticSchemaGenerationError as error:
        raise ConfigError(
            f"{key}: {target.__name__} has an argument that a config cannot give ({one_line(error)}); "
            f"annotate its arguments as int, float, bool, str, Literal or sequences of these"
        ) from error
    section.documented = target
    return section, given


def _component(kind: str, value: Any, key: str) -> tuple[type[Model], Any]:
    """The section of a component, and its value written out.

    What is no mapping is refused with the types of all arguments.

    Args:
        kind: a key of `COMPONENTS`, whose components are given by their name alone or with arguments, or of `UNNAMED`.
        value: what the config or the constructor's default says.
        key: where it stands.
    """
    if kind in UNNAMED:
        section, given = _section(UNNAMED[kind].resolve(), value if isinstance(value, dict) else {}, key, Model)
        return section, given if isinstance(value, dict) else value
    value = {"name": value} if isinstance(value, str) else value
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str):
        return Named, value
    if name not in COMPONENTS[kind]:
        raise ConfigError(f"{key}.name={shown(name)} is not a known {kind}; {nearest(name, COMPONENTS[kind])}")
    return _section(_code(COMPONENTS[kind][name], key, name), value, key, _NamedSection)


def _parameters(target: Callable[..., Any], key: str) -> Iterator[Parameter]:
    """The arguments of a class, or the options of a function, with their types."""
    kinds = {Parameter.KEYWORD_ONLY, *([Parameter.POSITIONAL_OR_KEYWORD] if isinstance(target, type) else ())}
    found = [p for p in inspect.signature(target).parameters.values() if p.kind in kinds]
    # Only their hints: those of a function's inputs may be there for type checkers alone.
    written = types.SimpleNamespace(__annotations__={p.name: p.annotation for p in found})
    code: Any = target.__init__ if isinstance(target, type) else target  # type: ignore[misc]
    try:
        hints = get_type_hints(written, getattr(inspect.unwrap(code), "__globals__", {}), include_extras=True)
    except NameError as error:
        raise ConfigError(
            f"{key}: the types of {target.__name__}'s arguments cannot be read ({error}); import them at run time too"
        ) from error
    for parameter in found:
        if hints[parameter.name] is Parameter.empty:
            raise ConfigError(
                f"{key}: the argument {parameter.name!r} of {target.__name__} has no type; "
                f"annotate it, such as {parameter.name}: float"
            )
        yield parameter.replace(annotation=hints[parameter.name])


def _members(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the hint itself."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _strict(hint: Any) -> Any:
    """The type as configs mean it: no coercion but from text to float; sequences are lists."""
    if hint is float:
        return Number
    if hint is int:
        return Whole
    if hint is bool:
        return Flag
    origin, given = get_origin(hint), get_args(hint)
    if origin in (None, Literal, Annotated):
        return hint
    arguments = tuple(_strict(argument) for argument in given)
    if origin in (Union, types.UnionType):
        # Labels that messages leave out of the key.
        tagged = tuple(m if m is type(None) else Annotated[m, Tag(f"~{n}")] for n, m in enumerate(arguments))
        return Union[tagged]  # noqa: UP007 - the members are known at run time only
    if issubclass(origin, Sequence):
        return list[arguments[0]]  # type: ignore[valid-type]
    return dict[arguments[0], arguments[1]] if issubclass(origin, Mapping) else hint  # type: ignore[valid-type]
