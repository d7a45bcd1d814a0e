"""One sentence for every refusal: the key, its value and the remedy."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from envs.checks import closest

SHOWN = 80  # characters of a value that a message repeats
MUCH = 10_000  # characters of a message of others that are looked at
LISTED = 50  # words of a list that a refusal shows

PROBLEMS = {
    "int_type": "is not a whole number; give one such as 64",
    "float_type": "is not a number; give one such as 0.001",
    "float_parsing": "is not a number; give one such as 0.001",
    "finite_number": "is not finite; give a finite number such as 0.001",
    "bool_type": "is neither true nor false; give one of the two",
    "string_type": "is not text; give a name, in quotes where YAML would read it as something else",
    "list_type": "is not a list; write it in square brackets, such as {example}",
    "tuple_type": "is not a list; write it in square brackets, such as {example}",
    "dict_type": "is not a mapping; write it in braces, such as {mapping}",
    "model_type": "is not a mapping; write it in braces, such as {mapping}",
    "greater_than": "is too small; give a number above {gt}",
    "greater_than_equal": "is too small; give a number of at least {ge}",
    "less_than": "is too large; give a number below {lt}",
    "less_than_equal": "is too large; give a number of at most {le}",
    "literal_error": "is not known; give {expected}",
    "too_short": "is too short; give at least {min_length}",
    "too_long": "is too long; give at most {max_length}",
    "string_too_short": "is empty; give a name",
}
"""pydantic's error type -> what is wrong and what to do about it."""

EXAMPLES = {
    "actions": "[noop, left, right]",
    "imports": "[my_module]",
    "interventions": "[gxd], or [] for none",
    "linear": "[0.001, 0]",
    "logger": "[tensorboard, wandb]",
    "net_arch": "[64]",
    "parts": "[my_part], or [] for none",
    "networks": "[actor, critic]",
    "pi": "[64]",
    "qf": "[64]",
    "size": "[84, 84]",
    "tasks": "[breakout, asterix]",
    "vf": "[64]",
}
"""The last part of a key -> the list that a refusal shows; others get one of no meaning."""

MAPPINGS = {
    "agent": "{name: ppo}",
    "at_switch": "{replay: clear}",
    "criterion": "{name: gxd}",
    "interventions": "{name: gxd}",
    "normalize": "{obs: true}",
    "optimizer": "{name: adamw}",
    "optimizer_kwargs": "{eps: 1.0e-5}",
    "parts": "{name: my_part}",
    "policy_kwargs": "{normalize_images: true}",
    "replay_buffer_kwargs": "{handle_timeout_termination: true}",
    "selection": "{name: rate, rate: 0.0001}",
    "spaces": "{observations: pad, actions: union}",
    "surgery": "{outgoing: zero}",
}
"""The last part of a key, without an index -> the mapping that a refusal shows; others get one of no meaning."""


class ConfigError(ValueError):
    """A config or an argument that is refused; the message is one sentence for the user."""

    def __init__(self, sentence: str) -> None:
        super().__init__(printable(" ".join(sentence.split())))


def refusal(problem: str) -> PydanticCustomError:
    """The error by which a validator refuses a value; the message becomes "<key>=<value> <problem>"."""
    return PydanticCustomError("refusal", "{problem}", {"problem": problem})


def refused_sentence(sentence: str) -> PydanticCustomError:
    """The error by which a validator refuses a combination of keys; `sentence` is the whole message."""
    return PydanticCustomError("sentence", "{sentence}", {"sentence": sentence})


def unknown_key(key: str, known: Iterable[str]) -> PydanticCustomError:
    """The error by which a mapping refuses a key that it does not have."""
    return PydanticCustomError(
        "unknown_key", "{problem}", {"key": key, "problem": f"is not a known key; {nearest(key, known)}"}
    )


