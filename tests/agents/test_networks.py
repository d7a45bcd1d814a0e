"""Which network a policy gets, and how it reads boards."""

from __future__ import annotations

import gymnasium
import numpy as np
import torch
from small_ppo import build
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN

import envs
from agents import PPO
from agents.networks import MinAtarCNN


def test_small_boards_get_the_minatar_network_and_pixel_images_sb3s() -> None:
    board = build("board").policy
    assert isinstance(board.features_extractor, MinAtarCNN)
    assert board.net_arch == {"pi": [64], "vf": [64]}
    own = PPO("CnnPolicy", envs.make("breakout"), policy_kwargs={"net_arch": [8]}).policy
    assert own.net_arch == [8]
    assert own.activation_fn is torch.nn.ReLU
    assert type(build("nature").policy.features_extractor) is NatureCNN


class Frames(gymnasium.Env):
    """Observations of any space."""

    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, space: gymnasium.spaces.Box) -> None:
        self.observation_space = space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


def test_small_images_are_transposed_once() -> None:
    """SB3 puts an image's channels first before the network sees it, a board's it leaves."""
    model = PPO("CnnPolicy", Frames(gymnasium.spaces.Box(0, 255, (12, 10, 3), np.uint8)), n_steps=8, batch_size=8)
    extractor = model.policy.features_extractor
    assert isinstance(extractor, MinAtarCNN)
    assert extractor.cnn[0].in_channels == 3
    assert extractor.linear[0].in_features == 16 * 10 * 8
    model.learn(16)


def test_wherever_sb3_builds_a_network_ours_is_the_same() -> None:
    floats = Frames(gymnasium.spaces.Box(0, 1, (4, 40, 40), np.float32))
    model = PPO("CnnPolicy", floats, policy_kwargs={"normalize_images": False}, n_steps=8, batch_size=8)
    assert type(model.policy.features_extractor) is NatureCNN

    class Own(ActorCriticCnnPolicy):
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, **{**keywords, "features_extractor_class": FlattenExtractor})

    board = Frames(gymnasium.spaces.Box(0, 1, (10, 10, 4), bool))
    assert type(PPO(Own, board, n_steps=8, batch_size=8).policy.features_extractor) is FlattenExtractor


def test_the_first_convolution_sees_a_pixel_of_channel_nine_in_its_place() -> None:
    policy = PPO("CnnPolicy", envs.make("breakout"), seed=0).policy
    board = torch.zeros(1, 10, 10, 10)
    board[0, 2, 7, 9] = 1  # height 2, width 7, channel 9
    conv, seen = policy.features_extractor.cnn[0], []
    conv.register_forward_hook(lambda module, inputs, output: seen.append(output[0]))
    policy.extract_features(board.bool())
    for h in range(8):
        for w in range(8):
            inside = 0 <= 2 - h < 3 and 0 <= 7 - w < 3
            expected = conv.weight[:, 9, 2 - h, 7 - w] if inside else torch.zeros(16)
            torch.testing.assert_close(seen[0][:, h, w], expected + conv.bias)
