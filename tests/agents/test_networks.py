"""Which network a policy gets, how it reads boards, and what IMPALA's residual network computes."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from small_ppo import build
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor, NatureCNN
from torch import nn
from torch.nn import functional as F

import envs
from agents import PPO, plasticity
from agents.networks import ImpalaCNN, MinAtarCNN


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


BOARDS = {  # shape, channels, height and width
    "MinAtar's": ((10, 10, 10), bool, 10, (10, 10)),
    "floats": ((10, 10, 4), np.float32, 4, (10, 10)),
    "channels first": ((4, 10, 10), np.float32, 4, (10, 10)),
    "many channels": ((8, 8, 12), bool, 12, (8, 8)),
    "no square": ((6, 7, 2), np.float32, 2, (6, 7)),
    "no square, channels first": ((2, 6, 7), np.float32, 2, (6, 7)),
    "an image": ((12, 9, 3), np.uint8, 3, (12, 9)),
    "an image, channels first": ((3, 12, 9), np.uint8, 3, (12, 9)),
    "frames of images": ((10, 10, 12), np.uint8, 12, (10, 10)),
}


def pixels(shape: tuple[int, ...], dtype: Any) -> gymnasium.spaces.Box:
    return gymnasium.spaces.Box(0, 255 if dtype is np.uint8 else 1, shape, dtype)


@pytest.mark.parametrize("normalize_images", [True, False])
@pytest.mark.parametrize("kind", BOARDS)
def test_the_shape_of_a_board_says_where_its_channels_are(kind: str, normalize_images: bool) -> None:
    shape, dtype, channels, sides = BOARDS[kind]
    kwargs = {"normalize_images": normalize_images}
    policy = PPO("CnnPolicy", Frames(pixels(shape, dtype)), policy_kwargs=kwargs, n_steps=8, batch_size=8).policy
    extractor = policy.features_extractor
    assert isinstance(extractor, MinAtarCNN)
    assert extractor.cnn[0].in_channels == channels
    assert extractor.linear[0].in_features == 16 * (sides[0] - 2) * (sides[1] - 2)
    assert policy.predict(np.zeros((1, *shape), dtype))[0].shape == (1,)


REFUSED = {
    # What SB3 refuses of images that are large enough is SB3's to refuse.
    "large floats": ((3, 84, 84), {}, AssertionError, r"you should pass `normalize_images=False`"),
    "large floats, channels last": ((84, 84, 3), {}, AssertionError, r"you should pass `normalize_images=False`"),
    "in the wrong order": (
        (84, 84, 3), {"normalize_images": False}, ValueError, r"reads images with the channels first, not Box",
    ),
    "either order": ((6, 7, 8), {}, ValueError, r"leaves open .* first or last; give features_extractor_kwargs="),
    "twelve boards, or one that is no square": ((12, 8, 8), {}, ValueError, r"leaves open whether"),
    "either order, small sides": ((3, 20, 30), {"normalize_images": False}, ValueError, r"leaves open whether"),
    "too small": ((2, 2, 4), {}, ValueError, r"^MinAtarCNN needs boards of shape"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_floats_that_no_network_reads_are_refused(kind: str) -> None:
    shape, kwargs, error, sentence = REFUSED[kind]
    with pytest.raises(error, match=sentence):
        PPO("CnnPolicy", Frames(pixels(shape, np.float32)), policy_kwargs=kwargs, n_steps=8, batch_size=8)


@pytest.mark.parametrize(("channels_first", "channels"), [(True, 6), (False, 8)])
def test_the_order_of_a_board_can_be_given(channels_first: bool, channels: int) -> None:
    kwargs = {"features_extractor_kwargs": {"channels_first": channels_first}}
    board = Frames(pixels((6, 7, 8), np.float32))
    policy = PPO("CnnPolicy", board, policy_kwargs=kwargs, n_steps=8, batch_size=8).policy
    assert policy.features_extractor.cnn[0].in_channels == channels
    assert policy.predict(np.zeros((1, 6, 7, 8), np.float32))[0].shape == (1,)


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


def test_impala_has_the_sizes_of_procgens() -> None:
    """Three sequences of 16, 32 and 32 channels on 64x64 images: 8x8x32 = 2,048 inputs of the linear layer."""
    extractor = ImpalaCNN(gymnasium.spaces.Box(0, 255, (3, 64, 64), np.uint8))
    convolutions = [m for m in extractor.modules() if isinstance(m, nn.Conv2d)]
    channels = [(3, 16), *[(16, 16)] * 4, (16, 32), *[(32, 32)] * 9]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == channels
    assert {(c.kernel_size, c.stride, c.padding) for c in convolutions} == {((3, 3), (1, 1), (1, 1))}
    linear = extractor.linear[0]
    assert (linear.in_features, linear.out_features, extractor.features_dim) == (2048, 256, 256)
    # 448 + 4 * 2,320 + 4,640 + 9 * 9,248 of the convolutions, 524,544 of the linear layer
    assert sum(p.numel() for p in extractor.parameters()) == 97_600 + 524_544
    assert extractor(torch.rand(2, 3, 64, 64)).shape == (2, 256)


def test_impala_computes_what_the_paper_draws() -> None:
    """The forward pass written out with functions alone, on sides that no power of two divides."""
    torch.manual_seed(0)
    extractor = ImpalaCNN(gymnasium.spaces.Box(0, 255, (2, 13, 18), np.uint8), features_dim=7, depths=(4, 5))
    weights = [p.detach() for p in extractor.parameters()]
    images = torch.rand(3, 2, 13, 18)

    def convolve(maps: torch.Tensor) -> torch.Tensor:
        return F.conv2d(maps, weights.pop(0), weights.pop(0), padding=1)

    maps = images
    for _ in range(2):
        maps = F.max_pool2d(convolve(maps), 3, stride=2, padding=1)
        for _ in range(2):
            maps = maps + convolve(F.relu(convolve(F.relu(maps))))
    assert maps.shape == (3, 5, 4, 5)
    expected = F.relu(F.linear(F.relu(maps).flatten(1), *weights))
    assert expected.any()
    torch.testing.assert_close(extractor(images), expected)


def test_every_relu_of_impala_is_a_module_of_its_own() -> None:
    extractor = ImpalaCNN(gymnasium.spaces.Box(0, 255, (3, 20, 20), np.uint8))
    ran: list[nn.Module] = []
    for module in extractor.modules():
        if isinstance(module, nn.ReLU):
            module.register_forward_hook(lambda module, inputs, output: ran.append(module))
    extractor(torch.rand(1, 3, 20, 20))
    assert len(ran) == len(set(ran)) == 2 * 6 + 2


def test_impala_takes_images_with_the_channels_first() -> None:
    space = gymnasium.spaces.Box
    ImpalaCNN(space(0.0, 1.0, (3, 16, 16), np.float32), normalized_image=True)
    for refused in (space(0, 255, (16, 16, 3), np.uint8), space(0.0, 1.0, (3, 16, 16), np.float32), space(0, 1, (8,))):
        with pytest.raises(ValueError, match=r"ImpalaCNN needs images of shape \(channel, height, width\).*not Box"):
            ImpalaCNN(refused)
    for depths in ((), (16, 0)):
        with pytest.raises(ValueError, match=r"depths is .*; give the channels of one or more sequences"):
            ImpalaCNN(space(0, 255, (3, 16, 16), np.uint8), depths=depths)


def test_impala_trains_with_resets() -> None:
    resets = plasticity.GXD(rate=0.01, period=6, maturity=6, score_every=2)
    model = build("impala-separate", interventions=[resets])
    before = {name: p.clone() for name, p in model.policy.named_parameters()}
    counts = model.learn(256).units_reset()
    assert all(count > 0 for count in counts.values()), counts
    assert all(not torch.equal(p, before[name]) for name, p in model.policy.named_parameters())
    assert all(torch.isfinite(p).all() for p in model.policy.parameters())


def test_hooks_on_a_board_s_convolutions_are_called_and_what_takes_their_place_is_used() -> None:
    extractor = MinAtarCNN(gymnasium.spaces.Box(0, 1, (4, 4, 2), np.bool_), features_dim=3)
    boards, seen = torch.rand(5, 4, 4, 2), []
    expected = extractor(boards)
    hook = extractor.cnn.register_forward_hook(lambda module, given, found: seen.append(found.shape))
    assert torch.equal(extractor(boards), expected)
    assert seen == [(5, 64)]
    hook.remove()
    extractor.cnn = torch.compile(extractor.cnn, backend="eager")
    assert torch.equal(extractor(boards), expected)