def foreign_key(key: str, owners: str, section: str) -> PydanticCustomError:
    """The error by which a mapping refuses a key that only others of its kind have."""
    return misplaced_key(key, f"is a setting of {owners}, not of {section}; leave it out")


def misplaced_key(key: str, problem: str) -> PydanticCustomError:
    """The error by which a mapping refuses a key that stands elsewhere, or nowhere."""
    return PydanticCustomError("unknown_key", "{problem}", {"key": key, "problem": problem})


def in_words(names: Iterable[str]) -> str:
    """``a``, ``a and b``, or ``a, b and c``."""
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def close_to(word: str, words: Iterable[str]) -> str | None:
    """The word spelt most like `word`, or one that ends in it after a slash (``atari/pong``), or None."""
    words = tuple(words)
    return closest(word, words) or next((each for each in words if each.endswith(f"/{word}")), None)


def nearest(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """ "did you mean x?" for the known word closest to `word`, or else the known words, with `otherwise` after them."""
    words = list(known)
    close = close_to(word, words)
    if close:
        return f"did you mean {close!r}?"
    if not words and otherwise:
        return otherwise
    listed = words if len(words) <= LISTED else [*words[: LISTED - 1], f"... ({len(words):,} in all)"]
    return f"choose from {', '.join(listed) or 'none'}{', or ' if otherwise else ''}{otherwise}"


def shown(value: Any) -> str:
    """`value` as JSON on one line, shortened."""
    try:
        text = json.dumps(value, default=str, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # keys that are no text, thousands of digits, lists in themselves
        return f"({type(value).__name__} that cannot be shown)"
    return shortened(text)


def shortened(text: str) -> str:
    """`text`, or its beginning where it is long."""
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def one_line(message: object) -> str:
    """What somebody else's error or warning says, on one line and of bounded length."""
    return printable(textwrap.shorten(str(message)[:MUCH], 300, placeholder=" ..."))


def printable(text: str) -> str:
    """`text` with what steers a terminal written as Python does, and with no half of a character."""
    return "".join(mark if mark.isprintable() else repr(mark)[1:-1] for mark in text)


def sentence(error: ValidationError, prefix: Sequence[str | int] = ()) -> str:
    """The first thing that is wrong, misspelt keys before all else: they are often why something else is missing.

    Args:
        error: what pydantic found.
        prefix: the keys under which the validated data stand in the config.
    """
    details = error.errors(include_url=False)
    first = min(details, key=lambda found: found["type"] != "unknown_key")
    return _sentence(first, prefix)


def _sentence(error: ErrorDetails, prefix: Sequence[str | int]) -> str:
    # Tags of unions stand among the keys and begin with "~".
    parts = [str(part) for part in (*prefix, *error["loc"]) if not str(part).startswith("~")]
    context = error.get("ctx", {})
    value = error["input"]
    if error["type"] == "unknown_key":
        parts.append(context["key"])
        value = value[context["key"]]
    key = ".".join(parts)
    if error["type"] == "sentence":
        return str(context["sentence"])
    if error["type"] == "missing":
        remedy = "give the whole list" if parts[-1].isdecimal() else f"add it to the config or give {key}=VALUE"
        return f"{key} is missing; {remedy}"
    if error["type"] in PROBLEMS:
        last = parts[-1] if parts else ""
        holder = parts[-2] if last.isdecimal() and len(parts) > 1 else last  # of an item: the list that it stands in
        examples = {"example": EXAMPLES.get(last, "[a, b]"), "mapping": MAPPINGS.get(holder, "{key: value}")}
        # Some versions of pydantic tell a bound of 0 as 0.0.
        bounds = {name: int(it) if isinstance(it, float) and it.is_integer() else it for name, it in context.items()}
        problem = PROBLEMS[error["type"]].format(**bounds, **examples)
    else:
        problem = context.get("problem") or f"is refused: {error['msg']}"
    return f"{key}={shown(value)} {problem}" if key else f"the config {problem}"
