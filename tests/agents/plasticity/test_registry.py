"""Names of interventions, criteria and selections, and how a user adds one."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import EntryPoint
from typing import Any

import pytest
import torch
from small_loop import Regression
from torch import Tensor

from agents.plasticity import (
    Intervention,
    NetworkIntervention,
    UnitReset,
    Update,
    criteria,
    criterion,
    intervention,
)
from agents.plasticity.criteria import Criterion
from agents.plasticity.registry import (
    COMPONENTS,
    CRITERIA,
    INTERVENTIONS,
    SELECTIONS,
    Entry,
    add,
    build,
    installed,
    plugins,
)
from agents.plasticity.selections import Rate, Threshold


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    kept = [(known, dict(known)) for known in (INTERVENTIONS, CRITERIA, SELECTIONS)]
    yield
    for known, before in kept:
        known.clear()
        known.update(before)


def test_every_name_resolves_to_what_bears_it() -> None:
    for name, entry in INTERVENTIONS.items():
        assert entry.resolve().name == name
        assert entry.of_units == entry.resolve().of_units
    for name, entry in CRITERIA.items():
        assert entry.resolve() is getattr(criteria, name)
    assert {"gxd", "redo", "regrama", "contribution", "magnitude", "random"} <= set(CRITERIA)
    assert {"rate", "threshold", "percentage", "budget"} <= set(SELECTIONS)
    assert {name: entry.resolve().__name__.lower() for name, entry in SELECTIONS.items()} == {n: n for n in SELECTIONS}
    for entry in (*INTERVENTIONS.values(), *CRITERIA.values(), *SELECTIONS.values()):
        assert entry.summary
        assert entry.summary[0].islower()
    assert COMPONENTS == {"criterion": CRITERIA, "selection": SELECTIONS}


def peak(a: Tensor, *, power: float = 1.0) -> Tensor:
    """Largest activation of each unit in the batch."""
    return (a.flatten(2).amax((0, 2)) if a.dim() > 2 else a.amax(0)) ** power


def test_a_users_criterion_resets_units() -> None:
    assert criterion("peak", summary="largest activation in the batch")(peak) is peak
    assert CRITERIA["peak"] == Entry(peak, "largest activation in the batch")
    for spec in ("peak", {"name": "peak", "power": 2.0}):
        reset = UnitReset(
            criterion=spec, selection={"name": "percentage", "share": 0.1}, period=1, maturity=0, score_every=1
        )
        learner = Regression([reset])
        with torch.no_grad():
            peaks = learner.module[:2](learner.x).amax(0)
        learner.train(1)
        assert set(learner.units("net.0")) == set(peaks.argsort()[:2].tolist())
    assert reset.arguments()["criterion"] == {"name": "peak", "power": 2.0}


def test_a_users_selection_need_be_no_dataclass() -> None:
    class First:
        needs_loss = False

        def __init__(self, count: int) -> None:
            self.count = count

        def select(self, layers: list, steps: int, loss: Tensor | None) -> list[tuple[Tensor, Tensor]]:
            return [((torch.arange(len(one.utility)) < self.count).float(), one.left) for one in layers]

    SELECTIONS["first"] = Entry(First, "the first units")
    reset = UnitReset(criterion="magnitude", selection={"name": "first", "count": 3}, period=1, score_every=1)
    assert reset.arguments()["selection"] == {"name": "first", "count": 3}
    assert Regression([reset]).train(1).units("net.1") == [0, 1, 2]


def test_a_name_is_given_once() -> None:
    with pytest.raises(ValueError, match=r"the name 'gxd' is taken by agents\.plasticity\.criteria:gxd; give .*peak"):
        criterion("gxd")(peak)
    criterion("peak")(peak)
    criterion("peak")(peak)  # its module was imported again
    with pytest.raises(ValueError, match=r"the name 'peak' is taken by .*:peak; give .*redo another one"):
        criterion("peak")(criteria.redo)
    assert CRITERIA["peak"].target is peak
    add(CRITERIA, "gxd", Entry("agents.plasticity.criteria:gxd", "again"))
    with pytest.raises(ValueError, match="the name 'rate' is taken"):
        add(SELECTIONS, "rate", Entry("elsewhere:Rate", ""))


class Decay(Intervention):
    """Pulls all weights towards zero."""

    def __init__(self, *, strength: float = 1.0) -> None:
        self.strength = strength

    def penalty(self, update: Update) -> Tensor:
        weights = [parameter for group in update.optimizer.param_groups for parameter in group["params"]]
        return self.strength * torch.stack([weight.square().sum() for weight in weights]).sum()


def test_a_users_intervention_is_registered_under_its_name() -> None:
    assert intervention("decay", summary="pull all weights towards zero")(Decay) is Decay
    assert INTERVENTIONS["decay"] == Entry(Decay, "pull all weights towards zero")
    assert Decay.name == "decay"
    plain, decayed = Regression().train(1), Regression([INTERVENTIONS["decay"].resolve()(strength=1e3)]).train(1)
    assert decayed.interventions[0].arguments() == {"strength": 1e3}
    sizes = [sum(tensor.square().sum() for tensor in learner.parameters().values()) for learner in (plain, decayed)]
    assert sizes[1] < sizes[0]


def test_an_intervention_on_units_says_so_in_its_class() -> None:
    @intervention("on_units")
    class OnUnits(NetworkIntervention):
        of_units = True

    assert INTERVENTIONS["on_units"].of_units
    with pytest.raises(ValueError, match=r"the name 'gxd' is taken by .*; give .*Decay another one"):
        intervention("gxd")(Decay)
    assert Decay.name != "gxd"
    with pytest.raises(ValueError, match=r"intervention needs a name; write @intervention\('mine'\)"):
        intervention(OnUnits)  # type: ignore[arg-type]


def entry_points(monkeypatch: pytest.MonkeyPatch, **points: str) -> None:
    def found(*, group: str) -> list[EntryPoint]:
        assert group == "crl.plugins"
        return [EntryPoint(name.replace("_", ".", 1), value, group) for name, value in points.items()]

    monkeypatch.setattr(installed, "entry_points", found)


def test_plugins_are_registered_without_being_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    places = {"criteria": "criteria_mine", "selections": "selections_mine", "interventions": "interventions_mine"}
    entry_points(monkeypatch, **{name: f"no.such.module:{kind}" for kind, name in places.items()})
    plugins()
    plugins()
    for kind, known in {"criteria": CRITERIA, "selections": SELECTIONS, "interventions": INTERVENTIONS}.items():
        assert known["mine"] == Entry(f"no.such.module:{kind}", f"from no.such.module:{kind}")
    with pytest.raises(ModuleNotFoundError):
        CRITERIA["mine"].resolve()


def test_a_plugin_can_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    entry_points(monkeypatch, selections_low="agents.plasticity.selections:Threshold")
    plugins()
    assert build("selection", {"name": "low", "tau": 0.3}) == Threshold(0.3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("agents_mine", "the entry point 'agents.mine' of x:y is not understood; its name must begin with one of crit"),
        ("criteria_", "the entry point 'criteria.' of x:y is not understood"),
        ("mine", "the entry point 'mine' of x:y is not understood"),
        ("criteria_gxd", r"the name 'gxd' is taken by agents\.plasticity\.criteria:gxd; give x:y another one"),
    ],
)
def test_plugins_whose_names_do_not_fit_are_refused(name: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    entry_points(monkeypatch, **{name: "x:y"})
    with pytest.raises(ValueError, match=message):
        plugins()


def test_parts_are_built_of_a_name_or_a_mapping() -> None:
    assert build("selection", {"name": "rate", "rate": 0.5}) == Rate(0.5)
    built = build("criterion", "gxd")
    assert isinstance(built, Criterion)
    assert (built.name, built.options) == ("gxd", {"reduction": "abs_mean"})
    spec = {"name": "gxd", "reduction": "mean_abs"}
    assert build("criterion", spec).options == {"reduction": "mean_abs"}
    assert spec == {"name": "gxd", "reduction": "mean_abs"}  # it is the caller's


WRONG: list[tuple[str, Any, str]] = [
    ("criterion", "gdx", "criterion.name is 'gdx'; choose from gxd, taylor"),
    ("criterion", {"reduction": "abs_mean"}, "criterion.name is None; choose from gxd"),
    ("criterion", {"name": "gxd", "by": 1}, "criterion.by is no option of 'gxd'; choose from reduction"),
    ("selection", {"name": "rat"}, "selection.name is 'rat'; choose from rate, threshold"),
    ("selection", {"name": "rate"}, "selection 'rate' does not take these arguments: .* 'rate'"),
    ("selection", {"name": "rate", "rate": 2}, "selection.rate is 2; give a share of units per gradient step"),
    ("selection", {"name": "rate", "rate": 0.1, "tau": 1}, "selection 'rate' does not take these arguments: .*'tau'"),
]


@pytest.mark.parametrize(("part", "spec", "message"), WRONG)
def test_what_cannot_be_built_is_refused(part: str, spec: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        build(part, spec)
