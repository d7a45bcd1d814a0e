"""What unit resets make of scores: running means, samples, and no signal."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from percentages import percentage
from small_loop import ACTING, Regression, together
from small_ppo import build
from torch import Tensor, nn

from agents.plasticity import GXD, Edit, ReDo, ReGraMa, UnitReset, Update
from agents.plasticity.taps import Taps


def test_running_utility_is_a_bias_corrected_mean_of_the_scores() -> None:
    reset = GXD(period=21, score_every=4)
    Regression([reset])
    scores, expected, weight, keep = [], torch.zeros(20), 0.0, 0.99**4
    for step in range(1, 21):
        a, g = torch.randn(8, 20), torch.randn(8, 20)
        taps = {"net.0": (a, g)} if step in (1, 7, 9, 16, 18) else {}
        reset.after_backward(Update(("net",), None, {}, torch.optim.SGD([a]), 0.0, step, taps))
        if taps:
            scores.append((a * g).abs().sum(0))
            expected, weight = keep * expected + (1 - keep) * scores[-1], keep * weight + (1 - keep)
    state = reset.state_dict()
    found = state["utility/net.0"] / state["utility_weight/net.0"]
    torch.testing.assert_close(found, expected / weight)
    torch.testing.assert_close(found, torch.stack(scores).mean(0), rtol=0.2, atol=0.2)
    assert len(scores) == 5
    assert not state["utility_weight/net.1"].any()


def test_minibatches_that_would_be_forgotten_are_not_scored() -> None:
    """Far from the next selection no tap is opened, and what is selected then is the same."""
    found = []
    for always in (False, True):
        reset = ReGraMa(tau=1.0, period=300, maturity=0, score_every=3, cap=0.2)
        learner = Regression([reset])
        if always:
            reset.memory = 300.0
        learner.train(1)
        assert reset.state_dict()["utility_weight/net.0"].any() == always
        learner.train(150)
        assert reset.state_dict()["utility_weight/net.0"].any() == always
        learner.train(149)
        found.append(learner)
    one, other = found
    assert one.resets_at() == other.resets_at() == [300]
    for name in ("net.0", "net.1"):
        assert one.units(name) == other.units(name)
        assert len(one.units(name)) == 4
    reset = GXD(period=10_000)
    Regression([reset])
    # 1,374 steps before, a score weighs less than a millionth in a mean with a decay of 0.99
    assert [step for step in range(8_580, 8_670) if reset.taps_at(step)] == [8_626, 8_652, 8_662]
    assert sum(reset.taps_at(step) for step in range(9_889, 10_001)) == 7


def test_the_cheapest_units_are_taken() -> None:
    learner = Regression([GXD(rate=0.1, period=1, maturity=0, score_every=1)])
    layer = learner.networks["net"].layers[0]
    with torch.no_grad():
        layer.consumers[0].weight[:, [3, 8]] *= 1e-6  # hardly heard
    learner.train(1)
    assert learner.units("net.0") == [3, 8]


def test_units_are_ranked_on_a_sample_when_that_is_asked_for() -> None:
    reset = UnitReset(
        criterion="gxd", selection=percentage(), period=3, maturity=0, score_on="sample", samples=40
    )  # fmt: skip
    learner = Regression([reset], rate=0.0)
    assert not any(reset.taps_at(step) for step in range(1, 4))
    with Taps(learner.networks["net"].layers) as taps:
        learner.loss(learner.module(learner.x), learner.y).mean().backward()
    seen = taps.read()
    learner.samples.clear()
    learner._draw = lambda n, generator: learner.samples.append(n) or torch.arange(64)  # all, in their order
    learner._sample = learner._draw
    learner.train(3)
    assert learner.samples[0] == 40
    for name, (a, g) in seen.items():
        assert set(learner.units(name)) == set((a * g).abs().sum(0).argsort()[:2].tolist())


def test_units_without_a_score_do_not_move_the_threshold() -> None:
    """Half a layer is new when the others, all alike, are looked at: none of them is below the mean."""
    reset = UnitReset(
        criterion="regrama", selection={"name": "threshold", "tau": 0.9}, period=4, maturity=0, score_every=1, decay=0.9
    )
    learner = Regression([reset])
    learner.train(3)
    half = (torch.arange(20) < 10).float()
    reset.on_surgery(Edit({"net.0": half, "net.1": half}))
    state = reset.state_dict()
    for name in ("net.0", "net.1"):
        state[f"utility/{name}"] = 5.0 * state[f"utility_weight/{name}"]
    reset.load_state_dict(state)
    reset.after_backward(Update(("net",), None, {}, learner.optimizers[0], 0.0, 4))
    for layer in learner.networks["net"].layers:
        layer.producer.weight.grad = None
    state = reset.state_dict()
    for name in ("net.0", "net.1"):  # nothing has been seen of the new ones since
        state[f"utility/{name}"] = torch.where(half > 0, 0.0, 5.0)
        state[f"utility_weight/{name}"] = torch.where(half > 0, 0.0, 1.0)
    reset.load_state_dict(state)
    reset.after_update()
    assert learner.edits == []
    metrics = reset.metrics()
    assert (metrics["warnings/reset/net/no_signal"], metrics["warnings/reset/net/not_finite"]) == (0.0, 0.0)


def test_without_a_signal_nothing_is_reset_and_training_goes_on() -> None:
    resets = [GXD(rate=0.5, period=1, maturity=0, score_every=1), ReGraMa(tau=0.5, period=2, maturity=0, score_every=1)]
    learner = Regression(resets)
    learner.y = learner.module(learner.x).detach()  # the loss is zero, and so is every gradient
    learner.train(3)
    assert learner.count() == 0
    with pytest.warns(UserWarning, match="the loss sends no gradient"):
        assert resets[0].metrics()["warnings/gxd/net/no_signal"] == 6.0  # two layers, three selections
    learner.y = torch.randn(64, 3)
    learner.train(1)
    assert learner.count() > 0


def test_layers_without_a_signal_are_counted_and_told_once() -> None:
    reset = GXD(rate=0.5, period=2, maturity=0, score_every=1)
    Regression([reset]).train(2)
    assert reset.metrics()["warnings/gxd/net/no_signal"] == 0.0
    reset = GXD(rate=0.5, period=2, maturity=0, score_every=1)
    learner = Regression([reset])
    learner.y = learner.module(learner.x).detach()
    for _ in range(3):
        learner.train(2)
    with pytest.warns(UserWarning, match=r"gxd: the loss sends no gradient to a layer of net, .* signal 'outputs' ra"):
        assert reset.metrics()["warnings/gxd/net/no_signal"] == 6.0  # two layers, three selections
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        learner.train(2)
        assert reset.metrics()["warnings/gxd/net/no_signal"] == 8.0


def test_units_that_were_not_scored_yet_are_no_missing_signal() -> None:
    learner = Regression().train(1)
    reset = GXD(rate=0.5, period=3, maturity=0, score_every=4)  # of steps 1, 7, 9, ...; at 3 and 6 it knows nothing
    learner.interventions.append(reset)
    reset.attach(learner)
    learner.train(2)
    learner.train(3)
    assert learner.edits == []
    assert reset.metrics()["warnings/gxd/net/no_signal"] == 0.0
    learner.train(3)
    assert learner.count() > 0
    assert reset.metrics()["warnings/gxd/net/no_signal"] == 0.0


BAD = [torch.nan, torch.inf]


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["gxd", "regrama", "cbp", "cpr"])
def test_a_minibatch_whose_utilities_are_not_finite_is_passed_over_and_counted(name: str, bad: float) -> None:
    """The means that it would have poisoned are as if it had never been, and so are the resets that follow."""
    found = []
    for poisoned in (True, False):
        reset = ACTING[name]()
        learner = Regression([reset]).train(3)
        before = reset.state_dict()
        if poisoned:
            layers = learner.networks["net"].layers
            gradients = [layer.producer.weight.grad for layer in layers]
            for layer in layers:
                layer.producer.weight.grad = torch.full_like(layer.producer.weight, bad)
            taps = {layer.name: (torch.full((64, 20), bad), torch.ones(64, 20)) for layer in layers}
            step = reset.score_every * 2
            reset.after_backward(Update(("net",), None, {}, learner.optimizers[0], 0.0, step, taps))
            for layer, gradient in zip(layers, gradients, strict=True):
                layer.producer.weight.grad = gradient
            state = reset.state_dict()
            means = [key for key in state if key.startswith(("utility", "mean"))]
            assert means
            assert all(torch.equal(state[key], before[key]) for key in means)
        for _ in range(3):
            learner.train(1)
        metrics = reset.metrics()
        assert metrics[f"warnings/{reset.name}/net/not_finite"] == (2.0 if poisoned else 0.0)  # two layers
        assert metrics[f"warnings/{reset.name}/net/no_signal"] == 0.0
        found.append(learner)
    one, other = found
    assert one.edits
    for key, tensor in one.parameters().items():
        assert torch.equal(tensor, other.parameters()[key])


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", ["redo", "gxd of outputs"])
def test_a_sample_whose_utilities_are_not_finite_resets_nothing_and_is_counted(name: str, bad: float) -> None:
    if name == "redo":
        reset: UnitReset = ReDo(tau=0.9, period=2)
    else:
        reset = GXD(signal="outputs", rate=0.05, period=2, maturity=0)
    learner = Regression([reset], rate=0.0)
    x, learner.x = learner.x, torch.full_like(learner.x, bad)
    before = learner.parameters()
    with torch.no_grad():
        reset.after_backward(Update(("net",), None, {}, learner.optimizers[0], 0.0, 2))
    reset.after_update()
    assert learner.edits == []
    assert all(torch.equal(tensor, before[name]) for name, tensor in learner.parameters().items())
    assert reset.metrics()[f"warnings/{reset.name}/net/not_finite"] == 2.0
    learner.x = x
    reset.after_backward(Update(("net",), None, {}, learner.optimizers[0], 0.0, 4))
    reset.after_update()
    assert learner.count() > 0
    assert reset.metrics()[f"warnings/{reset.name}/net/not_finite"] == 2.0


def test_training_goes_on_when_the_loss_is_not_finite() -> None:
    resets = together(("gxd", "regrama", "cbp", "cpr", "redo", "reset"))
    learner = Regression(resets).train(2)
    before = learner.units_reset()["net"]
    learner.y = torch.full_like(learner.y, torch.nan)
    for _ in range(4):  # now every parameter is nan, and so is all that is seen of them
        learner.train(1)
    assert learner.module(learner.x).isnan().all()
    assert learner.units_reset()["net"] >= before
    # PyTorch's ReLU sends a gradient of zero where its input is nan, so that weight gradients are nan or no signal.
    with pytest.warns(UserWarning, match="the loss sends no gradient to a layer of net"):
        metrics = {reset.name: reset.metrics() for reset in resets}
    for name, values in metrics.items():
        skipped = values[f"warnings/{name}/net/not_finite"] + values[f"warnings/{name}/net/no_signal"]
        assert skipped > 0 or name == "reset", name  # chance ranks always


def saturated(**arguments: Any) -> Any:
    """PPO whose policy takes the first action with probability 1, exactly."""
    model = build("mlp", policy_kwargs={"net_arch": [8, 6], "activation_fn": nn.ReLU}, **arguments)
    with torch.no_grad():
        model.policy.action_net.bias.copy_(torch.tensor([60.0, -60.0]))
    return model


def test_a_saturated_policy_gives_no_signal_and_is_not_reset_by_the_order_of_the_indices() -> None:
    reset = GXD(networks=["actor"], rate=0.1, period=4, maturity=0, score_every=1)
    model = saturated(interventions=[reset])
    before = {name: p.clone() for name, p in model.policy.named_parameters() if "value" not in name}
    with pytest.warns(UserWarning, match=r"gxd: the loss sends no gradient to a layer of actor.*signal 'outputs'") as w:
        model.learn(192)
    assert len(w) == 1
    assert model.units_reset() == {"actor": 0, "critic": 0}
    assert reset.metrics()["warnings/gxd/actor/no_signal"] == 2 * 3  # two layers, an update of 8 steps each time
    assert reset.metrics()["warnings/gxd/actor/not_finite"] == 0
    batch = model.sample(64, torch.Generator())
    (policy,) = model.distributions(batch)
    assert (policy.probs[:, 0] == 1).all()
    assert not policy.entropy().any()
    after = dict(model.policy.named_parameters())
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_the_critic_of_a_saturated_policy_is_reset() -> None:
    model = saturated(interventions=[GXD(networks=["critic"], rate=0.1, period=4, maturity=0, score_every=1)])
    model.learn(64)
    assert model.units_reset()["critic"] > 0


def test_outputs_rank_the_units_of_a_saturated_policy() -> None:
    """Of the last hidden layer a unit's sensitivity is what the outputs lose without it, to the first order and all."""
    model = saturated().learn(64)
    layer = model.networks["actor"].layers[1]
    reset = GXD(networks=["actor"], rate=0.34, period=1, maturity=0, score_every=1, signal="outputs")
    reset.attach(model)
    batch = model.sample(64, torch.Generator())

    def outputs(without: int | None = None) -> Tensor:
        def cut(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
            return output * (torch.arange(layer.units) != without)

        handle = layer.tap.register_forward_hook(cut)
        with torch.no_grad():
            found = model.outputs(batch)["actor"]
        handle.remove()
        return found

    bias = model.policy.action_net.bias.detach().clone()
    model.policy.action_net.bias.data.zero_()  # no unit's part is rounded off against it
    ablated = torch.stack([(outputs(unit) - outputs()).abs().mean() for unit in range(layer.units)])
    with torch.no_grad(), Taps([layer]) as taps:
        model.outputs(batch)
    by_hand = taps.activations["actor.1"].abs().mean(0) * model.policy.action_net.weight.abs().mean(0)
    torch.testing.assert_close(ablated, by_hand.detach(), rtol=1e-3, atol=1e-9)
    model.policy.action_net.bias.data.copy_(bias)
    edits: list[Edit] = []
    model.announce = lambda edit, author: edits.append(edit)
    reset.after_backward(Update(("actor",), None, {}, model.policy.optimizer, 0.0, model.optimizer_steps + 1))
    reset.after_update()
    picked = edits[0].masks["actor.1"].nonzero().flatten().tolist()
    assert len(picked) == 2  # a third of six
    assert set(picked) == set(ablated.argsort()[:2].tolist())
    assert int(edits[0].masks["actor.0"].sum()) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reset.metrics()["warnings/gxd/actor/no_signal"] == 0
