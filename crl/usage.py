"""What is wrong with a command line, in one sentence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer

from crl.config.keys import keys_of
from crl.config.messages import nearest, printable, shortened
from crl.config.schema import RunConfig
from crl.shell import typed
from envs.checks import closest

UsageError: Any = typer.BadParameter.__mro__[1]
"""What typer raises of a command line: newer versions have a class of their own, older ones click's."""

OTHERS = {
    "agent": "agent.name",
    "algo": "agent.name",
    "d": "device",
    "env": "stream.name",
    "env_id": "stream.name",
    "lr": "agent.learning_rate",
    "r": "runs",
    "s": "seed",
    "steps": "stream.steps_per_task",
    "stream": "stream.name",
    "t": "threads",
    "total_timesteps": "stream.steps_per_task",
}
"""Flags of other programs -> keys."""


def sentence(error: Any, words: Sequence[str]) -> str:
    """What is wrong and the remedy.

    Args:
        error: a `UsageError`.
        words: of the command line, behind ``crl``.
    """
    command = None if error.ctx is None else error.ctx.command
    path = "crl" if error.ctx is None else error.ctx.command_path
    option: Any = getattr(error, "option_name", None)
    parameters = getattr(command, "params", ())
    if hasattr(error, "possibilities"):  # only of an option that the command does not have
        given = _whole(option, words)
        if given.lstrip("-") in [each.name for each in parameters if each.param_type_name == "argument"]:
            return f"{path} has no option {printable(shortened(given))}; write {path} {typed([_value(given, words)])}"
        if path == "crl train":
            return f"{path} has no option {printable(shortened(given))}; {_as_key(given, words)}"
        strange = f"{path} has no option {printable(shortened(option))}"
        options = [name for each in parameters for name in each.opts if name.startswith("--")]
        return f"{strange}; {nearest(option, [*options, '--help'])}"
    commands = getattr(command, "commands", {})
    if commands and words and words[0] not in commands:
        return f"crl has no command {printable(shortened(words[0]))!r}; {nearest(words[0], commands)}"
    return f"{printable(error.format_message()).removesuffix('.')}; see {path} --help"


def _whole(option: str, words: Sequence[str]) -> str:
    """The option as it was written: of ``-seed`` the parser names the first letter alone."""
    word = next((word for word in words if word.startswith(option)), option).partition("=")[0]
    return option if option.startswith("--") or not word[2:].isidentifier() else word


def _as_key(option: str, words: Sequence[str]) -> str:
    """How the config's key is given for which somebody has written an option."""
    name = option.lstrip("-").replace("-", "_")
    keys = {key.name: key for key in keys_of(RunConfig.model_json_schema()) if ".N." not in key.name}
    parts = {key.rpartition(".")[2]: key for key in sorted(keys, key=lambda key: -key.count("."))}
    found = OTHERS.get(name) or (name if name in keys or name.partition(".")[0] in RunConfig.model_fields else None)
    found = found or parts.get(name)
    near = closest(name, [*parts, *keys])
    if found is None and near is None:
        return "keys of the config are written as seed=3, see crl config --all-keys"
    key = found or parts.get(str(near), str(near))
    value = _value(option, words)
    if key in keys and keys[key].type.startswith("[") and not value.startswith("["):
        value = f"[{value}]"
    return f"{'write' if found else 'did you mean'} {typed([f'{key}={value}'])}{'' if found else '?'}"


def _value(option: str, words: Sequence[str]) -> str:
    """What stands behind an option, be it a word of its own or not."""
    for word, after in zip(words, [*words[1:], ""], strict=True):
        if word == option:
            return after if after and not after.startswith("--") else "VALUE"
        if word.startswith(option):
            return word.removeprefix(option).removeprefix("=") or "VALUE"
    return "VALUE"
