"""Parts and interventions whose code is wrong: one sentence that names what is to be corrected."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from agents.plasticity.protocols import Intervention
from agents.plasticity.registry import INTERVENTIONS, Entry, installed
from crl import run
from crl.config import ConfigError, PartConfig, RunConfig, check_arguments
from crl.config.imports import register_plugins
from crl.config.parts import PARTS
from crl.part_list import PartsError, check_parts, restore_all
from crl.parts import Part
from crl.resuming import refuse_finished
from crl.run_parts import configured

TINY: dict[str, Any] = {
    "stream": {"name": "cchain/cartpole", "steps_per_task": 80, "cycles": 1},
    "agent": {"name": "ppo", "n_envs": 2, "n_steps": 20, "batch_size": 20, "n_epochs": 1},
    "device": "cpu",
}


@pytest.fixture(autouse=True)
def _registries_as_they_were() -> Iterator[None]:
    before = dict(PARTS), dict(INTERVENTIONS)
    yield
    for names, entries in zip((PARTS, INTERVENTIONS), before, strict=True):
        names.clear()
        names.update(entries)


def checked(found: Any, **given: Any) -> PartConfig:
    """The part `mine`, which is `found`, with all of its arguments."""
    PARTS["mine"] = Entry(found, "mine")
    (part,) = check_arguments(RunConfig(**TINY, parts=[{"name": "mine", **given}])).parts
    return part


def refused(found: Any, **given: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        checked(found, **given)
    return str(caught.value)


class NoPart:
    def __init__(self, *, x: int = 1) -> None: ...


class Broken(Part):
    def __init__(self) -> None:
        raise RuntimeError("no network here")


class HalfBuilt(Part):
    name = "half"

    def __init__(self) -> None:
        self.x = 1


class Unnamed(Part): ...


class Ending(Part):
    name = "ending"

    def _on_step(self) -> None:  # type: ignore[override]
        """Forgets to return True."""


class Selecting(Part):
    def __init__(self, *, selection: str = "greedy") -> None:
        super().__init__()


class Odd(Part):
    def __init__(self, *, y: list[float] = (1.0,), z: float = 1.0, w: Any = None) -> None:  # type: ignore[assignment]
        super().__init__()


class BoundByDefault(Part):
    def __init__(self, *, z: float = float("inf")) -> None:
        super().__init__()


class Forgetful(Part):
    name = "forgetful"

    def restore(self, state: Any) -> None:
        self.value = state["b"]


@pytest.mark.parametrize("found", [NoPart, checked])
def test_what_is_no_part(found: Any) -> None:
    assert refused(found) == (
        f'parts.0.name="mine" is {__name__}:{found.__qualname__}, which is no Part of crl.parts; correct it or leave '
        "it out"
    )


def test_a_part_that_cannot_be_built() -> None:
    assert refused(Broken) == (
        f"parts.0 is {__name__}:Broken, which cannot be used (RuntimeError: no network here); correct it or leave it "
        "out"
    )


@pytest.mark.parametrize(
    ("part", "sentence"),
    [
        (HalfBuilt(), "the part HalfBuilt of the run is half built; let its __init__ call super().__init__()"),
        (Unnamed(), "the part Unnamed of the run has no name; give its class one, such as name = 'mine'"),
        (NoPart(), "the part NoPart of the run is no Part of crl.parts; derive its class from that"),
    ],
)
def test_parts_that_lack_what_all_have(part: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_parts([part])
    assert str(caught.value) == sentence


def test_an_intervention_that_is_none_or_cannot_be_built() -> None:
    class Lost(Intervention):
        def __init__(self, *, times: int = 1) -> None: ...

    for found, problem in (
        (NoPart, "is no Intervention of agents.plasticity.protocols"),
        (Lost, "AttributeError: 'Lost' object has no attribute 'times'"),
    ):
        INTERVENTIONS["mine"] = Entry(found, "mine")
        with pytest.raises(ConfigError) as caught:
            check_arguments(RunConfig(**TINY, interventions=[{"name": "mine"}]))
        assert problem in str(caught.value)


def test_an_argument_of_a_part_may_be_called_as_those_of_resets() -> None:
    assert checked(Selecting).arguments() == {"selection": "greedy"}
    assert checked(Selecting, selection="mild").arguments() == {"selection": "mild"}


def test_defaults_of_a_part_are_written_as_a_config_gives_them() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checked(Odd).arguments() == {"y": [1.0], "z": 1.0, "w": None}
    assert refused(BoundByDefault) == "parts.0.z=Infinity is not finite; give a finite number such as 0.001"
    assert refused(Odd, w={1, 2}).startswith("parts.0: the arguments of mine are no plain data (Object of type set")


def test_a_part_that_ends_training_is_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = check_arguments(RunConfig(**TINY, runs=str(tmp_path)).resolved())
    assert run.train(config, ["crl"], [Ending()]) == 1
    assert "a part ended training at step 2: its _on_step must return True" in capsys.readouterr().err
    (found,) = tmp_path.iterdir()
    assert not (found / "results.json").exists()
    assert not list((found / "checkpoints").glob("*"))


def test_a_part_that_cannot_take_its_state_back_is_named() -> None:
    with pytest.raises(PartsError) as caught:
        restore_all([Forgetful()], {"forgetful": {"a": 1}})
    assert str(caught.value) == (
        "the part \"forgetful\" cannot take its state back (KeyError: 'b'); correct its restore, or train anew"
    )


def test_parts_of_installed_plugins_get_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("parts.mine", "crl.parts:Part", "crl.plugins")
    monkeypatch.setattr(installed, "entry_points", lambda group: [point])
    monkeypatch.setattr(Part, "name", None, raising=False)
    register_plugins()
    (part,) = configured(check_arguments(RunConfig(**TINY, parts=[{"name": "mine"}])))
    assert part.name == "mine"


def test_a_run_is_finished_whatever_else_its_results_say(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    for text in ("", "[1]", "{}", "[" * 100_000, json.dumps({"status": "interrupted"})):
        path.write_text(text)
        refuse_finished(tmp_path)
    path.write_text(json.dumps({"status": "done", "note": "mine"}))
    with pytest.raises(ConfigError, match="is finished"):
        refuse_finished(tmp_path)
