"""Utilities worked out by hand, by loops, and against autograd sample by sample."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from policies import POLICIES, Case
from small_loop import in_double
from torch import Tensor, nn

from agents.plasticity import criteria
from agents.plasticity.criteria import Criterion, CriterionInputs
from agents.plasticity.registry import CRITERIA
from agents.plasticity.taps import Taps
from agents.plasticity.units import UnitLayer, sequential

ZERO = torch.zeros(())


def assert_utility(found: Tensor, expected: list[float]) -> None:
    torch.testing.assert_close(found, torch.tensor(expected))


# ---------------------------------------------------------------------------------------------------- by hand

A = torch.tensor([[1.0, 2.0], [3.0, -4.0]])  # two samples, two units
G = torch.tensor([[0.5, 0.1], [-0.5, 0.2]])  # of a mean over two samples: per sample 1, .2 and -1, .4
BOARD = torch.tensor([[[[1.0, 1.0]], [[2.0, 0.0]]]])  # one sample, two channels, one row of two positions
BOARD_G = torch.tensor([[[[3.0, -3.0]], [[1.0, 5.0]]]])


def test_gxd_of_a_linear_layer() -> None:
    # unit 0: (|1*1| + |-1*3|) / 2 = 2; unit 1: (|.2*2| + |.4*-4|) / 2 = 1
    assert_utility(criteria.gxd(A, G, ZERO), [2.0, 1.0])
    # unit 0: |1*1 - 1*3| / 2 = 1; unit 1: |.2*2 - .4*4| / 2 = .6
    assert_utility(criteria.gxd(A, G, ZERO, reduction="mean_abs"), [1.0, 0.6])


@pytest.mark.parametrize("shape", [(2,), (2, 1)])
def test_gxd_of_a_linear_layer_against_the_mean(shape: tuple[int, ...]) -> None:
    mean = torch.tensor([2.0, -1.0]).view(shape)
    # unit 0: (|1*(2-1)| + |-1*(2-3)|) / 2 = 1; unit 1: (|.2*(-1-2)| + |.4*(-1+4)|) / 2 = .9
    assert_utility(criteria.gxd(A, G, mean), [1.0, 0.9])
    # unit 0: |1 + 1| / 2 = 1; unit 1: |-.6 + 1.2| / 2 = .3
    assert_utility(criteria.gxd(A, G, mean, reduction="mean_abs"), [1.0, 0.3])


def test_gxd_of_a_convolution_sums_positions_inside_the_absolute_value() -> None:
    assert_utility(criteria.gxd(BOARD, BOARD_G, ZERO), [0.0, 2.0])  # 3*1 - 3*1 and 1*2 + 5*0
    # against 2 and 1: 3*1 - 3*1 and 1*(1-2) + 5*(1-0)
    assert_utility(criteria.gxd(BOARD, BOARD_G, torch.tensor([2.0, 1.0])), [0.0, 4.0])
    # two samples that cancel in the mean alone
    two = torch.cat([BOARD_G, -BOARD_G]) / 2
    assert_utility(criteria.gxd(torch.cat([BOARD, BOARD]), two, ZERO), [0.0, 2.0])
    assert_utility(criteria.gxd(torch.cat([BOARD, BOARD]), two, ZERO, reduction="mean_abs"), [0.0, 0.0])


def test_gxd_of_a_flattened_map_has_a_reference_at_each_position() -> None:
    # 3*(1-1) - 3*(2-1) = -3 and 1*(0-2) + 5*(1-0) = 3
    assert_utility(criteria.gxd(BOARD, BOARD_G, torch.tensor([[1.0, 2.0], [0.0, 1.0]])), [3.0, 3.0])
    # positions are those of a flattened map: row by row
    g = torch.tensor([[[[1.0, 10.0], [100.0, 1000.0]]]])
    assert_utility(criteria.gxd(torch.zeros(1, 1, 2, 2), g, torch.tensor([[1.0, 2.0, 3.0, 4.0]])), [4321.0])


@pytest.mark.parametrize("shape", [(4, 3), (4, 1), (1, 1), (4, 3, 2, 2), (3, 3, 1, 1)])
def test_every_activation_may_have_a_reference_of_its_own(shape: tuple[int, ...]) -> None:
    """What a unit with kept outgoing weights puts out once its incoming weights are new."""
    torch.manual_seed(0)
    a, g, new = (torch.randn(shape) for _ in range(3))
    expected = (g * (new - a)).view(*shape[:2], -1).sum(-1)
    torch.testing.assert_close(criteria.replacement_cost(a, g, new), expected)


def test_taylor_is_gxd_against_zero() -> None:
    assert_utility(criteria.taylor(A, G), [2.0, 1.0])  # as above
    assert_utility(criteria.taylor(BOARD, BOARD_G), [0.0, 2.0])


def test_redo() -> None:
    assert_utility(criteria.redo(torch.tensor([[1.0, -2.0], [3.0, 0.0]])), [2.0, 1.0])
    assert_utility(criteria.redo(torch.tensor([[[[1.0, -1.0]], [[0.0, 4.0]]]])), [1.0, 2.0])


def test_regrama_of_weights() -> None:
    linear = torch.tensor([[1.0, -3.0], [0.0, 1.0]])
    assert_utility(criteria.regrama(linear), [2.0, 0.5])
    assert_utility(criteria.regrama(linear, normalize=True), [1.6, 0.4])  # the mean is 1.25
    assert_utility(criteria.regrama(torch.tensor([[[[1.0, -1.0]]], [[[4.0, 0.0]]]])), [1.0, 2.0])
    assert_utility(criteria.regrama(torch.zeros(2, 3), normalize=True), [0.0, 0.0])


def test_regrama_of_activations_is_a_mean_over_samples() -> None:
    for criterion in (criteria.regrama_preactivation, criteria.regrama_activation):
        assert_utility(criterion(G), [1.0, 0.3])  # (|1| + |-1|) / 2 and (.2 + .4) / 2
        assert_utility(criterion(BOARD_G), [3.0, 3.0])  # (3 + 3) / 2 and (1 + 5) / 2


def test_contribution_of_a_linear_layer() -> None:
    a = torch.tensor([[1.0, -2.0], [3.0, 0.0]])  # mean absolute activations 2 and 1
    weight_out = torch.tensor([[[1.0], [-3.0]], [[4.0], [0.0]]])  # mean absolute weights 2 and 2
    weight_in = torch.tensor([[1.0, -1.0], [2.0, 6.0]])  # mean absolute weights 1 and 4
    mean = torch.tensor([3.0, -1.0])  # mean absolute distances (2 + 0) / 2 and (1 + 1) / 2
    assert_utility(criteria.contribution(a, weight_in, weight_out, mean), [4.0, 2.0])
    assert_utility(criteria.contribution(a, weight_in, weight_out, mean, form="centred"), [2.0, 2.0])
    assert_utility(criteria.contribution(a, weight_in, weight_out, mean, form="adaptable"), [2.0, 0.5])


def test_contribution_of_a_convolution_that_a_convolution_reads() -> None:
    a = torch.tensor([[[[1.0, 3.0]], [[0.0, -4.0]]]])  # mean absolute activations 2 and 2
    weight_out = torch.tensor([[[1.0], [-3.0]], [[4.0], [6.0]]])  # 2 and 5
    weight_in = torch.tensor([[[[4.0]]], [[[-1.0]]]])
    mean = torch.tensor([1.0, -4.0])  # distances (0 + 2) / 2 and (4 + 0) / 2
    assert_utility(criteria.contribution(a, weight_in, weight_out, mean), [4.0, 10.0])
    assert_utility(criteria.contribution(a, weight_in, weight_out, mean, form="centred"), [2.0, 10.0])
    assert_utility(criteria.contribution(a, weight_in, weight_out, mean, form="adaptable"), [0.5, 10.0])


def test_contribution_of_a_flattened_map_multiplies_at_each_position() -> None:
    a = torch.tensor([[[[1.0, 3.0]], [[0.0, -4.0]]]])
    # unit 0: positions have mean absolute weights 3 and 0; unit 1: 1 and 1
    weight_out = torch.tensor([[[2.0, 0.0], [-4.0, 0.0]], [[1.0, 2.0], [1.0, 0.0]]])
    weight_in = torch.tensor([[[[2.0]]], [[[1.0]]]])
    mean = torch.tensor([[2.0, 0.0], [1.0, -4.0]])  # distances 1, 3 and 1, 0
    # (1*3 + 3*0) / 2 and (0*1 + 4*1) / 2
    assert_utility(criteria.contribution(a, weight_in, weight_out, mean), [1.5, 2.0])
    assert_utility(criteria.contribution(a, weight_in, weight_out, mean, form="centred"), [1.5, 0.5])
    assert_utility(criteria.contribution(a, weight_in, weight_out, mean, form="adaptable"), [0.75, 0.5])


def test_magnitude() -> None:
    weight_out = torch.tensor([[[1.0, -2.0]], [[0.0, 3.0]]])  # 1.5 and 1.5
    assert_utility(criteria.magnitude(torch.tensor([[1.0, -3.0], [0.0, 2.0]]), weight_out), [3.0, 1.5])
    assert_utility(criteria.magnitude(torch.tensor([[[[2.0]]], [[[-4.0]]]]), weight_out), [3.0, 6.0])


def test_random_is_uniform_and_its_generators_own() -> None:
    weights = torch.zeros(5000, 2)

    def draw(seed: int) -> Tensor:
        return criteria.random(weights, torch.Generator().manual_seed(seed))

    untouched = torch.get_rng_state()
    drawn = draw(1)
    assert torch.equal(torch.get_rng_state(), untouched)
    assert drawn.shape == (5000,)
    assert drawn.min() > 0  # a utility of zero would be no signal
    assert drawn.max() <= 1
    assert abs(drawn.mean() - 0.5) < 0.01
    assert abs(drawn.std() - 12**-0.5) < 0.01
    assert torch.equal(drawn, draw(1))
    assert not torch.equal(drawn, draw(2))


# ---------------------------------------------------------------------------------------------------- by loops


def test_redo_agrees_with_a_loop_and_has_mean_one() -> None:
    """METHODS 15.13."""
    generator = torch.Generator().manual_seed(0)
    for shape in [(7, 5), (7, 5, 3, 2)]:
        a = torch.randn(shape, generator=generator)
        loop = torch.stack([torch.stack([a[b, i].abs().mean() for b in range(7)]).mean() for i in range(5)])
        torch.testing.assert_close(criteria.redo(a), loop)
        torch.testing.assert_close(criteria.normalized(criteria.redo(a)).mean(), torch.tensor(1.0))
        torch.testing.assert_close(criteria.normalized(loop), loop / loop.mean())


def test_contribution_agrees_with_a_loop_over_columns() -> None:
    """The weights that a layer says leave a unit are those that its consumers really have there."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.ReLU(), nn.Conv2d(3, 4, 2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 5))
    first, second = sequential(model).layers
    x = torch.randn(6, 2, 4, 4)
    a, b = model[:2](x).detach(), model[:4](x).detach()
    criterion = Criterion("contribution", criteria.contribution, {})
    mean = torch.zeros(())
    kernels = [model[2].weight[:, unit].abs().mean() * a[:, unit].abs().mean() for unit in range(3)]
    torch.testing.assert_close(criterion.score(CriterionInputs(first, a=a, mean=mean)), torch.stack(kernels).detach())
    flat = b.flatten(1)
    columns = [model[5].weight[:, column].abs().mean() * flat[:, column].abs().mean() for column in range(16)]
    torch.testing.assert_close(
        criterion.score(CriterionInputs(second, a=b, mean=mean)), torch.stack(columns).view(4, 4).mean(1).detach()
    )


