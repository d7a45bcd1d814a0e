"""Configs: what a run is made of, read from YAML and the command line, checked before anything is built or written."""

from crl.config.agents import AgentConfig
from crl.config.constructors import check_arguments, imported
from crl.config.evaluation import EvaluationConfig
from crl.config.fields import Linear
from crl.config.messages import ConfigError
from crl.config.reading import checked, load
from crl.config.schema import (
    AtSwitchConfig,
    CheckpointConfig,
    InterventionConfig,
    NormalizeConfig,
    PartConfig,
    RunConfig,
    config_hash,
    to_yaml,
)
from crl.config.stream import StreamConfig

__all__ = [
    "AgentConfig",
    "AtSwitchConfig",
    "CheckpointConfig",
    "ConfigError",
    "EvaluationConfig",
    "InterventionConfig",
    "Linear",
    "NormalizeConfig",
    "PartConfig",
    "RunConfig",
    "StreamConfig",
    "check_arguments",
    "checked",
    "config_hash",
    "imported",
    "load",
    "to_yaml",
]
