"""What several commands have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from crl.exit_codes import REFUSED
from crl.screen import complain

Modules = Annotated[
    list[Path] | None,
    typer.Option(
        "--modules",
        metavar="FOLDER",
        help="Folder of yours in which modules lie that the run names, beside the current one; repeatable.",
        show_default=False,
    ),
]


def as_options(modules: Sequence[Path] | None) -> list[str]:
    """As they are typed."""
    return [word for folder in modules or () for word in ("--modules", str(folder))]


@contextmanager
def refusing() -> Iterator[None]:
    """Around a command: what is refused ends it with one sentence."""
    from crl.config import ConfigError

    try:
        yield
    except ConfigError as error:
        complain(str(error))
        raise typer.Exit(REFUSED) from None
    except PermissionError as error:  # on the way to a file that is looked for, such as in somebody else's home
        if error.filename is None:
            raise
        complain(f"{str(error.filename)!r} cannot be reached ({error.strerror}); change its permissions, or copy it")
        raise typer.Exit(REFUSED) from None
