"""Surgery on every kind of policy that PPO has: what changes, and what must not."""

import copy
import math

import pytest
import torch
from small_ppo import build

from agents.plasticity.surgery import reset_units
from agents.plasticity.taps import Taps
from agents.plasticity.units import UnitLayer


def seeded(layer: UnitLayer) -> torch.Generator:
    return torch.Generator().manual_seed(sum(map(ord, layer.name)))


def all_layers(model) -> list[UnitLayer]:
    return [layer for network in model.networks.values() for layer in network.layers]


def no_units(layers) -> dict[str, torch.Tensor]:
    return {layer.name: torch.zeros(layer.units, dtype=torch.bool) for layer in layers}


@pytest.fixture
def trained(kind):
    return build(kind).learn(64)


def probe(model):
    return model.sample(64, torch.Generator().manual_seed(0))


def test_every_hidden_layer_is_found(kind) -> None:
    expected = {
        "mlp": {"actor": [16, 12], "critic": [16, 12]},
        "mlp-tanh-gsde": {"actor": [16, 12], "critic": [16, 12]},
        "board": {"actor": [64], "critic": [64], "features": [16, 128]},
        "board-separate": {"actor": [16, 128, 16], "critic": [16, 128, 12]},
        "nature": {"features": [32, 64, 64, 512]},
        "nature-separate": {"actor": [32, 64, 64, 512, 16], "critic": [32, 64, 64, 512, 16]},
        "dict": {"actor": [16], "critic": [16], "features": [32, 64, 64, 256]},
    }
    networks = build(kind).networks
    assert {name: [layer.units for layer in network.layers] for name, network in networks.items()} == expected[kind]
    names = [layer.name for network in networks.values() for layer in network.layers]
    assert len(set(names)) == len(names)
    assert all(
        layer.name == f"{layer.network}.{depth}" for n in networks.values() for depth, layer in enumerate(n.layers)
    )


def test_silent_units_are_replaced_without_changing_an_output_by_a_bit(trained) -> None:
    """METHODS: neutrality. A ReLU unit with a bias far below zero is silent; tanh units are made silent by weight 0."""
    batch, generator = probe(trained), torch.Generator().manual_seed(1)
    layers, masks = all_layers(trained), {}
    for layer in layers:
        masks[layer.name] = torch.rand(layer.units, generator=generator) < 0.4
        with torch.no_grad():
            relu = isinstance(layer.tap, torch.nn.ReLU)
            layer.producer.weight[masks[layer.name]] *= 1.0 if relu else 0.0
            layer.producer.bias[masks[layer.name]] = -1e6 if relu else 0.0
    before = {name: out.detach().clone() for name, out in trained.outputs(batch).items()}
    reset_units(layers, masks, trained.optimizers, seeded)
    after = trained.outputs(batch)
    assert all(mask.any() for mask in masks.values())
    for name in before:
        assert torch.equal(before[name], after[name])
    for layer in layers:
        biases = layer.producer.bias[masks[layer.name]]
        assert torch.equal(biases, torch.zeros_like(biases))


def test_units_of_constant_activation_are_replaced_by_their_mean(trained) -> None:
    """METHODS: mean reference. Rows of zeros make activations constant; the consumers' biases take them over."""
    batch, layers = probe(trained), all_layers(trained)
    for layer in layers:
        original = copy.deepcopy(trained.policy.state_dict())
        mask = torch.arange(layer.units) % 3 == 0
        with torch.no_grad():
            layer.producer.weight[mask] = 0.0
            layer.producer.bias[mask] = torch.rand(int(mask.sum()), generator=seeded(layer)) + 0.5
            with Taps([layer]) as taps:
                before = {name: out.clone() for name, out in trained.outputs(batch).items()}
        means = taps.activations[layer.name].transpose(0, 1).flatten(1).mean(1)
        masks = no_units(layers)
        masks[layer.name] = mask
        reset_units(layers, masks, trained.optimizers, seeded, means={layer.name: means for layer in layers})
        for name, out in trained.outputs(batch).items():
            torch.testing.assert_close(out, before[name], rtol=0, atol=1e-6)  # of terms of about 1
        trained.policy.load_state_dict(original)


def test_only_the_masked_units_rows_and_columns_change(trained) -> None:
    layers = all_layers(trained)
    masks = no_units(layers)
    chosen = layers[0]
    masks[chosen.name][[1, 3]] = True
    before = copy.deepcopy(trained.policy.state_dict())
    reset_units(layers, masks, trained.optimizers, seeded)
    after = trained.policy.state_dict()
    producer = chosen.producer
    names = {id(p): name for name, p in trained.policy.named_parameters()}
    touched = {names[id(producer.weight)], names[id(producer.bias)]} | {names[id(c.weight)] for c in chosen.consumers}
    assert len(touched) >= 3
    for name in set(names.values()) - touched:
        assert torch.equal(before[name], after[name]), name
    others = ~masks[chosen.name]
    rows = names[id(producer.weight)]
    assert torch.equal(before[rows][others], after[rows][others])
    assert not torch.equal(before[rows][~others], after[rows][~others])
    for consumer in chosen.consumers:
        name = names[id(consumer.weight)]
        columns = torch.zeros(consumer.weight.shape[1], dtype=torch.bool)
        for unit in (1, 3):
            columns[consumer.start + unit * consumer.block : consumer.start + (unit + 1) * consumer.block] = True
        assert torch.equal(before[name][:, ~columns], after[name][:, ~columns])
        assert not after[name][:, columns].any()
        assert before[name][:, columns].any()