# ---------------------------------------------------------------------------------------------------- by autograd


@pytest.fixture(params=list(POLICIES), scope="module")
def smooth(request: pytest.FixtureRequest) -> Iterator[tuple[Case, dict[str, Tensor], dict[str, Tensor], Tensor]]:
    """A policy in double precision: activations, their gradients of a mean loss, and that loss of each sample."""
    torch.manual_seed(0)
    case = POLICIES[request.param]()
    case.train_step()
    in_double(case.policy)
    with Taps(case.layers) as taps:
        losses = losses_of(case.outputs())
    roots = {layer.name: root for layer in case.layers for root in taps.roots(layer.name)}
    losses.mean().backward(inputs=list(roots.values()), retain_graph=True)
    seen = taps.read()
    assert seen.keys() == {layer.name for layer in case.layers}
    return case, roots, {name: g for name, (_, g) in seen.items()}, losses


def losses_of(outputs: Tensor) -> Tensor:
    """A loss without kinks of each of the first four samples, (4,)."""
    return (outputs[:4].sin() + outputs[:4].square()).sum(1)


def test_gxd_agrees_with_autograd_on_each_sample(smooth: tuple) -> None:
    """METHODS 15.14: the mean over samples of the absolute cost is that of each sample's own gradient."""
    case, activations, gradients, losses = smooth
    expected = {layer.name: torch.zeros(layer.units, dtype=torch.double) for layer in case.layers}
    signed = {name: torch.zeros_like(total) for name, total in expected.items()}
    places = {layer.name: layer.places[0] for layer in case.layers}
    for number, loss in enumerate(losses):
        found = torch.autograd.grad(loss, list(activations.values()), retain_graph=True)
        for (name, shown), gradient in zip(activations.items(), found, strict=True):
            a, own = places[name].units(shown), places[name].units(gradient)
            cost = (-own[number] * a[number].detach()).reshape(len(expected[name]), -1).sum(1) / len(losses)
            expected[name] += cost.abs()
            signed[name] += cost
    for layer in case.layers:
        a, g = layer.places[0].units(activations[layer.name].detach()), gradients[layer.name]
        assert expected[layer.name].any()
        torch.testing.assert_close(criteria.gxd(a, g, ZERO.double()), expected[layer.name])
        torch.testing.assert_close(criteria.gxd(a, g, ZERO.double(), reduction="mean_abs"), signed[layer.name].abs())


