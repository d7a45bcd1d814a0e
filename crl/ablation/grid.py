"""A grid of runs: a base config, named arms of overrides, axes of values, and seeds."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from crl.ablation.settings import RayConfig, SlurmConfig
from crl.config import ConfigError
from crl.config.fields import DEFAULTS_FOR_NULL, CountOrZero, Model, whole
from crl.config.messages import in_words, nearest, refusal, sentence, shortened, shown
from crl.config.reading import changed_by, overridden, read_yaml
from crl.run_folder import LONGEST_NAME

KEYWORDS: dict[str, dict[str, Any]] = {
    "oracle": {"interventions": ["oracle"], "stream.boundary": "revealed"},
    "full_reset": {"interventions": ["full_reset"], "stream.boundary": "revealed"},
}
"""Arms that a word stands for: a fresh agent for every visit, and networks drawn anew at every switch."""

MAX_RUNS = 10_000
WHEN, ARM, SEED = "when", "arm", "seed"
OWN = ("seed", "runs", "threads")
"""Keys that an ablation sets itself."""

Overrides = dict[str, Any]


def _numbers(value: Any) -> Any:
    """The seeds that a number of them stands for."""
    value = whole(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_RUNS:
        return list(range(1, value + 1))
    if not isinstance(value, list):
        raise refusal("is neither how many seeds nor a list of them; give 5 or [1, 2, 3]")
    return value


class GridConfig(Model):
    """What the file of an ablation says.

    Attributes:
        base: config of all runs, a path from the file's folder.
        overrides: changes to it for all runs, by dotted key; ``interventions+`` appends.
        arms: name -> changes of that arm, or a keyword that stands for them. In the file, also the path of another
            ablation's, from the file's folder, whose arms are taken.
        axes: mappings of a dotted key to its values, each crossed with arms and other axes. The keys of one axis are
            zipped. ``when`` keeps it to some arms (``when: {arm: [gxd]}``) or values of earlier axes.
        seeds: how many, from 1, or which.
        folder: of all runs; left out, ``runs/ablations/`` and the file's name.
        vectorize: ``seeds``: those of an arm are trained in one process, with batched networks, as far as that can be.
        ray: what a run takes on a Ray cluster.
        slurm: what a run's job is given on a Slurm cluster.
    """

    base: Annotated[str, Field(min_length=1)]
    overrides: Annotated[Overrides, DEFAULTS_FOR_NULL] = Field(default_factory=dict)
    arms: dict[str, Any] | None = None
    axes: tuple[dict[str, Any], ...] = ()
    seeds: Annotated[tuple[CountOrZero, ...], BeforeValidator(_numbers)] = (1, 2, 3, 4, 5)
    folder: Annotated[str, Field(min_length=1)] | None = None
    vectorize: Literal["seeds"] | None = None
    ray: Annotated[RayConfig, DEFAULTS_FOR_NULL] = Field(default_factory=RayConfig)
    slurm: Annotated[SlurmConfig, DEFAULTS_FOR_NULL] = Field(default_factory=SlurmConfig)

    @model_validator(mode="before")
    @classmethod
    def _refuse_no_mapping(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            raise refusal("of an ablation is no mapping; give at least base: CONFIG")
        return data


class Cell(NamedTuple):
    """One run of a grid.

    Attributes:
        name: of the run, which no other of the grid has; also its folder's.
        arm: name of the arm, with the values of its axes.
        seed: of the run.
        raw: its config, as YAML gives one.
        factors: what the grid varies, without the seed: ``arm``, where it has arms, and dotted keys of axes -> value.
    """

    name: str
    arm: str
    seed: int
    raw: dict[str, Any]
    factors: dict[str, Any]


class Grid(NamedTuple):
    """All runs of an ablation, those of the first seed before those of the second.

    Attributes:
        file: that describes it.
        base: file of the base config.
        folder: where its runs lie.
        common: the base config with the changes for all runs.
        cells: the runs.
        ray: see `GridConfig`.
        slurm: see there.
    """

    file: Path
    base: Path
    folder: Path
    common: dict[str, Any]
    cells: list[Cell]
    ray: RayConfig
    slurm: SlurmConfig
    together: bool = False
    """Whether seeds of an arm are trained together, as far as that can be."""


def read(file: Path, overrides: Sequence[str] = ()) -> Grid:
    """The runs that a file describes, none of whose configs is checked.

    Args:
        file: a YAML file.
        overrides: changes to what it says, as of the command line: ``ray.num_gpus=0.5``.

    Raises:
        ConfigError: it cannot be read, something in it is refused, or there is no run in it.
    """
    content = read_yaml(file)
    for override in overrides:
        content = changed_by(content, override)
    if isinstance(content, dict) and isinstance(content.get("arms"), str):
        content = {**content, "arms": _arms_of(file.parent / content["arms"])}
    try:
        config = GridConfig.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{str(file)!r}: {sentence(error)}") from None
    base = file.parent / config.base
    raw = read_yaml(base)
    if not isinstance(raw, dict):
        raise ConfigError(f"the base config {str(base)!r} is no mapping; give the config of a run")
    for name in OWN:
        raw.pop(name, None)
    stream = raw.get("stream")
    if isinstance(stream, dict) and not stream.get("name"):
        raw["stream"] = {"label": base.stem, **stream}  # as that of a config that is trained by itself
    common = _changed(raw, config.overrides, "overrides")
    folder = Path(config.folder or Path("runs", "ablations", file.stem)).expanduser()
    arms = list(itertools.islice(_arms(config, common), MAX_RUNS + 1))
    _check_number(file, len(arms), len(config.seeds))
    cells = [
        Cell(f"{arm}__s{seed}", arm, seed, {**raw, "seed": seed}, factors)
        for seed in config.seeds
        for arm, raw, factors in arms
    ]
    _check_names(file, cells)
    return Grid(file, base, folder, common, cells, config.ray, config.slurm, config.vectorize is not None)


def _arms_of(file: Path) -> dict[str, Any]:
    """The arms that the file of another ablation lists."""
    content = read_yaml(file)
    arms = content.get("arms") if isinstance(content, dict) else None
    if not isinstance(arms, dict):
        raise ConfigError(f"arms={str(file)!r} lists no arms itself; give the file of an ablation that does")
    return arms


def _check_number(file: Path, arms: int, seeds: int) -> None:
    if not arms or not seeds:
        what = "arms" if seeds else "seeds"
        raise ConfigError(f"the grid of {str(file)!r} is empty: it has no {what}; give at least one")
    if arms * seeds > MAX_RUNS:
        raise ConfigError(f"the grid of {str(file)!r} has more than {MAX_RUNS:,} runs; give fewer values or seeds")


def _check_names(file: Path, cells: Sequence[Cell]) -> None:
    known: dict[str, Cell] = {}
    for cell in cells:
        other = known.setdefault(cell.name.casefold(), cell)  # folders of that name are one on some systems
        if other is not cell:
            raise ConfigError(
                f"two runs of {str(file)!r} are called {shortened(cell.name)!r}; give each seed and value once, and "
                "arms names that differ"
            )


def _arms(config: GridConfig, common: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """The label of every combination of an arm with values of the axes, its config, and the arm and values."""
    arms = {"": None} if config.arms is None else config.arms
    axes = [_axis(number, axis, arms, config.axes[:number]) for number, axis in enumerate(config.axes)]
    for arm, given in arms.items():
        changed = _changed(common, _meant(arm, given, common), f"arms.{arm}")
        for values in _combinations(arm, axes):
            label = ",".join(filter(None, (arm, *(f"{key.rpartition('.')[2]}={text(v)}" for key, v in values.items()))))
            named = {} if config.arms is None else {ARM: arm}
            yield _as_name(label or "base"), _changed(changed, values, "axes"), {**named, **values}


def _meant(arm: str, given: Any, common: Mapping[str, Any]) -> Overrides:
    """The changes that an arm stands for; what observations tell of switches, they go on telling."""
    if given is None or isinstance(given, dict):
        return given or {}
    if isinstance(given, str) and given in KEYWORDS:
        stream = common.get("stream")
        told = isinstance(stream, dict) and stream.get("boundary") == "observed"
        return {key: value for key, value in KEYWORDS[given].items() if not (told and key == "stream.boundary")}
    raise ConfigError(
        f"arms.{arm}={shown(given)} is neither a keyword nor a mapping of keys to values; "
        f"{nearest(str(given), KEYWORDS, 'give {} for the base config as it is')}"
    )


class _Axis(NamedTuple):
    when: Mapping[str, Sequence[Any]]
    steps: Sequence[Overrides]


def _axis(number: int, given: Mapping[str, Any], arms: Mapping[str, Any], before: Sequence[Mapping[str, Any]]) -> _Axis:
    """An axis whose keys have as many values each, and that depends on what is there."""
    place = f"axes.{number}"
    when = given.get(WHEN) or {}
    if not isinstance(when, dict):
        raise ConfigError(f"{place}.when={shown(when)} is no mapping; write for example when: {{arm: [gxd]}}")
    known = {ARM: list(arms)} | {
        key: _list(f"axes.{i}.{key}", axis[key]) for i, axis in enumerate(before) for key in axis if key != WHEN
    }
    found = {key: value if isinstance(value, list) else [value] for key, value in when.items()}
    for key, values in found.items():
        if key not in known:
            raise ConfigError(
                f"{place}.when.{key} is neither {ARM} nor a key of an earlier axis; {nearest(key, known)}"
            )
        for value in values:
            if value not in known[key]:
                raise ConfigError(
                    f"{place}.when.{key}={shown(value)} is no value of it; {nearest(str(value), map(str, known[key]))}"
                )
    columns = {key: _list(f"{place}.{key}", values) for key, values in given.items() if key != WHEN}
    lengths = {key: len(values) for key, values in columns.items()}
    if not columns:
        raise ConfigError(
            f"{place} has no key; give one with its values, such as agent.learning_rate: [1.0e-3, 3.0e-4]"
        )
    if len(set(lengths.values())) > 1:
        told = in_words(f"{count} of {key}" for key, count in lengths.items())
        raise ConfigError(f"the keys of {place} go together, but there are {told} values; give as many, or two axes")
    rows = zip(*columns.values(), strict=True)
    return _Axis(found, [dict(zip(columns, row, strict=True)) for row in rows])


def _list(key: str, values: Any) -> list[Any]:
    if not isinstance(values, list) or not values:
        raise ConfigError(f"{key}={shown(values)} is no list of values; write for example [1.0e-3, 3.0e-4]")
    return values


def _combinations(arm: str, axes: Sequence[_Axis]) -> Iterator[Overrides]:
    """Values of all axes that the arm has, those of the last one changing fastest."""
    found: list[Overrides] = [{}]
    for when, steps in axes:
        found = list(
            itertools.chain.from_iterable(
                [{**values, **step} for step in steps]
                if all({ARM: arm, **values}.get(key, _NONE) in wanted for key, wanted in when.items())
                else [values]
                for values in found
            )
        )
        if len(found) > MAX_RUNS:
            raise ConfigError(f"the axes have more than {MAX_RUNS:,} combinations; give fewer values")
    yield from found


_NONE = object()


def _changed(raw: dict[str, Any], overrides: Overrides, source: str) -> dict[str, Any]:
    for key, value in overrides.items():
        if key.partition(".")[0].removesuffix("+") in OWN:
            raise ConfigError(
                f"{source}.{key} is set by the ablation itself; give seeds, or folder for runs, and leave it out"
            )
        raw = overridden(raw, key, value, f"{source}.{key}")
    return raw


def text(value: Any) -> str:
    """A value of a config as short text."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _as_name(label: str) -> str:
    """A label as the name of a folder that every system can have."""
    name = re.sub(r"[^\w,.()=+-]+", "-", label).strip(".")[:LONGEST_NAME]
    if not re.search(r"\w", name):
        raise ConfigError(f"arms has {label!r}, which no folder and no table can show; give it a name with a letter")
    return name
