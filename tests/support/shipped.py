"""The configs that come with crl, and the sentence that refuses one with overrides."""

from __future__ import annotations

from pathlib import Path

import pytest

from crl.config import ConfigError, check_arguments, load

CONFIGS = Path(__file__).parents[2] / "configs"
GXD = CONFIGS / "minatar3_ppo_gxd.yaml"


def refused(*overrides: str, path: Path = GXD) -> str:
    with pytest.raises(ConfigError) as error:
        check_arguments(load(path, overrides))
    message = str(error.value)
    assert "\n" not in message
    return message