def test_a_unit_is_heard_through_its_own_columns_alone(kind) -> None:
    """METHODS: column map. All columns but one unit's are silenced: another unit must not be heard, this one must."""
    model = build(kind).learn(64)
    batch, original = probe(model), copy.deepcopy(model.policy.state_dict())

    def outputs(layer: UnitLayer, silent: int | None = None) -> dict[str, torch.Tensor]:
        def silence(module, inputs, output):
            output = output.clone()
            output[:, silent] = 0
            return output

        handle = layer.tap.register_forward_hook(silence) if silent is not None else None
        found = {name: out.detach().clone() for name, out in model.outputs(batch).items()}
        if handle is not None:
            handle.remove()
        return found

    for layer in all_layers(model):
        model.policy.load_state_dict(original)
        with Taps([layer]) as taps, torch.no_grad():
            model.outputs(batch)
        strength = taps.activations[layer.name].abs().transpose(0, 1).flatten(1).sum(1)
        audible = int(strength.argmax())
        with torch.no_grad():
            for consumer in layer.consumers:
                piece, silent = consumer.columns(torch.arange(layer.units) != audible)
                piece.masked_fill_(silent, 0)
        before = outputs(layer)
        for unit in {0, 1, layer.units - 1} - {audible}:
            assert all(torch.equal(before[name], out) for name, out in outputs(layer, unit).items()), layer.name
        with torch.no_grad():
            for consumer in layer.consumers:
                piece, heard = consumer.columns(torch.arange(layer.units) == audible)
                piece.masked_fill_(heard, 0)
        quiet = outputs(layer)
        downstream = {"actor", "critic"} if layer.network == "features" else {layer.network}
        changed = {name for name in before if not torch.equal(before[name], quiet[name])}
        assert changed == downstream, layer.name
        if kind != "dict":  # its vector goes round these layers
            assert {name for name, out in quiet.items() if len(out.unique(dim=0)) == 1} == downstream, layer.name


def test_parameters_and_optimizer_keep_their_identity(trained) -> None:
    ids = [id(p) for p in trained.policy.parameters()]
    groups = [[id(p) for p in group["params"]] for group in trained.policy.optimizer.param_groups]
    layers = all_layers(trained)
    reset_units(layers, {layer.name: torch.ones(layer.units, dtype=torch.bool) for layer in layers},
                trained.optimizers, seeded)  # fmt: skip
    assert ids == [id(p) for p in trained.policy.parameters()]
    assert groups == [[id(p) for p in group["params"]] for group in trained.policy.optimizer.param_groups]


def test_columns_are_zero_in_rows_that_were_redrawn_too(trained) -> None:
    """Two adjacent layers at once: fresh rows of the upper layer must not bring the lower units' columns back."""
    layers = all_layers(trained)
    masks = {layer.name: torch.arange(layer.units) % 2 == 0 for layer in layers}
    reset_units(layers, masks, trained.optimizers, seeded)
    for layer in layers:
        for consumer in layer.consumers:
            piece, columns = consumer.columns(masks[layer.name])
            assert not piece.masked_select(columns).any()
            assert piece.masked_select(~columns).any()


