"""Interventions are called at fixed points of a training loop, in order."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from small_loop import Regression
from torch import Tensor, nn

from agents.plasticity import GXD, Edit, Intervention, Switch, Update
from agents.plasticity.compatibility import MisfitError
from agents.plasticity.hooks import Hooks
from agents.plasticity.taps import Taps
from agents.plasticity.units import Network, sequential

SWITCH = Switch("breakout", 1, 3)


class Diary(Intervention):
    """Writes down what it is called with."""

    def __init__(self, name: str, pages: list, penalty: float | None = None) -> None:
        self.name, self.pages, self.weight = name, pages, penalty
        self.held = torch.zeros(2)

    def penalty(self, update: Update) -> Tensor | None:
        self.pages.append((self.name, "penalty", dict(update.taps)))
        return None if self.weight is None else self.weight * self.parameter.square().sum()

    def after_backward(self, update: Update) -> None:
        self.pages.append((self.name, "after_backward", update))

    def after_step(self, update: Update) -> None:
        self.pages.append((self.name, "after_step", update))

    def after_update(self) -> None:
        self.pages.append((self.name, "after_update", None))

    def on_task_switch(self, switch: Switch) -> None:
        self.pages.append((self.name, "on_task_switch", switch))

    def on_surgery(self, edit: Edit) -> None:
        self.pages.append((self.name, "on_surgery", edit))

    def state_dict(self) -> dict[str, Tensor]:
        return {"held": self.held}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.held = state["held"]

    def metrics(self) -> dict[str, float]:
        return {f"{self.name}/pages": float(len(self.pages))}


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1))


def learner_of(model: nn.Sequential) -> Any:
    """All that hooks look at of a learner, with a network that has no hidden units."""
    return SimpleNamespace(networks={"net": sequential(model), "bare": Network("bare", (), ())})


def update_of(loss: Tensor) -> Update:
    return Update(("net",), None, {"loss": loss}, torch.optim.SGD([torch.zeros(1)]), 0.1, 1)


def test_order_of_calls(model: nn.Sequential) -> None:
    pages: list = []
    hooks = Hooks(learner_of(model), [Diary("one", pages), Diary("two", pages)])
    with Taps(()) as taps:
        loss = model(torch.ones(1, 2)).sum()
    update = hooks.backward(update_of(loss), taps)
    hooks.after_step(update)
    hooks.after_update()
    hooks.after_update([SWITCH, SWITCH])
    calls = ["penalty", "after_backward", "after_step", "after_update"]
    calls += ["on_task_switch", "on_task_switch", "after_update"]
    assert [(name, call) for name, call, _ in pages] == [(name, call) for call in calls for name in ("one", "two")]
    assert all(what is SWITCH for _, call, what in pages if call == "on_task_switch")
    assert hooks.metrics() == {"one/pages": 14.0, "two/pages": 14.0}


def test_tags_of_namesakes_differ(model: nn.Sequential) -> None:
    hooks = Hooks(learner_of(model), [Diary("same", []), Diary("other", []), Diary("same", [1])])
    assert hooks.metrics() == {"same/pages": 0.0, "other/pages": 0.0, "same_2/pages": 1.0}


def test_a_penalty_is_in_the_gradient_but_not_in_the_taps(model: nn.Sequential) -> None:
    pages: list = []
    diaries = [Diary("one", pages, penalty=2.0), Diary("two", pages), Diary("three", pages, penalty=3.0)]
    for diary in diaries:
        diary.parameter = model[0].weight
    learner = learner_of(model)
    hooks = Hooks(learner, diaries)
    x = torch.randn(5, 2)
    with Taps(learner.networks["net"].layers, preactivations=True) as taps:
        loss = model(x).sum()
    plain = torch.autograd.grad(loss, model[0].weight, retain_graph=True)[0]
    update = hooks.backward(update_of(loss), taps)
    torch.testing.assert_close(model[0].weight.grad, plain + 2 * 5 * model[0].weight.detach())
    torch.testing.assert_close(update.taps["net.1"][1], model[4].weight.detach().expand(5, 4))
    alive = model[:3](x).detach() > 0
    torch.testing.assert_close(update.preactivation_grads["net.1"], model[4].weight.detach() * alive)
    seen = [what for _, call, what in pages if call == "after_backward"]
    assert len(seen) == 3
    assert all(what is update for what in seen)
    assert all(what == {} for _, call, what in pages if call == "penalty")


@pytest.mark.parametrize(
    ("needs", "score_every", "step", "hooked"),
    [
        (set(), 1, 1, False),
        ({"activations"}, 1, 1, True),
        ({"activation_grads"}, 4, 7, True),
        ({"activation_grads"}, 4, 8, False),
        ({"preactivation_grads"}, 1, 1, True),
    ],
)
def test_taps_are_opened_when_somebody_scores(
    model: nn.Sequential, needs: set[str], score_every: int, step: int, hooked: bool
) -> None:
    idle, scorer = Diary("idle", []), Diary("scorer", [])
    scorer.needs, scorer.score_every = frozenset(needs), score_every
    with Hooks(learner_of(model), [idle, scorer]).taps(step) as taps:
        model(torch.ones(1, 2))
    assert set(taps.activations) == ({"net.0", "net.1"} if hooked else set())
    assert set(taps.preactivations) == ({"net.0", "net.1"} if "preactivation_grads" in needs else set())


@pytest.mark.parametrize(
    ("networks", "hooked"),
    [
        (None, {"one.0", "two.0", "two.1"}),
        (("one",), {"one.0"}),
        (("two", "absent"), {"two.0", "two.1"}),
        (("one", "two"), {"one.0", "two.0", "two.1"}),
        ((), set()),
    ],
)
def test_taps_are_opened_on_the_networks_that_a_forward_trains(
    networks: tuple[str, ...] | None, hooked: set[str]
) -> None:
    models = {
        "one": nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)),
        "two": nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1)),
    }
    learner: Any = SimpleNamespace(networks={name: sequential(model, name) for name, model in models.items()})
    scorer = Diary("scorer", [])
    scorer.needs, scorer.score_every = frozenset({"activations"}), 2
    hooks = Hooks(learner, [scorer])
    for step in (1, 2):
        with hooks.taps(step, networks) as taps:
            for model in models.values():
                model(torch.ones(1, 2))
        assert set(taps.activations) == (hooked if step == 1 else set())


def test_a_surgery_is_told_to_the_others_and_counted(model: nn.Sequential) -> None:
    pages: list = []
    author, other = Diary("author", pages), Diary("other", pages)
    hooks = Hooks(learner_of(model), [author, other])
    edit = Edit({"net.0": torch.tensor([0.0, 0.5, 1.0]), "net.1": torch.tensor([1.0, 1.0, 0.25, 0.0])})
    assert hooks.units_reset() == {"net": 0}
    hooks.announce(edit, author)
    assert pages == [("other", "on_surgery", edit)]
    assert {name: mask.tolist() for name, mask in edit.masks.items()} == {
        "net.0": [False, False, True], "net.1": [True, True, False, False],
    }  # fmt: skip
    assert hooks.units_reset() == {"net": 4}  # 3.75
    hooks.announce(edit, other)
    assert hooks.units_reset() == {"net": 8}  # 7.5, rounded to even


def test_state_goes_with_the_place_in_the_list(model: nn.Sequential) -> None:
    hooks = Hooks(learner_of(model), [Diary("same", []), Diary("same", [])])
    hooks._interventions[0].held = torch.tensor([1.0, 2.0])
    hooks._interventions[1].held = torch.tensor([3.0, 4.0])
    hooks.announce(Edit({"net.0": torch.ones(3)}), hooks._interventions[0])
    state = hooks.state_dict()
    assert [held["held"].tolist() for held in state["interventions"]] == [[1.0, 2.0], [3.0, 4.0]]
    assert state["units_reset"] == {"net": 3.0}
    other = Hooks(learner_of(model), [Diary("same", []), Diary("same", [])])
    other.load_state_dict(state)
    assert [diary.held.tolist() for diary in other._interventions] == [[1.0, 2.0], [3.0, 4.0]]
    assert other.units_reset() == {"net": 3}
    other.announce(Edit({"net.0": torch.ones(3)}), other._interventions[0])
    assert other.units_reset() == {"net": 6}
    assert hooks.units_reset() == {"net": 3}


def test_an_intervention_belongs_to_one_learner() -> None:
    reset = GXD()
    first = Regression([reset])
    with pytest.raises(ValueError, match=r"gxd is attached to another learner, .*; give each learner .* GXD\(\.\.\.\)"):
        Regression([reset])
    assert reset.owner is first


def test_an_intervention_that_is_given_twice_is_refused() -> None:
    reset = GXD()
    with pytest.raises(ValueError, match="interventions has one gxd object twice; give an object for each"):
        Regression([reset, reset])


def test_a_learner_that_was_refused_owns_nothing() -> None:
    reset = GXD()
    with pytest.raises(ValueError, match="networks names 'foo'"):
        Regression([reset, GXD(networks=["foo"])])
    assert Regression([reset]).interventions == [reset]


class Keeper(Diary):
    """Keeps a nested state of tensors and JSON values."""

    def __init__(self, kept: list[int]) -> None:
        super().__init__("keeper", [])
        self.kept = kept

    def state_dict(self) -> dict[str, Any]:
        return {"pairs": [{"n": n, "held": torch.zeros(n)} for n in self.kept], "none": None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.kept = [pair["n"] for pair in state["pairs"]]

    def attach(self, learner: Any) -> None:
        self.kept = sorted(self.kept)


def test_a_learner_that_has_no_reference_batches_owns_nothing() -> None:
    needing = Diary("needing", [])
    needing.needs = frozenset({"reference_batch"})
    with pytest.raises(MisfitError, match="needing needs reference batches, whose size is not known") as refused:
        Regression([GXD(), needing])
    assert refused.value.number == 1
    assert needing.owner is None


def test_a_state_without_what_an_intervention_needs_by_now_is_refused() -> None:
    diary = Diary("diary", [])
    state = Regression([diary])._hooks.state_dict()
    needing = Diary("diary", [])
    needing.needs = frozenset({"reference_batch"})
    learner = Regression([needing], batch_size=4)
    with pytest.raises(ValueError, match=r"^the saved state of the interventions has no reference_batch; it is of"):
        learner._hooks.load_state_dict(state)
    with pytest.raises(ValueError, match="has no units_reset/net, reference_batch; it is of others"):
        learner._hooks.load_state_dict({**state, "units_reset": {"net": 3}})


def test_a_nested_state_is_kept_where_a_module_was_replaced_by_one_of_its_kind() -> None:
    keeper = Keeper([2, 2])
    learner = Regression([keeper])
    keeper.kept = [2, 2]
    learner.module[4] = nn.Linear(20, 3)
    assert learner._hooks.state_dict()["interventions"][0]["pairs"][1]["n"] == 2
    keeper.kept = [3, 2]
    learner.module[4] = nn.Linear(20, 3)
    with pytest.warns(UserWarning, match="keeper: modules were replaced by others of another shape"):
        learner._hooks.state_dict()
    assert keeper.kept == [2, 3]
