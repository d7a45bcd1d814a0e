"""Nothing on the hot path waits for the device: METHODS 15.24."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from types import ModuleType
from typing import Any

import pytest
import small_off_policy
import small_ppo
import torch
from small_loop import ACTING, Regression
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from agents.networks.simba import SimbaBlock
from agents.plasticity import (
    FIRE,
    GXD,
    TRAC,
    UPGD,
    AdamO,
    CChain,
    Injectable,
    Intervention,
    L2Init,
    PlasticityInjection,
    ShrinkAndPerturb,
    SIGReg,
    Spectral,
    Switch,
    UnitReset,
)
from agents.plasticity.diagnostics import FitProbe
from agents.plasticity.layers import OWN
from agents.plasticity.registry import CRITERIA, SELECTIONS
from agents.plasticity.trials import on_a_copy
from agents.plasticity.units import TorchDefault
from agents.speed import boards

METHODS = ("item", "tolist", "nonzero", "cpu", "numpy", "__bool__", "__int__", "__float__", "__index__", "__array__")
HOOKS = ("penalty", "after_backward", "after_step", "after_update", "on_task_switch", "on_surgery")


class HostWaitError(RuntimeError):
    """A tensor's value was asked for on the host."""


class Watched(TorchDispatchMode):
    """Refuses operations that wait for a GPU, whoever calls them: reading a value, and shapes that depend on one."""

    WAITING = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "_unique2", "unique_dim")

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.overloadpacket.__name__
        masks = name in ("index", "index_put", "index_put_") and any(
            isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        if (
            name in self.WAITING
            or masks
            or (name == "repeat_interleave" and isinstance(args[0], Tensor) and not kwargs)
        ):
            raise HostWaitError(name)
        return function(*args, **(kwargs or {}))


def refuse(*arguments: object, **keywords: object) -> None:
    raise HostWaitError


@cache
def branching(loaded: int) -> list[ModuleType]:
    """Who can end early, of so many modules that are loaded."""
    ours = [module for name, module in sys.modules.items() if name.startswith("agents.plasticity")]
    return [module for module in ours if hasattr(module, "may_branch")]


@contextmanager
def watched(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Early exits are off, and whoever asks for a value is refused."""
    with patch.context() as here, Watched():
        for module in branching(len(sys.modules)):
            here.setattr(module, "may_branch", lambda device: False)
        for method in METHODS:
            here.setattr(Tensor, method, refuse)
        yield


def guard(intervention: Intervention, around: Callable[[], Any]) -> None:
    """Every hook of the intervention runs inside `around`."""

    def guarded(hook: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: object) -> Any:
            with around():
                return hook(*arguments)

        return call

    for name in HOOKS:
        setattr(intervention, name, guarded(getattr(intervention, name)))


def test_a_fit_probe_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = small_ppo.build("board", optimizer="adamo").learn(64)  # torch's reads its count of steps, on the CPU
    probe, batch = FitProbe(model, 1, steps=2, observations=8), model.sample(8, torch.Generator())
    with watched(monkeypatch):
        found = probe.measure(lambda n, generator: batch)
    assert all(value.isfinite() for value in found.values())


def test_whether_a_trial_has_changed_anything_is_found_out_on_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    learner = Regression()
    with on_a_copy(learner, 1) as copied:
        learner.module[0].bias.data[2] = 9.0
        outcome = copied.outcome()
    with watched(monkeypatch):
        found = outcome.is_another(learner)
    assert found.item() is True


# ---------------------------------------------------------------------------------------------------- what is tried


def reset_of(criterion: str, **arguments: Any) -> Callable[[], Intervention]:
    settings = {"selection": {"name": "percentage", "share": 0.2}, "period": 2, "maturity": 1, "score_every": 1}
    return lambda: UnitReset(criterion=criterion, **{**settings, **arguments})


SELECTED = {
    "rate": {"rate": 0.1}, "threshold": {"tau": 0.9, "cap": 0.4}, "percentage": {"share": 0.3},
    "budget": {"share": 0.3}, "calibrated": {"rate": 0.5},
    "absolute": {"tau": 1e-3},
}  # fmt: skip
SURGERIES: list[dict[str, Any]] = [
    {"outgoing": "zero", "compensate": True},
    {"outgoing": "small_random"},
    {"outgoing": "small_random", "compensate": True, "targets": "sync"},
    {"outgoing": "zero", "compensate": True, "targets": "sync"},
    {"outgoing": "keep"},
    {"biases": "keep", "moments": "keep"},
]
TRIED: dict[str, Callable[[], Intervention]] = {
    **{f"criterion {name}": reset_of(name) for name in CRITERIA},
    **{f"criterion {name} on a sample": reset_of(name, score_on="sample") for name in CRITERIA},
    **{f"selection {name}": reset_of("gxd", selection={"name": name, **SELECTED[name]}) for name in SELECTIONS},
    **{f"surgery {surgery}": reset_of("redo", surgery=surgery) for surgery in SURGERIES},
    **{
        f"partial surgery {surgery}": reset_of(
            "redo", surgery=surgery, selection={"name": "calibrated", "rate": 0.5, "sharpness": 2.0}
        )
        for surgery in SURGERIES
    },
    "contribution centred": reset_of({"name": "contribution", "form": "centred"}),
    "contribution adaptable": reset_of({"name": "contribution", "form": "adaptable"}),
    "gxd of outputs against the mean": lambda: GXD(
        rate=0.1, signal="outputs", reference="mean", reduction="mean_abs", period=2, maturity=1, score_every=1
    ),
    "at every step": lambda: GXD(rate=0.1, period=1, maturity=1, score_every=1),
    **ACTING,
    "c_chain as published": lambda: CChain(paper=True, window=2, warmup=1),
    "l2_init in the loss": lambda: L2Init(decoupled=False),
    "plasticity injection": lambda: PlasticityInjection(step=2),
    "fire with linear layers restored": lambda: FIRE(linear="restore", period=3),
    "shrink and perturb at a switch": lambda: ShrinkAndPerturb(mode="boundary"),
    "shrink and perturb to init": lambda: ShrinkAndPerturb(mode="to_init", shrink=0.9, period=2),
}


def network(last: type[nn.Module] = nn.Tanh) -> nn.Sequential:
    """Every way in which units are read: by a convolution, flattened, through a normalisation, by a linear layer."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 2), nn.ReLU(), nn.Conv2d(6, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(20, 12), nn.LayerNorm(12),
        nn.ReLU(), nn.Linear(12, 10), last(), nn.Linear(10, 3),
    )  # fmt: skip


def run(
    make: Callable[[], Intervention],
    around: Callable[[], Any] | None,
    device: str = "cpu",
    rate: float = 1e-2,
    steps: int = 4,
) -> Regression:
    """Some steps and a task switch, with the hooks inside `around`."""
    torch.manual_seed(0)
    intervention = make()
    last = nn.ReLU if getattr(intervention, "criterion", {}).get("name") == "silence" else nn.Tanh
    module, target, x = network(last), network(last), torch.randn(64, 1, 4, 4)
    targets = dict(zip(module.to(device).parameters(), target.to(device).parameters(), strict=True))
    if isinstance(intervention, PlasticityInjection):
        module, targets = nn.Sequential(*module[:5], Injectable(*module[5:])), {}
    learner = Regression([intervention], model=module, x=x.to(device), targets=targets, rate=rate)
    learner.target = target
    if around is not None:
        guard(intervention, around)
    for _ in range(steps):
        learner.train(1)
    learner.after_update(Switch("next", 1, 1))
    return learner


@cache
def plain() -> dict[str, Tensor]:
    """Parameters after four steps without a reset."""
    return run(lambda: GXD(period=10**9), None).parameters()


def tensors_of(learner: Regression) -> dict[str, Tensor]:
    """Parameters, targets, and the optimizer's and the intervention's state."""
    found = {f"model/{name}": tensor for name, tensor in learner.parameters().items()}
    found |= {f"target/{name}": tensor.clone() for name, tensor in learner.target.state_dict().items()}
    for number, parameter in enumerate(learner.module.parameters()):
        state = learner.optimizers[0].state.get(parameter, {})
        found |= {f"optimizer/{number}/{key}": tensor.clone() for key, tensor in state.items()}
    return found | dict(leaves_of(learner.interventions[0].state_dict(), "intervention"))


def leaves_of(state: Any, place: str) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a nested state, by their places."""
    if isinstance(state, Tensor):
        yield place, state
    elif isinstance(state, dict | list):
        for key, value in state.items() if isinstance(state, dict) else enumerate(state):
            yield from leaves_of(value, f"{place}/{key}")


# ---------------------------------------------------------------------------------------------------- on a CPU


def test_hidden_layers_of_every_kind_wait_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    layers = [nn.RMSNorm(8), *(kind() for kind in OWN), nn.Linear(32, 8), SimbaBlock(8, nn.ReLU(), nn.LayerNorm)]
    net, x = nn.Sequential(*layers), torch.randn(5, 8)
    for mode in (True, False):
        with watched(monkeypatch):
            net.train(mode)(x).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in net.parameters())


@pytest.mark.parametrize("what", TRIED)
def test_nothing_waits_for_the_device(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With early exits off no hook looks at a tensor's value; the result is that with early exits on."""
    free = run(TRIED[what], None)
    blind = run(TRIED[what], lambda: watched(monkeypatch))
    left, right = tensors_of(free), tensors_of(blind)
    assert left.keys() == right.keys()
    assert not [key for key in left if not torch.equal(left[key].nan_to_num(-1), right[key].nan_to_num(-1))]
    assert any(not torch.equal(tensor, plain()[name]) for name, tensor in free.parameters().items())  # it has acted
    assert free.interventions[0].metrics() == blind.interventions[0].metrics()
    if isinstance(free.interventions[0], UnitReset):
        assert free.interventions[0].metrics()[f"{free.interventions[0].name}/predicted_cost"] == 0  # read once
        assert free.units_reset() == blind.units_reset()
        assert free.units_reset()["net"] > 0


def test_an_update_in_which_nothing_is_reset_does_not_wait_either(monkeypatch: pytest.MonkeyPatch) -> None:
    make = reset_of("random", selection={"name": "threshold", "tau": 0.0})
    free, blind = (run(make, around) for around in (None, lambda: watched(monkeypatch)))
    assert free.edits == []  # on a CPU it has ended early
    assert len(blind.edits) == 2
    assert all(torch.equal(t, blind.parameters()[name]) for name, t in free.parameters().items())
    assert blind.count() == 0


@pytest.mark.parametrize("name", ["random", "gxd", "redo"])
def test_before_a_unit_is_old_enough_nothing_is_drawn(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = count_draws(monkeypatch)
    blind = run(reset_of(name, maturity=5), lambda: watched(monkeypatch))
    assert (blind.edits, blind.samples, drawn) == ([], [], [])


def test_donors_are_drawn_and_costs_measured_where_a_unit_may_have_fallen_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rate of 0.05 at every step from the third on: 0.3, 0.25, 0.6 and 0.5 units of the layers of 6, 5, 12 and 10.

    The steps on which these have summed to another whole unit are 6 and 9, 6 and 10, 4, 6, 7 and 9, 4, 6, 8 and 10.
    """
    drawn = count_draws(monkeypatch)
    learners = []
    for around in (None, lambda: watched(monkeypatch)):
        drawn.clear()
        learners.append(run(lambda: GXD(rate=0.05, period=1, maturity=3, score_every=1), around, steps=10))
    free, blind = learners
    assert drawn == [12, 10, 6, 5, 12, 10, 12, 10, 6, 12, 5, 10]
    assert [step for step, _ in blind.edits] == [4, 6, 7, 8, 9, 10]
    left, right = tensors_of(free), tensors_of(blind)
    assert not [key for key in left if not torch.equal(left[key].nan_to_num(-1), right[key].nan_to_num(-1))]
    assert free.units_reset() == blind.units_reset()
    found = blind.interventions[0].metrics()
    assert found == free.interventions[0].metrics()
    assert found["gxd/predicted_cost"] > 0
    assert found["gxd/realised_cost"] > 0


def count_draws(patch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the layers that donors are drawn for, from now on."""
    drawn: list[int] = []
    draw = TorchDefault.draw

    def counted(init: TorchDefault, module: nn.Module, generator: torch.Generator) -> Any:
        drawn.append(len(module.weight))
        return draw(init, module, generator)

    patch.setattr(TorchDefault, "draw", counted)
    return drawn


@pytest.mark.parametrize(
    "look",
    [
        lambda tensor: tensor.sum().item(),
        lambda tensor: bool(tensor.any()),
        lambda tensor: tensor[tensor > 0],
        lambda tensor: tensor.nonzero(),
        lambda tensor: float(tensor.sum()),
        lambda tensor: tensor.tolist(),
        lambda tensor: tensor.cpu(),
        lambda tensor: torch.equal(tensor, tensor),
        lambda tensor: torch.masked_select(tensor, tensor > 0),
        lambda tensor: range(10)[tensor.sum().long()],
        lambda tensor: torch.where(tensor > 0),
    ],
)
def test_the_watch_sees_what_would_wait(look: Callable[[Tensor], object], monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = torch.ones(3)
    look(tensor)
    with pytest.raises(HostWaitError), watched(monkeypatch):
        look(tensor)


# ---------------------------------------------------------------------------------------------------- DQN and SAC


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Torch's distributions look at their arguments whenever SB3 builds one, in its own forward passes too."""
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", False)


WITHIN = {
    "gxd": reset_of("gxd", surgery={"targets": "copy"}),
    "gxd of outputs": lambda: GXD(rate=0.1, signal="outputs", period=2, maturity=1, score_every=1),
    "on a sample": reset_of("redo", score_on="sample", surgery={"targets": "sync"}),
    "a full reset": ACTING["full_reset"],
}
HOLDING: dict[str, Callable[[], Intervention]] = {
    "c_chain": lambda: CChain(coefficient="auto", window=4, warmup=2),
    "l2_init": lambda: L2Init(),
    "l2_init in the loss": lambda: L2Init(decoupled=False),
    "spectral": lambda: Spectral(),
    "sigreg": lambda: SIGReg(every=2),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("kind", "what"), [*(("sac-mlp", what) for what in (*WITHIN, *HOLDING)), ("dqn-mlp", "gxd"), ("dqn-mlp", "c_chain")]
)
def test_no_hook_waits_in_the_training_of_dqn_and_sac(kind: str, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the learners tell of a batch does not wait; the batch itself was uploaded before."""
    learned = []
    for around in (None, lambda: watched(monkeypatch)):
        intervention = {**WITHIN, **HOLDING}[what]()
        model = small_off_policy.ours(kind, interventions=[intervention])
        model.learn(16)  # no update yet
        batch = model.sample(16, torch.Generator().manual_seed(0))
        model.sample = lambda n, generator, batch=batch: batch
        if around is not None:
            guard(intervention, around)
        learned.append(small_off_policy.state(model.learn(24, reset_num_timesteps=False)))
        assert what in HOLDING or sum(model.units_reset().values()) > 0
    small_ppo.assert_same(*learned)


@pytest.mark.parametrize("kind", ["dqn-mlp", "dqn-board", "sac-mlp", "sac-cnn-shared", "sac-gsde", "td3-mlp"])
def test_an_update_reads_its_log_once_and_no_other_value(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an optimizer that keeps no count of steps on the host."""
    spec = small_off_policy.ALL[kind]
    kwargs = {key: value for key, value in spec.items() if key not in ("cls", "policy", "env")}
    plain: dict[str, Any] = {"policy_kwargs": {**kwargs, "optimizer_class": torch.optim.SGD}}
    if kind.startswith("sac"):
        plain["ent_coef"] = 0.2  # its optimizer is always Adam
    model = small_off_policy.ours(kind, **plain).learn(16)
    monkeypatch.setattr(torch.distributions.Distribution, "_validate_args", True)  # `torch.compile` turns it off
    read: list[Tensor] = []
    with monkeypatch.context() as patch:
        patch.setattr("agents.networks.distributions.may_branch", lambda device: False)
        # Gradients are clipped as on a GPU: on a CPU a look at their norm may save the multiplication.
        patch.setattr("agents.plasticity.optimizers.stepping._are_plain", lambda tensors: False)
        for known in ("LAYERS", "OWN"):
            patch.setattr(boards, known, {})  # they are on CPUs alone, too
        for method in set(METHODS) - {"tolist"}:
            patch.setattr(Tensor, method, refuse)
        patch.setattr(Tensor, "tolist", lambda tensor: read.append(tensor) or [0.0] * tensor.numel())
        model.train(gradient_steps=4, batch_size=8)
    (log,) = read
    assert log.numel() == {"dqn": 4, "sac": 12, "td3": 6}[kind[:3]]
    assert model.optimizer_steps == 4
    assert torch.distributions.Distribution._validate_args  # again


@pytest.mark.parametrize("kind", [TRAC, UPGD, partial(AdamO, coefficient=0.1)])  # torch's own count on the host
def test_no_step_of_an_optimizer_waits(kind: Callable[..., torch.optim.Optimizer], monkeypatch: Any) -> None:
    torch.manual_seed(0)
    model, x = network(), torch.randn(64, 1, 4, 4)
    optimizer = kind(model.parameters(), lr=1e-2)
    before = model.state_dict()["0.weight"].clone()
    for _ in range(3):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        with watched(monkeypatch):
            optimizer.step()
    assert not torch.equal(model.state_dict()["0.weight"], before)


# ---------------------------------------------------------------------------------------------------- on a GPU


@contextmanager
def refusing_to_wait() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.filterwarnings("ignore:Synchronization debug mode")
@pytest.mark.parametrize("what", TRIED)
def test_a_gpu_gives_what_a_cpu_gives_without_a_wait(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same units are selected, and utilities and new weights are equal within 1e-5."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    Regression(model=network().to("cuda"), x=torch.zeros(2, 1, 4, 4, device="cuda")).train(1)  # libraries are loaded
    # Without learning, for Adam makes whole steps of what is rounding alone.
    host = run(TRIED[what], None, rate=0.0)
    device = run(TRIED[what], refusing_to_wait, "cuda", rate=0.0)
    if what == "sigreg":  # draws its directions there, and so other ones
        return
    left, right = (
        # On a GPU an update in which nothing is reset is announced too.
        [(step, edit) for step, edit in learner.edits if any((a > 0).any() for a in edit.amounts.values())]
        for learner in (host, device)
    )
    assert [step for step, _ in left] == [step for step, _ in right]
    for (_, one), (_, other) in zip(left, right, strict=True):
        for name, amounts in one.amounts.items():
            torch.testing.assert_close(other.amounts[name].cpu(), amounts, rtol=1e-5, atol=1e-5)
            assert torch.equal(other.masks[name].cpu(), one.masks[name])
    expected = tensors_of(host)
    for key, tensor in tensors_of(device).items():
        torch.testing.assert_close(tensor.cpu(), expected[key], rtol=1e-5, atol=1e-5, equal_nan=True, msg=key)
