"""A gallery of illnesses: networks are brought into each state, and the diagnosis names it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import small_off_policy
import torch
from small_ppo import assert_same, parameters
from small_ward import patient
from torch import Tensor, nn

from agents.plasticity import diagnose
from agents.plasticity.diagnosis import Diagnosis, Examination

Parameters = dict[str, Tensor]
FEW = {"fresh": 9, "steps": 40, "observations": 128}
ACTOR, CRITIC = "mlp_extractor.policy_net", "mlp_extractor.value_net"
BOTH = ("actor", "critic")


@pytest.fixture(scope="module")
def ward() -> tuple[Any, Examination]:
    """A small agent that has learnt a little, and what it is diagnosed on."""
    model = patient().learn(1024)
    return model, Examination(model, **FEW)


def named(diagnosis: Diagnosis) -> list[tuple[str, str]]:
    return sorted((finding.mechanism, finding.network) for finding in diagnosis.findings)


def kill(p: Parameters) -> None:
    p[f"{ACTOR}.2.bias"][:29] = -100.0


def make_all_alike(p: Parameters) -> None:
    for key in ("weight", "bias"):
        p[f"{CRITIC}.2.{key}"][:] = p[f"{CRITIC}.2.{key}"][:1]


def saturate(p: Parameters) -> None:
    p["action_net.bias"] += torch.tensor([60.0, 0.0, 0.0])


def interfere(p: Parameters) -> None:
    """All units are always on, and far above what tells observations apart."""
    p[f"{CRITIC}.2.bias"] += 1000.0


def kill_all(p: Parameters) -> None:
    """Two layers, all units of them."""
    for number in (0, 2):
        p[f"{ACTOR}.{number}.bias"][:] = -100.0


def explode(p: Parameters) -> None:
    for key in p:
        if key.startswith((CRITIC, "value_net")):
            p[key] *= 1e6


def lose_a_number(p: Parameters) -> None:
    p[f"{CRITIC}.2.weight"][3, 4] = torch.nan


def explode_out_of_range(p: Parameters) -> None:
    """Squares of the weights are beyond single precision, and so are outputs."""
    for key in p:
        if key.startswith((CRITIC, "value_net")):
            p[key] *= 1e25


ILLNESSES: dict[str, tuple[Callable[[Parameters], None], tuple[str, str]]] = {
    "dead units": (kill, ("dead units", "actor")),
    "rank one": (make_all_alike, ("rank collapse", "critic")),
    "saturated policy": (saturate, ("saturated policy", "actor")),
    "dead layers": (kill_all, ("dead units", "actor")),
    "exploded": (explode, ("norm growth", "critic")),
    "exploded out of range": (explode_out_of_range, ("norm growth", "critic")),
    "no number": (lose_a_number, ("weights that are no numbers", "critic")),
    "interference": (interfere, ("kernel collapse", "critic")),
}


@pytest.mark.parametrize("illness", ILLNESSES)
def test_each_illness_is_named_and_only_it(illness: str, ward: tuple[Any, Examination]) -> None:
    model, examination = ward
    make, expected = ILLNESSES[illness]
    ill = model.snapshot()
    make(ill)
    diagnosis = examination.diagnose(ill)
    assert named(diagnosis) == [expected]
    (finding,) = diagnosis.findings
    assert finding.strength > 0.5
    assert finding.confidence >= 0.9


def test_a_policy_that_is_no_number_is_named_and_what_needs_no_losses_is_tried() -> None:
    """Distributions refuse it, so that it has no losses, and no optimizer is held against their gradients."""
    model = patient().learn(512)
    with torch.no_grad():
        model.policy.mlp_extractor.policy_net[2].weight[3, 4] = torch.nan
    examination = Examination(model, **FEW)
    diagnosis = examination.diagnose()
    assert named(diagnosis) == [("weights that are no numbers", "actor")]
    assert diagnosis.gradient_shares == {}
    best, *others = examination.match(diagnosis, ["gxd", "full_reset", "redo", "l2_init"])
    assert best.candidate == {"name": "full_reset"}
    assert best.regained > 0.5
    assert {trial.hindrance for trial in others} == {
        "it looks at losses, and outputs that are no finite numbers have none"
    }


def test_the_agent_itself_is_well_and_was_not_touched(ward: tuple[Any, Examination]) -> None:
    model, examination = ward
    before, versions = parameters(model), [p._version for p in model.policy.parameters()]
    diagnosis = examination.diagnose()
    assert named(diagnosis) == []
    assert diagnosis.unexplained == ()
    assert_same(before, parameters(model))
    assert versions == [p._version for p in model.policy.parameters()]
    assert diagnosis.gradient_shares.keys() == {*BOTH}


def test_a_stale_optimizer(ward: tuple[Any, Examination]) -> None:
    model, examination = ward
    own = set(model.networks["critic"].parameters)
    moments = [state["exp_avg_sq"] for p, state in model.policy.optimizer.state.items() if p in own]
    for moment in moments:
        moment.mul_(1e4)
    try:
        assert named(examination.diagnose()) == [("stale optimizer", "critic")]
    finally:
        for moment in moments:
            moment.div_(1e4)


def test_an_optimizer_that_has_seen_no_gradients_is_no_stale_one(ward: tuple[Any, Examination]) -> None:
    model, examination = ward
    own = set(model.networks["critic"].parameters)
    moments = [state["exp_avg_sq"] for p, state in model.policy.optimizer.state.items() if p in own]
    kept = [moment.clone() for moment in moments]
    for moment in moments:
        moment.zero_()
    try:
        diagnosis = examination.diagnose()
    finally:
        for moment, old in zip(moments, kept, strict=True):
            moment.copy_(old)
    assert named(diagnosis) == []
    assert diagnosis.gradient_shares.keys() == {"actor"}


def test_diverging_values_and_earlier_parameters(ward: tuple[Any, Examination]) -> None:
    model, examination = ward
    now = model.snapshot()
    history = {
        100 * n: {k: v / 3 ** (6 - n) if k.startswith("value_net") else v for k, v in now.items()} for n in range(7)
    }
    diagnosis = examination.diagnose(history=history)
    assert named(diagnosis) == [("value divergence", "critic")]
    assert list(diagnosis.value_sizes["critic"]) == [0, 100, 200, 300, 400, 500, 600]
    sizes = diagnosis.signs["critic/weight_size"]
    assert sizes.earliest is not None
    assert sizes.earliest < sizes.value


def test_exploded_norms_behind_a_normalisation() -> None:
    """Which hides them from everything but the steps, that become small beside the weights."""
    model = patient(norm="layer").learn(512)
    with torch.no_grad():
        for number in (0, 3):
            for parameter in model.policy.mlp_extractor.policy_net[number].parameters():
                parameter *= 30
    assert named(diagnose(model, **FEW)) == [("norm growth", "actor")]


def test_saturated_tanh_units() -> None:
    model = patient(activation=nn.Tanh).learn(512)
    with torch.no_grad():
        model.policy.mlp_extractor.policy_net[2].bias[:30] = 100.0
    assert named(diagnose(model, **FEW)) == [("saturated units", "actor")]


def healthy(kind: str, seed: int) -> Any:
    if kind == "ppo":
        return patient(seed).learn(4096)
    return small_off_policy.ours(kind, seed=seed, buffer_size=400, batch_size=16).learn(400)


@pytest.mark.parametrize("kind", ["dqn-mlp", "td3-mlp"])
def test_healthy_agents_that_replay_are_well(kind: str) -> None:
    assert named(diagnose(healthy(kind, 1), **{**FEW, "steps": 10})) == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", ["ppo", "dqn-mlp", "sac-mlp", "td3-mlp"])
def test_none_of_twenty_healthy_agents_is_ill(kind: str, seed: int) -> None:
    assert named(diagnose(healthy(kind, seed))) == []


def test_too_few_fresh_networks_are_refused() -> None:
    with pytest.raises(ValueError, match="fresh is 8; give at least 9, or nothing can be told from chance"):
        diagnose(patient(), fresh=8)


@pytest.mark.parametrize("sizes", [{"observations": 0}, {"steps": 2.5}, {"fresh": 9.5}])
def test_what_is_no_number_of_anything_is_refused(sizes: dict[str, Any]) -> None:
    (key,) = sizes
    with pytest.raises(ValueError, match=f"^{key} is .*; give "):
        diagnose(patient(), **sizes)
