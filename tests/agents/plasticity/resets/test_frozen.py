"""What is not trained stays as it is to the last bit, whatever is frozen, however, and whenever."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from small_loop import ACTING, Regression
from torch import Tensor, nn

from agents.plasticity import GXD, HeadReset, ReDo
from agents.plasticity.units import Affine, Network, Part, sequential


def leave_out(learner: Regression, parameter: Tensor) -> None:
    (group,) = learner.optimizers[0].param_groups
    group["params"] = [held for held in group["params"] if held is not parameter]


HOW: dict[str, Callable[[Regression, Tensor], object]] = {
    "requires_grad": lambda learner, parameter: parameter.requires_grad_(False),
    "left out of the optimizer": leave_out,
}


def weights(learner: Regression) -> list[nn.Parameter]:
    """Of the two hidden layers and the output layer."""
    return [learner.module[place].weight for place in (0, 2, 4)]


@pytest.mark.filterwarnings("ignore:.*is left as it is, because:UserWarning")
@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("name", ACTING)
def test_no_intervention_touches_what_is_frozen_while_it_runs(name: str, which: int, how: str) -> None:
    learner = Regression([ACTING[name]()])
    learner.train(4)
    frozen = weights(learner)[which]
    HOW[how](learner, frozen)
    learner.optimizers[0].state.clear()
    before, others = frozen.detach().clone(), [w.detach().clone() for w in weights(learner)]
    for _ in range(6):
        learner.train(2)
    assert torch.equal(frozen, before)
    assert any(not torch.equal(weight, old) for weight, old in zip(weights(learner), others, strict=True))


def test_a_unit_whose_reader_is_frozen_is_not_reset_and_that_is_told_once() -> None:
    learner = Regression([GXD(rate=0.5, period=2, maturity=0, score_every=1)])
    learner.train(2)
    learner.module[4].requires_grad_(False)
    with pytest.warns(UserWarning, match=r"gxd: net\.1 is left as it is, because its 4\.weight is frozen \(requires"):
        learner.train(2)
    learner.train(2)  # warnings are errors: it is told once
    learner.train(2)
    assert all(not edit.masks.get("net.1", torch.zeros(1)).any() for _, edit in learner.edits[1:])
    assert all(edit.masks["net.0"].any() for _, edit in learner.edits[1:])  # the layer before goes on
    learner.module[4].requires_grad_(True)
    learner.train(2)
    assert learner.edits[-1][1].masks["net.1"].any()  # and so does this one when it is trained again


def test_a_bias_alone_counts_where_the_surgery_renews_it() -> None:
    learner = Regression()
    learner.module[0].bias.requires_grad_(False)
    learner.module[2].bias.requires_grad_(False)
    with pytest.raises(ValueError, match=r"redo: nothing in net can be changed, because its 0\.bias is frozen"):
        ReDo().attach(learner)
    GXD(networks=["net"]).attach(Regression())
    learner.module[2].bias.requires_grad_(True)
    ReDo().attach(learner)


def test_heads_that_are_frozen_are_refused_by_name() -> None:
    learner = Regression()
    learner.module.requires_grad_(False)
    with pytest.raises(ValueError, match=r"head_reset: nothing in net can be changed, because its 0\.weight is frozen"):
        HeadReset(period=2).attach(learner)


def test_running_statistics_of_a_frozen_layer_stay() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6, affine=False), nn.ReLU(), nn.Linear(6, 3))
    learner = Regression([ACTING["full_reset"]()], model=module)
    norm = module[1]
    found = learner.networks["net"].parts
    assert [part for part in found if part.module is norm] == [Part(norm, Affine(), 1)] or len(found) == 3
    learner.train(1)
    module[0].requires_grad_(False)
    with pytest.warns(UserWarning, match=r"full_reset: a part of net is left as it is, because its 0\.weight is"):
        learner.train(4)
    assert norm.running_mean.abs().sum() > 0.01
    mean = norm.running_mean.clone()
    module[0].requires_grad_(True)
    learner.train(3)
    assert not torch.equal(norm.running_mean, mean)


def test_a_network_that_is_frozen_beside_one_that_is_not() -> None:
    """Asked for by name it is refused, as one of all it is passed over."""
    torch.manual_seed(0)
    kept, trained = (nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)) for _ in range(2))
    kept.requires_grad_(False)
    networks: dict[str, Network] = {"kept": sequential(kept, "kept"), "trained": sequential(trained, "trained")}
    learner = Regression()
    learner.optimizers[0].add_param_group({"params": list(trained.parameters())})
    learner.pose(networks)
    with pytest.raises(ValueError, match=r"gxd: nothing in kept can be changed, .*; leave kept out of networks"):
        GXD(networks=["kept", "trained"]).attach(learner)
    GXD().attach(learner)
