"""The commands that show what a config may say: `crl list` and `config`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from crl.cli.options import refusing


def list_names(
    name: Annotated[
        str | None,
        typer.Argument(
            help="One of the lists (streams, tasks, shifts, drifts, spaces, agents, optimizers, schedules, "
            "criteria, selections, interventions, parts), or a name or suite in one of them, such as gxd or atari; "
            "left out, all lists.",
            show_default=False,
        ),
    ] = None,
    of: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A name in that list.", show_default=False)] = None,
    imports: Annotated[
        list[str] | None,
        typer.Option("--imports", metavar="MODULE", help="Also show what a module of yours registers; repeatable."),
    ] = None,
) -> None:
    """Show the names that a config can give; of one name all arguments, its paper and an example."""
    from crl.config import ConfigError
    from crl.config.imports import register_plugins
    from crl.config.messages import nearest, shown
    from crl.listing import Kind, listed, pages, registered_by, suite

    with refusing():
        register_plugins()
        worlds = registered_by(imports or [])
        if of is not None and name not in [*Kind]:
            raise ConfigError(
                f"{shown(name)} is not a list, in which {shown(of)} could be; {nearest(f'{name}', map(str, Kind))}"
            )
        if name is not None and (of is not None or name not in [*Kind]):
            lists = suite(name) if of is None else suite(of, Kind(name))
            if not lists:
                found = pages(name) if of is None else pages(of, Kind(name))
                print("\n".join(line for page in found for line in page.lines).rstrip())
        else:
            lists = {kind: listed(kind) for kind in (Kind if name is None else [Kind(name)])}
            if Kind.tasks in lists:
                lists[Kind.tasks] |= worlds
    for kind, lines in lists.items():
        print(f"{kind}:")
        width = max(map(len, lines), default=0)
        for each, text in lines.items():
            for line in text.splitlines():
                print(f"  {each:{width}}  {line}")
                each = ""


def show_config(
    config: Annotated[Path | None, typer.Argument(help="YAML file of a run.", show_default=False)] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY.SUB=VALUE", help="Changes to it, as for train.", show_default=False),
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of configs, for editors.")] = False,
    all_keys: Annotated[
        bool, typer.Option("--all-keys", help="Print every key with its type, default and meaning.")
    ] = False,
) -> None:
    """Show a config with all defaults filled in, or what a config may say."""
    from crl.config import ConfigError, check_arguments, load, to_yaml
    from crl.config.imports import beside, register_plugins

    with refusing():
        if (config is not None) + schema + all_keys != 1:
            raise ConfigError("crl config shows one thing; give a config, or --schema, or --all-keys")
        if config is not None:
            with beside(config):
                print(to_yaml(check_arguments(load(config, overrides or []))), end="")
            return
        from crl.config.keys import json_schema, keys_of

        register_plugins()
        found = json_schema()
    if schema:
        print(json.dumps(found, indent=2))
        return
    names = {key: f"{key.name}{f' [{chr(44).join(key.of)}]' if key.of else ''}" for key in keys_of(found)}
    for key, name in names.items():
        print(f"{name}  {key.line}")
