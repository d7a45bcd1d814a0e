"""What a run's folder says of a service: its id of the run, up to which step each tag was sent, and where that was."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crl.storage.files import move

FOLDER = ".mirrors"
MAX_BYTES = 1 << 22


class Memory:
    """Outlives the process that sends; what is damaged is begun anew, and so is that of a folder from elsewhere.

    Two copies of a folder must not go on with one run of the service, nor a stranger's with any that it names.

    Args:
        folder: of the run.
        service: its name.

    Attributes:
        id: the service's of the run, None where it knows none yet.
    """

    def __init__(self, folder: Path, service: str) -> None:
        self._path = folder / FOLDER / f"{service}.json"
        self._place = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()
        self.id: str | None = None
        self._last: dict[str, int] = {}
        self._read()

    def new(self, step: int, values: Mapping[str, float]) -> dict[str, float]:
        """Those that have not been sent: a run that is gone on with repeats the steps since its checkpoint."""
        return {tag: value for tag, value in values.items() if step > self._last.get(tag, -1)}

    def sent(self, step: int, values: Mapping[str, float]) -> None:
        """Keep that they have been sent."""
        self._last |= dict.fromkeys(values, step)
        self._write()

    def name(self, found: str) -> None:
        """Keep the service's id of the run."""
        self.id = found
        self._write()

    def _read(self) -> None:
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
            found: Any = json.loads(content) if len(content) <= MAX_BYTES else None
            known, last = found["id"], found["last"]
            is_known = re.fullmatch(r"\w{1,64}", known, re.ASCII) and all(type(step) is int for step in last.values())
            if is_known and found["place"] == self._place:
                self.id, self._last = known, last
        except (OSError, ValueError, RecursionError, TypeError, LookupError, AttributeError):
            return

    def _write(self) -> None:
        """A kill leaves it whole, or as it was."""
        unfinished = self._path.with_name(f".{self._path.name}.tmp")
        unfinished.write_text(json.dumps({"id": self.id, "last": self._last, "place": self._place}))
        move(unfinished, self._path)
