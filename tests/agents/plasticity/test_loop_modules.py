"""Ordinary modules in a training loop of one's own: traced, verified and refused."""

from __future__ import annotations

import copy

import pytest
import torch
from modules import ActorCritic, Mlp, Observations
from own_loop import X, model_of
from small_loop import ACTING, QUIET, Regression
from torch import Tensor, nn

from agents.plasticity import GXD, PlasticOptimizer, ReDo


def test_an_ordinary_module_without_a_reset_trains_bit_for_bit_as_ever() -> None:
    torch.manual_seed(0)
    ours = ActorCritic()
    plain = copy.deepcopy(ours)
    x = torch.rand(6, 3, 7, 7)

    def loss_of(model: nn.Module) -> Tensor:
        torch.manual_seed(1)  # dropout
        return sum((output.square().mean() for output in model(x)), torch.zeros(()))

    optimizer = PlasticOptimizer(torch.optim.Adam(ours.parameters()), ours, [GXD(period=10**6, score_every=1)])
    adam = torch.optim.Adam(plain.parameters())
    for _ in range(5):
        with optimizer.forward():
            loss = loss_of(ours)
        optimizer.step(loss)
        adam.zero_grad()
        loss_of(plain).backward()
        adam.step()
    for key, tensor in plain.state_dict().items():
        assert torch.equal(tensor, ours.state_dict()[key]), key


@pytest.mark.parametrize("name", ACTING)
def test_every_intervention_acts_on_an_ordinary_module(name: str) -> None:
    learner = Regression([ACTING[name]()], model=Mlp())
    before = learner.parameters()
    for _ in range(6):
        learner.train(1)
    assert name in QUIET or learner.edits
    for key, tensor in learner.parameters().items():
        assert tensor.isfinite().all()
        assert "norm" in key or not torch.equal(tensor, before[key]), key


def test_the_first_forward_verifies_what_was_traced_without_data() -> None:
    class Optional(Mlp):
        def forward(self, x: Tensor, back: bool = False) -> Tensor:
            h = torch.relu(self.one(x))
            return self.out(torch.relu(self.norm(self.three(torch.relu(self.two(h.flip(1) if back else h))))))

    model = Optional()
    optimizer = PlasticOptimizer(torch.optim.Adam(model.parameters()), model, [GXD()])
    with pytest.raises(ValueError, match="the forward of Optional does something else"), optimizer.forward():
        model(X, back=True)
    with optimizer.forward():
        loss = model(X).sum()
    optimizer.step(loss)
    assert all(not m._forward_pre_hooks and not m._forward_hooks for m in model.modules())
    with optimizer.forward():
        model(X, back=True)  # nothing is compared any more


def test_a_module_whose_parts_run_by_themselves_is_refused() -> None:
    model = Mlp()
    optimizer = PlasticOptimizer(torch.optim.Adam(model.parameters()), model, [GXD()])
    with (
        pytest.raises(ValueError, match=r"Linear.*runs outside of the forward of Mlp.*give the parts that run by them"),
        optimizer.forward(),
    ):
        model.one(X)


def test_a_head_that_was_replaced_is_found_by_tracing_again() -> None:
    model = ActorCritic()
    x = torch.rand(6, 3, 7, 7)
    adam = torch.optim.Adam(model.parameters())
    optimizer = PlasticOptimizer(adam, model, [GXD(rate=0.2, period=1, maturity=0, score_every=1)], example=x)

    def train() -> None:
        with optimizer.forward():
            loss = sum((output.square().mean() for output in model(x)), torch.zeros(()))
        optimizer.step(loss)

    train()
    assert len(model.log_std.detach().unique()) == 1
    with torch.no_grad():
        model.log_std += torch.arange(3)  # no longer one value
    model.critic = nn.Linear(10, 2)
    adam.add_param_group({"params": list(model.critic.parameters())})
    before = optimizer.units_reset()["net"]
    train()
    assert optimizer.units_reset()["net"] > before
    (hidden,) = [layer for layer in optimizer.networks["net"].layers if layer.producer is model.hidden]
    assert [consumer.module for consumer in hidden.consumers] == [model.actor, model.critic]
    assert optimizer.networks["net"].constants == ((model.log_std, -0.5),)


def test_a_network_whose_layers_are_all_fixed_says_why() -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.two(self.one(x))

    model = Deep()
    with pytest.raises(ValueError, match=r"^gxd: no hidden layer can be reset \(one: no activation follows it\); give"):
        PlasticOptimizer(torch.optim.Adam(model.parameters()), model, [GXD()])


def test_modules_are_given_by_name() -> None:
    actor, critic = Mlp(), Observations()
    adam = torch.optim.Adam([*actor.parameters(), *critic.parameters()])
    example = {"critic": Observations.example()}
    optimizer = PlasticOptimizer(adam, {"actor": actor, "critic": critic}, [GXD()], example=example)
    assert [layer.name for layer in optimizer.networks["critic"].layers] == ["critic.0", "critic.1", "critic.2"]
    assert optimizer.units_reset() == {"actor": 0, "critic": 0}


def test_a_handle_of_torch_compile_may_run_the_forward() -> None:
    module = model_of()
    compiled = torch.compile(module, backend="eager")
    compiled(X)
    for given in (module, compiled):
        resets = [GXD(rate=0.1, period=2, maturity=0, score_every=2), ReDo(period=4)]
        optimizer = PlasticOptimizer(
            torch.optim.Adam(module.parameters()), given, resets,
            sample=lambda n, generator: X, sample_losses=lambda x: compiled(x).sum(1), outputs=compiled,
        )  # fmt: skip
        for _ in range(4):
            with optimizer.forward():
                loss = compiled(X).square().mean()
            optimizer.step(loss)
        assert optimizer.units_reset()["net"] > 0