def test_signed_cost_is_the_directional_derivative(smooth: tuple) -> None:
    """METHODS 15.14: the signed mean is the slope of the mean loss as units move to the reference."""
    case, activations, gradients, _ = smooth
    generator = torch.Generator().manual_seed(0)
    for layer in case.layers:
        a, g = layer.places[0].units(activations[layer.name].detach()), gradients[layer.name]
        reference = torch.randn(layer.units, generator=generator, dtype=a.dtype)
        # All units move at once, each as far as a random number says: a wrong cost of any one shows.
        share = torch.randn(layer.units, generator=generator, dtype=a.dtype)
        step = rows(share, a) * (rows(reference, a) - a)
        ahead, behind = (losses_with(case, layer, by * step).mean() for by in (1e-8, -1e-8))
        cost = criteria.replacement_cost(a, g, reference).sum(0)
        torch.testing.assert_close((share * cost).sum(), (ahead - behind) / 2e-8, rtol=1e-3, atol=1e-6)


def rows(values: Tensor, a: Tensor) -> Tensor:
    return values.view(1, -1, *[1] * (a.dim() - 2))


@torch.no_grad()
def losses_with(case: Case, layer: UnitLayer, change: Tensor) -> Tensor:
    """The losses where a layer's activations are changed."""
    (place,) = layer.places
    handle = place.show(lambda shown: place.with_units(shown, place.units(shown) + change))
    losses = losses_of(case.outputs())
    handle.remove()
    return losses


