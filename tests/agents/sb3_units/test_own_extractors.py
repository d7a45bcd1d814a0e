"""The unit graphs of features extractors of users' own."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, CombinedExtractor, NatureCNN
from torch import Tensor, nn

from agents import DQN, PPO, SAC
from agents.plasticity import GXD
from agents.plasticity.units import TorchDefault
from agents.sb3_units.extractors import extractor_graph

INIT = TorchDefault()
IMAGE = spaces.Box(0, 255, (3, 36, 40), np.uint8)
MIXED = spaces.Dict(
    {"image": IMAGE, "speed": spaces.Box(-np.inf, np.inf, (3,), np.float64), "gear": spaces.Discrete(4)}
)


class Own(NatureCNN):
    """Computes what its parent does; nobody can know that of a subclass."""


class Mixed(BaseFeaturesExtractor):
    """A convolution beside what is read as it is, with functions in place of modules."""

    def __init__(self, space: spaces.Dict) -> None:
        super().__init__(space, 8)
        self.maps = nn.Conv2d(3, 4, 8, 4)
        self.linear = nn.Linear(4 * 8 * 9 + 3 + 4, 8)

    def forward(self, observations: dict[str, Tensor]) -> Tensor:
        maps = torch.relu(self.maps(observations["image"])).flatten(1)
        joined = torch.cat([maps, observations["speed"], observations["gear"].flatten(1)], 1)
        return torch.tanh(self.linear(joined))


class World(gymnasium.Env[Any, Any]):
    """Draws observations; the reward is the action."""

    def __init__(self, observations: spaces.Space[Any], actions: spaces.Space[Any]) -> None:
        self.observation_space, self.action_space = observations, actions
        self._step = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        if seed is not None:
            self.observation_space.seed(seed)
        self._step = 0
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self._step += 1
        return self.observation_space.sample(), float(np.sum(action)), False, self._step == 7, {}


def test_one_that_computes_what_a_known_one_does_has_its_graph() -> None:
    extractor, head, other = Own(IMAGE, 16), nn.Linear(16, 2), nn.Linear(20, 1)
    heads = [(head, 0), (other, 4)]
    found = extractor_graph("critic", extractor, heads, INIT, above=3)
    known = NatureCNN(IMAGE, 16)
    known.load_state_dict(extractor.state_dict())
    known.cnn, known.linear = extractor.cnn, extractor.linear
    expected = extractor_graph("critic", known, heads, INIT, above=3)
    for layer, like in zip(found.layers, expected.layers, strict=True):
        assert (layer.name, layer.producer, layer.units, layer.init) == (
            like.name, like.producer, like.units, like.init,
        )  # fmt: skip
        assert [(c.weight, c.bias, c.start, c.block, c.fold) for c in layer.consumers] == [
            (c.weight, c.bias, c.start, c.block, c.fold) for c in like.consumers
        ]
    assert [(p.module, p.init, p.height) for p in found.parts] == [(p.module, p.init, p.height) for p in expected.parts]


def test_its_units_are_reset_as_those_of_a_known_one() -> None:
    def learnt(extractor: type[NatureCNN]) -> DQN:
        kwargs = {"features_extractor_class": extractor, "features_extractor_kwargs": {"features_dim": 8}}
        resets = [GXD(rate=0.05, period=2, maturity=1)]
        model = DQN(
            "CnnPolicy", World(IMAGE, spaces.Discrete(3)), policy_kwargs={**kwargs, "net_arch": [8]}, seed=1,
            interventions=resets, learning_starts=8, batch_size=8, buffer_size=64,
        )  # fmt: skip
        return model.learn(40)

    own, known = learnt(Own), learnt(NatureCNN)
    assert own.units_reset() == known.units_reset() == {"critic": 59}
    for mine, theirs in zip(own.policy.parameters(), known.policy.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_functions_and_what_is_read_beside_layers_are_followed() -> None:
    extractor, head = Mixed(MIXED), nn.Linear(8, 2)
    graph = extractor_graph("features", extractor, [(head, 0)], INIT, above=2)
    maps, linear = graph.layers
    assert [(c.weight, c.start, c.block) for c in maps.consumers] == [(extractor.linear.weight, 0, 8 * 9)]
    assert [(c.weight, c.start, c.block) for c in linear.consumers] == [(head.weight, 0, 1)]
    assert [part.height for part in graph.parts] == [3, 2]
    assert graph.fixed == {}


@pytest.mark.parametrize("share", [True, False])
def test_of_sac_and_ppo_it_may_be_shared(share: bool) -> None:
    kwargs = {"features_extractor_class": Mixed, "net_arch": [8], "share_features_extractor": share}
    world = World(MIXED, spaces.Box(-1, 1, (2,)))
    sac = SAC("MultiInputPolicy", world, policy_kwargs=dict(kwargs), learning_starts=8, batch_size=8, buffer_size=64,
              interventions=[GXD(rate=0.05, period=2, maturity=1)], seed=1)  # fmt: skip
    ppo = PPO("MultiInputPolicy", world, policy_kwargs=dict(kwargs), n_steps=16, batch_size=8, n_epochs=2, seed=1,
              interventions=[GXD(rate=0.05, period=2, maturity=1)])  # fmt: skip
    names = ["actor", "critic", "features"] if share else ["actor", "critic"]
    for model in (sac.learn(40), ppo.learn(32)):
        reset = model.units_reset()
        assert sorted(reset) == names
        assert all(reset.values())


def test_a_combined_extractor_may_have_a_piece_of_ones_own() -> None:
    extractor, head = CombinedExtractor(MIXED, cnn_output_dim=8), nn.Linear(8 + 3 + 4, 2)
    known = extractor_graph("features", extractor, [(head, 0)], INIT, above=1)
    (key,) = [key for key, piece in extractor.extractors.items() if isinstance(piece, NatureCNN)]
    extractor.extractors[key] = Own(IMAGE, 8)
    found = extractor_graph("features", extractor, [(head, 0)], INIT, above=1)
    assert [(layer.name, layer.units) for layer in found.layers] == [
        (layer.name, layer.units) for layer in known.layers
    ]
    assert [(c.start, c.block) for c in found.layers[-1].consumers] == [
        (c.start, c.block) for c in known.layers[-1].consumers
    ]


def test_looking_at_it_draws_nothing_and_moves_nothing() -> None:
    MIXED.seed(3)
    extractor = Mixed(MIXED).train()
    state, before = torch.get_rng_state(), {name: each.clone() for name, each in extractor.state_dict().items()}
    expected = MIXED["image"].np_random.bit_generator.state
    extractor_graph("features", extractor, [(nn.Linear(8, 2, device="meta"), 0)], INIT, above=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert MIXED["image"].np_random.bit_generator.state == expected
    assert extractor.training
    assert all(torch.equal(before[name], each) for name, each in extractor.state_dict().items())


def test_another_device_may_be_the_default() -> None:
    extractor, head = Mixed(MIXED), nn.Linear(8, 2)
    with torch.device("meta"):
        graph = extractor_graph("features", extractor, [(head, 0)], INIT, above=1)
    assert [layer.units for layer in graph.layers] == [4, 8]


class Recurrent(BaseFeaturesExtractor):
    def __init__(self, space: spaces.Box) -> None:
        super().__init__(space, 8)
        self.memory = nn.GRU(40, 8)


class Branching(Own):
    def forward(self, observations: Tensor) -> Tensor:
        return super().forward(observations if observations.mean() > 0 else -observations)


class Failing(Own):
    def forward(self, observations: Tensor) -> Tensor:
        return super().forward(observations.view(5, 3, 36, 40))


REFUSED = {
    Recurrent: "memory, GRU(40, 8), is not understood; resets know Linear, Conv2d, ",
    Branching: "the forward of Branching looks at values (bool), so that it may go another way on other data",
    Failing: "its forward raises RuntimeError on 32 observations (shape '[5, 3, 36, 40]' is invalid for input of size ",
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_not_understood_is_named(kind: type[BaseFeaturesExtractor]) -> None:
    with pytest.raises(ValueError, match=f"actor: the features extractor {kind.__name__} is not") as caught:
        extractor_graph("actor", kind(IMAGE), [(nn.Linear(512, 2), 0)], INIT, above=1)
    message = str(caught.value)
    assert REFUSED[kind] in message
    assert "declare" not in message
