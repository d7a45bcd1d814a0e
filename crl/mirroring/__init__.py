"""Services that mirror what a run gives to TensorBoard: the same tags at the same steps.

Each has a process of its own beside the run (`crl.mirroring.sender`), which alone imports the service's package, waits
for the network and may fail: training is neither held up nor changed by it. In ``.mirrors`` of the run's folder stand
the service's id of the run and how far it has come, so that a run that is gone on with goes on there, too, and what it
trains again is not sent again; a hash of the folder's path, too, so that a copy is a run of its own. Nothing else is
kept, no key and no address. Importing this loads no package of theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from crl.config.messages import ConfigError


def check_installed(services: Iterable[str]) -> None:
    """Refuse services whose package is not there, without importing it.

    Raises:
        ConfigError: one is not installed.
    """
    for service in services:
        spec = find_spec(service)
        if spec is None or spec.origin is None:  # such as the folder wandb, which it makes for its files
            raise ConfigError(
                f"logger={service} needs {service}, which is not installed; run pip install -e '.[{service}]', or set "
                "logger: tensorboard in the config, also in that of a run that is gone on with"
            )