# ---------------------------------------------------------------------------------------------------- Criterion


@pytest.fixture
def layer() -> UnitLayer:
    return sequential(nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))).layers[0]


def test_a_criterion_knows_what_it_looks_at() -> None:
    expected = {
        "gxd": ({"a", "g", "reference"}, True, True),
        "taylor": ({"a", "g"}, True, False),
        "redo": ({"a"}, False, False),
        "regrama": ({"weight_in_grad"}, True, False),
        "regrama_preactivation": ({"preactivation_grad"}, True, False),
        "regrama_activation": ({"g"}, True, False),
        "contribution": ({"a", "weight_in", "weight_out", "mean"}, False, False),
        "magnitude": ({"weight_in", "weight_out"}, False, False),
        "silence": ({"silent", "firings", "between"}, False, False),
        "random": ({"weight_in", "generator"}, False, False),
    }
    found = {name: Criterion(name, entry.resolve(), {}) for name, entry in CRITERIA.items()}
    assert {n: (set(c.inputs), c.needs_gradients, c.is_cost) for n, c in found.items()} == expected


def test_every_criterion_gives_one_utility_per_unit(layer: UnitLayer) -> None:
    inputs = CriterionInputs(
        layer,
        a=torch.rand(4, 3),
        g=torch.rand(4, 3),
        preactivation_grad=torch.rand(4, 3),
        weight_in_grad=torch.rand(3, 2),
        mean=torch.rand(3),
        reference=ZERO,
        silent=torch.tensor([0.0, 4.0, 4.0]),
        firings=torch.tensor([0.0, 1.0, 2.0]),
        between=torch.tensor([0.0, 4.0, 8.0]),
        generator=torch.Generator().manual_seed(0),
    )
    for name, entry in CRITERIA.items():
        utility = Criterion(name, entry.resolve(), {}).score(inputs)
        assert utility.shape == (3,), name
        assert utility.isfinite().all(), name
        assert not utility.requires_grad, name


