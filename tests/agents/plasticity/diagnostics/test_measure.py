"""All measures of a learner: that they are those of the pure functions, when they are there, and what they touch."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from policies import POLICIES
from small_loop import Regression
from small_ppo import assert_same, build, parameters
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, Normal, TransformedDistribution
from torch.distributions.transforms import TanhTransform

from agents.plasticity import GXD, diagnostics
from agents.plasticity.diagnostics import Diagnostics
from agents.plasticity.diagnostics.measure import last_layers
from agents.plasticity.probing import probed
from agents.plasticity.units import Affine, Part, sequential

UNITS = ("dormant_ratio_0", "dormant_ratio", "dormant_ratio_0.1", "fau")
RANKS = ("srank", "effective_rank", "stable_rank", "dominant_share")
GRADIENTS = ("grama_ratio", "signal", "grad_norm")
EVERY = {*UNITS, *RANKS, "ntk_rank", *GRADIENTS, "weight_norm", "update_norm"}
POLICY = {"entropy", "saturation", "policy_churn"}
VALUE = {"value_churn", "value_churn_abs"}
LATER = {"policy_churn", "value_churn", "value_churn_abs", "update_norm"}


def tags(network: str, measures: set[str]) -> set[str]:
    return {f"plasticity/{network}/{measure}" for measure in measures}


class Toy:
    """A learner with a policy over three actions and a value, both of four observed numbers."""

    seed, num_timesteps, device, optimizer_steps = 0, 0, torch.device("cpu"), 0
    optimizers, targets = (), {}

    def __init__(self, transitions: int = 1000, width: int = 16, activation: type[nn.Module] = nn.ReLU) -> None:
        torch.manual_seed(0)
        self.actor, self.critic = (
            nn.Sequential(nn.Linear(4, 20), activation(), nn.Linear(20, width), activation(), nn.Linear(width, outputs))
            for outputs in (3, 1)
        )
        self.networks = {"actor": sequential(self.actor, "actor"), "critic": sequential(self.critic, "critic")}
        self.data = torch.randn(transitions, 4)
        self.drawn: list[Tensor] = []

    def sample(self, n: int, generator: torch.Generator) -> Tensor:
        rows = torch.randperm(len(self.data), generator=generator)[:n]
        self.drawn.append(self.data[rows])
        return self.drawn[-1]

    def outputs(self, batch: Tensor) -> Mapping[str, Tensor]:
        return {"actor": self.actor(batch), "critic": self.critic(batch)}

    def distributions(self, batch: Tensor) -> Sequence[Distribution]:
        return (Categorical(logits=self.actor(batch), validate_args=False),)

    def td_targets(self, batch: Any) -> None:
        return None

    def sample_losses(self, batch: Tensor, td_targets: Any = None) -> Mapping[str, Tensor]:
        losses = self.actor(batch).square().sum(1) + self.critic(batch).square().sum(1)
        return {"actor": losses, "critic": losses}

    def announce(self, edit: Any, author: Any) -> None:
        raise AssertionError("nothing is edited")


def measured(learner: Any, **arguments: Any) -> Diagnostics:
    return Diagnostics(learner, torch.Generator().manual_seed(1), **arguments)


def test_values_are_those_of_the_pure_functions() -> None:
    toy = Toy(activation=nn.Tanh)
    values = measured(toy).measure()
    batch, few, fresh = toy.drawn
    assert [len(batch) for batch in toy.drawn] == [512, 128, 512]
    assert values.keys() == (
        tags("actor", (EVERY | POLICY | {"saturated_fraction"}) - LATER)
        | tags("critic", (EVERY | {"saturated_fraction"}) - LATER)
    )
    first = toy.actor[:2](batch)
    hidden = [first, toy.actor[2:4](first)]
    sigma = diagnostics.singular_values(hidden[1])
    logits = toy.actor(few)
    seen = probed(toy, fresh)
    kernel = diagnostics.tangent_kernels(toy.networks, lambda: toy.outputs(few))["actor"]
    producers = [toy.actor[0].weight, toy.actor[2].weight]
    expected = {
        "dormant_ratio_0": diagnostics.dormant_ratio(hidden, 0.0),
        "dormant_ratio": diagnostics.dormant_ratio(hidden, 0.025),
        "dormant_ratio_0.1": diagnostics.dormant_ratio(hidden, 0.1),
        "fau": diagnostics.fau(hidden),
        "saturated_fraction": diagnostics.saturated_fraction(hidden, [-1.0, -1.0]),
        "srank": diagnostics.srank(sigma),
        "effective_rank": diagnostics.effective_rank(sigma),
        "stable_rank": diagnostics.stable_rank(sigma),
        "dominant_share": diagnostics.dominant_share(sigma),
        "entropy": diagnostics.entropy([Categorical(logits=logits)]),
        "saturation": (logits.softmax(1).amax(1) > 0.999).float().mean(),
        "ntk_rank": diagnostics.srank(diagnostics.eigenvalues(kernel)),
        "grama_ratio": diagnostics.grama_ratio([seen.parameter_gradients[weight] for weight in producers]),
        "signal": diagnostics.signal([seen.gradients["actor.1"]]),
        "grad_norm": diagnostics.norm(seen.parameter_gradients[p] for p in toy.actor.parameters()),
        "weight_norm": diagnostics.weight_norm(toy.actor.parameters()),
    }
    assert {tag.rpartition("/")[2]: values[tag] for tag in values if "/actor/" in tag} == pytest.approx(
        {measure: value.item() for measure, value in expected.items()}, rel=1e-5
    )


def test_changes_are_since_the_last_call() -> None:
    toy = Toy()
    taken = measured(toy)
    first = taken.measure()
    assert not any(tag.rpartition("/")[2] in LATER for tag in first)
    with torch.no_grad():
        toy.critic[-1].bias += 0.5
        toy.actor[-1].bias += 1.0  # of all three logits alike: the policy stays as it is
    second = taken.measure()
    assert second["plasticity/critic/value_churn"] == pytest.approx(0.25, rel=1e-5)
    assert second["plasticity/critic/value_churn_abs"] == pytest.approx(0.5, rel=1e-5)
    assert second["plasticity/critic/update_norm"] == pytest.approx(0.5, rel=1e-5)
    assert second["plasticity/actor/update_norm"] == pytest.approx(math.sqrt(3), rel=1e-5)
    assert second["plasticity/actor/policy_churn"] == pytest.approx(0.0, abs=1e-9)
    assert second.keys() == set(taken.tags)
    assert second.keys() - first.keys() == tags("actor", {"policy_churn", "update_norm"}) | tags(
        "critic", VALUE | {"update_norm"}
    )
    with torch.no_grad():
        toy.actor[-1].bias[0] += 3.0
    few = toy.drawn[1]
    new = toy.distributions(few)
    old = (Categorical(logits=toy.actor(few) - torch.tensor([3.0, 0, 0])),)
    third = taken.measure()
    churn = diagnostics.policy_change(old, new).item()
    assert churn > 0.1
    assert third["plasticity/actor/policy_churn"] == pytest.approx(churn, rel=1e-4)
    assert third["plasticity/critic/value_churn"] == 0.0
    assert len(toy.drawn) == 3  # the probe stands


def test_the_tags_are_known_after_the_first_call() -> None:
    taken = measured(Toy())
    assert taken.tags == ()
    taken.measure()
    known = taken.tags
    assert set(known) == tags("actor", EVERY | POLICY) | tags("critic", EVERY | VALUE)
    assert taken.measure().keys() == set(known)


def test_a_new_probe_starts_churn_anew() -> None:
    toy = Toy()
    taken = measured(toy)
    taken.measure()
    taken.renew_probe()
    values = taken.measure()
    assert [len(batch) for batch in toy.drawn] == [512, 128, 512] * 2
    assert not torch.equal(toy.drawn[0], toy.drawn[3])
    assert not any("churn" in tag for tag in values)
    assert values["plasticity/actor/update_norm"] == 0.0  # the parameters are the same ones
    assert taken.measure()["plasticity/critic/value_churn"] == 0.0


def test_kernel_and_gradients_stand_for_several_calls() -> None:
    toy = Toy()
    taken = measured(toy, slow_every=3)
    rows = []
    for _ in range(5):
        rows.append(taken.measure())
        with torch.no_grad():
            toy.actor[-1].weight *= 1.5
    assert [len(batch) for batch in toy.drawn] == [512, 128, 512, 512]
    for measure in ("grad_norm", "signal"):
        a, b, c, d, e = (row[f"plasticity/actor/{measure}"] for row in rows)
        assert a == b == c
        assert d == e != a
    assert len({row["plasticity/actor/weight_norm"] for row in rows}) == 5
    taken.renew_probe()
    assert taken.measure()["plasticity/actor/grad_norm"] != rows[-1]["plasticity/actor/grad_norm"]
    with pytest.raises(ValueError, match="slow_every is 0; give a number of calls of at least 1"):
        measured(toy, slow_every=0)


class Greedy(Toy):
    """Its critic has a value for each action, and the policy takes the best."""

    def __init__(self) -> None:
        super().__init__()
        self.networks = {"critic": sequential(self.actor, "critic")}

    def outputs(self, batch: Tensor) -> Mapping[str, Tensor]:
        return {"critic": self.actor(batch)}

    def distributions(self, batch: Tensor) -> Sequence[Distribution]:
        return ()

    def sample_losses(self, batch: Tensor, td_targets: Any = None) -> Mapping[str, Tensor]:
        return {"critic": self.actor(batch).square().sum(1)}


def test_a_greedy_policy_churns_where_its_action_changes() -> None:
    greedy = Greedy()
    taken = measured(greedy)
    taken.measure()
    assert set(taken.tags) == tags("critic", EVERY | VALUE | {"policy_churn"})
    before = greedy.actor(greedy.drawn[0])
    with torch.no_grad():
        greedy.actor[-1].bias[0] += 0.1
    changed = (before.argmax(1) != greedy.actor(greedy.drawn[0]).argmax(1)).float().mean().item()
    assert 0 < changed < 1
    assert taken.measure()["plasticity/critic/policy_churn"] == pytest.approx(changed)


def test_a_policy_is_the_first_network_where_none_is_called_actor() -> None:
    toy = Toy()
    toy.networks = {"net": sequential(toy.actor, "net")}
    toy.outputs = lambda batch: {"net": toy.actor(batch)}  # type: ignore[method-assign]
    toy.sample_losses = lambda batch, td_targets=None: {"net": toy.actor(batch).sum(1)}  # type: ignore[method-assign]
    taken = measured(toy)
    taken.measure()
    assert set(taken.tags) == tags("net", EVERY | POLICY)


def test_what_has_no_closed_form_is_left_out() -> None:
    toy = Toy()

    def distributions(batch: Tensor) -> Sequence[Distribution]:
        normal = Normal(toy.actor(batch), torch.ones(3), validate_args=False)
        return (TransformedDistribution(normal, [TanhTransform()], validate_args=False),)

    toy.distributions = distributions  # type: ignore[method-assign]
    taken = measured(toy)
    taken.measure()
    assert taken.measure().keys() == tags("actor", EVERY | {"policy_churn"}) | tags("critic", EVERY | VALUE)


def test_a_distribution_that_holds_a_parameter_is_copied() -> None:
    toy = Toy()
    mean = nn.Parameter(torch.zeros(128, 2))
    toy.distributions = lambda batch: (Independent(Normal(mean, torch.ones(128, 2)), 1),)  # type: ignore[method-assign]
    taken = measured(toy)
    taken.measure()
    with torch.no_grad():
        mean += 1.0
    assert taken.measure()["plasticity/actor/policy_churn"] == pytest.approx(1.0)


def test_what_is_not_finite_is_left_out() -> None:
    toy = Toy()
    taken = measured(toy, slow_every=1)
    taken.measure()
    with torch.no_grad():
        toy.actor[0].weight[0, 0] = math.nan
    assert taken.measure().keys() == tags("critic", EVERY | VALUE)


def test_dead_networks_have_rank_zero() -> None:
    toy = Toy()
    with torch.no_grad():
        toy.critic[2].weight.zero_()
        toy.critic[2].bias.fill_(-1.0)
    values = measured(toy).measure()
    assert [values[f"plasticity/critic/{rank}"] for rank in RANKS] == [0.0] * 4
    assert values["plasticity/critic/dormant_ratio_0"] >= 16 / 36
    assert values["plasticity/critic/signal"] > 0  # into dead units the loss still sends its gradient
    assert values["plasticity/critic/ntk_rank"] == 1.0  # the output's bias alone


def test_the_probe_is_twice_the_widest_last_layer() -> None:
    toy = Toy(width=300)
    measured(toy).measure()
    assert [len(batch) for batch in toy.drawn] == [600, 128, 512]


@pytest.mark.parametrize("transitions", [1, 20])
def test_few_transitions(transitions: int) -> None:
    toy = Toy(transitions)
    values = measured(toy).measure()
    assert {len(batch) for batch in toy.drawn} == {transitions}
    assert values.keys() == tags("actor", (EVERY | POLICY) - LATER) | tags("critic", EVERY - LATER)
    assert 1 <= values["plasticity/actor/srank"] <= transitions


def test_a_network_with_a_part_that_the_kernel_does_not_know_has_no_kernel_rank() -> None:
    toy = Toy()
    parts = (*toy.networks["critic"].parts, Part(nn.PReLU(), Affine(), 1))
    toy.networks["critic"] = replace(toy.networks["critic"], parts=parts)
    values = measured(toy).measure()
    assert "plasticity/actor/ntk_rank" in values
    assert "plasticity/critic/ntk_rank" not in values
    assert "plasticity/critic/srank" in values


def test_a_network_that_mixes_bounded_and_unbounded_units_is_not_said_to_be_saturated() -> None:
    toy = Toy()
    toy.critic[1] = nn.Tanh()
    toy.networks["critic"] = sequential(toy.critic, "critic")
    assert not any("saturated" in tag for tag in measured(toy).measure())


def test_a_linear_policy_has_no_units_but_is_a_policy() -> None:
    toy = Toy()
    toy.networks = {}
    toy.sample_losses = lambda batch, td_targets=None: {}  # type: ignore[method-assign]
    taken = measured(toy)
    taken.measure()
    assert taken.measure().keys() == tags("actor", POLICY) | tags("critic", VALUE)


def test_learners_without_data_say_so() -> None:
    toy = Toy()

    def sample(n: int, generator: torch.Generator) -> Tensor:
        raise LookupError("give it data")

    toy.sample = sample  # type: ignore[method-assign]
    with pytest.raises(LookupError, match="give it data"):
        measured(toy).measure()


def test_the_host_waits_once(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = measured(Toy(), slow_every=1)
    taken.measure()
    calls: list[str] = []
    for method in ("item", "tolist", "__bool__", "__float__", "__int__", "__index__", "nonzero", "cpu", "numpy"):
        original = getattr(Tensor, method)

        def counted(self: Tensor, *args: Any, method: str = method, original: Any = original, **kwargs: Any) -> Any:
            calls.append(method)
            return original(self, *args, **kwargs)

        monkeypatch.setattr(Tensor, method, counted)
    taken.measure()
    monkeypatch.undo()
    assert calls == ["tolist"]


@pytest.mark.parametrize("kind", ["board", "mlp-tanh-gsde", "dict", "norm-impala"])
def test_measuring_changes_nothing(kind: str) -> None:
    model = build(kind).learn(64)
    model.policy.set_training_mode(True)
    before, gradients = parameters(model), {n: p.grad.clone() for n, p in model.policy.named_parameters()}
    rng = torch.get_rng_state()
    rows = []
    for _ in range(2):
        taken = measured(model)
        rows.append([taken.measure(), taken.measure()])
    assert rows[0] == rows[1]
    assert all(math.isfinite(value) for row in rows[0] for value in row.values())
    assert_same(before, parameters(model))
    assert_same(gradients, {n: p.grad for n, p in model.policy.named_parameters()})
    assert torch.equal(rng, torch.get_rng_state())
    assert model.policy.training
    assert not any(module._forward_hooks for module in model.policy.modules())
    first, second = rows[0]
    assert set(second) == set(taken.tags)
    networks = {tag.split("/")[1] for tag in second}
    assert networks == model.networks.keys() | {"actor"}
    discrete = kind == "board"
    assert ("plasticity/actor/saturation" in first) == discrete
    assert ("plasticity/actor/saturated_fraction" in first) == (kind == "mlp-tanh-gsde")
    assert second["plasticity/critic/value_churn"] == 0.0


def test_measured_gradient_norm_is_that_of_the_training_loss() -> None:
    model = build("mlp").learn(64)
    values = measured(model).measure()
    generator = torch.Generator().manual_seed(1)
    batch = [model.sample(n, generator) for n in (512, 128, 512)][-1]
    model.policy.zero_grad()
    model.losses(batch)["loss"].backward()
    critic = [p.grad for n, p in model.policy.named_parameters() if "value" in n]
    norm = torch.cat([g.flatten() for g in critic]).norm().item()
    assert values["plasticity/critic/grad_norm"] == pytest.approx(norm, rel=1e-5)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("ppo-board", {"actor": ["actor.0"], "critic": ["critic.0"], "features": ["features.1"]}),
        ("ppo-board-separate", {"actor": ["actor.2"], "critic": ["critic.2"]}),
        ("sac-mlp", {"actor": ["actor.1"], "critic": ["critic.qf0.1", "critic.qf1.1"]}),
        ("sac-cnn", {"actor": ["actor.4"], "critic": ["critic.qf0.0", "critic.qf1.0"]}),
        ("dqn-cnn", {"critic": ["critic.3"]}),
        ("ppo-impala", {"actor": ["actor.0"], "critic": ["critic.0"], "features": ["features.4"]}),
    ],
)
def test_last_layers(kind: str, expected: dict[str, list[str]]) -> None:
    networks = POLICIES[kind]().networks
    assert {name: [layer.name for layer in last_layers(net)] for name, net in networks.items()} == expected


# ---------------------------------------------------------------------- going on elsewhere


def test_a_restored_one_measures_the_same() -> None:
    toy = Toy()
    first = Diagnostics(toy, torch.Generator().manual_seed(1), slow_every=3)
    for _ in range(2):
        first.measure()
        _move(toy)
    saved = copy.deepcopy(first.state())
    parameters = copy.deepcopy([module.state_dict() for module in (toy.actor, toy.critic)])
    expected = []
    for _ in range(3):
        expected.append(first.measure())
        _move(toy)
    for module, held in zip((toy.actor, toy.critic), parameters, strict=True):
        module.load_state_dict(held)
    second = Diagnostics(toy, torch.Generator().manual_seed(2), slow_every=3)
    second.restore(saved)
    assert second.tags == first.tags
    found = []
    for _ in range(3):
        found.append(second.measure())
        _move(toy)
    assert found == expected
    assert any(tag.endswith("policy_churn") for tag in found[0])


def test_one_that_has_measured_nothing_can_be_restored() -> None:
    toy = Toy()
    first, second = (Diagnostics(toy, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    second.restore(first.state())
    assert second.measure() == first.measure()


def _move(toy: Toy) -> None:
    """What training does to the parameters, without a generator."""
    with torch.no_grad():
        for module in (toy.actor, toy.critic):
            for parameter in module.parameters():
                parameter.mul_(0.9).add_(0.01)


def test_after_a_head_was_replaced_nothing_is_compared_with_the_old_one() -> None:
    learner = Regression([GXD()])
    diagnostics = Diagnostics(learner, torch.Generator().manual_seed(0))
    diagnostics.measure()
    learner.train(1)
    assert "plasticity/net/update_norm" in diagnostics.measure()
    learner.module[4] = nn.Linear(20, 3)
    assert "plasticity/net/update_norm" not in diagnostics.measure()
    assert diagnostics.measure()["plasticity/net/update_norm"] == 0.0
