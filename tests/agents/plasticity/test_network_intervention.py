"""What interventions on networks share, and what every registered one must keep: identities, and others' dice."""

from __future__ import annotations

import pytest
import small_off_policy
import small_ppo
import torch
from policies import POLICIES
from small_loop import ACTING, ELSEWHERE, QUIET, CaseLearner, Regression, together

from agents.plasticity.criteria import CAN_BE_SILENT
from agents.plasticity.network_intervention import NetworkIntervention, check_steps
from agents.plasticity.registry import INTERVENTIONS

LINEAR = ("ppo-nature", "sac-cnn-shared-linear")
"""Policies whose output layers have no hidden layer of their own."""


@pytest.mark.parametrize("kind", POLICIES)
def test_no_intervention_replaces_a_parameter_or_a_module(kind: str) -> None:
    """METHODS 15.4, with all registered interventions at once; each of them acts."""
    case = POLICIES[kind]()
    first = ("cbp", "gxd", "regrama")  # before the others make all units young
    silent = all(isinstance(layer.tap, CAN_BE_SILENT) for n in case.networks.values() for layer in n.layers)
    left_out = set() if silent else {"snr"}
    resets = together(sorted(ACTING.keys() - left_out, key=lambda name: (name not in first, [*ACTING].index(name))))
    known = set(INTERVENTIONS) - ELSEWHERE - left_out
    assert {reset.name for reset in resets} == known
    learner = CaseLearner(case, resets)
    learner.train(1)
    modules = [(name, id(module)) for name, module in case.policy.named_modules(remove_duplicate=False)]
    parameters = [(name, id(p)) for name, p in case.policy.named_parameters(remove_duplicate=False)]
    groups = [[id(p) for p in g["params"]] for o in case.optimizers for g in o.param_groups]
    shapes = {name: tensor.shape for name, tensor in case.policy.state_dict().items()}
    learner.train(3)
    quiet = {*QUIET} | ({"head_reset"} if kind in LINEAR else set())
    assert learner.authors == known - quiet
    assert modules == [(name, id(module)) for name, module in case.policy.named_modules(remove_duplicate=False)]
    assert parameters == [(name, id(p)) for name, p in case.policy.named_parameters(remove_duplicate=False)]
    assert groups == [[id(p) for p in g["params"]] for o in case.optimizers for g in o.param_groups]
    assert shapes == {name: tensor.shape for name, tensor in case.policy.state_dict().items()}
    for optimizer in case.optimizers:
        held = {id(p) for group in optimizer.param_groups for p in group["params"]}
        assert {id(p) for p in optimizer.state} <= held
    assert all(p.isfinite().all() for p in case.policy.parameters())
    assert not any(module._forward_hooks for module in case.policy.modules())


@pytest.mark.parametrize("name", ACTING)
def test_nothing_is_drawn_from_the_global_generator(name: str) -> None:
    learner = Regression([ACTING[name]()])
    before, state = learner.parameters(), torch.get_rng_state()
    for _ in range(6):
        learner.train(1)
    assert torch.equal(torch.get_rng_state(), state)
    plain = Regression()
    for _ in range(6):
        plain.train(1)
    assert not torch.equal(plain.parameters()["0.weight"], learner.parameters()["0.weight"])  # it has acted
    assert before.keys() == learner.parameters().keys()


@pytest.mark.parametrize("name", ACTING)
def test_the_same_run_gives_the_same_resets(name: str) -> None:
    one, other = (Regression([ACTING[name]()]) for _ in range(2))
    for learner in (one, other):
        for _ in range(6):
            learner.train(1)
    assert all(torch.equal(tensor, other.parameters()[key]) for key, tensor in one.parameters().items())
    assert one.metrics() == other.metrics()


def test_generators_differ_by_what_they_are_for() -> None:
    reset = NetworkIntervention(None)
    reset.name = "mine"
    reset.attach(Regression())
    first = torch.rand(3, generator=reset._generator("net.0", 1))
    assert torch.equal(torch.rand(3, generator=reset._generator("net.0", 1)), first)
    for parts in (("net.0", 2), ("net.1", 1), ("net.0",), ()):
        assert not torch.equal(torch.rand(3, generator=reset._generator(*parts)), first)
    assert reset._generator().device == torch.device("cpu")


class Bare(NetworkIntervention):
    name = "bare"
    of_units = True


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("board", ["actor", "critic"]),  # and features, which they share
        ("board-separate", ["actor", "critic"]),
        ("nature", []),
        ("dqn-mlp", ["critic"]),
        ("dqn-cnn", ["critic"]),
        ("sac-mlp", ["critic"]),
        ("sac-cnn-shared", ["critic"]),
        ("sac-cnn-shared-linear", []),
    ],
)
def test_networks_of_the_paper(kind: str, names: list[str]) -> None:
    learner = small_ppo.build(kind) if kind in small_ppo.ALL else small_off_policy.ours(kind)
    reset = Bare("paper")
    if not names:
        where = "critic" if kind.startswith("sac") else "actor and critic"
        with pytest.raises(ValueError, match=f"^bare: the policy has no hidden units to reset in its {where}; give it"):
            reset.attach(learner)
        return
    reset.attach(learner)
    assert reset._names == names
    assert reset.networks == "paper"
    every = Bare(None)
    every.attach(learner)
    assert set(every._names) == {name for name, network in learner.networks.items() if network.layers}


def test_of_a_loop_of_ones_own_the_paper_means_all() -> None:
    reset = Bare("paper")
    reset.attach(Regression())
    assert reset._names == ["net"]


@pytest.mark.parametrize("networks", ["actor", "", "papers", [], ["actor", "actor"]])
def test_networks_are_a_list_or_the_papers(networks: object) -> None:
    with pytest.raises(ValueError, match=r"^networks is .*; give a list of different networks, such as .*, or paper"):
        Bare(networks)  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [1.0, "1", None, True, 0, -3])
def test_steps_are_whole_numbers(steps: object) -> None:
    check_steps("period", 1, 1)
    with pytest.raises(ValueError, match=f"^period is {steps!r}; give a whole number of gradient steps of at least 1$"):
        check_steps("period", steps, 1)
