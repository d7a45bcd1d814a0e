"""What must hold for every network without normalisation over units: drawn at random."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from agents.plasticity.layers import CReLU, fold_of
from agents.plasticity.surgery import Surgery, reset_units
from agents.plasticity.taps import Taps
from agents.plasticity.units import UnitLayer, sequential

BATCH = 4
THROUGH_ZERO = (nn.Tanh, nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.LeakyReLU, nn.Softsign)


@dataclass(frozen=True)
class Architecture:
    """A network, what goes into it, and which units of it are replaced.

    Attributes:
        model: a tree of `nn.Sequential`.
        x: a batch of inputs.
        amounts: layer's name -> 1 for units that are replaced, 0 for the others.
        seed: of what is drawn.
    """

    model: nn.Sequential
    x: Tensor = field(repr=False)
    amounts: dict[str, Tensor]
    seed: int

    @property
    def layers(self) -> list[UnitLayer]:
        return list(sequential(self.model).layers)

    def generator(self, layer: UnitLayer) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed + len(layer.name) + layer.units)


@st.composite
def architectures(draw: st.DrawFn) -> Architecture:
    """Convolutions (or none), then linear layers (or none), with random widths, kernels, strides, padding, pooling."""
    seed = draw(st.integers(0, 2**20))
    torch.manual_seed(seed)
    modules: list[nn.Module] = []
    convolutions, linears = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    if convolutions + linears == 0:
        linears = 1
    width = draw(st.integers(1, 6))
    x = torch.randn(BATCH, width, *((draw(st.integers(7, 10)), draw(st.integers(7, 10))) if convolutions else ()))
    for _ in range(convolutions):
        block = _convolution(draw, width)
        if min(_after(modules + block, x).shape[2:]) < 1:
            break
        modules += block
        width = _after(modules, x).shape[1]
    if convolutions:
        modules.append(nn.Flatten())
        width = _after(modules, x).shape[1]
    for _ in range(linears):
        units = draw(st.integers(1, 9))
        modules += [nn.Linear(width, units, bias=draw(st.booleans())), _activation(draw)]
        width = units * fold_of(modules[-1])
    modules.append(nn.Linear(width, draw(st.integers(1, 3)), bias=draw(st.booleans())))
    if draw(st.booleans()):  # a tree
        cut = draw(st.integers(1, len(modules) - 1))
        modules = [nn.Sequential(*modules[:cut]), *modules[cut:]]
    model = nn.Sequential(*modules)
    layers = sequential(model).layers
    amounts = {
        layer.name: torch.tensor(
            draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=layer.units, max_size=layer.units))
        )
        for layer in layers
    }
    return Architecture(model, x, amounts, seed)


def _convolution(draw: st.DrawFn, inputs: int) -> list[nn.Module]:
    padding = draw(st.integers(0, 1))
    convolution = nn.Conv2d(
        inputs, draw(st.integers(1, 5)), (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        stride=draw(st.integers(1, 2)), padding=padding, bias=draw(st.booleans()),
    )  # fmt: skip
    pooling = draw(st.sampled_from([None, nn.MaxPool2d(2, 1), nn.AvgPool2d(2, 1), nn.AdaptiveAvgPool2d(2)]))
    return [convolution, _activation(draw), *([] if pooling is None else [pooling])]


def _activation(draw: st.DrawFn) -> nn.Module:
    return draw(st.sampled_from([nn.ReLU, CReLU, *THROUGH_ZERO]))()


def _after(modules: list[nn.Module], x: Tensor) -> Tensor:
    """What the modules put out; an empty map where they do not fit."""
    try:
        with torch.no_grad():
            return nn.Sequential(*modules)(x)
    except RuntimeError:
        return x[:, :, :0]


def silence(architecture: Architecture) -> None:
    """Make the chosen units put out exactly zero: by a bias far below zero, or by weights and bias of zero."""
    modules = [module for module in architecture.model.modules() if not isinstance(module, nn.Sequential)]
    with torch.no_grad():
        for layer in architecture.layers:
            producer, chosen = layer.producer, architecture.amounts[layer.name] > 0
            activation = modules[next(i for i, module in enumerate(modules) if module is producer) + 1]
            low = isinstance(activation, nn.ReLU) and producer.bias is not None
            if not low:
                producer.weight[chosen] = 0.0
            if producer.bias is not None:
                producer.bias[chosen] = -1e6 if low else 0.0


PROPERTY = settings(deadline=None, max_examples=25, derandomize=True)


@PROPERTY
@given(architectures())
def test_silent_units_are_replaced_without_changing_the_output_by_a_bit(architecture: Architecture) -> None:
    silence(architecture)
    layers = architecture.layers
    with torch.no_grad():
        with Taps(layers) as taps:
            before = architecture.model(architecture.x)
        for layer in layers:
            assert not taps.activations[layer.name][:, architecture.amounts[layer.name] > 0].any()
        first, chosen = layers[0].producer, architecture.amounts[layers[0].name] > 0
        old = first.weight.clone()
        reset_units(layers, architecture.amounts, [], architecture.generator)
        assert torch.equal(architecture.model(architecture.x), before)
        assert not (first.weight == old)[chosen].any()


@PROPERTY
@given(
    architectures(),
    st.sampled_from(["zero", "small_random", "keep"]),
    st.sampled_from(["renew", "keep"]),
    st.sampled_from([1.0, 0.3]),
)
def test_untouched_units_keep_every_bit_of_weights_and_optimizer_state(
    architecture: Architecture, outgoing: str, biases: str, share: float
) -> None:
    model, layers = architecture.model, architecture.layers
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, amsgrad=True)
    for _ in range(2):
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    before = {id(p): p.detach().clone() for p in model.parameters()}
    state = {id(p): copy.deepcopy(optimizer.state[p]) for p in model.parameters()}
    touched = {id(p): torch.zeros(p.shape, dtype=torch.bool) for p in model.parameters()}
    amounts = {name: share * chosen for name, chosen in architecture.amounts.items()}
    for layer in layers:
        chosen = amounts[layer.name] > 0
        touched[id(layer.producer.weight)][chosen] = True
        if layer.producer.bias is not None and biases == "renew":
            touched[id(layer.producer.bias)][chosen] = True
        for consumer in layer.consumers if outgoing != "keep" else ():
            columns = consumer.columns(chosen)[1].flatten()
            touched[id(consumer.weight)][:, columns.nonzero().flatten()] = True
    reset_units(layers, amounts, [optimizer], architecture.generator, Surgery(outgoing=outgoing, biases=biases))
    for parameter in model.parameters():
        kept = ~touched[id(parameter)]
        assert torch.equal(_bits(parameter.detach())[kept], _bits(before[id(parameter)])[kept])
        for key, moment in optimizer.state[parameter].items():
            old = state[id(parameter)][key]
            if moment.dim():
                assert torch.equal(_bits(moment)[kept], _bits(old)[kept])
                assert key == "exp_avg_sq" or not moment[~kept].any()
            else:
                assert torch.equal(moment, old)  # the step count
        if share == 1.0 and outgoing == "zero":
            assert parameter.isfinite().all()


def _bits(tensor: Tensor) -> Tensor:
    return tensor.view(torch.int32)


@PROPERTY
@given(architectures())
def test_every_unit_is_heard_through_its_own_columns_alone(architecture: Architecture) -> None:
    """Without its columns a unit may put out anything."""
    model, layers = architecture.model, architecture.layers
    for layer in layers:
        chosen = architecture.amounts[layer.name]
        with torch.no_grad():
            for consumer in layer.consumers:
                piece, columns = consumer.columns(chosen)
                piece.masked_fill_(columns > 0, 0)
            expected = model(architecture.x)

            def shout(module: nn.Module, inputs: object, output: Tensor, chosen: Tensor = chosen) -> Tensor:
                fold = output.shape[1] // len(chosen)
                return output + 100 * chosen.repeat(fold).view(1, -1, *[1] * (output.dim() - 2))

            handle = layer.tap.register_forward_hook(shout)
            found = model(architecture.x)
            handle.remove()
        assert torch.equal(found, expected), layer.name


@PROPERTY
@given(architectures())
def test_units_of_constant_activation_are_replaced_by_their_mean(architecture: Architecture) -> None:
    """Each layer alone, on copies of one input: all activations are constant over the batch."""
    model = architecture.model.double()
    x = architecture.x[:1].double().expand_as(architecture.x)
    layers = architecture.layers
    padded = {id(module.weight) for module in model.modules() if isinstance(module, nn.Conv2d) and any(module.padding)}
    with torch.no_grad(), Taps(layers) as taps:
        before = model(x)
    for layer in layers:
        (consumer,) = layer.consumers
        a = taps.activations[layer.name]
        if a[0, 0].numel() > layer.positions:
            continue  # a convolution reads it: a bias is the same at all positions
        if consumer.bias is None or id(consumer.weight) in padded:
            continue
        start = copy.deepcopy(model.state_dict())
        means = layer.mean(a)
        amounts = {one.name: architecture.amounts[one.name] * (one is layer) for one in layers}
        reset_units(layers, amounts, [], architecture.generator, Surgery(compensate=True), {layer.name: means})
        with torch.no_grad():
            torch.testing.assert_close(model(x), before, rtol=1e-6, atol=1e-9)
        model.load_state_dict(start)
