"""The key `agent.optimizer`."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest

from agents.optimizers import OPTIMIZERS
from agents.plasticity.registry import resolve
from crl.config import ConfigError, RunConfig, check_arguments, config_hash, load, to_yaml


@pytest.fixture
def loaded(tmp_path: Path) -> Any:
    def read(*overrides: str) -> RunConfig:
        path = tmp_path / "c.yaml"
        path.write_text("stream: {name: minatar3}\nagent: {name: ppo}\n")
        return check_arguments(load(path, overrides))

    return read


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_defaults_are_those_of_the_classes_and_are_written_down(name: str, loaded: Any, tmp_path: Path) -> None:
    config = loaded(f"agent.optimizer={name}")
    found = config.model_dump()["agent"]["optimizer"]
    assert found.pop("name") == name
    parameters = inspect.signature(resolve(OPTIMIZERS[name].target)).parameters
    eps = found.pop("eps", None)
    assert eps in (None, parameters["eps"].default)
    assert found == {key: parameters[key].default for key in found}
    again = tmp_path / "again.yaml"
    again.write_text(to_yaml(config), encoding="utf-8")
    assert load(again).model_dump() == config.model_dump()


def test_ways_to_write_the_same_have_one_hash(loaded: Any) -> None:
    plain = config_hash(loaded())
    assert plain == config_hash(loaded("agent.optimizer=adam"))
    trac = config_hash(loaded("agent.optimizer=trac"))
    assert trac == config_hash(loaded("agent.optimizer={name: trac, betas: [0.9, 0.999]}"))
    assert trac == config_hash(loaded("agent.optimizer=trac", "agent.optimizer.eps=null"))
    assert len({plain, trac, config_hash(loaded("agent.optimizer={name: trac, eps: 1e-4}"))}) == 3


REFUSED = {
    "=traq": "agent.optimizer.name=\"traq\" is not a known optimizer; did you mean 'trac'?",
    "=[1]": "agent.optimizer=[1] is not a mapping; write it in braces, such as {name: adamw}",
    "=null": "agent.optimizer=null is not a mapping; write it in braces, such as {name: adamw}",
    "={eps: 1}": "agent.optimizer.name is missing; add it to the config or give agent.optimizer=NAME",
    "={nam: trac}": "agent.optimizer.nam=\"trac\" is not a known key; did you mean 'name'?",
    "={name: trac, beta: 1}": "agent.optimizer.beta=1 is not a known key; did you mean 'betas'?",
    "={name: adam, eps: 1}": "agent.optimizer.eps=1 is SB3's, too; give agent.policy_kwargs.optimizer_kwargs.eps",
    "={name: upgd, sigma: -1}": "agent.optimizer.sigma=-1 is too small; give a number of at least 0",
    "={name: upgd, beta_utility: 1}": (
        "agent.optimizer.beta_utility=1 is no decay rate; give a number of at least 0 and below 1, such as 0.999"
    ),
    "={name: muon, adjust_lr_fn: x}": 'agent.optimizer.adjust_lr_fn="x" is not known; give match_rms_adamw or original',
}


@pytest.mark.parametrize("given", REFUSED)
def test_what_is_wrong_is_refused(given: str, loaded: Any) -> None:
    with pytest.raises(ConfigError) as error:
        loaded(f"agent.optimizer{given}")
    assert str(error.value) == REFUSED[given]


def test_settings_of_adam_are_for_adam_alone(loaded: Any) -> None:
    of_adam = "agent.policy_kwargs.optimizer_kwargs.weight_decay=0.1"
    assert loaded(of_adam).agent.optimizer.name == "adam"
    with pytest.raises(ConfigError) as error:
        loaded(of_adam, "agent.optimizer=adamw")
    assert str(error.value) == (
        'agent.policy_kwargs.optimizer_kwargs={"eps": 1e-05, "betas": [0.9, 0.999], "weight_decay": 0.1} are settings '
        "of adam, but agent.optimizer is adamw; give one of them up"
    )
