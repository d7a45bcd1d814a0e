"""Configs: what a run is made of, read from YAML and the command line, checked before anything is built or written."""

from crl.config.arguments import check_interventions
from crl.config.messages import ConfigError
from crl.config.reading import load
from crl.config.schema import InterventionConfig, Linear, PPOConfig, RunConfig, StreamConfig, config_hash, to_yaml

__all__ = [
    "ConfigError",
    "InterventionConfig",
    "Linear",
    "PPOConfig",
    "RunConfig",
    "StreamConfig",
    "check_interventions",
    "config_hash",
    "load",
    "to_yaml",
]
