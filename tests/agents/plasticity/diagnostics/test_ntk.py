"""The layerwise kernel against gradients that autograd takes of one sample at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pytest
import torch
from policies import POLICIES
from torch import Tensor, nn

from agents.plasticity.diagnostics import ntk, tangent_kernels
from agents.plasticity.diagnostics.ntk import is_understood
from agents.plasticity.units import Affine, Network, Part

BATCH = 5
conv = nn.Conv2d
MODELS: dict[str, Callable[[], nn.Sequential]] = {
    "mlp": lambda: nn.Sequential(nn.Linear(6, 7), nn.Tanh(), nn.Linear(7, 5, bias=False), nn.ReLU(), nn.Linear(5, 3)),
    "in-place": lambda: nn.Sequential(nn.Linear(6, 7), nn.ReLU(inplace=True), nn.Linear(7, 3)),
    "layer-norm": lambda: nn.Sequential(nn.Linear(6, 7), nn.LayerNorm(7), nn.ReLU(), nn.Linear(7, 3)),
    "rms-norm": lambda: nn.Sequential(nn.Linear(6, 7), nn.RMSNorm(7, eps=1e-5), nn.ReLU(), nn.Linear(7, 3)),
    "positions": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 3)), nn.Linear(3, 8), nn.LayerNorm([8]), nn.GELU(), nn.Flatten(), nn.Linear(16, 2)
    ),
    "conv": lambda: nn.Sequential(
        conv(2, 4, 3, stride=2, padding=1), nn.ReLU(), conv(4, 3, (3, 2), padding=(0, 1), dilation=(1, 2), bias=False),
        nn.Tanh(), nn.Flatten(), nn.Linear(3 * 2 * 4, 2),
    ),
    "conv-same": lambda: nn.Sequential(
        conv(2, 4, (2, 3), padding="same", dilation=2), nn.Tanh(), conv(4, 3, 3, padding=1, padding_mode="circular"),
        nn.ReLU(), conv(3, 2, 8, padding="valid"), nn.Flatten(),
    ),
    "conv-norms": lambda: nn.Sequential(
        conv(2, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), conv(4, 3, 3, stride=2), nn.LayerNorm([3, 2, 2]), nn.ReLU(),
        nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2),
    ),
}  # fmt: skip


def network(*modules: nn.Module, name: str = "net") -> Network:
    """A network whose parts are all modules that have parameters of their own."""
    found = [m for module in modules for m in module.modules() if next(m.parameters(recurse=False), None) is not None]
    return Network(name, (), tuple(Part(module, Affine(), 0) for module in found))


def gram_of(outputs: Callable[[Tensor], Tensor], x: Tensor, parameters: Iterable[nn.Parameter]) -> Tensor:
    """G G^T, a row of G for each sample alone."""
    parameters = list(parameters)
    rows = []
    for sample in x.split(1):
        gradients = torch.autograd.grad(outputs(sample).sum(), parameters, allow_unused=True, materialize_grads=True)
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    matrix = torch.stack(rows)
    return matrix @ matrix.T


@pytest.fixture
def built(request: pytest.FixtureRequest) -> tuple[nn.Sequential, Tensor]:
    """A model in float64 whose parameters and statistics are random, in evaluation mode, and a batch for it."""
    torch.manual_seed(3)
    model = MODELS[request.param]().double().eval()
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            nn.init.normal_(parameter, 0.3, 0.5)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
    image = isinstance(model[0], nn.Conv2d)
    return model, torch.randn(BATCH, *((2, 8, 8) if image else (6,)), dtype=torch.float64)


@pytest.mark.parametrize("built", MODELS, indirect=True)
def test_the_layerwise_kernel_is_the_gram_of_per_sample_gradients(built: tuple[nn.Sequential, Tensor]) -> None:
    model, x = built
    kernel = tangent_kernels({"net": network(model)}, lambda: {"net": model(x)})["net"]
    expected = gram_of(model, x, model.parameters())
    assert expected.abs().max() > 1
    torch.testing.assert_close(kernel, expected, rtol=1e-9, atol=1e-9)
    assert not kernel.requires_grad


@pytest.mark.parametrize(("inputs", "explicit"), [(2, True), (400, False)])
def test_positions_are_contracted_the_cheaper_way(inputs: int, explicit: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Per-sample gradients (in pieces of 4 rows and a rest of 2), or products of all pairs of positions."""
    torch.manual_seed(0)
    x, d = torch.randn(BATCH, inputs, 3, dtype=torch.float64), torch.randn(BATCH, 30, 3, dtype=torch.float64)
    gradients = torch.einsum("bup,bip->bui", d, x).flatten(1)
    pieces: list[int] = []
    bmm = torch.bmm
    monkeypatch.setattr(torch, "bmm", lambda a, b: (pieces.append(a.shape[1]), bmm(a, b))[1])
    monkeypatch.setattr(ntk, "CHUNK", 40)
    torch.testing.assert_close(ntk._products(x, d), gradients @ gradients.T, rtol=1e-9, atol=1e-9)
    assert pieces == ([4] * 7 + [2] if explicit else [])


