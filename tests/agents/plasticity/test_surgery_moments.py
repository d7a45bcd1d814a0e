"""What surgery makes of optimizers' state."""

from __future__ import annotations

import pytest
import torch
from operated import nobody, seeded, stepped
from torch import Tensor, nn

from agents.plasticity.surgery import Surgery, reset_units
from agents.plasticity.units import sequential


def optimizers(parameters: list[nn.Parameter]) -> dict[str, tuple[torch.optim.Optimizer, set[str], set[str]]]:
    """Each with the names of its first and its second moments."""
    return {
        "adam": (torch.optim.Adam(parameters, lr=0.01), {"exp_avg"}, {"exp_avg_sq"}),
        "amsgrad": (
            torch.optim.AdamW(parameters, lr=0.01, amsgrad=True), {"exp_avg", "max_exp_avg_sq"}, {"exp_avg_sq"},
        ),
        "sgd": (torch.optim.SGD(parameters, lr=0.01, momentum=0.9), {"momentum_buffer"}, set()),
        "plain sgd": (torch.optim.SGD(parameters, lr=0.01), set(), set()),
        "rmsprop": (
            torch.optim.RMSprop(parameters, lr=0.01, centered=True, momentum=0.5),
            {"grad_avg", "momentum_buffer"}, {"square_avg"},
        ),
        "adamax": (torch.optim.Adamax(parameters), {"exp_avg"}, {"exp_inf"}),
        "adagrad": (torch.optim.Adagrad(parameters), set(), {"sum"}),
        "adadelta": (torch.optim.Adadelta(parameters), set(), {"square_avg", "acc_delta"}),
    }  # fmt: skip


@pytest.fixture
def convolutional() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 6), nn.ReLU(), nn.Linear(6, 2)
    )  # fmt: skip


def by_index(model: nn.Module) -> dict[int, int]:
    return {id(parameter): number for number, parameter in enumerate(model.parameters())}


@pytest.mark.parametrize("which", optimizers([nn.Parameter(torch.zeros(1))]))
def test_optimizer_state_of_changed_entries_is_made_new(which: str, convolutional: nn.Sequential) -> None:
    """METHODS 15.7: first moments 0, second the survivors' mean; all else, the step count too, as it was."""
    optimizer, first, second = optimizers(list(convolutional.parameters()))[which]
    before = stepped(convolutional, optimizer)
    layers = list(sequential(convolutional).layers)
    reset_units(layers, {**nobody(layers), "net.0": torch.tensor([1.0, 0.0, 0.0, 1.0])}, [optimizer], seeded)
    after, index = optimizer.state_dict()["state"], by_index(convolutional)
    rows = torch.zeros(4, 2, 3, 3, dtype=torch.bool)
    rows[[0, 3]] = True
    columns = torch.zeros(6, 36, dtype=torch.bool)
    columns[:, 0:9] = columns[:, 27:36] = True
    masks = {
        index[id(convolutional[0].weight)]: rows,
        index[id(convolutional[0].bias)]: rows[:, 0, 0, 0],
        index[id(convolutional[3].weight)]: columns,
    }
    assert len(index) == 6
    for number in index.values() if before else ():
        old, new = before[number], after[number]
        moments = {key for key, value in old.items() if isinstance(value, Tensor) and value.dim()}
        assert moments == first | second
        mask = masks.get(number)
        for key, value in old.items():
            if mask is None or key not in moments:
                assert value is None or torch.equal(torch.as_tensor(new[key]), torch.as_tensor(value)), (number, key)
                continue
            assert torch.equal(new[key][~mask], value[~mask])
            expected = value[~mask].mean() if key in second else torch.zeros(())
            torch.testing.assert_close(new[key][mask], expected.expand(int(mask.sum())))
            assert value[mask].abs().min() > 0
    assert before or not (first | second)


def test_a_tensor_without_survivors_keeps_its_mean_second_moment(convolutional: nn.Sequential) -> None:
    optimizer = torch.optim.Adam(convolutional.parameters())
    before = stepped(convolutional, optimizer)
    layers = list(sequential(convolutional).layers)
    reset_units(layers, {**nobody(layers), "net.0": torch.ones(4)}, [optimizer], seeded)
    state = optimizer.state[convolutional[0].weight]
    torch.testing.assert_close(state["exp_avg_sq"], before[0]["exp_avg_sq"].mean().expand(4, 2, 3, 3))
    assert not state["exp_avg"].any()
    assert int(state["step"]) == 3


def test_moments_that_are_not_finite_do_not_spread(convolutional: nn.Sequential) -> None:
    optimizer = torch.optim.Adam(convolutional.parameters())
    before = stepped(convolutional, optimizer)
    for key in ("exp_avg", "exp_avg_sq"):
        optimizer.state[convolutional[0].weight][key][1] = torch.nan
    layers = list(sequential(convolutional).layers)
    reset_units(layers, {**nobody(layers), "net.0": torch.tensor([0.0, 1.0, 0.0, 0.0])}, [optimizer], seeded)
    state = optimizer.state[convolutional[0].weight]
    assert not state["exp_avg"][1].any()
    survivors = before[0]["exp_avg_sq"][[0, 2, 3]].mean()
    torch.testing.assert_close(state["exp_avg_sq"][1], survivors.expand(2, 3, 3))


def test_an_optimizer_that_has_not_stepped_stays_without_state(convolutional: nn.Sequential) -> None:
    optimizer = torch.optim.Adam(convolutional.parameters())
    layers = list(sequential(convolutional).layers)
    reset_units(layers, {layer.name: torch.ones(layer.units) for layer in layers}, [optimizer], seeded)
    assert not optimizer.state_dict()["state"]


def test_of_two_optimizers_each_keeps_its_own_tensors(convolutional: nn.Sequential) -> None:
    halves = [torch.optim.Adam(part.parameters()) for part in (convolutional[0], convolutional[3:])]
    for optimizer in halves:
        stepped(convolutional, optimizer)
    layers = list(sequential(convolutional).layers)
    reset_units(layers, {**nobody(layers), "net.0": torch.tensor([0.0, 1.0, 0.0, 0.0])}, halves, seeded)
    assert not halves[0].state[convolutional[0].weight]["exp_avg"][1].any()
    assert not halves[1].state[convolutional[3].weight]["exp_avg"][:, 9:18].any()
    assert [len(optimizer.state) for optimizer in halves] == [2, 4]


def test_moments_can_be_kept(convolutional: nn.Sequential) -> None:
    optimizer = torch.optim.Adam(convolutional.parameters())
    before = stepped(convolutional, optimizer)
    layers = list(sequential(convolutional).layers)
    everyone = {layer.name: torch.ones(layer.units) for layer in layers}
    reset_units(layers, everyone, [optimizer], seeded, Surgery(moments="keep"))
    for number, state in optimizer.state_dict()["state"].items():
        assert all(torch.equal(state[key], value) for key, value in before[number].items())