def test_a_layer_that_hides_what_goes_into_its_activation_function_is_refused(layer: UnitLayer) -> None:
    hidden = replace(layer, preactivation=None)
    for name, entry in CRITERIA.items():
        criterion = Criterion(name, entry.resolve(), {})
        criterion.refuse_unknown(layer)
        if name != "regrama_preactivation":
            criterion.refuse_unknown(hidden)
            continue
        with pytest.raises(ValueError, match=r"^net\.0: the criterion 'regrama_preactivation' looks at what goes into"):
            criterion.refuse_unknown(hidden)


def test_options_are_what_stands_behind_the_star(layer: UnitLayer) -> None:
    def scaled(a, *, by, offset=0.5):
        return by * a.mean(0) + offset

    criterion = Criterion("scaled", scaled, {"by": 3.0})
    assert criterion.options == {"by": 3.0, "offset": 0.5}
    assert criterion.inputs == {"a"}
    assert_utility(criterion.score(CriterionInputs(layer, a=torch.tensor([[1.0, 2.0, 3.0]]))), [3.5, 6.5, 9.5])


def needs_option(a, *, by):
    return a


def looks_at_nothing(a, activation):
    return a


def takes_anything(*tensors):
    return tensors[0]


WRONG = [
    (criteria.gxd, {"reducton": "abs_mean"}, "reducton is no option of 'mine'; choose from reduction"),
    (criteria.redo, {"tau": 1}, "tau is no option of 'mine'; choose from none"),
    (needs_option, {}, "by is missing, which 'mine' needs; give it"),
    (looks_at_nothing, {}, "whose parameter 'activation' is nothing that can be looked at; choose from a, bet.*"),
    (takes_anything, {}, "whose parameter 'tensors' is nothing"),
]


@pytest.mark.parametrize(("function", "options", "message"), WRONG)
def test_a_criterion_that_cannot_work_is_refused(function, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Criterion("mine", function, options)


@pytest.mark.parametrize("shape", [(), (1,), (3, 1), (4,)])
def test_a_utility_of_another_shape_is_refused(layer: UnitLayer, shape: tuple[int, ...]) -> None:
    def wrong(a):
        return torch.zeros(shape)

    with pytest.raises(ValueError, match=r"the criterion 'wrong' gives shape .* for 3 units of net\.0; return one"):
        Criterion("wrong", wrong, {}).score(CriterionInputs(layer, a=torch.zeros(2, 3)))


def test_the_table_of_inputs_is_complete() -> None:
    """The module's table, `CriterionInputs` and the criteria speak of the same names."""
    documented = {line.split("``")[1] for line in inspect.getdoc(criteria).splitlines() if line.startswith("``")}
    assert documented == criteria.INPUTS
    assert all(Criterion(name, entry.resolve(), {}).inputs <= criteria.INPUTS for name, entry in CRITERIA.items())


def test_tiny_utilities_are_normalised_like_all_others() -> None:
    utility = torch.tensor([1.0, 2.0, 3.0])
    for scale in (1.0, 1e-6, 1e-9, 1e-11):
        torch.testing.assert_close(criteria.normalized(scale * utility), torch.tensor([0.5, 1.0, 1.5]))
    assert criteria.normalized(torch.zeros(3)).tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float16, torch.bfloat16, torch.float32])
def test_utilities_of_any_dtype_become_floats(layer: UnitLayer, dtype: torch.dtype) -> None:
    def counted(a):
        return (a > 0).any(0).to(dtype)

    utility = Criterion("counted", counted, {}).score(CriterionInputs(layer, a=torch.tensor([[1.0, 0.0, 2.0]])))
    assert utility.dtype == torch.float32
    assert utility.tolist() == [1.0, 0.0, 1.0]


def test_double_precision_is_kept(layer: UnitLayer) -> None:
    a = torch.rand(2, 3, dtype=torch.float64)
    assert Criterion("redo", criteria.redo, {}).score(CriterionInputs(layer, a=a)).dtype == torch.float64


def test_a_utility_that_is_no_tensor_is_refused(layer: UnitLayer) -> None:
    def wrong(a):
        return 3.0

    with pytest.raises(ValueError, match=r"'wrong' gives 3\.0 for 3 units of net\.0; return a tensor of one utility"):
        Criterion("wrong", wrong, {}).score(CriterionInputs(layer, a=torch.zeros(2, 3)))
