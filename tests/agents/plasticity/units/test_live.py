"""Graphs follow what a user puts in the place of modules and parameters."""

from __future__ import annotations

import copy

import pytest
import small_off_policy
import torch
from small_loop import Regression
from small_ppo import build
from torch import nn

from agents.plasticity import GXD, PlasticOptimizer, ReDo, ShrinkAndPerturb
from agents.plasticity.units import LiveNetworks, sequential


def small() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2))


def test_the_graph_stays_the_same_object_until_something_is_replaced() -> None:
    model = small()
    live = LiveNetworks(lambda: (model,), lambda: {"net": sequential(model)})
    first = live.now()
    model.load_state_dict(small().state_dict())
    model[0].weight.data.zero_()
    model.requires_grad_(False)
    assert live.now() is first
    model[2] = nn.Linear(6, 5)
    second = live.now()
    assert second["net"].layers[0].consumers[0].weight is model[2].weight
    model[2].weight = nn.Parameter(torch.zeros(5, 6))
    assert live.now()["net"].layers[0].consumers[0].weight is model[2].weight
    third = live.now()
    model.append(nn.ReLU())
    assert live.now() is not third
    model[1] = nn.Identity()
    with pytest.raises(ValueError, match="no activation follows"):
        live.now()


def test_names_of_parameters() -> None:
    model = small()
    live = LiveNetworks(lambda: (model,), lambda: {"net": sequential(model)})
    assert live.name_of(model[2].bias) == "2.bias"
    assert live.name_of(nn.Parameter(torch.zeros(3, 1))) == "parameter of shape (3, 1)"


def test_resets_act_on_a_head_that_was_replaced_and_keep_their_ages() -> None:
    model = small()
    x = torch.randn(64, 4)
    reset = GXD(rate=0.05, period=10, maturity=15, score_every=1)
    optimizer = PlasticOptimizer(torch.optim.Adam(model.parameters()), model, [reset])

    def train(steps: int) -> None:
        for _ in range(steps):
            with optimizer.forward():
                loss = (model(x) - 1).square().mean()
            optimizer.step(loss)

    train(12)
    model[2] = nn.Linear(6, 5)
    optimizer.optimizers[0].add_param_group({"params": model[2].parameters()})
    train(7)
    assert optimizer.units_reset() == {"net": 0}
    train(1)  # step 20: units are 20 steps old, which the new graph has not forgotten; 10 x 0.05 x 6 = 3 are due
    assert optimizer.units_reset() == {"net": 3}
    assert int((model[2].weight == 0).all(0).sum()) == 3


def test_hidden_layers_of_another_width_begin_anew_with_a_warning() -> None:
    learner = Regression([GXD(rate=0.5, period=4, maturity=2, score_every=1)])
    learner.train(3)
    learner.module[0], learner.module[2] = nn.Linear(4, 9), nn.Linear(9, 20)
    learner.optimizers[0].add_param_group(
        {"params": [*learner.module[0].parameters(), *learner.module[2].parameters()]}
    )
    with pytest.warns(UserWarning, match="gxd: modules were replaced by others of another shape, so that its ages"):
        learner.train(1)
    assert learner.count() == 0
    learner.train(4)
    assert learner.edits[-1][1].masks["net.0"].shape == (9,)
    assert learner.units("net.0")


def test_a_declared_graph_whose_parameters_were_replaced_is_refused() -> None:
    model = small()
    optimizer = PlasticOptimizer(torch.optim.Adam(model.parameters()), {"net": sequential(model)}, [GXD()])
    model[2].weight = nn.Parameter(torch.zeros(2, 6))
    with pytest.raises(ValueError, match="a parameter was replaced after its unit graph was declared; declare"):
        optimizer.after_update()


@pytest.mark.parametrize("change", ["head", "policy"])
def test_an_agent_whose_policy_was_changed(change: str) -> None:
    """Class-incremental growth, and a policy that is assigned: resets act on what is there now."""
    model = build("mlp", interventions=[ReDo(tau=0.9, period=4)], learning_rate=1e-3)
    model.learn(64)
    old = model.policy
    if change == "head":
        model.policy.value_net = nn.Linear(12, 1)
        model.policy.optimizer.add_param_group({"params": model.policy.value_net.parameters()})
    else:
        model.policy = copy.deepcopy(model.policy)
        model.policy.optimizer = torch.optim.Adam(model.policy.parameters(), lr=1e-3)
        kept = [parameter.clone() for parameter in old.parameters()]
    counted = model.units_reset()["critic"]
    model.learn(64)
    assert model.units_reset()["critic"] > counted
    assert (model.policy.value_net.weight == 0).any()
    if change == "policy":
        assert all(map(torch.equal, old.parameters(), kept))


def test_units_of_a_layer_that_was_replaced_are_new() -> None:
    """They wait for their maturity, and are pulled to where they began and not to where the old ones did."""
    learner = Regression([GXD(rate=0.5, period=10, maturity=10, score_every=1), ShrinkAndPerturb(mode="to_init")])
    learner.train(19)
    learner.module[2] = nn.Linear(20, 20)
    learner.optimizers[0].add_param_group({"params": learner.module[2].parameters()})
    began = learner.module[2].weight.detach().clone()
    learner.train(1)
    assert learner.units("net.0")
    assert learner.units("net.1") == []
    anchors = learner.interventions[1].state_dict()
    assert torch.equal(anchors["anchor/net/2"], began)


def test_statistics_that_were_replaced_are_followed() -> None:
    """`Module.to` keeps parameters and puts other tensors into the place of buffers."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))
    live = LiveNetworks(lambda: (model,), lambda: {"net": sequential(model)})
    weight = live.now()["net"].layers[0].producer.weight
    model.double()
    (layer,) = live.now()["net"].layers
    assert layer.producer.weight is weight
    assert [id(tensor) for tensor, _ in layer.constants][2:] == [id(model[1].running_mean), id(model[1].running_var)]
    first = live.now()
    model(torch.randn(3, 4, dtype=torch.float64))  # statistics move in place
    assert live.now() is first


@pytest.mark.parametrize("kind", ["dqn-mlp", "sac-mlp"])
def test_a_policy_that_is_assigned_where_training_holds_the_old_one_is_refused(kind: str) -> None:
    model = small_off_policy.ours(kind, interventions=[ReDo(period=4)])
    model.learn(24)
    model.policy = copy.deepcopy(model.policy)
    with pytest.raises(ValueError, match=r"policy was assigned anew, but training uses the old one's (q_net|actor); "):
        model.learn(8, reset_num_timesteps=False)
