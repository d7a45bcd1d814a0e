"""The section `stream`: which task comes when."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from agents.settings import number
from crl.config.fields import MAX_REPETITIONS, MAX_WHOLE, Count, CountOrZero, Model, Range, Repetitions, whole
from crl.config.messages import nearest, refusal, refused_sentence, shortened, shown
from envs.catalogue import ABOUT, ACTIONS, EPISODE_LIMIT, LIMIT, SHIFTS, STREAMS, TASKS, WHOLE, is_draw, is_game
from envs.checks import closest

COUNTS = {"variants": MAX_REPETITIONS, "steps": MAX_WHOLE}  # of a task -> the most
AN_ID = "give a Gymnasium id with its version, such as CartPole-v1"


def _misspelt(name: str, known: Iterable[str]) -> bool:
    """Whether `name` is none of ours, and can be nothing else.

    Gymnasium ids have a version, a namespace or a module; names of ours may have a slash as ids with a namespace do.
    """
    known = tuple(known)
    if name in known or re.search(r":|-v\d+$", name):
        return False
    return "/" not in name or closest(name, known) is not None


def _check_task(entry: Any) -> Any:
    name = entry.get("id") if isinstance(entry, dict) else entry
    if not isinstance(name, str):
        raise refusal("is not a task; give a game, a Gymnasium id or a mapping such as {id: Pendulum-v1, g: 5.0}")
    if name in STREAMS:
        listed = "" if STREAMS[name].worlds else ", or list its tasks"
        raise refusal(f"is a stream and no task; give it as stream.name{listed}")
    if _misspelt(name, TASKS):
        raise refusal(f"is neither a task nor a Gymnasium id; {nearest(name, TASKS, AN_ID)}")
    problem = _counts_problem(entry) if isinstance(entry, dict) else None
    if problem is not None:
        raise refusal(problem)
    if not _is_json(entry):
        raise refusal(
            "has an argument that config.yaml cannot keep; give text (in quotes), finite numbers, true, false, null, "
            "and lists and mappings of them"
        )
    if not isinstance(entry, dict):
        return entry
    for shift in entry["shifts"] if isinstance(entry.get("shifts"), list) else ():
        called = shift.get("name") if isinstance(shift, dict) else shift
        if isinstance(called, str) and called not in SHIFTS:
            raise refusal(f"has a shift {shortened(called)!r} that is not known; {nearest(called, SHIFTS)}")
    return {key: _argument(name, key, value) for key, value in entry.items()}


def _counts_problem(entry: Mapping[str, Any]) -> str | None:
    """What is wrong with the variants and steps of a task, None if nothing is."""
    for key, most in COUNTS.items():
        count = whole(entry.get(key))
        if count is None:
            continue
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            return f"has {key}={shown(count)}; give a whole number of at least 1, or leave it out"
        if count > most:
            return f"has {key}={shown(count)}, which is too large; give a number of at most {most}"
    return None


def _argument(id: str, key: str, value: Any) -> Any:
    """The value of a key of a task: arguments of worlds that are not ours, and names, may be text."""
    if key not in ("name", "actions") and (id in TASKS or key in (*ABOUT, LIMIT)):
        return _with_numbers(key, value)
    return _with_numbers("", value) if is_draw(value) else value


def _with_numbers(key: str, value: Any) -> Any:
    """An argument with its numbers, some of which YAML reads as text, and whole ones as floats."""
    if isinstance(value, dict):
        if is_draw(value):  # the numbers drawn are the argument's, but how many they are
            return {how: _with_numbers(how if how in WHOLE else key, given) for how, given in value.items()}
        return {inner: _with_numbers(inner, item) for inner, item in value.items()}
    if isinstance(value, list):
        return [_with_numbers(key, item) for item in value]
    if key in WHOLE:
        return whole(value)
    found = number(value) if isinstance(value, str) else None
    return value if found is None else found


def _is_json(value: Any) -> bool:
    """Whether JSON, and so the hash, tells `value` from all others; YAML has dates, sets and bytes, too."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(item) for key, item in value.items())
    if isinstance(value, list):
        return all(map(_is_json, value))
    if isinstance(value, int):
        return abs(value) < 2**63
    return math.isfinite(value) if isinstance(value, float) else value is None or isinstance(value, str)


def _check_stream(name: str) -> str:
    known = [*STREAMS, *TASKS]
    if _misspelt(name, known):
        raise refusal(f"is neither a stream nor a task nor a Gymnasium id; {nearest(name, known, AN_ID)}")
    return name


TASK = {
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "required": ["id"],
            "properties": {
                "id": {"type": "string", "description": "a task or a Gymnasium id; its own arguments stand beside it"},
                "name": {"type": "string", "description": "what its results are called; left out, made of the rest"},
                "steps": {"type": "integer", "description": "of each visit; left out, stream.steps_per_task"},
                "variants": {
                    "type": "integer",
                    "description": "how many tasks this is, for each of which is drawn anew",
                },
                "shifts": {"type": "array", "description": "what is changed around the world, the innermost first"},
                "drift": {"type": "object", "description": "argument: how it changes over a visit"},
                "actions": {"type": "array", "description": "what each of its Discrete actions means, a name each"},
            },
        },
    ]
}
"""The JSON schema of a task."""
AnyTask = Annotated[Any, AfterValidator(_check_task), WithJsonSchema(TASK)]


def _actions(value: Any) -> Any:
    """The list, or the one of `ACTIONS`, that a value is."""
    if isinstance(value, str) and value not in ACTIONS:
        raise refusal(f"is not known; {nearest(value, ACTIONS, 'a list such as [noop, left, right]')}")
    names = value if isinstance(value, list | tuple) else [value]
    if value is not None and not all(isinstance(name, str) for name in names):  # YAML's no, off and 1 are no text
        known = ", ".join(ACTIONS)
        raise refusal(f"is no list of names; give one of {known}, or a list such as [noop, left], in quotes if need be")
    return value


