"""The benchmarks of ``python -m benchmarks``: each module declares rows, and has the functions of their sides."""

from importlib import import_module

from benchmarks.harness.declared import Group

NAMES = (
    "ppo",
    "off_policy",
    "seeds",
    "diagnostics",
    "replay",
    "minatar",
    "pool",
    "stream",
    "resets",
    "penalties",
    "fit_probe",
    "auto",
)


def groups() -> list[Group]:
    """All of them, in the order in which they are measured."""
    modules = {name: import_module(f"benchmarks.speed.{name}") for name in NAMES}
    return [Group(name, module.TITLE, module.ROWS) for name, module in modules.items()]