def test_each_network_is_differentiated_by_what_it_feeds() -> None:
    torch.manual_seed(0)
    features, actor, critic = (nn.Sequential(nn.Linear(4, n), nn.Tanh()).double() for n in (4, 3, 1))
    x = torch.randn(BATCH, 4, dtype=torch.float64)

    def outputs(x: Tensor) -> Mapping[str, Tensor]:
        seen = features(x)
        return {"actor": actor(seen), "critic": critic(seen)}

    networks = {"features": network(features), "actor": network(actor), "critic": network(critic)}
    kernels = tangent_kernels(networks, lambda: outputs(x))
    assert list(kernels) == ["features", "actor", "critic"]
    for name, module in (("actor", actor), ("critic", critic)):
        expected = gram_of(lambda x, name=name: outputs(x)[name], x, module.parameters())
        torch.testing.assert_close(kernels[name], expected, rtol=1e-9, atol=1e-9)
    both = gram_of(lambda x: torch.cat(list(outputs(x).values()), 1), x, features.parameters())
    torch.testing.assert_close(kernels["features"], both, rtol=1e-9, atol=1e-9)


def test_by_hand() -> None:
    """One linear layer: N_ij = x_i . x_j + 1 for each of its outputs."""
    layer = nn.Linear(2, 3)
    kernel = tangent_kernels({"net": network(layer)}, lambda: {"net": layer(torch.tensor([[1.0, 2.0], [3.0, -1.0]]))})[
        "net"
    ]
    assert kernel.tolist() == [[3 * 6.0, 3 * 2.0], [3 * 2.0, 3 * 11.0]]


def test_what_the_outputs_do_not_depend_on_adds_nothing() -> None:
    used, cut = nn.Linear(2, 2), nn.Linear(2, 2)
    x = torch.ones(3, 2)

    def forward() -> Mapping[str, Tensor]:
        with torch.no_grad():
            seen = cut(x)
        return {"net": used(seen)}

    kernels = tangent_kernels({"net": network(used), "cut": network(cut)}, forward)
    assert kernels["cut"].tolist() == torch.zeros(3, 3).tolist()
    assert kernels["net"].abs().sum() > 0


def test_a_module_that_runs_twice_is_refused() -> None:
    layer = nn.Linear(3, 3)
    with pytest.raises(RuntimeError, match=r"Linear.* ran twice in one forward"):
        tangent_kernels({"net": network(layer)}, lambda: {"net": layer(layer(torch.ones(2, 3)))})
    layer(layer(torch.ones(2, 3)))  # and its hooks are gone


@pytest.mark.parametrize(
    "module",
    [nn.Conv2d(4, 4, 3, groups=2), nn.BatchNorm1d(3, track_running_stats=False), nn.PReLU()],
)
def test_modules_without_known_per_sample_gradients_are_refused(module: nn.Module) -> None:
    assert not is_understood(module)
    with pytest.raises(ValueError, match=r"per-sample gradients of .* are not understood"):
        tangent_kernels({"net": network(module)}, dict)


def test_a_batch_normalisation_in_training_mode_is_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    with pytest.raises(RuntimeError, match=r"BatchNorm1d.* ran in training mode; run the forward in evaluation mode"):
        tangent_kernels({"net": network(model)}, lambda: {"net": model(torch.randn(4, 3))})


@pytest.mark.parametrize("kind", POLICIES)
def test_networks_of_policies(kind: str) -> None:
    """In evaluation mode no sample sees another: one sample's outputs have that sample's gradients."""
    case = POLICIES[kind]()
    kernels = tangent_kernels(case.networks, lambda: {"all": case.outputs()})
    rows = case.outputs().sum(1)
    for name, net in case.networks.items():
        found = [torch.autograd.grad(row, net.parameters, retain_graph=True, allow_unused=True) for row in rows]
        matrix = torch.stack([torch.cat([g.flatten() for g in gradients if g is not None]) for gradients in found])
        expected = matrix @ matrix.T
        torch.testing.assert_close(kernels[name], expected, rtol=1e-4, atol=1e-5 * expected.max().item())


def test_it_leaves_gradients_and_parameters_alone() -> None:
    layer = nn.Linear(2, 2)
    before = layer.weight.detach().clone()
    tangent_kernels({"net": network(layer)}, lambda: {"net": layer(torch.ones(2, 2))})
    assert layer.weight.grad is None
    assert torch.equal(layer.weight, before)
