"""Reinforcement-learning agents that keep learning while the world changes: one run, from a config file to a report."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from crl.config import ConfigError
    from crl.ending import RunError
    from crl.recorder import Recorder
    from crl.results import RunResults
    from crl.sources import transfer
    from crl.training import resume, train

__all__ = ["ConfigError", "Recorder", "RunError", "RunResults", "resume", "train", "transfer"]
_MODULES = {
    "ConfigError": "crl.config",
    "Recorder": "crl.recorder",
    "RunError": "crl.ending",
    "RunResults": "crl.results",
    "resume": "crl.training",
    "train": "crl.training",
    "transfer": "crl.sources",
}
"""Where each is, imported on first use: `import crl` loads neither torch nor Stable-Baselines3."""


def _refuse_foreign_packages() -> None:
    """`agents` and `envs` are common names: make sure that they are the ones beside this package.

    Raises:
        ImportError: another package of that name comes first on the import path, or none is there.
    """
    home = Path(__file__).resolve().parent.parent
    for name in ("agents", "envs"):
        spec = find_spec(name)
        places = [] if spec is None else list(spec.submodule_search_locations or [str(spec.origin)])
        if not any(Path(place).resolve() == home / name for place in places):
            found = places[0] if places else "none"
            raise ImportError(
                f"crl needs its own package {name!r} in {home / name}, but Python finds {found}; "
                f"uninstall the package that brought it, or install crl into a virtual environment of its own"
            )


_refuse_foreign_packages()


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module 'crl' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