Side = Annotated[int, Range(1, 4096)]  # of images, which take memory


class SpacesConfig(Model):
    """How tasks of different spaces become one stream; what is left out is refused where it differs.

    Attributes:
        observations: pad puts zeros at the ends of all axes, resize gives images one height and width.
        size: height and width to resize to; left out, the largest of all tasks.
        actions: union has all of all tasks by their names, a list is the union in that order, pad leaves the last
            numbers of continuous ones to tasks that have as many, same says that they mean the same.
    """

    observations: Literal["pad", "resize"] | None = None
    size: tuple[Side, Side] | None = None
    actions: Annotated[Literal["union", "pad", "same"] | tuple[str, ...] | None, BeforeValidator(_actions)] = None


class StreamConfig(Model):
    """The stream of tasks: a name, or a list of tasks. Steps are transitions of one game.

    Attributes:
        name: of a stream, a task or a Gymnasium id; crl list streams and crl list tasks show ours.
        tasks: in place of a name: tasks by name, or as mappings of an id and arguments.
        label: what the run's folder is called after; left out, the stream's name, or the config's file.
        steps_per_task: of each visit; left out, the stream's own.
        cycles: how often the list is gone through; left out, the stream's own, or once.
        order: sequence as listed, shuffle anew in each cycle, or random for each visit.
        lengths: of visits: fixed, or drawn around steps_per_task.
        boundary: hidden, revealed to what acts on task switches, or observed, which also tells the agent its task.
        spaces: how tasks of different observations or actions become one; left out, the stream's own, or none.
        align: visits are rounded up to whole rollouts, or to steps of all games.
        seed: decides orders, lengths and what tasks draw; left out, the run's.
        episode_limit: steps after which an unfinished MinAtar episode is truncated; left out, 2500.
    """

    name: Annotated[str, AfterValidator(_check_stream)] | None = None
    tasks: Annotated[tuple[AnyTask, ...], Field(min_length=1)] | None = None
    label: Annotated[str, Field(min_length=1)] | None = None
    steps_per_task: Count | None = None
    cycles: Repetitions | None = None
    order: Literal["sequence", "shuffle", "random"] = "sequence"
    lengths: Literal["fixed", "poisson", "geometric"] = "fixed"
    boundary: Literal["hidden", "revealed", "observed"] = "hidden"
    spaces: SpacesConfig | None = None
    align: Literal["rollout", "step"] = "rollout"
    seed: CountOrZero | None = None
    episode_limit: Count | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.name is None) == (self.tasks is None):
            given = "both are given" if self.name else "neither is given"
            raise refused_sentence(
                f"stream.name={shown(self.name)} and stream.tasks={shown(self.tasks)}: {given}; "
                "give exactly one of them and leave the other out (or set it to null)"
            )
        if self.steps_per_task is None and any(steps is None for _, steps in self._visits()):
            raise refused_sentence(
                f"stream.steps_per_task is missing and {shown(self.name or self.tasks)} has no length of its own; "
                "give the steps of each visit, such as stream.steps_per_task=500000"
            )
        if self.episode_limit is not None and not self._has_games():
            what = f"stream.tasks={shown(self.tasks)}" if self.name is None else f"stream.name={shown(self.name)}"
            raise refused_sentence(
                f"stream.episode_limit={self.episode_limit} is of MinAtar games, and {what} has none; give "
                "stream.episode_limit=null, or a task a limit of its own, such as {id: cartpole, episode_limit: 200} "
                "or {id: CartPole-v1, max_episode_steps: 200}"
            )
        return self

    def _entries(self) -> tuple[Any, ...]:
        """The tasks as users write them, of a named stream as for seed 0."""
        named = STREAMS.get(self.name or "")
        return named.entries(0) if named else self.tasks or (self.name,)

    def _has_games(self) -> bool:
        """Whether a MinAtar game is played."""
        return any(map(is_game, self._entries()))

    def _visits(self) -> list[tuple[int, int | None]]:
        """How many tasks each entry stands for, and the mean steps of a visit, None where they are not given."""
        named = STREAMS.get(self.name or "")
        steps = self.steps_per_task or (named.steps_per_task if named else None)
        entries = [entry if isinstance(entry, Mapping) else {} for entry in self._entries()]
        return [(entry.get("variants") or 1, entry.get("steps") or steps) for entry in entries]

    def resolved(self, seed: int) -> StreamConfig:
        """This section with the defaults filled in: the stream's own, and the run's `seed`."""
        named = STREAMS.get(self.name or "")
        steps, cycles = (named.steps_per_task, named.cycles) if named else (self.steps_per_task, 1)
        limit = EPISODE_LIMIT if self._has_games() else None
        return self.model_copy(
            update={
                "steps_per_task": self.steps_per_task or steps,
                "cycles": self.cycles or cycles,
                "seed": seed if self.seed is None else self.seed,
                "episode_limit": self.episode_limit or limit,
                "spaces": SpacesConfig(**named.spaces)
                if self.spaces is None and named and named.spaces
                else self.spaces,
            }
        )

    @property
    def task_steps(self) -> int:
        """Steps of the shortest visit, before they are rounded; of drawn lengths the mean."""
        return min(steps or 0 for _, steps in self._visits())

    @property
    def total_steps(self) -> int:
        """Steps of the whole stream, before segments are rounded; of drawn lengths and orders the mean."""
        cycles = self.resolved(0).cycles
        assert cycles is not None
        return cycles * sum(count * (steps or 0) for count, steps in self._visits())
