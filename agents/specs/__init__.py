"""What is known of each algorithm before its code is imported: one record each. Importing this loads no torch.

A user adds an algorithm with `register`, or with an entry point of the group ``crl.plugins`` whose name is
``agents.NAME`` and whose value, ``module:attribute``, is an `AgentSpec`.
"""

from __future__ import annotations

from agents.plasticity.registry import Entry, add
from agents.specs import dqn, ppo, sac, td3
from agents.specs.record import AgentSpec, Head
from agents.specs.refused import NOT_IN_CONFIGS, POLICY_NOT_IN_CONFIGS

__all__ = [
    "AGENTS", "BUILT_IN", "NOT_IN_CONFIGS", "POLICY_NOT_IN_CONFIGS", "AgentSpec", "Head", "agent_spec", "known_specs",
    "register",
]  # fmt: skip

AGENTS: dict[str, AgentSpec | Entry] = {"dqn": dqn.SPEC, "ppo": ppo.SPEC, "sac": sac.SPEC, "td3": td3.SPEC}
BUILT_IN = frozenset(AGENTS)
"""Those that are known wherever crl is."""


def register(name: str, spec: AgentSpec) -> None:
    """Make an algorithm known under a name.

    Raises:
        ValueError: another algorithm has this name, or `spec` is none.
    """
    if not isinstance(spec, AgentSpec):
        raise ValueError(f"the agent {name!r} is registered with {spec!r}; give an AgentSpec")
    add(AGENTS, name, spec)


def agent_spec(name: str) -> AgentSpec:
    """The record of an algorithm; that of an installed plugin is imported.

    Raises:
        TypeError: what the plugin brings is no record.
    """
    found = AGENTS[name]
    if isinstance(found, Entry):
        found = found.resolve()
    if not isinstance(found, AgentSpec):
        raise TypeError(f"{type(found).__name__} is no AgentSpec")
    return found


def known_specs() -> dict[str, AgentSpec]:
    """The records that are there without importing anything."""
    return {name: spec for name, spec in AGENTS.items() if isinstance(spec, AgentSpec)}
