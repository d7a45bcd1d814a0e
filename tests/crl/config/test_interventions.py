"""Interventions in configs: the general form of a reset, and what is filled in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from shipped import GXD

from crl.config import ConfigError, RunConfig, check_arguments, config_hash, load, to_yaml


def reset_with(*overrides: str) -> RunConfig:
    """A config with the general form of a reset."""
    form = "{name: reset, criterion: gxd, selection: {name: rate, rate: 1e-3}}"
    return check_arguments(load(GXD, [f"interventions=[{form}]", *overrides]))


def test_general_form_is_filled_in() -> None:
    arguments = reset_with("interventions.0.surgery.outgoing=small_random").interventions[0].arguments()
    assert arguments.pop("criterion") == {"name": "gxd", "reduction": "abs_mean"}
    assert arguments.pop("selection") == {"name": "rate", "rate": 0.001, "cap": 0.5}
    assert arguments.pop("surgery") == {
        "outgoing": "small_random", "compensate": False, "biases": "renew", "moments": "renew", "targets": "leave",
        "scale": 0.05,
    }  # fmt: skip
    assert arguments == {
        "networks": None, "period": 1000, "maturity": 1000, "score_every": 16, "decay": 0.99, "score_on": "minibatch",
        "signal": "loss", "samples": 256,
    }  # fmt: skip


def test_ways_to_write_the_same_reset_have_one_hash(tmp_path: Path) -> None:
    base = reset_with()
    for overrides in (
        ["interventions.0.criterion={name: gxd}", "interventions.0.surgery=null"],
        ["interventions.0.criterion={name: gxd, reduction: abs_mean}", "interventions.0.surgery={}"],
        ["interventions.0.selection.rate=0.001", "interventions.0.surgery.scale=5e-2", "interventions.0.decay=.99"],
    ):
        assert config_hash(reset_with(*overrides)) == config_hash(base)
    others = [
        "criterion={name: gxd, reduction: mean_abs}",
        "selection.rate=2e-3",
        "surgery.compensate=true",
        "signal=outputs",
    ]
    hashes = {config_hash(reset_with(f"interventions.0.{other}")) for other in others}
    assert len({config_hash(base), *hashes}) == len(others) + 1
    path = tmp_path / "again.yaml"
    path.write_text(to_yaml(base), encoding="utf-8")
    assert config_hash(check_arguments(load(path))) == config_hash(base)


@pytest.mark.parametrize(
    ("intervention", "expected"),
    [
        ("cbp", {"period": 1000, "score_every": 16, "paper": False}),
        ("cbp, paper: true", {"period": 1, "score_every": 1, "paper": True}),
        ("cbp, paper: true, period: 7", {"period": 7, "score_every": 1, "paper": True}),
        ("shrink_and_perturb", {"mode": "soft", "shrink": 1 - 1e-6, "perturb": 1e-6, "period": 1000}),
        ("shrink_and_perturb, mode: to_init", {"shrink": 1 - 1e-6, "perturb": None, "period": 1000}),
        ("shrink_and_perturb, mode: boundary", {"shrink": 0.5, "perturb": 0.5, "period": None}),
        ("full_reset", {"period": None}),
        ("regrama, cap: 1e0", {"cap": 1.0, "gradient": "weights"}),
    ],
)
def test_what_depends_on_other_arguments_is_written_out(
    tmp_path: Path, intervention: str, expected: dict[str, Any]
) -> None:
    config = check_arguments(load(GXD, [f"interventions=[{{name: {intervention}}}]", "stream.boundary=revealed"]))
    arguments = config.interventions[0].arguments()
    assert {key: arguments[key] for key in expected} == expected
    path = tmp_path / "again.yaml"
    path.write_text(to_yaml(config), encoding="utf-8")
    again = check_arguments(load(path))
    assert again.interventions[0].arguments() == arguments
    assert config_hash(again) == config_hash(config)


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("criterion=gdx", '.criterion.name="gdx" is not a known criterion; did you mean \'gxd\'?'),
        ("criterion={nam: gxd}", ".criterion.nam=\"gxd\" is not a known key; did you mean 'name'?"),
        ("criterion={form: plain}", ".criterion.name is missing; add it to the config or give interventions.0.cri"),
        ("criterion={name: 3}", ".criterion.name=3 is not text; give a name"),
        ("criterion=5", ".criterion=5 is not a mapping; write it in braces, such as {name: gxd}"),
        ("criterion=null", ".criterion=null is not a mapping; write it in braces, such as {name: gxd}"),
        ("criterion={name: gxd, reducton: x}", ".criterion.reducton=\"x\" is not a known key; did you mean 'red"),
        ("criterion={name: gxd, reduction: sum}", ".criterion.reduction=\"sum\" is not known; give 'abs_mean' or 'me"),
        ("criterion={name: redo, form: plain}", '.criterion.form="plain" is not a known key; choose from name'),
        ("criterion={name: regrama, normalize: 1}", ".criterion.normalize=1 is neither true nor false; give one"),
        ("selection.name=rat", ".selection.name=\"rat\" is not a known selection; did you mean 'rate'?"),
        ("selection=threshold", ".selection.tau is missing; add it to the config or give interventions.0.sel"),
        ("selection=[rate]", '.selection=["rate"] is not a mapping; write it in braces, such as {name: rate, '),
        ("selection.rte=1", ".selection.rte=1 is not a known key; did you mean 'rate'?"),
        ("selection.rate=much", '.selection.rate="much" is not a number; give one such as 0.001'),
        ("selection.rate=2", ".selection.rate is 2.0; give a share of units per gradient step between 0 and 1"),
        ("surgery=zero", '.surgery="zero" is not a mapping; write it in braces, such as {outgoing: zero}'),
        ("surgery.outgong=zero", ".surgery.outgong=\"zero\" is not a known key; did you mean 'outgoing'?"),
        ("surgery.outgoing=one", ".surgery.outgoing=\"one\" is not known; give 'zero', 'small_random' or 'keep'"),
        ("surgery.scale=0", ".surgery.scale is 0.0; give a number above 0"),
        ("surgery={compensate: true, outgoing: keep}", ".surgery.compensate is True, but with outgoing 'keep' nothing"),
        ("signal=outputz", ".signal=\"outputz\" is not known; give 'loss' or 'outputs'"),
        ("period=0", ".period is 0; give a whole number of gradient steps of at least 1"),
        ("decay=1e0", ".decay is 1.0; give a number of at least 0 and below 1"),
        ("criteron=redo", ".criteron=\"redo\" is not a known key; did you mean 'criterion'?"),
    ],
)  # fmt: skip
def test_refusals_of_the_general_form(override: str, expected: str) -> None:
    with pytest.raises(ConfigError) as error:
        reset_with(f"interventions.0.{override}")
    assert str(error.value).startswith(f"interventions.0{expected}")
    assert "\n" not in str(error.value)
