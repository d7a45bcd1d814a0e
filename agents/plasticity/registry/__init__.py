"""Names of interventions, criteria and selections, and where their code is. Importing this loads no torch.

A user adds one with the decorators `intervention` and `criterion`, or with an entry point of the group ``crl.plugins``
whose name is ``criteria.NAME``, ``selections.NAME`` or ``interventions.NAME`` and whose value is ``module:attribute``.
"""

from agents.plasticity.registry.components import COMPONENTS, CRITERIA, SELECTIONS, build, criterion
from agents.plasticity.registry.entries import Entry, add, place, registering, resolve
from agents.plasticity.registry.installed import plugins
from agents.plasticity.registry.interventions import INTERVENTIONS, NETWORKS, intervention, interventions_by_group

__all__ = [
    "COMPONENTS",
    "CRITERIA",
    "INTERVENTIONS",
    "NETWORKS",
    "SELECTIONS",
    "Entry",
    "add",
    "build",
    "criterion",
    "intervention",
    "interventions_by_group",
    "place",
    "plugins",
    "registering",
    "resolve",
]
