"""`crl plot`: returns per task over steps, with visits and resets, of one run or several.

All is taken from ``progress.csv`` and ``config.yaml`` as data, so that the folder may be anybody's and the run need not
have ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from crl.config import ConfigError

FORMATS = (".png", ".svg")
FILE = "returns.png"  # in the first run's folder, where no other is given


def plot(runs: Sequence[Path], out: Path | None = None) -> Path:
    """Draw runs into one figure.

    Args:
        runs: their folders.
        out: file that is written, a PNG or an SVG by its suffix; None for ``returns.png`` in the first run's folder.

    Returns:
        The file.

    Raises:
        ConfigError: a folder is no run's or has no row of logs yet, the runs play different tasks, or the file cannot
            be written.
    """
    path = runs[0] / FILE if out is None else out
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"--out {str(path)!r} is neither a PNG nor an SVG; give a name that ends in .png or .svg")
    for run in runs:
        if not (run / "config.yaml").is_file():
            raise ConfigError(f"{str(run)!r} is no run: it has no config.yaml; give a folder that crl train has made")
    if not path.parent.is_dir():
        raise ConfigError(f"--out {str(path)!r} cannot be written: its folder does not exist; make it, or give another")
    from crl.plot.reading import check_same_tasks, read  # with torch and matplotlib, which refusals do without

    curves = [read(run) for run in runs]
    check_same_tasks(curves)
    from crl.plot.figure import draw
    from crl.storage.files import replace_file

    content = BytesIO()
    kind = path.suffix.lower()
    draw(curves).savefig(content, format=kind[1:], metadata={"Date": None} if kind == ".svg" else {})
    try:
        replace_file(path, content.getvalue())
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be written ({error.strerror}); give another file by --out") from None
    return path
