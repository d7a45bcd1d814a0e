"""What editors and `inspect` see of the algorithms: Stable-Baselines3's arguments, and ours behind them."""

from __future__ import annotations

import inspect
from typing import Any, get_type_hints

import pytest
import stable_baselines3

from agents.specs import agent_spec, known_specs

OURS = {"dqn": ["double_q", "epsilon_per_env"]}
OF_ALL = ["interventions", "at_switch", "optimizer", "random_shift", "speed"]
REPLAYING = {"dqn", "sac", "td3"}


def stock_of(name: str) -> Any:
    return getattr(stable_baselines3, name.upper())


@pytest.mark.parametrize("name", known_specs())
def test_arguments_and_defaults_are_sb3s(name: str) -> None:
    cls, stock = agent_spec(name).resolve(), inspect.signature(stock_of(name)).parameters
    ours = inspect.signature(cls).parameters
    positional = {key: one for key, one in ours.items() if one.kind is not inspect.Parameter.KEYWORD_ONLY}
    assert list(positional) == list(stock)
    assert {key: one.default for key, one in positional.items()} == {key: one.default for key, one in stock.items()}
    assert [key for key in ours if key not in stock] == [
        *OURS.get(name, []), *OF_ALL[:-1], *(["replay"] if name in REPLAYING else []), OF_ALL[-1]
    ]  # fmt: skip
    assert get_type_hints(cls.__init__).keys() == {*ours, "return"}


@pytest.mark.parametrize("name", known_specs())
def test_every_argument_reaches_sb3(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stock, received = stock_of(name), {}
    signature = inspect.signature(stock.__init__)

    def init(*args: Any, **kwargs: Any) -> None:
        received.update(signature.bind(*args, **kwargs).arguments)

    monkeypatch.setattr(stock, "__init__", init)
    given = {key: object() for key in signature.parameters if key != "self"}
    model = agent_spec(name).resolve()(**given, interventions=[], at_switch={"optimizer": "reset"})
    assert received.pop("self") is model
    assert received == given
    assert model.at_switch == {"optimizer": "reset"}