def test_new_rows_are_drawn_as_the_policy_draws_its_own(kind) -> None:
    model = build(kind)
    for layer in all_layers(model):
        weight, bias = layer.init.draw(layer.producer, seeded(layer))
        assert torch.equal(bias, torch.zeros(layer.units))
        drawn, own = weight.flatten(1), layer.producer.weight.detach().flatten(1)
        if drawn.shape[0] <= drawn.shape[1]:
            norms = torch.full((layer.units,), math.sqrt(2))
            torch.testing.assert_close(drawn.norm(dim=1), norms, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(own.norm(dim=1), norms, rtol=1e-4, atol=1e-5)
        else:
            norms = torch.full((drawn.shape[1],), math.sqrt(2))
            torch.testing.assert_close(drawn.norm(dim=0), norms, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(own.norm(dim=0), norms, rtol=1e-4, atol=1e-5)


def test_without_orthogonal_init_new_rows_have_torchs_bound() -> None:
    model = build("mlp", policy_kwargs={"net_arch": [64, 64], "ortho_init": False})
    for layer in all_layers(model):
        weight, bias = layer.init.draw(layer.producer, seeded(layer))
        bound = 1 / math.sqrt(weight.shape[1])
        for drawn, own in ((weight, layer.producer.weight), (bias, layer.producer.bias)):
            assert drawn.abs().max() <= bound
            assert own.abs().max() <= bound
        # a uniform distribution's standard deviation is bound/sqrt(3); the 2.45-fold bound of other codes is not
        assert abs(weight.std() / (bound / math.sqrt(3)) - 1) < 0.15


def optimizers(parameters):
    yield torch.optim.Adam(parameters, lr=0.01), ("exp_avg",), ("exp_avg_sq",)
    yield torch.optim.Adam(parameters, lr=0.01, amsgrad=True), ("exp_avg", "max_exp_avg_sq"), ("exp_avg_sq",)
    yield torch.optim.SGD(parameters, lr=0.01, momentum=0.9), ("momentum_buffer",), ()
    yield torch.optim.RMSprop(parameters, lr=0.01, centered=True), ("grad_avg",), ("square_avg",)


@pytest.mark.parametrize("which", range(4))
def test_optimizer_state_of_changed_entries_is_made_new(which: int) -> None:
    torch.manual_seed(0)
    model = build("board")
    layers = all_layers(model)
    optimizer, first, second = list(optimizers(list(model.policy.parameters())))[which]
    for _ in range(3):
        for parameter in model.policy.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    masks = no_units(layers)
    masks["features.0"][[0, 5]] = True
    before = copy.deepcopy(optimizer.state_dict()["state"])
    reset_units(layers, masks, [optimizer], seeded)
    after = optimizer.state_dict()["state"]
    index = {id(p): number for number, p in enumerate(model.policy.parameters())}
    producer, consumer = layers[2].producer, layers[2].consumers[0]
    assert layers[2].name == "features.0"
    assert consumer.block == 64
    rows = torch.zeros_like(producer.weight, dtype=torch.bool)
    rows[[0, 5]] = True
    columns = torch.zeros_like(consumer.weight, dtype=torch.bool)
    columns[:, 0:64] = columns[:, 5 * 64 : 6 * 64] = True
    for tensor, mask in ((producer.weight, rows), (consumer.weight, columns), (producer.bias, rows[:, 0, 0, 0])):
        old, new = before[index[id(tensor)]], after[index[id(tensor)]]
        assert set(first + second) <= set(new)
        for key in first:
            assert not new[key][mask].any()
            assert torch.equal(new[key][~mask], old[key][~mask])
        for key in second:
            torch.testing.assert_close(new[key][mask], old[key][~mask].mean().expand(int(mask.sum())))
            assert torch.equal(new[key][~mask], old[key][~mask])
        if "step" in old:
            assert torch.equal(new["step"], old["step"])
    others = set(before) - {index[id(t)] for t in (producer.weight, producer.bias, consumer.weight)}
    for number in others:
        for key, value in before[number].items():
            assert torch.equal(value, after[number][key]), (number, key)


def test_a_tensor_without_survivors_keeps_its_mean_second_moment() -> None:
    model = build("mlp").learn(64)
    layer = model.networks["critic"].layers[0]
    state = model.policy.optimizer.state[layer.producer.weight]
    mean = state["exp_avg_sq"].mean()
    assert mean > 0
    masks = no_units(all_layers(model))
    masks["critic.0"][:] = True
    reset_units(all_layers(model), masks, model.optimizers, seeded)
    torch.testing.assert_close(state["exp_avg_sq"], mean.expand_as(state["exp_avg_sq"]))
    assert not state["exp_avg"].any()


def test_an_optimizer_that_has_not_stepped_stays_without_state() -> None:
    model = build("mlp")
    layers = all_layers(model)
    reset_units(layers, {layer.name: torch.ones(layer.units, dtype=torch.bool) for layer in layers},
                model.optimizers, seeded)  # fmt: skip
    assert not model.policy.optimizer.state_dict()["state"]


@pytest.mark.parametrize("where", ["actor.1", "features.3"])
def test_gsde_noise_of_a_new_unit_starts_from_its_initial_value(where: str) -> None:
    kind = {"actor.1": "mlp-tanh-gsde", "features.3": "nature"}[where]
    model = build(kind, use_sde=True).learn(64)
    layers = all_layers(model)
    with torch.no_grad():
        model.policy.log_std += 0.5
    before = model.policy.log_std.detach().clone()
    masks = no_units(layers)
    masks[where][4] = True
    reset_units(layers, masks, model.optimizers, seeded)
    log_std = model.policy.log_std.detach()
    assert torch.equal(log_std[4], torch.full_like(log_std[4], model.policy.log_std_init))
    others = torch.arange(len(log_std)) != 4
    assert torch.equal(log_std[others], before[others])


def test_an_empty_mask_ends_early_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for branch in (True, False):
        monkeypatch.setattr("agents.plasticity.surgery.may_branch", lambda device, branch=branch: branch)
        model = build("board").learn(64)
        layers = all_layers(model)
        masks = no_units(layers)
        masks["critic.0"][7] = True
        reset_units(layers, masks, model.optimizers, seeded)
        results.append((model.policy.state_dict(), model.policy.optimizer.state_dict()["state"]))
    (left, left_state), (right, right_state) = results
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert all(torch.equal(v, right_state[n][key]) for n, found in left_state.items() for key, v in found.items())
